//! The request target (RFC 9112 section 3.2) and the Host field.

use crate::method::Method;
use crate::reject::Reject;

/// The form of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`, the whole target.
    Origin,
    /// `http://authority/path?query`, with the authority.
    Absolute(&'b str),
    /// `*`, of OPTIONS.
    Asterisk,
    /// `host:port`, of CONNECT.
    Authority,
}

/// A target taken apart.
pub(crate) struct Parts<'b> {
    pub form: Target<'b>,
    /// Path with query: what an origin server is asked for.
    pub path_and_query: &'b str,
    /// Length of the path within it.
    pub path_len: usize,
}

#[inline]
pub(crate) fn parse<'b>(method: Method, target: &'b str) -> Result<Parts<'b>, Reject> {
    let mut query = None;
    for (index, byte) in target.bytes().enumerate() {
        if byte >= 0x80 || byte == b'#' {
            return Err(Reject::Target);
        }
        if byte == b'?' && query.is_none() {
            query = Some(index);
        }
    }
    if target.starts_with('/') && method != Method::Connect {
        let path_len = query.unwrap_or(target.len());
        return Ok(Parts { form: Target::Origin, path_and_query: target, path_len });
    }
    parse_other_form(method, target)
}

#[cold]
fn parse_other_form<'b>(method: Method, target: &'b str) -> Result<Parts<'b>, Reject> {
    if method == Method::Connect {
        let is_valid = is_host(target.as_bytes()) && target.contains(':');
        let parts = Parts { form: Target::Authority, path_and_query: "", path_len: 0 };
        return if is_valid { Ok(parts) } else { Err(Reject::Target) };
    }
    if target == "*" && method == Method::Options {
        return Ok(Parts { form: Target::Asterisk, path_and_query: target, path_len: 1 });
    }
    let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest = scheme.and(target.get(7..)).ok_or(Reject::Target)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_host(authority.as_bytes()) {
        return Err(Reject::Target);
    }
    // RFC 9112 3.2.1: an empty path is sent as "/"; a query without a path has no such form and is refused.
    let path_and_query = match rest.as_bytes() {
        [] => "/",
        [b'/', ..] => rest,
        _ => return Err(Reject::Target),
    };
    let path_len = path_and_query.find('?').unwrap_or(path_and_query.len());
    Ok(Parts { form: Target::Absolute(authority), path_and_query, path_len })
}

/// `uri-host [ ":" port ]` (RFC 9110 7.2), not empty.
#[inline]
pub(crate) fn is_host(value: &[u8]) -> bool {
    let name_len = value.iter().take_while(|&&byte| IS_REG_NAME[usize::from(byte)]).count();
    let rest = match value.get(name_len..) {
        Some(rest) if name_len > 0 => rest,
        _ if value.first() == Some(&b'[') => match after_ip_literal(value) {
            Some(rest) => rest,
            None => return false,
        },
        _ => return false,
    };
    match rest {
        [] => true,
        [b':', port @ ..] => is_port(port),
        _ => false,
    }
}

fn is_port(digits: &[u8]) -> bool {
    let value = digits.iter().try_fold(0_u32, |value, &byte| {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        let next = value * 10 + digit;
        (digit <= 9 && next <= 65_535).then_some(next)
    });
    value.is_some()
}

/// What follows `[IPv6 address]`.
#[cold]
fn after_ip_literal(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|&byte| byte == b']')?;
    let inner = core::str::from_utf8(value.get(1..end)?).ok()?;
    inner.parse::<core::net::Ipv6Addr>().ok()?;
    value.get(end + 1..)
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
