//! Files below one directory of the archive.

use alloc::format;
use alloc::string::String;
use core::ops::Range;

use weir_http1::{HeadWriter, Method, Request, reason_phrase};
use weir_packet::Chunk;
use weir_socket::Sockets;

use crate::archive::{Archive, File};
use crate::conditions::{self, EntityTag, Selected};
use crate::date::HttpDate;
use crate::mime::content_type;
use crate::{Answer, Manner, SERVER};

/// Longest name of a file in the archive, in bytes (ustar: 155 + 1 + 100).
const NAME_BYTES_MAX: usize = 256;

/// Longest query that goes along to a directory's path, in bytes: head and path have room beside it in one buffer.
const QUERY_BYTES_MAX: usize = 1024;

/// Where the archive keeps the document root.
const DOCUMENT_ROOT: &str = "files/";

/// A directory of the archive that answers requests below a route's path.
#[derive(Debug)]
pub struct FileRoot {
    /// Directory with the slash behind it.
    directory: String,
    /// The route's path; what follows it in a request is looked up.
    route: String,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    File(File, &'static str),
    /// A directory that was asked for without its final slash.
    Directory,
    Nothing,
}

impl FileRoot {
    /// The files below `directory` (without slashes at its ends) for a route at `route`.
    #[must_use]
    pub fn new(directory: &str, route: &str) -> Self {
        let slash = if directory.is_empty() { "" } else { "/" };
        Self { directory: [DOCUMENT_ROOT, directory, slash].concat(), route: route.into() }
    }

    /// The response to a GET or HEAD. None: there is no such file. The inner none: no buffer is free.
    pub fn answer(
        &self,
        archive: &Archive,
        request: &Request<'_>,
        net: &mut impl Sockets,
        date: &mut HttpDate,
        manner: Manner,
    ) -> Option<Option<Answer>> {
        match self.find(archive, request.path()) {
            Found::File(file, kind) => Some(file_answer(file, kind, request, net, date, manner)),
            Found::Directory if query(request).len() <= QUERY_BYTES_MAX => {
                Some(redirect_answer(request, net, date, manner))
            }
            Found::Directory | Found::Nothing => None,
        }
    }

    fn find(&self, archive: &Archive, path: &[u8]) -> Found {
        let Some(below) = path.strip_prefix(self.route.as_bytes()) else { return Found::Nothing };
        let mut name = Name::new();
        let decoded = name.push(self.directory.as_bytes()).and_then(|()| name.push_path(without_slashes(below)));
        if decoded.is_none() {
            return Found::Nothing;
        }
        if name.bytes().ends_with(b"/") {
            return match name.push(b"index.html").and_then(|()| archive.find(name.bytes())) {
                Some(file) if path.ends_with(b"/") => Found::File(file, content_type(name.bytes())),
                // The route's own path, without the slash.
                Some(_) => Found::Directory,
                None => Found::Nothing,
            };
        }
        if let Some(file) = archive.find(name.bytes()) {
            return Found::File(file, content_type(name.bytes()));
        }
        let index = name.push(b"/index.html").and_then(|()| archive.find(name.bytes()));
        if index.is_some() { Found::Directory } else { Found::Nothing }
    }
}

/// A name of the archive while it is put together. Its methods give none when it gets too long.
struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    fn new() -> Self {
        Self { bytes: [0; _], len: 0 }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes.get_mut(self.len..self.len + bytes.len())?.copy_from_slice(bytes);
        self.len += bytes.len();
        Some(())
    }

    /// Appends a path with its percent-encoding removed. None also: it is malformed, or would leave its directory.
    fn push_path(&mut self, path: &[u8]) -> Option<()> {
        let mut segments = path.split(|&byte| byte == b'/').peekable();
        while let Some(segment) = segments.next() {
            let start = self.len;
            let mut bytes = segment.iter().copied();
            while let Some(byte) = bytes.next() {
                let byte = if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte };
                if byte == 0 || byte == b'/' {
                    return None;
                }
                self.push(&[byte])?;
            }
            let is_last = segments.peek().is_none();
            match self.bytes().get(start..)? {
                b"." | b".." => return None,
                b"" if !is_last => return None,
                _ => {}
            }
            if !is_last {
                self.push(b"/")?;
            }
        }
        Some(())
    }
}

fn without_slashes(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = path {
        path = rest;
    }
    path
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

fn file_answer(
    file: File,
    kind: &str,
    request: &Request<'_>,
    net: &mut impl Sockets,
    date: &mut HttpDate,
    manner: Manner,
) -> Option<Answer> {
    let tag = EntityTag::new(file.hash);
    let whole = file.content;
    let selected = conditions::select(&request.fields, &tag, whole.len(), request.method == Method::Get);
    let (status, content) = match &selected {
        Selected::Whole => (200, whole),
        Selected::Part(range) => (206, whole.get(range.clone()).unwrap_or_default()),
        Selected::NotModified => (304, &whole[..0]),
        Selected::PreconditionFailed => (412, &whole[..0]),
        Selected::NotSatisfiable => (416, &whole[..0]),
    };
    let part = match &selected {
        Selected::Part(range) => format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), whole.len()),
        Selected::NotSatisfiable => format!("bytes */{}", whole.len()),
        _ => String::new(),
    };
    let fields: [(&str, &[u8]); 4] = [
        ("Content-Type", kind.as_bytes()),
        ("ETag", tag.text()),
        ("Accept-Ranges", b"bytes"),
        ("Content-Range", part.as_bytes()),
    ];
    let fields = fields.get(told_fields(&selected)).unwrap_or_default();
    // A 304 says how long the representation is that the client has (RFC 9110 8.6).
    let len = if status == 304 { whole.len() } else { content.len() };
    let head = dynamic_head(status, fields, len, net, date, manner)?;
    let body = (!manner.head_only && !content.is_empty()).then(|| Chunk::from_static(content));
    let body_bytes = body.as_ref().map_or(0, |body| body.len());
    Some(Answer { status, head, body, body_bytes })
}

/// Which of type, entity tag, accepted ranges and range a response tells, in this order. A 304 says nothing of the
/// representation but its tag (RFC 9110 15.4.5), and the empty content of an error has no type.
fn told_fields(selected: &Selected) -> Range<usize> {
    match selected {
        Selected::Whole => 0..3,
        Selected::Part(_) => 0..4,
        Selected::NotModified => 1..2,
        Selected::PreconditionFailed => 1..3,
        Selected::NotSatisfiable => 1..4,
    }
}

/// The query with its question mark, or nothing.
fn query<'b>(request: &Request<'b>) -> &'b [u8] {
    request.path_and_query.strip_prefix(request.path()).unwrap_or_default()
}

/// To the same path with a slash behind it, so that relative links work.
fn redirect_answer(
    request: &Request<'_>,
    net: &mut impl Sockets,
    date: &mut HttpDate,
    manner: Manner,
) -> Option<Answer> {
    // A path that begins with two slashes would be read as another host.
    let location = [b"/", without_slashes(request.path()), b"/", query(request)].concat();
    let head = dynamic_head(301, &[("Location", &location)], 0, net, date, manner)?;
    Some(Answer { status: 301, head, body: None, body_bytes: 0 })
}

/// A response head whose length is known only now. None: no buffer is free.
pub fn dynamic_head(
    status: u16,
    fields: &[(&str, &[u8])],
    content_length: usize,
    net: &mut impl Sockets,
    date: &mut HttpDate,
    manner: Manner,
) -> Option<Chunk> {
    let mut packet = net.allocate()?;
    let room = packet.tailroom();
    let mut writer = HeadWriter::new(packet.extend(room).ok()?);
    writer.status_line(status, reason_phrase(status));
    writer.field("Server", SERVER.as_bytes());
    for (name, value) in fields {
        writer.field(name, value);
    }
    writer.content_length(content_length as u64);
    writer.bytes(date.line(net.now()));
    writer.bytes(manner.connection.field());
    writer.bytes(b"\r\n");
    let len = writer.finish()?;
    packet.truncate(len);
    Some(packet.freeze())
}

#[cfg(test)]
pub(crate) fn resolves(archive: &Archive, root: &FileRoot, path: &str) -> Option<(&'static [u8], &'static str)> {
    match root.find(archive, path.as_bytes()) {
        Found::File(file, kind) => Some((file.content, kind)),
        Found::Directory => Some((b"", "directory")),
        Found::Nothing => None,
    }
}
