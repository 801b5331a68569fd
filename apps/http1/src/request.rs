//! Request heads.

use httparse::Status;

use crate::body::Body;
use crate::head::{self, FieldSlots, Fields, HeadLimits, Meaning, Version};
use crate::method::Method;
use crate::reject::Reject;
use crate::target::{self, Target};

/// Empty lines before a request that are tolerated (RFC 9112 2.2), in bytes.
const LEADING_BYTES_MAX: usize = 4;

/// A request head that was checked: everything a server or proxy needs to know about framing and connection is decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'h, 'b> {
    /// What is asked for.
    pub method: Method,
    /// The method as it was written.
    pub method_text: &'b str,
    /// The form of the target.
    pub target: Target<'b>,
    /// Path with query, as an origin server takes it; `*` for the whole server.
    pub path_and_query: &'b str,
    /// Length of the path within [`path_and_query`](Self::path_and_query).
    path_len: usize,
    /// Host with port as the client named it, ASCII; empty for HTTP/1.0 without Host.
    pub host: &'b [u8],
    /// The client's version.
    pub version: Version,
    /// All fields.
    pub fields: Fields<'h, 'b>,
    /// How the body is delimited.
    pub body: Body,
    /// What Content-Length says: also 0, which is no body.
    pub content_length: Option<u64>,
    /// Whether the client wants to keep the connection.
    pub is_persistent: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether the client wants another protocol.
    pub wants_upgrade: bool,
    /// Bytes of the head, with its empty line.
    pub head_len: usize,
}

impl<'b> Request<'_, 'b> {
    /// Parses the head at the front of `bytes`. None: it is not complete.
    ///
    /// Cost on x86-64, instructions, counted with callgrind on the host build (without SIMD, as in the image): see
    /// `examples/parse_cost.rs`; `GET / HTTP/1.1` with Host alone is the benchmark's request.
    ///
    /// # Errors
    /// Anything that RFC 9112 forbids or that two parsers could understand differently.
    #[inline]
    pub fn parse<'h>(
        bytes: &'b [u8],
        slots: &'h mut FieldSlots<'b>,
        limits: &HeadLimits,
    ) -> Result<Option<Request<'h, 'b>>, Reject> {
        let mut raw = httparse::Request::new(&mut []);
        let head_len = match raw.parse_with_uninit_headers(bytes, slots.up_to(limits.fields)) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return incomplete(bytes, limits),
            Err(error) => return Err(head::reject(error)),
        };
        let list: &'h [httparse::Header<'b>] = raw.headers;
        let (Some(method_text), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
            return Err(Reject::StartLine);
        };
        let head = bytes.get(..head_len).unwrap_or_default();
        if head_len > limits.head_bytes {
            return Err(Reject::HeadTooLarge);
        }
        if target.len() > limits.target_bytes {
            return Err(Reject::TargetTooLong);
        }
        let line = method_text.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
        if line != 0 {
            check_leading(head.get(..line).unwrap_or(head))?;
        }
        head::check_line_ends(head, list)?;

        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let method = Method::from_token(method_text);
        let meaning = Meaning::of(list, version)?;
        let parts = target::parse(method, target)?;
        let host = host(&meaning, parts.form, version)?;
        let body = match (meaning.is_chunked, meaning.content_length) {
            (true, _) => Body::Chunked,
            (false, Some(0) | None) => Body::None,
            (false, Some(length)) => Body::Length(length),
        };
        if (meaning.has_upgrade || method == Method::Connect) && body != Body::None {
            return Err(Reject::BodyWithUpgrade);
        }
        Ok(Some(Request {
            method,
            method_text,
            target: parts.form,
            path_and_query: parts.path_and_query,
            path_len: parts.path_len,
            host,
            version,
            fields: meaning.fields(head, list),
            body,
            content_length: meaning.content_length,
            is_persistent: meaning.is_persistent(version),
            // Without a body there is nothing to continue with.
            expects_continue: meaning.expects_continue && body != Body::None,
            wants_upgrade: meaning.has_upgrade,
            head_len,
        }))
    }

    /// The path without the query.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &'b str {
        self.path_and_query.get(..self.path_len).unwrap_or_default()
    }

    /// The host without the port.
    #[inline]
    #[must_use]
    pub fn host_name(&self) -> &'b [u8] {
        let port = self.host.iter().rposition(|&byte| byte == b':');
        match port.and_then(|colon| self.host.split_at_checked(colon)) {
            // A colon before a bracket is one of an IPv6 address.
            Some((name, rest)) if !rest.contains(&b']') => name,
            _ => self.host,
        }
    }

    /// Whether it may be sent a second time when the first got lost: idempotent, and nothing of it is consumed.
    #[inline]
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        self.method.is_idempotent() && self.body == Body::None && !self.wants_upgrade
    }
}

/// A head that is not complete may already be too long.
fn incomplete<T>(bytes: &[u8], limits: &HeadLimits) -> Result<Option<T>, Reject> {
    // Method, two spaces and version are never longer than this beside a target of any length.
    const LINE_REST_BYTES: usize = 64;
    let line_max = limits.target_bytes.saturating_add(LINE_REST_BYTES);
    if bytes.len() > line_max && !bytes.iter().take(line_max).any(|&byte| byte == b'\n') {
        return Err(Reject::TargetTooLong);
    }
    if bytes.len() >= limits.head_bytes {
        return Err(Reject::HeadTooLarge);
    }
    Ok(None)
}

/// RFC 9112 2.2: an empty line before a request is the end of an older client's body.
#[cold]
fn check_leading(leading: &[u8]) -> Result<(), Reject> {
    let is_empty_lines = leading.chunks(2).all(|pair| pair == b"\r\n");
    if is_empty_lines && leading.len() <= LEADING_BYTES_MAX { Ok(()) } else { Err(Reject::LeadingBytes) }
}

/// RFC 9112 3.2: exactly one valid Host, and the same as the target's authority, if that has one.
#[inline]
fn host<'b>(meaning: &Meaning<'b>, target: Target<'b>, version: Version) -> Result<&'b [u8], Reject> {
    let Some(host) = meaning.host else {
        return match (version, target) {
            (Version::Http11, _) => Err(Reject::HostMissing),
            (Version::Http10, Target::Absolute(authority)) => Ok(authority.as_bytes()),
            (Version::Http10, _) => Ok(b""),
        };
    };
    if !target::is_host(host) {
        return Err(Reject::HostInvalid);
    }
    match target {
        Target::Absolute(authority) if !authority.as_bytes().eq_ignore_ascii_case(host) => Err(Reject::HostMismatch),
        _ => Ok(host),
    }
}
