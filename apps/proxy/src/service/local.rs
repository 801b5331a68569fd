//! What is answered without a server: prepared responses, pages, files and errors.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use weir_config::{Action, Page, Respond, Route};
use weir_httpd::{Answer, Archive, FileRoot, HttpDate, Manner, Prepared, demo_page, error_page, error_response};
use weir_socket::Sockets;

use super::Target;

/// What answers requests without a server.
pub(super) struct Local {
    pub(super) fixed: Vec<Prepared>,
    pub(super) pages: Vec<(String, Prepared)>,
    pub(super) files: Vec<FileRoot>,
    errors: Vec<Prepared>,
    pub(super) archive: Archive,
    pub(super) date: HttpDate,
}

/// Every status that [`Service`] answers by itself.
const ERRORS: [u16; 15] = [400, 404, 405, 408, 413, 414, 417, 431, 500, 501, 502, 503, 504, 505, 429];

impl Local {
    pub(super) fn new(archive: Archive, unix_ns_at_origin: u64, pages: &[Respond]) -> Self {
        let error = |status| match pages.iter().find(|page| page.status == status) {
            Some(page) => error_page(status, &page.content_type, leak(&page.body)),
            None => error_response(status),
        };
        Self {
            fixed: Vec::new(),
            pages: Vec::new(),
            files: Vec::new(),
            errors: ERRORS.map(error).into(),
            archive,
            date: HttpDate::new(unix_ns_at_origin),
        }
    }

    /// What a route of `listener` leads to, prepared; `way` is what changes on it.
    pub(super) fn target(&mut self, route: &Route, listener: &str, core: usize, way: u16) -> Target {
        match &route.action {
            Action::Pool(index) => Target::Pool { pool: *index as u16, way },
            Action::Files(directory) => {
                self.files.push(FileRoot::new(directory, &route.path));
                Target::Files((self.files.len() - 1) as u16)
            }
            Action::Respond(respond) => {
                self.fix(Prepared::new(respond.status, &respond.content_type, &[], leak(&respond.body)))
            }
            Action::Redirect(redirect) => {
                self.fix(Prepared::new(redirect.status, "text/plain", &[("Location", &redirect.to)], b""))
            }
            Action::Page(Page::Demo) => {
                self.pages.push((route.path.clone(), demo_page(listener, core)));
                Target::Page((self.pages.len() - 1) as u16)
            }
        }
    }

    /// A page with a text that nobody is to keep.
    pub(super) fn text(&mut self, status: u16, text: &str) -> Target {
        self.fix(Prepared::new(status, "text/plain; charset=utf-8", &[("Cache-Control", "no-store")], leak(text)))
    }

    fn fix(&mut self, prepared: Prepared) -> Target {
        self.fixed.push(prepared);
        Target::Fixed((self.fixed.len() - 1) as u16)
    }

    pub(super) fn warm_up(&mut self, net: &mut impl Sockets) {
        let pages = self.pages.iter_mut().map(|(_, page)| page);
        for prepared in self.fixed.iter_mut().chain(pages) {
            prepared.warm_up(net, &mut self.date);
        }
    }

    /// The response for an error status; that for 500 if it is not foreseen. None: no buffer is free.
    pub(super) fn error(&mut self, net: &mut impl Sockets, status: u16, manner: Manner) -> Option<Answer> {
        let find = |status| self.errors.iter().find(|prepared| prepared.status() == status);
        find(status).or_else(|| find(500))?.write(net, &mut self.date, manner)
    }
}

/// Text of the configuration that is served for as long as the image runs.
fn leak(text: &str) -> &'static [u8] {
    Box::leak(text.as_bytes().into())
}
