//! `[network]`.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Result;
use crate::document::{Item, Section};
use crate::error::{ErrorKind, Fault};
use crate::model::{Addressing, Network};

pub(super) fn read(section: Option<Section<'_>>) -> Result<Network> {
    let Some(mut section) = section else {
        let (ipv4, ipv6) = (Addressing::Automatic, Addressing::Automatic);
        return Ok(Network { ipv4, ipv6, sources: Vec::new(), mtu_bytes: None });
    };
    section.not_yet(&["interface", "addresses", "vlan", "routes"])?;
    let addresses = section.take("address").map_or(Ok(Vec::new()), |item| item.strings())?;
    let gateways = section.take("gateway").map_or(Ok(Vec::new()), |item| item.strings())?;
    let addresses: Families<u8> = families(&addresses, Item::ip_with_prefix)?;
    let gateways: Families<()> = families(&gateways, |item| Ok((item.ip()?, ())))?;
    let ipv4 = addressing(addresses.v4, gateways.v4)?;
    let ipv6 = addressing(addresses.v6, gateways.v6)?;
    let sources = section.take("source_addresses").map_or(Ok(Vec::new()), |item| sources(&item, &ipv4, &ipv6))?;
    let mtu_bytes = section.take("mtu").map(|item| item.integer(576..=1500)).transpose()?;
    section.finish()?;
    Ok(Network { ipv4, ipv6, sources, mtu_bytes: mtu_bytes.map(|mtu| mtu as u16) })
}

/// Further addresses at most: a packet's address is looked for among them one by one.
const SOURCES_MAX: usize = 16;

/// `source_addresses`: more source ports towards each server.
fn sources(list: &Item<'_>, ipv4: &Addressing<Ipv4Addr>, ipv6: &Addressing<Ipv6Addr>) -> Result<Vec<IpAddr>> {
    let mut sources = Vec::new();
    for item in list.strings()? {
        let address = item.ip()?;
        match address {
            IpAddr::V4(address) => check_source(&item, address, ipv4)?,
            IpAddr::V6(address) => check_source(&item, address, ipv6)?,
        }
        if sources.contains(&address) {
            let message = format!("{address} stands in the list twice");
            return Err(item.fault(ErrorKind::InvalidAddress, message, "remove one of them"));
        }
        if sources.len() == SOURCES_MAX {
            let message = format!("more than {SOURCES_MAX} source addresses");
            return Err(item.fault(ErrorKind::OutOfRange, message, "give fewer"));
        }
        sources.push(address);
    }
    Ok(sources)
}

/// A source address is another host of the subnet that the configuration tells.
fn check_source<A: Family>(item: &Item<'_>, source: A, addressing: &Addressing<A>) -> Result<()> {
    let &Addressing::Static { address, prefix_len, gateway } = addressing else {
        return Err(item.fault(
            ErrorKind::ConflictingKeys,
            format!("the source address {source} without a given {} address", A::NAME),
            format!("add `address = \"{}\"`: {} brings one address only", A::EXAMPLE, A::AUTOMATIC),
        ));
    };
    if !source.is_host(prefix_len) || !source.shares_subnet(prefix_len, address) || source == address {
        return Err(item.fault(
            ErrorKind::InvalidAddress,
            format!("{source} is no further address of a machine in {address}/{prefix_len}"),
            "use a free address of the subnet, other than the image's own",
        ));
    }
    if gateway == Some(source) {
        let message = format!("{source} is the gateway's address");
        return Err(item.fault(ErrorKind::InvalidAddress, message, "use an address that no other machine has"));
    }
    Ok(())
}

/// An address as it stands in the file, and what goes with it.
struct Written<'i, 'd, A, T> {
    item: &'i Item<'d>,
    address: A,
    with: T,
}

/// At most one address of each family.
struct Families<'i, 'd, T> {
    v4: Option<Written<'i, 'd, Ipv4Addr, T>>,
    v6: Option<Written<'i, 'd, Ipv6Addr, T>>,
}

fn families<'i, 'd, T>(
    items: &'i [Item<'d>],
    read: impl Fn(&Item<'d>) -> Result<(IpAddr, T)>,
) -> Result<Families<'i, 'd, T>> {
    let mut families = Families { v4: None, v6: None };
    for item in items {
        let is_second = match read(item)? {
            (IpAddr::V4(address), with) => families.v4.replace(Written { item, address, with }).is_some(),
            (IpAddr::V6(address), with) => families.v6.replace(Written { item, address, with }).is_some(),
        };
        if is_second {
            let message = "several addresses of one family are not supported yet";
            return Err(item.fault(ErrorKind::NotSupportedYet, message, "give one IPv4 and one IPv6 address at most"));
        }
    }
    Ok(families)
}

/// What the two families have their own rules for.
pub(super) trait Family: Copy + PartialEq + Display {
    const NAME: &'static str;
    const EXAMPLE: &'static str;
    /// What brings address and gateway when none is given.
    const AUTOMATIC: &'static str;
    /// Which addresses of a subnet no machine can have.
    const RESERVED: &'static str;

    /// Whether a machine can have this address.
    fn is_host(self, prefix_len: u8) -> bool;
    /// Whether a machine with this address reaches that router without another one.
    fn reaches(self, prefix_len: u8, router: Self) -> bool;
    /// Whether both are in the same subnet.
    fn shares_subnet(self, prefix_len: u8, other: Self) -> bool;
}

impl Family for Ipv4Addr {
    const NAME: &'static str = "IPv4";
    const EXAMPLE: &'static str = "192.0.2.10/24";
    const AUTOMATIC: &'static str = "DHCP";
    const RESERVED: &'static str = "use a unicast address that is neither the network's own nor its broadcast address";

    fn is_host(self, prefix_len: u8) -> bool {
        let host_bits = 32 - u32::from(prefix_len);
        let mask = 1_u32.checked_shl(host_bits).map_or(u32::MAX, |bit| bit - 1);
        let host = self.to_bits() & mask;
        let is_reserved = host_bits >= 2 && (host == 0 || host == mask);
        let is_usable = !self.is_loopback() && !self.is_multicast() && !self.is_unspecified() && !self.is_broadcast();
        is_usable && !is_reserved
    }

    fn reaches(self, prefix_len: u8, router: Self) -> bool {
        self.shares_subnet(prefix_len, router) && self != router
    }

    fn shares_subnet(self, prefix_len: u8, other: Self) -> bool {
        let subnet = |ip: Self| ip.to_bits().checked_shr(32 - u32::from(prefix_len)).unwrap_or(0);
        subnet(self) == subnet(other)
    }
}

impl Family for Ipv6Addr {
    const NAME: &'static str = "IPv6";
    const EXAMPLE: &'static str = "2001:db8::10/64";
    const AUTOMATIC: &'static str = "a router's advertisement";
    const RESERVED: &'static str =
        "use a unicast address that is not link-local (there is one anyway) and not the prefix alone";

    fn is_host(self, prefix_len: u8) -> bool {
        // RFC 4291 2.6.1: the prefix alone is any router of the subnet; RFC 6164: but not where two routers share it.
        let host_bits = 128 - u32::from(prefix_len);
        let mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        let is_reserved = host_bits >= 2 && self.to_bits() & mask == 0;
        let is_usable = !self.is_loopback()
            && !self.is_multicast()
            && !self.is_unspecified()
            && !self.is_unicast_link_local()
            && self.to_ipv4_mapped().is_none();
        is_usable && !is_reserved
    }

    fn reaches(self, prefix_len: u8, router: Self) -> bool {
        (self.shares_subnet(prefix_len, router) || router.is_unicast_link_local()) && self != router
    }

    fn shares_subnet(self, prefix_len: u8, other: Self) -> bool {
        let subnet = |ip: Self| ip.to_bits().checked_shr(128 - u32::from(prefix_len)).unwrap_or(0);
        subnet(self) == subnet(other)
    }
}

fn addressing<A: Family>(
    address: Option<Written<'_, '_, A, u8>>,
    gateway: Option<Written<'_, '_, A, ()>>,
) -> Result<Addressing<A>> {
    let Some(Written { item, address, with: prefix_len }) = address else {
        return gateway.map_or(Ok(Addressing::Automatic), |gateway| Err(gateway_alone::<A>(gateway.item)));
    };
    if !address.is_host(prefix_len) {
        let message = format!("{address}/{prefix_len} cannot be the address of a machine");
        return Err(item.fault(ErrorKind::InvalidAddress, message, A::RESERVED));
    }
    if let Some(router) = &gateway
        && !address.reaches(prefix_len, router.address)
    {
        return Err(router.item.fault(
            ErrorKind::InvalidAddress,
            format!("the gateway {} is not another machine of {address}/{prefix_len}", router.address),
            "use the router's address in that subnet, or correct the prefix length",
        ));
    }
    Ok(Addressing::Static { address, prefix_len, gateway: gateway.map(|router| router.address) })
}

fn gateway_alone<A: Family>(gateway: &Item<'_>) -> Fault {
    gateway.fault(
        ErrorKind::ConflictingKeys,
        format!("an {} `gateway` without `address`", A::NAME),
        format!("add `address = \"{}\"`, or remove `gateway`: {} brings its own", A::EXAMPLE, A::AUTOMATIC),
    )
}
