//! Response heads.

use crate::body::Body;
use crate::head::{Fields, HeadLimits, Meaning, Said, Version};
use crate::lines::Lines;
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
    #[inline(always)]
    pub fn parse(bytes: &'b [u8], method: Method, limits: &HeadLimits) -> Result<Option<Self>, Reject> {
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Err(Reject::LeadingBytes);
        }
        let mut lines = Lines::new(bytes, 0);
        let Some(line) = lines.next(Reject::StartLine)? else { return incomplete(bytes, limits) };
        let (version, status, status_text) = status_line(bytes.get(line.start..line.end).unwrap_or_default())?;
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
    let (version, text) = match line.split_first_chunk() {
        Some((b"HTTP/1.1 ", text)) => (Version::Http11, text),
        Some((b"HTTP/1.0 ", text)) => (Version::Http10, text),
        _ if matches!(line.first_chunk(), Some(b"HTTP/1.1" | b"HTTP/1.0")) => return Err(Reject::StartLine),
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
