//! Checks between sections.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::ops::Range;

use super::Result;
use super::network::Family;
use crate::error::{ErrorKind, Fault};
use crate::model::{Addressing, Config};

/// Where the things stand that the checks complain about.
pub(super) struct Places {
    pub admin: Option<Range<usize>>,
    pub binds: Vec<Vec<Range<usize>>>,
    pub servers: Vec<Vec<Range<usize>>>,
    pub sources: Vec<Vec<Range<usize>>>,
    pub pool_routes: Vec<(usize, usize, Range<usize>)>,
}

/// Addresses in use, by port: who listens there, and where that is written.
type Bound<'a> = BTreeMap<u16, Vec<(IpAddr, Owner, &'a Range<usize>)>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Admin,
    Listener(usize),
}

pub(super) fn check(config: &Config, places: &Places) -> Result<()> {
    if config.listeners.is_empty() {
        return Err(Fault::new(
            0..0,
            ErrorKind::NoListener,
            "there is no [[listener]]: nothing would be served",
            "add a [[listener]] with `name`, `bind` and a [[listener.route]]",
        ));
    }
    let bound = bound_addresses(config, places)?;
    check_binds_are_ours(config, &bound)?;
    check_names(config, places)?;
    super::source::check(config, places)?;
    check_local_servers(config, places, &bound)?;
    check_remote_servers(config, places)?;
    super::sticky::check(config, places)?;
    check_loops(config, places, &bound)
}

fn bound_addresses<'a>(config: &Config, places: &'a Places) -> Result<Bound<'a>> {
    let admin = config.admin.iter().zip(&places.admin).map(|(admin, span)| (admin.listen, Owner::Admin, span));
    let binds = config.listeners.iter().zip(&places.binds).enumerate().flat_map(|(index, (listener, spans))| {
        listener.bind.iter().zip(spans).map(move |(address, span)| (*address, Owner::Listener(index), span))
    });
    let mut bound = Bound::new();
    for (address, owner, span) in admin.chain(binds) {
        let others = bound.entry(address.port()).or_default();
        if others.iter().any(|(ip, ..)| overlaps(*ip, address.ip())) {
            return Err(Fault::new(
                span.clone(),
                ErrorKind::DuplicateBind,
                format!("{address} is already listened on"),
                "give each listener its own address or port",
            ));
        }
        others.push((address.ip(), owner, span));
    }
    Ok(bound)
}

/// The unspecified address stands for all of its family, and for none of the other.
fn overlaps(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}

/// The address of this family, if the configuration tells it.
pub(super) fn own_address(config: &Config, is_ipv4: bool) -> Option<IpAddr> {
    match is_ipv4 {
        true => config.network.ipv4.address().map(IpAddr::V4),
        false => config.network.ipv6.address().map(IpAddr::V6),
    }
}

/// Whether the address is in fe80::/10, where every interface has one that only its device knows.
pub(super) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// With a static address it is known which addresses the image has.
fn check_binds_are_ours(config: &Config, bound: &Bound<'_>) -> Result<()> {
    for (ip, _, span) in bound.values().flatten() {
        let Some(own) = own_address(config, ip.is_ipv4()) else { continue };
        let is_ours = *ip == own || config.network.sources.contains(ip);
        if !ip.is_unspecified() && !ip.is_loopback() && !is_link_local(*ip) && !is_ours {
            let all = if ip.is_ipv4() { "0.0.0.0" } else { "[::]" };
            return Err(Fault::new(
                (*span).clone(),
                ErrorKind::InvalidAddress,
                format!("{ip} is not an address of this image"),
                format!("listen on {all} or on {own}"),
            ));
        }
    }
    Ok(())
}

/// The listener of this image that a server's address leads to.
fn local_listener(config: &Config, bound: &Bound<'_>, server: SocketAddr) -> Option<Owner> {
    let is_own = Some(server.ip()) == own_address(config, server.is_ipv4());
    let is_local = server.ip().is_loopback() || is_own || config.network.sources.contains(&server.ip());
    let candidates = bound.get(&server.port()).filter(|_| is_local)?;
    candidates.iter().find(|(ip, ..)| overlaps(*ip, server.ip())).map(|(_, owner, _)| *owner)
}

/// With static addresses nothing tells whom to ask for names.
fn check_names(config: &Config, places: &Places) -> Result<()> {
    if !config.dns.servers.is_empty() || config.network.ipv4 == Addressing::Automatic {
        return Ok(());
    }
    let mut servers = config.pools.iter().zip(&places.servers).flat_map(|(pool, spans)| pool.servers.iter().zip(spans));
    match servers.find(|(server, _)| server.address.ip().is_none()) {
        None => Ok(()),
        Some((server, span)) => Err(Fault::new(
            span.clone(),
            ErrorKind::MissingKey,
            format!("server \"{}\" has a name, and there is no DNS server to ask", server.name),
            "add `[dns]` with `servers = [\"10.0.0.2:53\"]`: with a static address there is no DHCP to tell one",
        )),
    }
}

/// Loopback packets stay within the image: a server there that nobody serves would only ever give 502.
fn check_local_servers(config: &Config, places: &Places, bound: &Bound<'_>) -> Result<()> {
    for (pool, spans) in config.pools.iter().zip(&places.servers) {
        for (server, span) in pool.servers.iter().zip(spans) {
            let loopback = server.address.ip().filter(|address| address.ip().is_loopback());
            if loopback.is_some_and(|address| local_listener(config, bound, address).is_none()) {
                return Err(Fault::new(
                    span.clone(),
                    ErrorKind::NoLocalServer,
                    format!(
                        "server \"{}\" is {}, where no listener of this image listens",
                        server.name, server.address
                    ),
                    format!(
                        "loopback addresses stay in the image: add a [[listener]] with bind = \"{}\"",
                        server.address
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// With a given IPv4 address, servers are machines of its subnet, or behind its gateway. (IPv6 routers tell of themselves.)
fn check_remote_servers(config: &Config, places: &Places) -> Result<()> {
    let Addressing::Static { address, prefix_len, gateway } = config.network.ipv4 else { return Ok(()) };
    let servers = config.pools.iter().zip(&places.servers).flat_map(|(pool, spans)| pool.servers.iter().zip(spans));
    for (server, span) in servers {
        let Some(IpAddr::V4(ip)) = server.address.ip().map(|address| address.ip()) else { continue };
        let (message, help) = match address.shares_subnet(prefix_len, ip) {
            _ if ip.is_loopback() => continue,
            true if ip.is_host(prefix_len) => continue,
            true => (format!("no server can be reached at {}", server.address), "give the address of one machine"),
            false if gateway.is_some() => continue,
            false => (
                format!("{} is outside of {address}/{prefix_len}, and there is no gateway", server.address),
                "add `gateway` to [network], or correct the prefix length",
            ),
        };
        return Err(Fault::new(span.clone(), ErrorKind::InvalidAddress, message, help));
    }
    Ok(())
}

/// Follows routes to pools to servers to listeners, and finds a way that comes back.
fn check_loops(config: &Config, places: &Places, bound: &Bound<'_>) -> Result<()> {
    let next = |listener: usize| -> Vec<(usize, &Range<usize>)> {
        let mut pools: Vec<_> = places.pool_routes.iter().filter(|(from, ..)| *from == listener).collect();
        pools.sort_by_key(|(_, pool, _)| *pool);
        pools.dedup_by_key(|(_, pool, _)| *pool);
        let servers = pools.into_iter().flat_map(|(_, pool, span)| {
            config
                .pools
                .get(*pool)
                .into_iter()
                .flat_map(|pool| &pool.servers)
                .filter_map(move |server| Some((server.address.ip()?, span)))
        });
        let owners = servers.filter_map(|(address, span)| Some((local_listener(config, bound, address)?, span)));
        owners
            .filter_map(|(owner, span)| if let Owner::Listener(to) = owner { Some((to, span)) } else { None })
            .collect()
    };
    let mut done = alloc::vec![false; config.listeners.len()];
    for start in 0..config.listeners.len() {
        // Depth first without recursion: `path` holds the listeners on the way and what is left to follow of each.
        let mut path = Vec::from([(start, next(start))]);
        while let Some((listener, left)) = path.last_mut() {
            let listener = *listener;
            let Some((to, span)) = left.pop() else {
                if let Some(flag) = done.get_mut(listener) {
                    *flag = true;
                }
                path.pop();
                continue;
            };
            if path.iter().any(|(on_way, _)| *on_way == to) {
                let name = config.listeners.get(to).map_or("", |listener| &listener.name);
                return Err(Fault::new(
                    span.clone(),
                    ErrorKind::ForwardingLoop,
                    format!("requests to listener \"{name}\" would come back to it through this pool"),
                    "point the pool's servers at other addresses",
                ));
            }
            if done.get(to) == Some(&false) {
                path.push((to, next(to)));
            }
        }
    }
    Ok(())
}
