//! What makes requests alike, for pools that send the like to the same server.

use core::net::{IpAddr, SocketAddr};

use weir_config::HashOn;
use weir_http1::Request;

use crate::upstream;

/// The hash of what `on` names; where a request does not have it, that of the client's address.
pub(crate) fn hash(on: &HashOn, request: &Request<'_>, client: Option<SocketAddr>) -> u64 {
    let found = match on {
        HashOn::ClientAddress => None,
        HashOn::Uri => Some(request.path_and_query),
        HashOn::Header(name) => request.fields.get(name),
        HashOn::Cookie(name) => cookie(request, name),
    };
    found.map_or_else(|| hash_client(client), upstream::hash)
}

/// The hash of an address, the port left out.
pub(crate) fn hash_client(client: Option<SocketAddr>) -> u64 {
    match client.map(|client| client.ip()) {
        Some(IpAddr::V4(ip)) => upstream::hash(&ip.octets()),
        Some(IpAddr::V6(ip)) => upstream::hash(&ip.octets()),
        None => 0,
    }
}

/// The value of the first cookie called `name` (RFC 6265 4.2.1: pairs with `; ` between them, in any number of fields).
pub(crate) fn cookie<'b>(request: &Request<'b>, name: &str) -> Option<&'b [u8]> {
    let fields = request.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    let mut pairs = fields.flat_map(|(_, value)| value.split(|&byte| byte == b';')).map(<[u8]>::trim_ascii);
    pairs.find_map(|pair| value(pair, name))
}

/// The value of a pair with this name.
fn value<'b>(pair: &'b [u8], name: &str) -> Option<&'b [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// Whether a pair is of the cookie called `name`.
pub(crate) fn is_named(pair: &[u8], name: &str) -> bool {
    value(pair, name).is_some()
}
