//! `[[pool]]` and `[[pool.server]]`.

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Names, Result};
use crate::document::Section;
use crate::error::ErrorKind;
use crate::model::{Balance, Pool, Server};
use crate::{SERVERS_MAX, WEIGHT_MAX};

/// All pools, and where their servers' addresses stand.
pub(super) struct Pools {
    pub value: Vec<Pool>,
    /// In the order of pools and their servers.
    pub servers: Vec<Vec<Range<usize>>>,
}

pub(super) fn read(sections: Vec<Section<'_>>) -> Result<Pools> {
    let mut names = Names::new("pool");
    let mut pools = Pools { value: Vec::new(), servers: Vec::new() };
    for section in sections {
        let (pool, servers) = pool(section, &mut names)?;
        pools.value.push(pool);
        pools.servers.push(servers);
    }
    names.check_unique()?;
    Ok(pools)
}

fn pool(mut section: Section<'_>, names: &mut Names) -> Result<(Pool, Vec<Range<usize>>)> {
    section.not_yet(&["hash_on", "when_all_down", "backup", "slow_start", "sticky", "retries", "queue"])?;
    let name_item = section.require("name", "\"api\"")?;
    let name = name_item.name()?;
    names.insert(name, name_item.span());
    let balance = match section.take("balance") {
        None => Balance::RoundRobin,
        Some(item) => {
            item.choice(&[("round-robin", Balance::RoundRobin)], &["least-connections", "random-2", "hash", "random"])?
        }
    };
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
    if servers.iter().all(|server| server.weight == 0) {
        let message = match servers.is_empty() {
            true => format!("pool \"{name}\" has no server"),
            false => format!("all servers of pool \"{name}\" have weight 0"),
        };
        let help = "add a [[pool.server]] with `name`, `address` and a weight above 0";
        return Err(section.fault(ErrorKind::EmptyPool, message, help));
    }
    section.finish()?;
    Ok((Pool { name: name.into(), balance, health, servers }, spans))
}

fn server(mut section: Section<'_>, names: &mut Names) -> Result<(Server, Range<usize>)> {
    section.not_yet(&["max_connections", "backup", "state", "health", "proxy_protocol", "tls"])?;
    let name_item = section.require("name", "\"a\"")?;
    let name = name_item.name()?;
    names.insert(name, name_item.span());
    let address_item = section.require("address", "\"10.0.0.11:8080\"")?;
    let address = address_item.socket_address("10.0.0.11:8080")?;
    if address.ip().is_unspecified() || address.ip().is_multicast() {
        let message = format!("no server can be reached at {address}");
        return Err(address_item.fault(ErrorKind::InvalidAddress, message, "give the address of one machine"));
    }
    let weight = match section.take("weight") {
        None => 1,
        Some(item) => item.integer(0..=WEIGHT_MAX.into())? as u16,
    };
    section.finish()?;
    Ok((Server { name: name.into(), address, weight }, address_item.span()))
}
