//! `[[listener]]` and `[[listener.route]]`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;

use super::{Names, Result};
use crate::ROUTES_MAX;
use crate::document::{Item, Section, printable};
use crate::error::{ErrorKind, Fault};
use crate::model::{Action, HostMatch, Listener, OwnHealth, Page, Pool, Prefix, Protocol, Redirect, Respond, Route};

/// Longest time that a listener still takes connections once the machine is to leave, in nanoseconds.
const NOTICE_NS_MAX: u64 = 300_000_000_000;

/// All listeners, and where what the cross checks look at stands.
pub(super) struct Listeners {
    pub value: Vec<Listener>,
    /// Per listener, the place of each address.
    pub binds: Vec<Vec<Range<usize>>>,
    /// Listener index, pool index, and the place of the pool's name in the route.
    pub pool_routes: Vec<(usize, usize, Range<usize>)>,
}

/// One route while the cross checks still need its place.
struct PlacedRoute {
    route: Route,
    span: Range<usize>,
}

pub(super) fn read(sections: Vec<Section<'_>>, pools: &[Pool]) -> Result<Listeners> {
    let mut names = Names::new("listener");
    let mut listeners = Listeners { value: Vec::new(), binds: Vec::new(), pool_routes: Vec::new() };
    for section in sections {
        listener(section, &mut names, pools, &mut listeners)?;
    }
    names.check_unique()?;
    Ok(listeners)
}

fn listener(mut section: Section<'_>, names: &mut Names, pools: &[Pool], all: &mut Listeners) -> Result<()> {
    section.not_yet(&["tls", "certificate", "limits", "timeouts", "access_log"])?;
    let name_item = section.require("name", "\"web\"")?;
    let name = name_item.name()?;
    names.insert(name, name_item.span());
    let protocols = [("http", Protocol::Http), ("tcp", Protocol::Tcp), ("tls-passthrough", Protocol::TlsPassthrough)];
    let protocol =
        section.take("protocol").map_or(Ok(Protocol::Http), |item| item.choice(&protocols, &["https", "tls"]))?;
    let addresses = section.require("bind", "\"0.0.0.0:80\"")?.strings()?;
    let bind = addresses.iter().map(|item| item.socket_address("0.0.0.0:80")).collect::<Result<_>>()?;
    let keep_alive = section.take("keep_alive").map_or(Ok(true), |item| item.boolean())?;
    let (trusted_proxies, proxy_protocol) = proxies(&mut section)?;
    let request_id = section.take("request_id").map_or(Ok(false), |item| item.boolean())?;
    let via = section.take("via").map(|item| item.name().map(String::from)).transpose()?;
    let connections = section.take("connections").map(|item| item.integer(1..=16_000_000)).transpose()?;
    let allow = prefixes(&mut section, "allow")?;
    let deny = prefixes(&mut section, "deny")?;
    let health = section.table("health", "[listener.health]")?;
    let mut routes = Vec::new();
    for section in section.tables("route", "[[listener.route]]", ROUTES_MAX)? {
        routes.push(route(section, pools, all)?);
    }
    if routes.is_empty() {
        return Err(section.missing("[[listener.route]]", "\"...\"").with_route_help());
    }
    check_reachable(&routes)?;
    check_protocol(protocol, &routes)?;
    let health = health.map(|section| own_health(section, protocol, &routes)).transpose()?;
    section.finish()?;
    let routes = routes.into_iter().map(|placed| placed.route).collect();
    let name = name.into();
    let listener = Listener {
        name,
        bind,
        protocol,
        trusted_proxies,
        proxy_protocol,
        request_id,
        via,
        keep_alive,
        connections: connections.map(|max| max as u32),
        allow,
        deny,
        health,
        routes,
    };
    all.value.push(listener);
    all.binds.push(addresses.iter().map(Item::span).collect());
    Ok(())
}

impl Fault {
    fn with_route_help(mut self) -> Self {
        self.help = "add a [[listener.route]] with one of `pool`, `files`, `respond`, `redirect`, `page`".into();
        self
    }
}

fn route(mut section: Section<'_>, pools: &[Pool], all: &mut Listeners) -> Result<PlacedRoute> {
    section.not_yet(&["method", "header", "timeout"])?;
    let host = section.take("host").map_or(Ok(HostMatch::Any), |item| host(&item))?;
    let path = section.take("path").map_or(Ok("/".to_string()), |item| path(&item))?;
    let items = ["pool", "files", "respond", "redirect", "page"].map(|key| section.take(key));
    let action = match items {
        [Some(item), None, None, None, None] => {
            let pool = pool_index(&item, pools)?;
            all.pool_routes.push((all.value.len(), pool, item.span()));
            Action::Pool(pool)
        }
        [None, Some(item), None, None, None] => Action::Files(directory(&item)?),
        [None, None, Some(item), None, None] => Action::Respond(respond(&item)?),
        [None, None, None, Some(item), None] => Action::Redirect(redirect(&item)?),
        [None, None, None, None, Some(item)] => Action::Page(item.choice(&[("demo", Page::Demo)], &["status"])?),
        [None, None, None, None, None] => {
            return Err(section.missing("pool", "\"...\"").with_route_help());
        }
        _ => {
            let message = "a route has one of `pool`, `files`, `respond`, `redirect`, `page`, this one has several";
            return Err(section.fault(ErrorKind::ConflictingKeys, message, "split it into several routes"));
        }
    };
    let strip_prefix = section.take("strip_prefix").map_or(Ok(false), |item| item.boolean())?;
    let request_fields = super::fields::read(section.take("request_headers"))?;
    let response_fields = super::fields::read(section.take("response_headers"))?;
    let is_changed = strip_prefix || !request_fields.is_empty() || !response_fields.is_empty();
    if is_changed && !matches!(action, Action::Pool(_)) {
        let message = "only what goes to a pool is changed on its way";
        let help = "remove `strip_prefix`, `request_headers` and `response_headers`";
        return Err(section.fault(ErrorKind::ConflictingKeys, message, help));
    }
    let span = section.span();
    section.finish()?;
    Ok(PlacedRoute { route: Route { host, path, action, strip_prefix, request_fields, response_fields }, span })
}

/// `trusted_proxies` and `proxy_protocol`: who says for whom it comes can say anything, so it has to be one of ours.
fn proxies(section: &mut Section<'_>) -> Result<(Vec<Prefix>, bool)> {
    let trusted = prefixes(section, "trusted_proxies")?;
    let Some(item) = section.take("proxy_protocol") else { return Ok((trusted, false)) };
    let is_wanted = item.boolean()?;
    if is_wanted && trusted.is_empty() {
        let message = "`proxy_protocol` needs `trusted_proxies`: anybody could say to be anybody";
        let help = "add `trusted_proxies` with the addresses of the proxies in front, as in [\"10.0.0.0/8\"]";
        return Err(item.fault(ErrorKind::ConflictingKeys, message, help));
    }
    Ok((trusted, is_wanted))
}

/// Addresses and prefixes; none without the key.
fn prefixes(section: &mut Section<'_>, key: &'static str) -> Result<Vec<Prefix>> {
    let items = section.take(key).map_or(Ok(Vec::new()), |item| item.strings())?;
    items.iter().map(Item::prefix).collect()
}

/// What is not HTTP has no path, and only a pool can answer it.
fn check_protocol(protocol: Protocol, routes: &[PlacedRoute]) -> Result<()> {
    if protocol == Protocol::Http {
        return Ok(());
    }
    for (number, PlacedRoute { route, span }) in routes.iter().enumerate() {
        let is_plain = route.path == "/" && !route.strip_prefix;
        let is_unchanged = route.request_fields.is_empty() && route.response_fields.is_empty();
        let message = match (protocol, &route.action) {
            (Protocol::Tcp, _) if number > 0 => "a listener with protocol \"tcp\" has one route",
            (Protocol::Tcp, _) if route.host != HostMatch::Any => "bytes have no host",
            (_, Action::Pool(_)) if is_plain && is_unchanged => continue,
            (_, Action::Pool(_)) => "bytes have no path and no header fields",
            _ => "only a pool answers what is not HTTP",
        };
        let help = "write the route with `pool` alone, with \"tls-passthrough\" also with `host`";
        return Err(Fault::new(span.clone(), ErrorKind::ConflictingKeys, message, help));
    }
    Ok(())
}

fn own_health(mut section: Section<'_>, protocol: Protocol, routes: &[PlacedRoute]) -> Result<OwnHealth> {
    let mut health = OwnHealth::default();
    if let Some(item) = section.take("path") {
        health.path = path(&item)?;
    }
    health.fail = section.take("fail").map_or(Ok(false), |item| item.boolean())?;
    health.fail_when_down = section.take("fail_when_down").map_or(Ok(false), |item| item.boolean())?;
    if let Some(item) = section.take("notice") {
        health.notice_ns = item.duration_ns(0..=NOTICE_NS_MAX)?;
    }
    if protocol != Protocol::Http {
        let message = "only a listener with protocol \"http\" has a page that says how it is";
        return Err(section.fault(ErrorKind::ConflictingKeys, message, "give it to another listener"));
    }
    if routes.iter().any(|placed| placed.route.path == health.path) {
        let message = format!("a route of this listener has the path \"{}\", too", health.path);
        return Err(section.fault(ErrorKind::ConflictingKeys, message, "give one of them another `path`"));
    }
    section.finish()?;
    Ok(health)
}

fn pool_index(item: &Item<'_>, pools: &[Pool]) -> Result<usize> {
    let name = item.string()?;
    pools.iter().position(|pool| pool.name == name).ok_or_else(|| {
        let names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).take(8).collect();
        let help = match names.is_empty() {
            true => "add a [[pool]] with that name".to_string(),
            false => format!("pools are: {}", names.join(", ")),
        };
        item.fault(ErrorKind::UnknownPool, format!("there is no pool called \"{}\"", printable(name)), help)
    })
}

/// `www.example.com`, `*.example.com` or `*`; without a port, which a listener already has.
fn host(item: &Item<'_>) -> Result<HostMatch> {
    let text = item.string()?;
    let is_name = |name: &str| {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        !name.is_empty() && name.len() <= 253 && name.bytes().all(is_fine)
    };
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix('*') {
        Some("") => Ok(HostMatch::Any),
        Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') && is_name(suffix) => {
            Ok(HostMatch::Suffix(suffix.into()))
        }
        None if is_name(&lower) => Ok(HostMatch::Exact(lower)),
        _ => Err(item.fault(
            ErrorKind::InvalidValue,
            format!("\"{}\" is not a host", printable(text)),
            "write a name without port, as in \"www.example.com\" or \"*.example.com\"",
        )),
    }
}

fn path(item: &Item<'_>) -> Result<String> {
    let text = item.string()?;
    let is_fine = |byte: u8| matches!(byte, 0x21..=0x7e) && !matches!(byte, b'?' | b'#');
    if !text.starts_with('/') || !text.bytes().all(is_fine) {
        let message = format!("\"{}\" is not a path", printable(text));
        let help = "begin with a slash, without query or fragment, as in \"/api/\"";
        return Err(item.fault(ErrorKind::InvalidValue, message, help));
    }
    Ok(text.into())
}

fn directory(item: &Item<'_>) -> Result<String> {
    let text = item.string()?;
    let trimmed = text.trim_matches('/');
    let is_fine = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(char::is_control);
    if !trimmed.is_empty() && !trimmed.split('/').all(is_fine) {
        let message = format!("\"{}\" is not a directory of the archive", printable(text));
        return Err(item.fault(ErrorKind::InvalidValue, message, "write it as in \"site\" or \"site/docs\""));
    }
    Ok(trimmed.into())
}

fn respond(item: &Item<'_>) -> Result<Respond> {
    let mut section = item.section("respond = { ... }")?;
    section.not_yet(&["headers", "file"])?;
    let status = section.take("status").map_or(Ok(200), |item| item.integer(200..=599))? as u16;
    let body_item = section.take("body");
    let body = body_item.as_ref().map_or(Ok(""), Item::string)?;
    if let (204 | 205 | 304, Some(item), false) = (status, &body_item, body.is_empty()) {
        let message = format!("a response with status {status} has no body");
        return Err(item.fault(ErrorKind::ConflictingKeys, message, "remove `body`, or use status 200"));
    }
    let content_type = section.take("content_type").map_or(Ok("text/plain"), |item| item.field_value())?;
    section.finish()?;
    Ok(Respond { status, body: body.into(), content_type: content_type.into() })
}

/// A string, or a table with `to` and `status`.
fn redirect(item: &Item<'_>) -> Result<Redirect> {
    if !item.is_table() {
        return Ok(Redirect { status: 302, to: item.field_value()?.into() });
    }
    let mut section = item.section("redirect = { ... }")?;
    let to = section.require("to", "\"https://www.example.com/\"")?.field_value()?.into();
    let status = match section.take("status") {
        None => 302,
        Some(item) => match item.integer(300..=399)? as u16 {
            status @ (301 | 302 | 303 | 307 | 308) => status,
            status => {
                let message = format!("{status} is not a redirect");
                return Err(item.fault(ErrorKind::InvalidValue, message, "choose 301, 302, 303, 307 or 308"));
            }
        },
    };
    section.finish()?;
    Ok(Redirect { status, to })
}

/// Routes are chosen by how specific they are, not by their order: so one is unreachable only if another is for the same
/// host and path.
fn check_reachable(routes: &[PlacedRoute]) -> Result<()> {
    let mut sorted: Vec<&PlacedRoute> = routes.iter().collect();
    sorted.sort_by(|a, b| {
        (&a.route.host, &a.route.path, a.span.start).cmp(&(&b.route.host, &b.route.path, b.span.start))
    });
    let twice = sorted.windows(2).find_map(|pair| match pair {
        [a, b] if (&a.route.host, &a.route.path) == (&b.route.host, &b.route.path) => Some(b),
        _ => None,
    });
    let Some(hidden) = twice else { return Ok(()) };
    Err(Fault::new(
        hidden.span.clone(),
        ErrorKind::UnreachableRoute,
        format!("an earlier route of this listener has the same host and path \"{}\"", hidden.route.path),
        "remove one of the two, or give it another `host` or `path`",
    ))
}
