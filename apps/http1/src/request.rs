//! Request heads.

use crate::body::Body;
use crate::bytes::token_len;
use crate::head::{Fields, HeadLimits, Meaning, Said, Version};
use crate::lines::{Line, Lines, Next};
use crate::method::Method;
use crate::reject::Reject;
use crate::target::{self, HOST_BYTES_MAX, Parts, Target};

/// Empty lines before a request that are tolerated (RFC 9112 2.2), in bytes.
const LEADING_BYTES_MAX: usize = 4;

/// A request head that was checked: everything a server or proxy needs to know about framing and connection is decided.
#[derive(Debug, Clone, Copy)]
pub struct Request<'b> {
    /// What is asked for.
    pub method: Method,
    /// The method as it was written.
    pub method_text: &'b [u8],
    /// The form of the target.
    pub target: Target<'b>,
    /// Path with query, as an origin server takes it, printable ASCII; `*` for the whole server.
    pub path_and_query: &'b [u8],
    /// Length of the path within [`path_and_query`](Self::path_and_query).
    path_len: usize,
    /// Host with port as the client named it, ASCII; empty for HTTP/1.0 without Host.
    pub host: &'b [u8],
    /// Length of [`host`](Self::host) without the port.
    host_name_len: usize,
    /// Whether [`host`](Self::host) came in a Host field.
    pub has_host_field: bool,
    /// The client's version.
    pub version: Version,
    /// No empty line came before it.
    is_at_front: bool,
    /// All fields.
    pub fields: Fields<'b>,
    /// How the body is delimited.
    pub body: Body,
    /// What Content-Length says: also 0, which is no body.
    pub content_length: Option<u64>,
    /// Whether the client wants to keep the connection.
    pub is_persistent: bool,
    /// Whether the client waits for `100 Continue`.
    pub expects_continue: bool,
    /// Whether the client wants another protocol, and sends no body before it.
    pub wants_upgrade: bool,
    /// Bytes of the head, with its empty line.
    pub head_len: usize,
}

impl<'b> Request<'b> {
    /// Parses the head at the front of `bytes`. None: it is not complete.
    ///
    /// Cost: 581 instructions for a request of `wrk` on x86-64; `examples/parse_cost.rs` counts them.
    ///
    /// # Errors
    /// Anything that RFC 9112 forbids or that two parsers could understand differently.
    #[inline(never)]
    pub fn parse(bytes: &'b [u8], limits: &HeadLimits) -> Result<Option<Self>, Reject> {
        let mut lines = Lines::new(bytes, 0);
        let mut is_at_front = true;
        let line = match RequestLine::take_usual(&mut lines) {
            Some(line) => line,
            None => {
                if let Some(b'\r' | b'\n') = bytes.first() {
                    let Some(start) = skip_empty_lines(bytes)? else { return Ok(None) };
                    lines.skip(start);
                    is_at_front = false;
                }
                match lines.next(Reject::StartLine) {
                    Next::Line(line) => RequestLine::parse(line)?,
                    Next::Incomplete => return incomplete(bytes, limits),
                    Next::Refused(reject) => return Err(reject),
                }
            }
        };
        if line.target_len > limits.target_bytes {
            return Err(Reject::TargetTooLong);
        }
        let mut meaning = Meaning::new(lines.position());
        if !meaning.read(bytes, line.version, limits)? {
            return incomplete(bytes, limits);
        }
        let parts = match line.parts {
            Some(parts) => parts,
            None => target::parse(line.method, line.from_target, line.target_len)?,
        };
        let (host, host_name_len) = host(&meaning, bytes, parts.form, line.version)?;
        let body = match (meaning.says(Said::Chunked), meaning.content_length) {
            (true, _) => Body::Chunked,
            (false, Some(0) | None) => Body::None,
            (false, Some(length)) => Body::Length(length),
        };
        if line.method == Method::Connect && body != Body::None {
            return Err(Reject::BodyWithConnect);
        }
        Ok(Some(Self {
            method: line.method,
            method_text: line.method_text,
            target: parts.form,
            path_and_query: parts.path_and_query,
            path_len: parts.path_len,
            host,
            host_name_len,
            has_host_field: meaning.host.is_some(),
            version: line.version,
            is_at_front,
            fields: meaning.fields,
            body,
            content_length: meaning.content_length,
            is_persistent: meaning.is_persistent(line.version),
            // Without a body there is nothing to continue with.
            expects_continue: meaning.says(Said::ExpectContinue) && body != Body::None,
            // RFC 9110 7.8: it may be ignored. With a body, nobody could tell where the other protocol begins.
            wants_upgrade: meaning.wants_upgrade() && body == Body::None,
            head_len: meaning.head_len,
        }))
    }

    /// Whether the head begins with this request line as a server takes it, so that it can be forwarded as it is.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_at_front && self.version == Version::Http11 && self.target == Target::Origin
    }

    /// What a proxy forwards of the head, in runs of whole lines: the request line if it [is plain](Self::is_plain), and the
    /// [end-to-end fields](Fields::end_to_end) but for `X-Forwarded-*`, which the proxy replaces by its own.
    #[inline]
    pub fn forwarded(&self) -> impl Iterator<Item = &'b [u8]> {
        let start = if self.is_plain() { 0 } else { self.fields.start() };
        self.fields.runs(start, true)
    }

    /// The lines of the [end-to-end fields](Fields::end_to_end), with or without `X-Forwarded-*`.
    pub fn forwarded_fields(&self, with_forwarding: bool) -> impl Iterator<Item = &'b [u8]> {
        self.fields
            .runs(self.fields.start(), !with_forwarding)
            .flat_map(|run| run.split_inclusive(|&byte| byte == b'\n'))
    }

    /// The protocols that the client [wants](Self::wants_upgrade) instead of HTTP/1.1.
    #[inline]
    #[must_use]
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        if self.wants_upgrade { self.fields.get("upgrade") } else { None }
    }

    /// The path without the query.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &'b [u8] {
        self.path_and_query.get(..self.path_len).unwrap_or_default()
    }

    /// The host without the port, and without the dot at the end of a name that is complete (RFC 1034 3.1).
    #[inline]
    #[must_use]
    pub fn host_name(&self) -> &'b [u8] {
        let name = self.host.get(..self.host_name_len).unwrap_or_default();
        name.strip_suffix(b".").unwrap_or(name)
    }

    /// Whether it may be sent a second time when the first got lost: idempotent, and nothing of it is consumed.
    #[inline]
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        self.method.is_idempotent() && self.body == Body::None && !self.wants_upgrade
    }
}

/// `method SP target SP version` (RFC 9112 3).
struct RequestLine<'b> {
    method: Method,
    method_text: &'b [u8],
    /// The target and what follows it.
    from_target: &'b [u8],
    target_len: usize,
    /// The target's parts, if it is valid and that is known already: otherwise what the fields say is looked at first.
    parts: Option<Parts<'b>>,
    version: Version,
}

impl<'b> RequestLine<'b> {
    /// What most requests begin with: `GET`, a path, and our version. Nothing of it is looked at twice. None: it is something
    /// else, and not taken.
    #[inline(always)]
    fn take_usual(lines: &mut Lines<'b>) -> Option<Self> {
        const BEFORE: &[u8; 4] = b"GET ";
        const BEHIND: &[u8; 11] = b" HTTP/1.1\r\n";
        let from_target = lines.rest().strip_prefix(BEFORE)?;
        let parts = Parts::of_path(from_target)?;
        let target_len = parts.path_and_query.len();
        if from_target.get(target_len..)?.first_chunk() != Some(BEHIND) {
            return None;
        }
        lines.skip(BEFORE.len() + target_len + BEHIND.len());
        let (method, method_text, version) = (Method::Get, &b"GET"[..], Version::Http11);
        Some(Self { method, method_text, from_target, target_len, parts: Some(parts), version })
    }

    #[inline(never)]
    fn parse(line: Line<'b>) -> Result<Self, Reject> {
        // Read as one number, for that is how it is compared.
        let version = match line.text.last_chunk().map(|chunk| u64::from_le_bytes(*chunk)) {
            Some(HTTP_1_1) => Version::Http11,
            Some(HTTP_1_0) => Version::Http10,
            _ => return Err(no_version(line.text)),
        };
        let (method, method_text, from_target) = split_method(line.rest)?;
        let others = method_text.len() + 1 + VERSION_BYTES;
        let target_len = line.text.len().saturating_sub(others);
        if target_len == 0 || from_target.get(target_len) != Some(&b' ') {
            return Err(Reject::StartLine);
        }
        Ok(Self { method, method_text, from_target, target_len, parts: None, version })
    }
}

#[inline]
fn split_method(line: &[u8]) -> Result<(Method, &[u8], &[u8]), Reject> {
    match line.split_at_checked(token_len(line)) {
        Some((method @ [_, ..], [b' ', rest @ ..])) => Ok((Method::from_token(method), method, rest)),
        _ => Err(Reject::StartLine),
    }
}

const HTTP_1_1: u64 = u64::from_le_bytes(*b"HTTP/1.1");
const HTTP_1_0: u64 = u64::from_le_bytes(*b"HTTP/1.0");

/// Length of the version with the space before it.
const VERSION_BYTES: usize = " HTTP/1.1".len();

/// A line that does not end in a version we speak.
#[cold]
fn no_version(line: &[u8]) -> Reject {
    match line.rsplit(|&byte| byte == b' ').next() {
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Reject::Version
        }
        _ => Reject::StartLine,
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

/// RFC 9112 2.2: an empty line before a request is the end of an older client's body. Where the request begins; none if it
/// has not come yet.
#[cold]
fn skip_empty_lines(bytes: &[u8]) -> Result<Option<usize>, Reject> {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let leading = bytes.get(..start.unwrap_or(bytes.len())).unwrap_or_default();
    let is_empty_lines = leading.chunks(2).all(|pair| pair == b"\r\n" || (start.is_none() && pair == b"\r"));
    if is_empty_lines && leading.len() <= LEADING_BYTES_MAX { Ok(start) } else { Err(Reject::LeadingBytes) }
}

/// RFC 9112 3.2: exactly one valid Host of a name's length, and the same as the target's authority, if that has one; and how
/// long it is without its port.
#[inline(always)]
fn host<'b>(
    meaning: &Meaning<'b>,
    bytes: &'b [u8],
    target: Target<'b>,
    version: Version,
) -> Result<(&'b [u8], usize), Reject> {
    let Some(host) = meaning.host else { return host_of_target(target, version) };
    let short = Some(host).filter(|host| host.len() <= HOST_BYTES_MAX);
    let name_len = short.and_then(|host| target::host_name_len(bytes, host)).ok_or(Reject::HostInvalid)?;
    match target {
        Target::Absolute(authority) if !authority.eq_ignore_ascii_case(host) => Err(Reject::HostMismatch),
        _ => Ok((host, name_len)),
    }
}

/// The same where there is no Host, which HTTP/1.0 does not know.
#[cold]
fn host_of_target(target: Target<'_>, version: Version) -> Result<(&[u8], usize), Reject> {
    match (version, target) {
        (Version::Http11, _) => Err(Reject::HostMissing),
        (Version::Http10, Target::Absolute(authority)) => {
            let name_len = target::any_host_name_len(authority).filter(|_| authority.len() <= HOST_BYTES_MAX);
            Ok((authority, name_len.ok_or(Reject::HostInvalid)?))
        }
        (Version::Http10, _) => Ok((b"", 0)),
    }
}
