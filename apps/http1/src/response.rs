//! Response heads.

use httparse::Status;

use crate::body::Body;
use crate::head::{self, FieldSlots, Fields, HeadLimits, Meaning, Version};
use crate::method::Method;
use crate::reject::Reject;

/// A response head that was checked.
#[derive(Debug, Clone, Copy)]
pub struct Response<'h, 'b> {
    /// 100 to 999.
    pub status: u16,
    /// The reason phrase; empty if the server sent none, or one that is not ASCII.
    pub reason: &'b str,
    /// The server's version.
    pub version: Version,
    /// All fields.
    pub fields: Fields<'h, 'b>,
    /// How the body is delimited.
    pub body: Body,
    /// What Content-Length says, also where no body follows (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether the connection can take another request after this response.
    pub is_persistent: bool,
    /// Bytes of the head, with its empty line.
    pub head_len: usize,
}

impl<'b> Response<'_, 'b> {
    /// Parses the head at the front of `bytes`, which answers a request with `method`. None: it is not complete.
    ///
    /// # Errors
    /// As for [`crate::Request::parse`]; the connection cannot be used any further.
    #[inline]
    pub fn parse<'h>(
        bytes: &'b [u8],
        method: Method,
        slots: &'h mut FieldSlots<'b>,
        limits: &HeadLimits,
    ) -> Result<Option<Response<'h, 'b>>, Reject> {
        // `httparse` would skip empty lines.
        if bytes.first().is_some_and(|&byte| byte != b'H') {
            return Err(Reject::LeadingBytes);
        }
        let mut raw = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let head_len = match config.parse_response_with_uninit_headers(&mut raw, bytes, slots.up_to(limits.fields)) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) if bytes.len() >= limits.head_bytes => return Err(Reject::HeadTooLarge),
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(head::reject(error)),
        };
        let list: &'h [httparse::Header<'b>] = raw.headers;
        let (Some(status), Some(minor)) = (raw.code, raw.version) else { return Err(Reject::StartLine) };
        if head_len > limits.head_bytes {
            return Err(Reject::HeadTooLarge);
        }
        let head = bytes.get(..head_len).unwrap_or_default();
        head::check_line_ends(head, list)?;
        if status < 100 {
            return Err(Reject::StatusCode);
        }
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let meaning = Meaning::of(list, version)?;
        let body = framing(status, method, &meaning);
        Ok(Some(Response {
            status,
            reason: raw.reason.unwrap_or_default(),
            version,
            fields: meaning.fields(head, list),
            body,
            content_length: meaning.content_length,
            is_persistent: meaning.is_persistent(version) && body != Body::UntilClose,
            head_len,
        }))
    }

    /// Whether it is a 1xx, which another response follows; not so 101, which ends HTTP on the connection.
    #[inline]
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// RFC 9112 6.3, in its order.
#[inline]
fn framing(status: u16, method: Method, meaning: &Meaning<'_>) -> Body {
    if method == Method::Head || status < 200 || status == 204 || status == 304 {
        return Body::None;
    }
    match (meaning.is_chunked, meaning.content_length) {
        (true, _) => Body::Chunked,
        (false, Some(0)) => Body::None,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::UntilClose,
    }
}
