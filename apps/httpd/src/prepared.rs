//! Responses that never change but for their date.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use weir_http1::{HeadWriter, reason_phrase};
use weir_packet::Chunk;
use weir_socket::{Instant, Sockets};

use crate::date::HttpDate;
use crate::{Answer, Connection, Manner, SERVER};

/// A body up to this long shares the buffer of its head.
const JOINED_BODY_BYTES_MAX: usize = 1024;

/// A fixed response. See the crate's page.
#[derive(Debug)]
pub struct Prepared {
    status: u16,
    /// The head up to the date.
    head: Box<[u8]>,
    body: &'static [u8],
    /// Head and perhaps body as most clients want them, and until when its date is right.
    ready: Option<(Chunk, Instant)>,
}

impl Prepared {
    /// A response with a body of `content_type` and further `fields` (name and value, valid by construction).
    #[must_use]
    pub fn new(status: u16, content_type: &str, fields: &[(&str, &str)], body: &'static [u8]) -> Self {
        let mut head = Vec::new();
        let mut line = |text: &str| head.extend_from_slice(text.as_bytes());
        line(&format!("HTTP/1.1 {status} {}\r\nServer: {SERVER}\r\n", reason_phrase(status)));
        // RFC 9110 8.6: 204 has no Content-Length; 304 would have to tell that of another response.
        if !matches!(status, 204 | 304) {
            line(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()));
        }
        for (name, value) in fields {
            line(&format!("{name}: {value}\r\n"));
        }
        Self { status, head: head.into(), body, ready: None }
    }

    /// Its status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Writes the response down before the first request, so that the buffer it is kept in is taken at the start.
    pub fn warm_up(&mut self, net: &mut impl Sockets, date: &mut HttpDate) {
        self.renew(net, date);
    }

    /// The response, or none when no buffer is free.
    #[inline]
    pub fn answer(&mut self, net: &mut impl Sockets, date: &mut HttpDate, manner: Manner) -> Option<Answer> {
        if manner != (Manner { connection: Connection::Persistent, head_only: false }) {
            return self.write(net, date, manner);
        }
        if self.ready.as_ref().is_none_or(|(_, valid_until)| net.now() >= *valid_until) {
            self.renew(net, date);
        }
        // Without a free buffer the one of the last second is still a good answer.
        let (head, _) = self.ready.as_ref()?;
        let body = (!self.is_joined()).then(|| Chunk::from_static(self.body));
        Some(Answer { status: self.status, head: head.clone(), body, body_bytes: self.body.len() })
    }

    /// A response written for one client.
    pub fn write(&self, net: &mut impl Sockets, date: &mut HttpDate, manner: Manner) -> Option<Answer> {
        let mut packet = net.allocate()?;
        let room = packet.tailroom();
        let mut writer = HeadWriter::new(packet.extend(room).ok()?);
        writer.bytes(&self.head);
        writer.bytes(date.line(net.now()));
        writer.bytes(manner.connection.field());
        writer.bytes(b"\r\n");
        if self.is_joined() && !manner.head_only {
            writer.bytes(self.body);
        }
        let len = writer.finish()?;
        packet.truncate(len);
        let body = (!manner.head_only && !self.is_joined()).then(|| Chunk::from_static(self.body));
        let body_bytes = if manner.head_only { 0 } else { self.body.len() };
        Some(Answer { status: self.status, head: packet.freeze(), body, body_bytes })
    }

    #[cold]
    fn renew(&mut self, net: &mut impl Sockets, date: &mut HttpDate) {
        let manner = Manner { connection: Connection::Persistent, head_only: false };
        if let Some(answer) = self.write(net, date, manner) {
            self.ready = Some((answer.head, date.valid_until()));
        }
    }

    fn is_joined(&self) -> bool {
        self.body.len() <= JOINED_BODY_BYTES_MAX
    }
}

/// The response to a request that cannot be served: status and reason as text.
#[must_use]
pub fn error_response(status: u16) -> Prepared {
    error_page(status, "text/plain", leak(format!("{status} {}\n", reason_phrase(status)).into_bytes()))
}

/// The same with a page for people.
#[must_use]
pub fn error_page(status: u16, content_type: &str, body: &'static [u8]) -> Prepared {
    let fields: &[(&str, &str)] = match status {
        405 => &[("Allow", "GET, HEAD")],
        429 | 503 => &[("Retry-After", "1")],
        _ => &[],
    };
    Prepared::new(status, content_type, fields, body)
}

/// Bytes made at the start that are served as long as the image runs.
pub(crate) fn leak(bytes: Vec<u8>) -> &'static [u8] {
    Box::leak(bytes.into_boxed_slice())
}
