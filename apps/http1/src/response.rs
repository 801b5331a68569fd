//! Response heads.

use crate::body::Body;
use crate::head::{Fields, HeadLimits, Meaning, Said, Version};
use crate::lines::{Lines, Next};
use crate::method::Method;
use crate::reject::Reject;

/// A response head that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Response<'b> {
    /// 100 to 999.
    pub status: u16,
    /// The status code and what the server wrote behind it: `200 OK`. No control character but HTAB.
    pub status_text: &'b [u8],
    /// The server's version.
    pub version: Version,
    /// All fields.
    pub fields: Fields<'b>,
    /// How the body is delimited.
    pub body: Body,
    /// What Content-Length says, also where no body follows (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether the connection can take another request after this response.
    pub is_persistent: bool,
    /// Bytes of the head, with its empty line.
    pub head_len: usize,
}

impl<'b> Response<'b> {
    /// Parses the head at the front of `bytes`, which answers a request with `method`. None: it is not complete.
    ///
    /// # Errors
    /// As for [`crate::Request::parse`]; the connection cannot be used any further.
    #[inline(never)]
    pub fn parse(bytes: &'b [u8], method: Method, limits: &HeadLimits) -> Result<Option<Self>, Reject> {
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Err(Reject::LeadingBytes);
        }
        let mut lines = Lines::new(bytes, 0);
        let (version, status, status_text) = match lines.next(Reject::StartLine) {
            Next::Line(line) => status_line(line.text)?,
            Next::Incomplete => return incomplete(bytes, limits),
            Next::Refused(reject) => return Err(reject),
        };
        let mut meaning = Meaning::new(lines.position());
        if !meaning.read(bytes, version, limits)? {
            return incomplete(bytes, limits);
        }
        let body = framing(status, method, &meaning);
        Ok(Some(Self {
            status,
            status_text,
            version,
            fields: meaning.fields,
            body,
            content_length: meaning.content_length,
            is_persistent: meaning.is_persistent(version) && body != Body::UntilClose,
            head_len: meaning.head_len,
        }))
    }

    /// What a proxy forwards of the head, in runs of whole lines: the status line if it is one of HTTP/1.1, and the
    /// [end-to-end fields](Fields::end_to_end).
    #[inline]
    pub fn forwarded(&self) -> impl Iterator<Item = &'b [u8]> {
        let start = if self.version == Version::Http11 { 0 } else { self.fields.start() };
        self.fields.runs(start, false)
    }

    /// The protocol that the server switches to with a 101.
    #[must_use]
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        self.fields.get("upgrade")
    }

    /// Whether it is a 1xx, which another response follows; not so 101, which ends HTTP on the connection.
    #[inline]
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// `version SP 3DIGIT [SP reason]` (RFC 9112 4); many servers leave out the second space if there is no reason.
#[inline(always)]
fn status_line(line: &[u8]) -> Result<(Version, u16, &[u8]), Reject> {
    let (version, text) = match line.split_first_chunk().map(|(version, text)| (u64::from_le_bytes(*version), text)) {
        Some((HTTP_1_1, [b' ', text @ ..])) => (Version::Http11, text),
        Some((HTTP_1_0, [b' ', text @ ..])) => (Version::Http10, text),
        Some((HTTP_1_1 | HTTP_1_0, _)) => return Err(Reject::StartLine),
        _ => return Err(Reject::Version),
    };
    let ([a, b, c] | [a, b, c, b' ', ..]) = text else { return Err(Reject::StartLine) };
    if !(a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit()) {
        return Err(Reject::StartLine);
    }
    let digit = |byte: u8| u16::from(byte - b'0');
    let status = digit(*a) * 100 + digit(*b) * 10 + digit(*c);
    if status < 100 { Err(Reject::StatusCode) } else { Ok((version, status, text)) }
}

const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

fn incomplete<T>(bytes: &[u8], limits: &HeadLimits) -> Result<Option<T>, Reject> {
    if bytes.len() >= limits.head_bytes { Err(Reject::HeadTooLarge) } else { Ok(None) }
}

/// RFC 9112 6.3, in its order.
#[inline]
fn framing(status: u16, method: Method, meaning: &Meaning<'_>) -> Body {
    if method == Method::Head || status < 200 || status == 204 || status == 304 {
        return Body::None;
    }
    match (meaning.says(Said::Chunked), meaning.content_length) {
        (true, _) => Body::Chunked,
        (false, Some(0)) => Body::None,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::UntilClose,
    }
}
