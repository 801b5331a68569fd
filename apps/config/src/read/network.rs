//! `[network]`.

use alloc::format;
use core::net::Ipv4Addr;

use super::Result;
use crate::document::{Item, Section};
use crate::error::{ErrorKind, Fault};
use crate::model::{Addressing, Network};

pub(super) fn read(section: Option<Section<'_>>) -> Result<Network> {
    let Some(mut section) = section else {
        return Ok(Network { addressing: Addressing::Dhcp, mtu_bytes: None });
    };
    section.not_yet(&["interface", "addresses", "dns", "vlan", "routes"])?;
    let gateway = section.take("gateway");
    let addressing = match section.take("address") {
        Some(item) => with_address(&item, gateway)?,
        None => match gateway {
            None => Addressing::Dhcp,
            Some(gateway) => return Err(gateway_alone(&gateway)),
        },
    };
    let mtu_bytes = section.take("mtu").map(|item| item.integer(576..=1500)).transpose()?;
    section.finish()?;
    Ok(Network { addressing, mtu_bytes: mtu_bytes.map(|mtu| mtu as u16) })
}

fn with_address(item: &Item<'_>, gateway: Option<Item<'_>>) -> Result<Addressing> {
    let (address, prefix_len) = item.ipv4_with_prefix()?;
    if !is_host_address(address, prefix_len) {
        return Err(item.fault(
            ErrorKind::InvalidAddress,
            format!("{address}/{prefix_len} cannot be the address of a machine"),
            "use a unicast address that is neither the network's own nor its broadcast address",
        ));
    }
    let Some(gateway) = gateway else {
        return Ok(Addressing::Static { address, prefix_len, gateway: None });
    };
    let router = gateway.ipv4()?;
    if subnet(router, prefix_len) != subnet(address, prefix_len) || router == address {
        return Err(gateway.fault(
            ErrorKind::InvalidAddress,
            format!("the gateway {router} is not another machine of {address}/{prefix_len}"),
            "use the router's address in that subnet, or correct the prefix length",
        ));
    }
    Ok(Addressing::Static { address, prefix_len, gateway: Some(router) })
}

fn gateway_alone(gateway: &Item<'_>) -> Fault {
    gateway.fault(
        ErrorKind::ConflictingKeys,
        "`gateway` without `address`",
        "add `address = \"192.0.2.10/24\"`, or remove `gateway`: DHCP brings its own",
    )
}

fn is_host_address(address: Ipv4Addr, prefix_len: u8) -> bool {
    let host_bits = 32 - u32::from(prefix_len);
    let mask = 1_u32.checked_shl(host_bits).map_or(u32::MAX, |bit| bit - 1);
    let host = address.to_bits() & mask;
    let is_reserved = host_bits >= 2 && (host == 0 || host == mask);
    let is_usable =
        !address.is_loopback() && !address.is_multicast() && !address.is_unspecified() && !address.is_broadcast();
    is_usable && !is_reserved
}

fn subnet(address: Ipv4Addr, prefix_len: u8) -> u32 {
    address.to_bits().checked_shr(32 - u32::from(prefix_len)).unwrap_or(0)
}
