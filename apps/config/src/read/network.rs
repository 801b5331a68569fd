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
        return Ok(Network { ipv4: Addressing::Automatic, ipv6: Addressing::Automatic, mtu_bytes: None });
    };
    section.not_yet(&["interface", "addresses", "vlan", "routes"])?;
    let addresses = section.take("address").map_or(Ok(Vec::new()), |item| item.strings())?;
    let gateways = section.take("gateway").map_or(Ok(Vec::new()), |item| item.strings())?;
    let addresses: Families<u8> = families(&addresses, Item::ip_with_prefix)?;
    let gateways: Families<()> = families(&gateways, |item| Ok((item.ip()?, ())))?;
    let ipv4 = addressing(addresses.v4, gateways.v4)?;
    let ipv6 = addressing(addresses.v6, gateways.v6)?;
    let mtu_bytes = section.take("mtu").map(|item| item.integer(576..=1500)).transpose()?;
    section.finish()?;
    Ok(Network { ipv4, ipv6, mtu_bytes: mtu_bytes.map(|mtu| mtu as u16) })
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
trait Family: Copy + PartialEq + Display {
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
        let subnet = |ip: Self| ip.to_bits().checked_shr(32 - u32::from(prefix_len)).unwrap_or(0);
        subnet(self) == subnet(router) && self != router
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
        let subnet = |ip: Self| ip.to_bits().checked_shr(128 - u32::from(prefix_len)).unwrap_or(0);
        (subnet(self) == subnet(router) || router.is_unicast_link_local()) && self != router
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
