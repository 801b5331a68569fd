//! What changes in a request and its response on their way between client and server.

use alloc::boxed::Box;
use alloc::vec::Vec;

use weir_config::{Action, Config, FieldRules, Route};
use weir_http1::{HeadWriter, Method, Request, Version};

use crate::affinity;
use crate::exchange::Exchange;
use crate::heads;
use crate::upstream::{Sticky, Upstream};

/// The field that names a request.
pub(crate) const REQUEST_ID: &[u8] = b"X-Request-Id";

/// The field that says how often a request may be forwarded.
const MAX_FORWARDS: &[u8] = b"Max-Forwards";

/// Whether `Max-Forwards` has a meaning for a request (RFC 9110 7.6.2).
#[inline]
pub(crate) fn counts_forwards(request: &Request<'_>) -> bool {
    matches!(request.method, Method::Options | Method::Trace)
}

/// The value of `Max-Forwards`. A number that is too large is the largest one; what is no number says nothing.
#[cold]
pub(crate) fn max_forwards(request: &Request<'_>) -> Option<u64> {
    let digits = request.fields.get_bytes(MAX_FORWARDS)?;
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |value: u64, digit: &u8| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, add))
}

/// The changes of one route.
#[derive(Default)]
pub(crate) struct Way {
    /// The path's front that servers do not see, without a slash at its end.
    strip: Option<Box<[u8]>>,
    request: Edits,
    pub response: Edits,
}

/// Changes of fields.
#[derive(Default)]
pub(crate) struct Edits {
    /// Names that are left out.
    dropped: Box<[Box<[u8]>]>,
    /// Whole lines that come in addition.
    lines: Box<[u8]>,
}

/// What is not as it is for most requests.
pub(crate) struct Changes<'a> {
    pub way: &'a Way,
    /// A cookie that is ours and not the server's.
    pub cookie: Option<&'a str>,
    /// What the client says about whom it forwards for is true.
    pub is_trusted: bool,
    /// The protocol it wants to switch to.
    pub upgrade: Option<&'a [u8]>,
    /// The value of X-Request-Id.
    pub request_id: Option<&'a [u8]>,
    /// What we are called in Via.
    pub via: Option<&'a [u8]>,
    /// How often the request may still be forwarded behind us, if that is said.
    pub forwards: Option<u64>,
}

impl Way {
    /// The number of what changes on a route, with those that have one so far; 0 is nothing.
    pub(crate) fn number(config: &Config, route: &Route, ways: &mut Vec<Self>) -> u16 {
        let Action::Pool(pool) = route.action else { return 0 };
        let is_sticky = config.pools.get(pool).is_some_and(|pool| pool.sticky.is_some());
        Self::new(route, is_sticky).map_or(0, |way| {
            ways.push(way);
            (ways.len() - 1) as u16
        })
    }

    /// None: nothing changes on this route, which leads to a pool with a sticky cookie or not.
    fn new(route: &Route, is_sticky: bool) -> Option<Self> {
        let strip = route.strip_prefix.then(|| route.path.trim_end_matches('/').as_bytes().into());
        if !is_sticky && strip.is_none() && route.request_fields.is_empty() && route.response_fields.is_empty() {
            return None;
        }
        Some(Self { strip, request: Edits::new(&route.request_fields), response: Edits::new(&route.response_fields) })
    }
}

impl Edits {
    fn new(rules: &FieldRules) -> Self {
        let names = rules.remove.iter().chain(rules.set.iter().map(|(name, _)| name));
        let mut lines = Vec::new();
        for (name, value) in rules.set.iter().chain(&rules.add) {
            for part in [name.as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        Self { dropped: names.map(|name| name.as_bytes().into()).collect(), lines: lines.into() }
    }

    /// Writes a line, unless its field is left out.
    pub(crate) fn pass(&self, writer: &mut HeadWriter<'_>, line: &[u8]) {
        if !self.drops(name(line)) {
            writer.bytes(line);
        }
    }

    /// Writes what comes in addition.
    pub(crate) fn add(&self, writer: &mut HeadWriter<'_>) {
        writer.bytes(&self.lines);
    }

    fn drops(&self, name: &[u8]) -> bool {
        self.dropped.iter().any(|dropped| dropped.eq_ignore_ascii_case(name))
    }
}

/// The changes of one response.
pub(crate) struct Edited<'a> {
    edits: Option<&'a Edits>,
    sticky: Option<&'a Sticky>,
    /// Of a server that the client is to stay with.
    lines: &'a [u8],
    /// Of a response that has none.
    date: &'a [u8],
}

impl<'a> Edited<'a> {
    #[cold]
    pub(crate) fn new(way: &'a Way, upstream: Option<&'a Upstream>, exchange: &Exchange) -> Self {
        let sticky = upstream.and_then(|upstream| upstream.sticky.as_ref());
        let lines = sticky.filter(|_| exchange.is_cookie_due).map_or(&b""[..], |sticky| sticky.lines(exchange.server));
        Self { edits: Some(&way.response), sticky, lines, date: b"" }
    }

    /// The same and our Date: who has a clock and forwards a response without one says it (RFC 9110 6.6.1).
    #[cold]
    pub(crate) fn dated(other: Option<&Self>, date: &'a [u8]) -> Self {
        let Some(Self { edits, sticky, lines, .. }) = other else {
            return Self { edits: None, sticky: None, lines: b"", date };
        };
        let is_dropped = edits.is_some_and(|edits| edits.drops(b"date"));
        Self { edits: *edits, sticky: *sticky, lines, date: if is_dropped { b"" } else { date } }
    }

    /// Whether every line of the server's is passed.
    pub(crate) fn only_adds(&self) -> bool {
        self.sticky.is_none() && self.edits.is_none_or(|edits| edits.dropped.is_empty())
    }

    /// Writes a line, unless its field is left out. A server does not set our cookie.
    pub(crate) fn pass(&self, writer: &mut HeadWriter<'_>, line: &[u8]) {
        let is_ours = |sticky: &&Sticky| name(line).eq_ignore_ascii_case(b"set-cookie") && sets(line, &sticky.name);
        if self.sticky.filter(is_ours).is_none() && !self.edits.is_some_and(|edits| edits.drops(name(line))) {
            writer.bytes(line);
        }
    }

    /// Writes what comes in addition.
    pub(crate) fn add(&self, writer: &mut HeadWriter<'_>) {
        if let Some(edits) = self.edits {
            edits.add(writer);
        }
        writer.bytes(self.lines);
        writer.bytes(self.date);
    }
}

impl Changes<'_> {
    /// The request's head as a server gets it; otherwise as [`heads::RequestHead`] writes it.
    #[cold]
    pub(crate) fn request(
        &self,
        writer: &mut HeadWriter<'_>,
        request: &Request<'_>,
        server_host: &[u8],
        forwarding: &[u8],
    ) {
        let edits = &self.way.request;
        writer.bytes(request.method_text);
        writer.bytes(b" ");
        self.target(writer, request.path_and_query);
        writer.bytes(b" HTTP/1.1\r\n");
        for line in request.forwarded_fields(self.is_trusted) {
            // What a stranger calls its request is not what we call it.
            let is_other_id = self.request_id.is_some() && name(line).eq_ignore_ascii_case(REQUEST_ID);
            let is_count = self.forwards.is_some() && name(line).eq_ignore_ascii_case(MAX_FORWARDS);
            if !is_other_id && !is_count {
                match self.cookie.filter(|_| name(line).eq_ignore_ascii_case(b"cookie")) {
                    Some(ours) if !edits.drops(b"cookie") => pass_cookies(writer, line, ours),
                    _ => edits.pass(writer, line),
                }
            }
        }
        let host = if request.host.is_empty() { server_host } else { request.host };
        if !request.has_host_field && !edits.drops(b"host") {
            writer.field("Host", host);
        }
        heads::request_framing(writer, request);
        if let Some(protocols) = self.upgrade {
            writer.bytes(b"Connection: Upgrade\r\nUpgrade: ");
            writer.bytes(protocols);
            writer.bytes(b"\r\n");
        }
        self.forwarding(writer, request, forwarding, host);
        if let Some(id) = self.request_id {
            writer.bytes(REQUEST_ID);
            writer.bytes(b": ");
            writer.bytes(id);
            writer.bytes(b"\r\n");
        }
        self.hops(writer, request);
        edits.add(writer);
        writer.bytes(b"\r\n");
    }

    /// That the request passed here, and how often it may be forwarded yet (RFC 9110 7.6.2, 7.6.3). What proxies before us
    /// said in Via stays, and several fields are one list (5.3).
    fn hops(&self, writer: &mut HeadWriter<'_>, request: &Request<'_>) {
        if let Some(via) = self.via {
            writer.bytes(if request.version == Version::Http11 { b"Via: 1.1 " } else { b"Via: 1.0 " });
            writer.bytes(via);
            writer.bytes(b"\r\n");
        }
        if let Some(left) = self.forwards {
            writer.bytes(MAX_FORWARDS);
            writer.bytes(b": ");
            writer.decimal(left);
            writer.bytes(b"\r\n");
        }
    }

    fn target(&self, writer: &mut HeadWriter<'_>, path_and_query: &[u8]) {
        let rest = self.way.strip.as_ref().and_then(|prefix| path_and_query.strip_prefix(&**prefix));
        let rest = rest.unwrap_or(path_and_query);
        // A server's path begins with a slash; `*` stands for all of it.
        if rest.first().is_none_or(|first| !matches!(first, b'/' | b'*')) {
            writer.bytes(b"/");
        }
        writer.bytes(rest);
    }

    /// Our `X-Forwarded-*`: all of them, or what a proxy before us did not say. Its X-Forwarded-For goes on with ours, and
    /// several fields are one list (RFC 9110 5.3).
    fn forwarding(&self, writer: &mut HeadWriter<'_>, request: &Request<'_>, forwarding: &[u8], host: &[u8]) {
        let edits = &self.way.request;
        for line in forwarding.split_inclusive(|&byte| byte == b'\n') {
            let name = name(line);
            let is_list = name.eq_ignore_ascii_case(b"x-forwarded-for");
            let is_said = self.is_trusted && !is_list && request.fields.get_bytes(name).is_some();
            if is_said || edits.drops(name) {
                continue;
            }
            writer.bytes(line);
            if !line.ends_with(b"\n") {
                writer.bytes(host);
                writer.bytes(b"\r\n");
            }
        }
    }
}

/// Whether a line of `Set-Cookie` is about this cookie.
fn sets(line: &[u8], cookie: &str) -> bool {
    let pair = line.split(|&byte| byte == b':').nth(1).unwrap_or_default().trim_ascii_start();
    affinity::is_named(pair, cookie)
}

/// Writes a line of `Cookie` without the cookie that is ours, or nothing if there was no other.
fn pass_cookies(writer: &mut HeadWriter<'_>, line: &[u8], ours: &str) {
    let value = line.get(b"cookie:".len()..).unwrap_or_default();
    let pairs = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let others = pairs.filter(|pair| !pair.is_empty() && !affinity::is_named(pair, ours));
    let mut is_begun = false;
    for pair in others {
        writer.bytes(if is_begun { b"; " } else { b"Cookie: " });
        writer.bytes(pair);
        is_begun = true;
    }
    if is_begun {
        writer.bytes(b"\r\n");
    }
}

/// The name of the field on a line.
fn name(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b':').next().unwrap_or_default()
}
