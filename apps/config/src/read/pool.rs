//! `[[pool]]` and `[[pool.server]]`.

use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;

use super::{Names, Result};
use crate::document::{Item, Section, printable};
use crate::error::ErrorKind;
use crate::model::{Balance, HashOn, Pool, ProxyVersion, Server, ServerState, WhenAllDown};
use crate::units::{HOUR, SECOND};
use crate::{SERVERS_MAX, WEIGHT_MAX};

/// Requests that wait at most, if the configuration does not say.
const QUEUE_LENGTH: u32 = 1024;

/// All pools, and where their servers' addresses stand.
pub(super) struct Pools {
    pub value: Vec<Pool>,
    /// In the order of pools and their servers.
    pub servers: Vec<Vec<Range<usize>>>,
    /// Where the addresses stand that connections to them come from.
    pub sources: Vec<Vec<Range<usize>>>,
}

pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Pools> {
    let mut names = Names::new("pool");
    let mut pools = Pools { value: Vec::new(), servers: Vec::new(), sources: Vec::new() };
    for section in sections {
        let (pool, places) = pool(section, &mut names)?;
        pools.value.push(pool);
        pools.servers.push(places.servers);
        pools.sources.push(places.sources);
    }
    names.check_unique()?;
    Ok(pools)
}

/// Where things stand of one pool.
struct Places {
    servers: Vec<Range<usize>>,
    sources: Vec<Range<usize>>,
}

fn pool(mut section: Section<'_>, names: &mut Names) -> Result<(Pool, Places)> {
    section.not_yet(&["retries", "queue"])?;
    let name_item = section.require("name", "\"api\"")?;
    let name = name_item.name()?;
    names.insert(name, name_item.span());
    let balance = balance(&mut section)?;
    let when_all_down = match section.take("when_all_down") {
        None => WhenAllDown::default(),
        Some(item) => item.choice(&[("try-all", WhenAllDown::TryAll), ("fail", WhenAllDown::Fail)], &[])?,
    };
    let queue_length = match section.take("queue_length") {
        None => QUEUE_LENGTH,
        Some(item) => item.integer(0..=1_000_000)? as u32,
    };
    let (sources, source_spans) = super::source::read(section.take("source").as_ref())?;
    let slow_start_ns = slow_start(&mut section, &balance)?;
    let sticky = section.table("sticky", "sticky = { cookie = \"NAME\" }")?.map(super::sticky::read).transpose()?;
    let health = section.table("health", "[pool.health]")?.map(super::health::read).transpose()?;
    let mut server_names = Names::new("server");
    let mut servers = Vec::new();
    let mut spans = Vec::new();
    for section in section.tables("server", "[[pool.server]]", SERVERS_MAX)? {
        let (server, span) = server(section, &mut server_names)?;
        servers.push(server);
        spans.push(span);
    }
    server_names.check_unique()?;
    if !servers.iter().any(|server| server.weight > 0 && server.state == ServerState::Up) {
        let message = match servers.is_empty() {
            true => format!("pool \"{name}\" has no server"),
            false => format!("all servers of pool \"{name}\" have weight 0, drain or are in maintenance"),
        };
        let help = "add a [[pool.server]] with `name`, `address` and a weight above 0";
        return Err(section.fault(ErrorKind::EmptyPool, message, help));
    }
    section.finish()?;
    let places = Places { servers: spans, sources: source_spans };
    Ok((
        Pool {
            name: name.into(),
            balance,
            when_all_down,
            queue_length,
            sources,
            slow_start_ns,
            sticky,
            health,
            servers,
        },
        places,
    ))
}

/// `balance`, and `hash_on` with it.
fn balance(section: &mut Section<'_>) -> Result<Balance> {
    let hash_item = section.take("hash_on");
    let hash_on = hash_item.as_ref().map_or(Ok(HashOn::ClientAddress), hash_on)?;
    let choices = [
        ("random-2", &Balance::Random2),
        ("round-robin", &Balance::RoundRobin),
        ("least-connections", &Balance::LeastConnections),
        ("hash", &Balance::Hash(hash_on)),
    ];
    let balance = section.take("balance").map_or(Ok(&Balance::Random2), |item| item.choice(&choices, &[]))?;
    match hash_item {
        Some(item) if !matches!(balance, Balance::Hash(_)) => {
            let message = "`hash_on` has a meaning with `balance = \"hash\"` only";
            Err(item.fault(ErrorKind::ConflictingKeys, message, "add `balance = \"hash\"`, or remove `hash_on`"))
        }
        _ => Ok(balance.clone()),
    }
}

/// `slow_start`.
fn slow_start(section: &mut Section<'_>, balance: &Balance) -> Result<u64> {
    let Some(item) = section.take("slow_start") else { return Ok(0) };
    if matches!(balance, Balance::Hash(_)) {
        let message =
            "`slow_start` has no meaning with `balance = \"hash\"`: what is alike belongs to its server at once";
        return Err(item.fault(ErrorKind::ConflictingKeys, message, "remove it, or balance otherwise"));
    }
    item.duration_ns(SECOND..=HOUR)
}

/// `client-address`, `uri`, `header:NAME` or `cookie:NAME`.
fn hash_on(item: &Item<'_>) -> Result<HashOn> {
    let text = item.string()?;
    let is_token = |name: &str| !name.is_empty() && name.bytes().all(is_token_byte);
    match text.split_once(':') {
        None if text == "client-address" => Ok(HashOn::ClientAddress),
        None if text == "uri" => Ok(HashOn::Uri),
        Some(("header", name)) if is_token(name) => Ok(HashOn::Header(name.into())),
        Some(("cookie", name)) if is_token(name) => Ok(HashOn::Cookie(name.into())),
        _ => {
            let message = format!("requests cannot be told apart by \"{}\"", printable(text));
            let help = "choose \"client-address\", \"uri\", \"header:NAME\" or \"cookie:NAME\"";
            Err(item.fault(ErrorKind::InvalidValue, message, help))
        }
    }
}

/// RFC 9110 5.6.2: what names of fields and cookies are made of.
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

fn server(mut section: Section<'_>, names: &mut Names) -> Result<(Server, Range<usize>)> {
    section.not_yet(&["health", "tls"])?;
    let name_item = section.require("name", "\"a\"")?;
    let name = name_item.name()?;
    names.insert(name, name_item.span());
    let address_item = section.require("address", "\"10.0.0.11:8080\"")?;
    let address = super::dns::address(&address_item, "10.0.0.11:8080")?;
    let is_none = |ip: IpAddr| ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.ip().is_some_and(|address| is_none(address.ip())) {
        let message = format!("no server can be reached at {address}");
        return Err(address_item.fault(ErrorKind::InvalidAddress, message, "give the address of one machine"));
    }
    let weight = match section.take("weight") {
        None => 1,
        Some(item) => item.integer(0..=WEIGHT_MAX.into())? as u16,
    };
    let backup = section.take("backup").map_or(Ok(false), |item| item.boolean())?;
    let states = [("up", ServerState::Up), ("drain", ServerState::Drain), ("maintenance", ServerState::Maintenance)];
    let state = section.take("state").map_or(Ok(ServerState::Up), |item| item.choice(&states, &[]))?;
    let max_connections = section.take("max_connections").map(|item| item.integer(1..=16_000_000)).transpose()?;
    let versions = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
    let proxy_protocol = section.take("proxy_protocol").map(|item| item.choice(&versions, &[])).transpose()?;
    section.finish()?;
    let max_connections = max_connections.map(|max| max as u32);
    let name = name.into();
    let server = Server { name, address, weight, backup, state, max_connections, proxy_protocol };
    Ok((server, address_item.span()))
}
