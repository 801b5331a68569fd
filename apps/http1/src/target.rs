//! The request target (RFC 9112 section 3.2) and the Host field.

use crate::bytes::{scan_target, usual_host_len};
use crate::decimal::parse_decimal;
use crate::method::Method;
use crate::reject::Reject;

/// The longest host with its port that is taken, in bytes: that of a name in the DNS (RFC 3986 3.2.2), and `:65535`.
pub const HOST_BYTES_MAX: usize = 255 + 6;

/// The form of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`, the whole target.
    Origin,
    /// `http://authority/path?query`, with the authority.
    Absolute(&'b [u8]),
    /// `*`, of OPTIONS.
    Asterisk,
    /// `host:port`, of CONNECT.
    Authority,
}

/// A target taken apart.
pub(crate) struct Parts<'b> {
    pub form: Target<'b>,
    /// Path with query: what an origin server is asked for.
    pub path_and_query: &'b [u8],
    /// Length of the path within it.
    pub path_len: usize,
}

impl<'b> Parts<'b> {
    /// The target at the front of `rest` up to the first byte that it cannot have, if it is a path.
    #[inline(always)]
    pub(crate) fn of_path(rest: &'b [u8]) -> Option<Self> {
        let scan = scan_target(rest, rest.len());
        let path_and_query = rest.get(..scan.len)?;
        (path_and_query.first() == Some(&b'/')).then_some(Self {
            form: Target::Origin,
            path_and_query,
            path_len: scan.path_len,
        })
    }
}

/// Takes apart the target that is the first `len` bytes of `rest`.
#[inline(always)]
pub(crate) fn parse(method: Method, rest: &[u8], len: usize) -> Result<Parts<'_>, Reject> {
    let scan = scan_target(rest, len);
    let target = rest.get(..len).unwrap_or_default();
    if scan.len != len {
        return Err(Reject::Target);
    }
    if target.first() == Some(&b'/') && method != Method::Connect {
        return Ok(Parts { form: Target::Origin, path_and_query: target, path_len: scan.path_len });
    }
    parse_other_form(method, target)
}

#[cold]
fn parse_other_form(method: Method, target: &[u8]) -> Result<Parts<'_>, Reject> {
    if method == Method::Connect {
        let is_valid = any_host_name_len(target).is_some() && target.contains(&b':');
        let parts = Parts { form: Target::Authority, path_and_query: b"", path_len: 0 };
        return if is_valid { Ok(parts) } else { Err(Reject::Target) };
    }
    if target == b"*" && method == Method::Options {
        return Ok(Parts { form: Target::Asterisk, path_and_query: target, path_len: 1 });
    }
    let (scheme, rest) = target.split_at_checked(7).ok_or(Reject::Target)?;
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(Reject::Target);
    }
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if any_host_name_len(authority).is_none() {
        return Err(Reject::Target);
    }
    // RFC 9112 3.2.1: an empty path is sent as "/", and as "*" if it is asked about the server as a whole (3.2.4); a query
    // without a path has no such form and is refused.
    let path_and_query = match rest {
        [] if method == Method::Options => b"*",
        [] => b"/",
        [b'/', ..] => rest,
        _ => return Err(Reject::Target),
    };
    let path_len = scan_target(path_and_query, path_and_query.len()).path_len;
    Ok(Parts { form: Target::Absolute(authority), path_and_query, path_len })
}

/// The length of the name in `value`, a part of `head`, if that is `uri-host [ ":" port ]` (RFC 9110 7.2) and not empty.
#[inline(always)]
pub(crate) fn host_name_len(head: &[u8], value: &[u8]) -> Option<usize> {
    let at = value.as_ptr().addr().wrapping_sub(head.as_ptr().addr());
    let rest = head.get(at..).unwrap_or_default();
    match value.split_at_checked(usual_host_len(rest, value.len())) {
        Some((name @ [_, ..], port @ ([] | [b':', ..]))) => is_empty_or_port(port).then_some(name.len()),
        _ => any_host_name_len(value),
    }
}

/// The same of one with other characters, byte by byte.
#[cold]
pub(crate) fn any_host_name_len(value: &[u8]) -> Option<usize> {
    let name_len = match value {
        [b'[', ..] => ip_literal_len(value)?,
        _ => value.iter().take_while(|&&byte| IS_REG_NAME[usize::from(byte)]).count(),
    };
    let (name, port) = value.split_at_checked(name_len)?;
    (!name.is_empty() && is_empty_or_port(port)).then_some(name_len)
}

#[inline(always)]
fn is_empty_or_port(rest: &[u8]) -> bool {
    let [b':', digits @ ..] = rest else { return rest.is_empty() };
    let is_number = digits.iter().all(u8::is_ascii_digit);
    // Four digits are not too many.
    is_number && (digits.len() <= 4 || parse_decimal(digits).is_some_and(|port| port <= 65_535))
}

/// The length of the `[IPv6 address]` at the front.
#[cold]
fn ip_literal_len(value: &[u8]) -> Option<usize> {
    let end = value.iter().position(|&byte| byte == b']')?;
    let address = core::str::from_utf8(value.get(1..end)?).ok()?;
    address.parse::<core::net::Ipv6Addr>().ok().map(|_| end + 1)
}

/// RFC 3986 3.2.2 reg-name: unreserved, sub-delims and the percent sign.
const IS_REG_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let is_sub_delim = matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        let is_mark = matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
        table[byte as usize] = byte.is_ascii_alphanumeric() || is_sub_delim || is_mark;
        byte += 1;
    }
    table
};
