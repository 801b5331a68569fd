//! `source` of a `[[pool]]`: the addresses of the image that connections to its servers come from.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::ops::Range;

use super::Result;
use super::check::{Places, is_link_local, own_address};
use crate::document::Item;
use crate::error::{ErrorKind, Fault};
use crate::model::{Config, Pool, Server};

/// The addresses, and where each stands.
pub(super) fn read(list: Option<&Item<'_>>) -> Result<(Vec<IpAddr>, Vec<Range<usize>>)> {
    let (mut sources, mut spans) = (Vec::new(), Vec::new());
    for item in list.map_or(Ok(Vec::new()), |list| list.strings())? {
        let address = item.ip()?;
        if sources.contains(&address) {
            let message = format!("{address} stands in the list twice");
            return Err(item.fault(ErrorKind::InvalidAddress, message, "remove one of them"));
        }
        sources.push(address);
        spans.push(item.span());
    }
    Ok((sources, spans))
}

/// Every address is the image's, and every server is reached from one of them.
pub(super) fn check(config: &Config, places: &Places) -> Result<()> {
    let pools = config.pools.iter().zip(&places.sources).zip(&places.servers);
    for ((pool, source_spans), server_spans) in pools.filter(|((pool, _), _)| !pool.sources.is_empty()) {
        for (&source, span) in pool.sources.iter().zip(source_spans) {
            check_ours(config, source, span)?;
        }
        for (server, span) in pool.servers.iter().zip(server_spans) {
            check_reached(config, pool, server, span)?;
        }
    }
    Ok(())
}

fn check_ours(config: &Config, source: IpAddr, span: &Range<usize>) -> Result<()> {
    let own = own_address(config, source.is_ipv4());
    if own == Some(source) || config.network.sources.contains(&source) {
        return Ok(());
    }
    let help = match own {
        Some(own) => format!("use {own}, or add {source} to `source_addresses` of [network]"),
        None => "give `address` in [network]: which one the network will bring is not known before".into(),
    };
    let message = format!("{source} is not an address of this image");
    Err(Fault::new(span.clone(), ErrorKind::InvalidAddress, message, help))
}

fn check_reached(config: &Config, pool: &Pool, server: &Server, span: &Range<usize>) -> Result<()> {
    let is_within = |ip: IpAddr| {
        ip.is_loopback() || own_address(config, ip.is_ipv4()) == Some(ip) || config.network.sources.contains(&ip)
    };
    let has = |is_ipv4: bool| pool.sources.iter().any(|source| source.is_ipv4() == is_ipv4);
    let (is_reached, help) = match server.address.ip().map(|address| address.ip()) {
        Some(ip) if is_link_local(ip) => (false, "link-local servers are reached from the link-local address alone"),
        Some(ip) => (is_within(ip) || has(ip.is_ipv4()), "add an address of the server's family to `source`"),
        None => (has(true), "add an IPv4 address to `source`: a name's IPv4 addresses come before its IPv6 ones"),
    };
    if is_reached {
        return Ok(());
    }
    let message = format!("server \"{}\" at {} is not reached from any `source`", server.name, server.address);
    Err(Fault::new(span.clone(), ErrorKind::ConflictingKeys, message, help))
}
