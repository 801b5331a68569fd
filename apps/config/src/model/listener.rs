//! What clients meet: listeners, routes, and what answers.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// `[[listener]]`: where clients come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: String,
    /// At least one address with port.
    pub bind: Vec<SocketAddr>,
    /// What clients speak.
    pub protocol: Protocol,
    /// Whose word about their clients is believed: `X-Forwarded-*`, and the PROXY header.
    pub trusted_proxies: Vec<Prefix>,
    /// Whether connections begin with a PROXY header; only from [`trusted_proxies`](Self::trusted_proxies).
    pub proxy_protocol: bool,
    /// Whether requests get an `X-Request-Id`.
    pub request_id: bool,
    /// What the image is called in the `Via` of requests that go to servers.
    pub via: Option<String>,
    /// Whether a client's connection takes more than one request.
    pub keep_alive: bool,
    /// Client connections at once, of the whole image.
    pub connections: Option<u32>,
    /// Whose connections are taken; everybody's if there are none.
    pub allow: Vec<Prefix>,
    /// Whose are not, whatever [`allow`](Self::allow) says.
    pub deny: Vec<Prefix>,
    /// Where others ask whether this image is well.
    pub health: Option<OwnHealth>,
    /// At least one; no two with the same host and path.
    pub routes: Vec<Route>,
}

/// `[listener.health]`: a page that says whether this image is to get requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHealth {
    /// Path of the page on every host; no route has it.
    pub path: String,
    /// The operator wants it to fail.
    pub fail: bool,
    /// Whether it fails while no pool of the listener's routes has a server that is up.
    pub fail_when_down: bool,
    /// How long the listener still takes connections, with the page failing, after the machine was told to leave.
    pub notice_ns: u64,
}

impl Default for OwnHealth {
    fn default() -> Self {
        Self { path: "/healthz".into(), fail: false, fail_when_down: false, notice_ns: 0 }
    }
}

/// `[[listener.route]]`: which requests go where.
///
/// The most specific route wins, wherever it stands: by host (exact, then `*.suffix`, then any), then by the longest path
/// prefix. A path without a final slash matches whole segments: `/api` covers `/api` and `/api/x`, not `/apix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which hosts.
    pub host: HostMatch,
    /// Path prefix, beginning with a slash.
    pub path: String,
    /// What answers.
    pub action: Action,
    /// Whether a server gets the path without this prefix.
    pub strip_prefix: bool,
    /// What changes in the fields of requests on their way to a server.
    pub request_fields: FieldRules,
    /// What changes in the fields of a server's responses.
    pub response_fields: FieldRules,
}

impl Route {
    /// A route on which nothing changes.
    #[must_use]
    pub fn new(host: HostMatch, path: &str, action: Action) -> Self {
        let (request_fields, response_fields) = (FieldRules::default(), FieldRules::default());
        Self { host, path: path.into(), action, strip_prefix: false, request_fields, response_fields }
    }
}

/// Changes of header fields, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldRules {
    /// Names that are left out.
    pub remove: Vec<String>,
    /// Fields that replace those of the same name.
    pub set: Vec<(String, String)>,
    /// Fields that come in addition.
    pub add: Vec<(String, String)>,
}

impl FieldRules {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// The hosts a [`Route`] is for; names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMatch {
    /// Every host.
    Any,
    /// One host.
    Exact(String),
    /// All below a domain: `*.example.com` is `.example.com` here.
    Suffix(String),
}

/// What answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The pool at this index of [`Config::pools`].
    Pool(usize),
    /// A directory of the document root in the image's archive, without slashes at its ends. What follows the route's path in
    /// a request is looked up there.
    Files(String),
    /// Always the same response.
    Respond(Respond),
    /// Another address.
    Redirect(Redirect),
    /// A page that the image brings along.
    Page(Page),
}

/// A fixed response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The whole body.
    pub body: String,
    /// Value of the `Content-Type` field.
    pub content_type: String,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Value of the `Location` field.
    pub to: String,
}

/// Pages that the image brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Tells which listener and core answered.
    Demo,
}

/// What clients of a listener speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HTTP/1.0 and 1.1.
    #[default]
    Http,
    /// Anything: bytes go to a server and back. The only route leads to a pool.
    Tcp,
    /// TLS that a server ends: the name in the ClientHello (SNI) chooses the route, and bytes go to its pool and back.
    TlsPassthrough,
}

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Its bits beyond [`len`](Self::len) have no meaning.
    pub address: IpAddr,
    /// Bits that have to agree.
    pub len: u8,
}

impl Prefix {
    /// Whether the address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= u32::from(self.len)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.len)
            }
            _ => false,
        }
    }
}

/// Whether one of the prefixes has the address.
#[must_use]
pub fn contains_address(prefixes: &[Prefix], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(address))
}
