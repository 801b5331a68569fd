//! `[dns]`, and addresses that may be names.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Result;
use super::log::remote;
use crate::document::{Item, Section, host_and_port, printable};
use crate::error::{ErrorKind, Fault};
use crate::model::{Address, Dns};
use crate::units::{DAY, SECOND, duration_text};

/// DNS servers at most.
const SERVERS_MAX: usize = 8;
/// Longest host name and longest label, in bytes (RFC 1035 2.3.4).
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

pub(super) fn read(section: Option<Section<'_>>) -> Result<Dns> {
    let mut dns = Dns::default();
    let Some(mut section) = section else { return Ok(dns) };
    section.not_yet(&["search", "hosts", "timeout", "retries", "prefer"])?;
    if let Some(item) = section.take("servers") {
        let servers = item.strings()?;
        if servers.len() > SERVERS_MAX {
            let message = format!("{} DNS servers are more than the limit of {SERVERS_MAX}", servers.len());
            return Err(item.fault(ErrorKind::TooLarge, message, "two or three are enough"));
        }
        dns.servers = servers.iter().map(|item| remote(item, "10.0.0.2:53")).collect::<Result<Vec<_>>>()?;
    }
    if let Some(item) = section.take("ttl_min") {
        dns.ttl_min_ns = item.duration_ns(SECOND..=DAY)?;
    }
    if let Some(item) = section.take("ttl_max") {
        dns.ttl_max_ns = item.duration_ns(SECOND..=DAY)?;
    }
    if dns.ttl_min_ns > dns.ttl_max_ns {
        let (min, max) = (duration_text(dns.ttl_min_ns), duration_text(dns.ttl_max_ns));
        let message = format!("`ttl_min` ({min}) is more than `ttl_max` ({max})");
        return Err(section.fault(ErrorKind::ConflictingKeys, message, "make `ttl_min` at most `ttl_max`"));
    }
    section.finish()?;
    Ok(dns)
}

/// An address with a port, or a host name with one.
pub(super) fn address(item: &Item<'_>, example: &str) -> Result<Address> {
    match host_and_port(item.string()?) {
        None => item.socket_address(example).map(Address::Ip),
        Some((host, port)) => Ok(Address::Name { host: host_name(item, host)?, port }),
    }
}

/// RFC 1123 2.1, and underscores, which container networks have.
fn host_name(item: &Item<'_>, text: &str) -> Result<String> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label =
        |label: &str| (1..=LABEL_BYTES_MAX).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    // RFC 3696 2: what ends in a number looks like an address.
    let ends_in_number = host.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if host.len() > HOST_BYTES_MAX || ends_in_number || !host.split('.').all(is_label) {
        return Err(unusable(item, text, "write an address or a host name, as in \"app.example.com:8080\""));
    }
    // RFC 6761 6.3.
    if host == "localhost" || host.ends_with(".localhost") {
        return Err(unusable(item, text, "write \"127.0.0.1:8080\" for a listener of this image"));
    }
    Ok(host)
}

fn unusable(item: &Item<'_>, host: &str, help: &str) -> Fault {
    let message = format!("no server can be called \"{}\"", printable(host));
    item.fault(ErrorKind::InvalidAddress, message, help)
}
