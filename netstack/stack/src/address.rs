//! Our addresses, and what leads where.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Name servers that a configuration can carry.
pub const DNS_SERVERS_MAX: usize = 3;

/// IPv4 of the host: static, or as a DHCP server gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Configuration {
    /// Our address.
    pub address: Ipv4Addr,
    /// Bits of the address that name the network, at most 32.
    pub prefix_len: u8,
    /// The router towards everything else.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: [Option<Ipv4Addr>; DNS_SERVERS_MAX],
}

/// IPv6 of the host, beside its link-local address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Configuration {
    /// Our address.
    pub address: Ipv6Addr,
    /// Bits of the address that name the network, at most 128.
    pub prefix_len: u8,
    /// The router towards everything else.
    pub gateway: Option<Ipv6Addr>,
}

impl Ipv4Configuration {
    /// An address of a network, without gateway.
    #[must_use]
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self { address, prefix_len, gateway: None, dns: [None; DNS_SERVERS_MAX] }
    }

    /// The same with a gateway.
    #[must_use]
    pub const fn with_gateway(self, gateway: Ipv4Addr) -> Self {
        Self { gateway: Some(gateway), ..self }
    }
}

impl fmt::Display for Ipv4Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)?;
        match self.gateway {
            Some(gateway) => write!(f, " gateway {gateway}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Ipv6Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)?;
        match self.gateway {
            Some(gateway) => write!(f, " gateway {gateway}"),
            None => Ok(()),
        }
    }
}

/// Where a packet has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To ourselves.
    Loopback,
    /// To this neighbour.
    Neighbour(IpAddr),
    /// Nowhere.
    None,
}

/// All that decides on addresses, in the form in which a packet is compared with it.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    v4: V4,
    v4_configuration: Option<Ipv4Configuration>,
    v6: Option<Ipv6Configuration>,
    link_local: Ipv6Addr,
    /// Further addresses of ours: a handful, so that a search through all of them is short.
    sources_v4: Vec<Ipv4Addr>,
    sources_v6: Vec<Ipv6Addr>,
}

/// IPv4 as numbers; [`V4::NONE`] when there is none, so that a packet's path need not ask.
#[derive(Debug, Clone, Copy)]
struct V4 {
    address: u32,
    mask: u32,
    /// The address of all hosts of our network; the limited broadcast when it has none.
    broadcast: u32,
    /// The first octet at which addresses are no sources any more.
    sources_end: u8,
}

impl V4 {
    /// Nothing comes from anywhere, and nothing but the unspecified address is on the link.
    const NONE: Self = Self { address: 0, mask: u32::MAX, broadcast: u32::MAX, sources_end: 0 };

    fn new(configuration: &Ipv4Configuration) -> Self {
        let prefix_len = u32::from(configuration.prefix_len.min(32));
        let mask = u32::MAX.checked_shl(32 - prefix_len).unwrap_or(0);
        let address = configuration.address.to_bits();
        // Networks of one or two hosts have no such address (RFC 3021).
        let broadcast = if prefix_len < 31 { address | !mask } else { u32::MAX };
        Self { address, mask, broadcast, sources_end: 224 }
    }
}

impl Addresses {
    pub(crate) fn new(mac: [u8; 6]) -> Self {
        Self {
            v4: V4::NONE,
            v4_configuration: None,
            v6: None,
            link_local: link_local_address(mac),
            sources_v4: Vec::new(),
            sources_v6: Vec::new(),
        }
    }

    /// With further addresses, from which flows that we open come too.
    pub(crate) fn add_sources(&mut self, sources: &[IpAddr]) {
        for &source in sources {
            match source {
                IpAddr::V4(source) => self.sources_v4.push(source),
                IpAddr::V6(source) => self.sources_v6.push(source),
            }
        }
    }

    pub(crate) fn configure_v4(&mut self, configuration: Option<Ipv4Configuration>) {
        self.v4 = configuration.as_ref().map_or(V4::NONE, V4::new);
        self.v4_configuration = configuration;
    }

    pub(crate) fn configure_v6(&mut self, configuration: Option<Ipv6Configuration>) {
        self.v6 = configuration;
    }

    pub(crate) fn v4(&self) -> Option<&Ipv4Configuration> {
        self.v4_configuration.as_ref()
    }

    pub(crate) fn v6(&self) -> Option<&Ipv6Configuration> {
        self.v6.as_ref()
    }

    pub(crate) fn link_local(&self) -> Ipv6Addr {
        self.link_local
    }

    #[inline]
    pub(crate) fn is_ours_v4(&self, address: Ipv4Addr) -> bool {
        (self.v4.address == address.to_bits() && !address.is_unspecified()) || self.sources_v4.contains(&address)
    }

    #[inline]
    pub(crate) fn is_ours_v6(&self, address: Ipv6Addr) -> bool {
        self.link_local == address
            || self.v6.is_some_and(|v6| v6.address == address)
            || self.sources_v6.contains(&address)
    }

    /// All IPv4 addresses of ours.
    pub(crate) fn all_v4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.v4_configuration.iter().map(|v4| v4.address).chain(self.sources_v4.iter().copied())
    }

    /// All IPv6 addresses of ours.
    pub(crate) fn all_v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let configured = self.v6.iter().map(|v6| v6.address).chain(self.sources_v6.iter().copied());
        core::iter::once(self.link_local).chain(configured)
    }

    /// Whether `address` is ours or of the loopback network.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => address.is_loopback() || self.is_ours_v4(address),
            IpAddr::V6(address) => address.is_loopback() || self.is_ours_v6(address),
        }
    }

    #[inline]
    pub(crate) fn is_on_link_v4(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.v4.address) & self.v4.mask == 0
    }

    #[inline]
    pub(crate) fn is_on_link_v6(&self, address: Ipv6Addr) -> bool {
        address.is_unicast_link_local()
            || self.v6.is_some_and(|v6| {
                let mask = u128::MAX.checked_shl(128 - u32::from(v6.prefix_len.min(128))).unwrap_or(0);
                (address.to_bits() ^ v6.address.to_bits()) & mask == 0
            })
    }

    /// Whether `address` addresses all hosts of our network.
    #[inline]
    pub(crate) fn is_broadcast_v4(&self, address: Ipv4Addr) -> bool {
        address.is_broadcast() || address.to_bits() == self.v4.broadcast
    }

    /// Whether a packet from the wire to us may come from `address` (RFC 1122 3.2.1.3): a unicast address that is neither
    /// loopback nor "this host" nor one of our own.
    #[inline]
    pub(crate) fn is_source_v4(&self, address: Ipv4Addr) -> bool {
        let (bits, first) = (address.to_bits(), address.octets()[0]);
        first < self.v4.sources_end
            && first != 0
            && first != 127
            && bits != self.v4.address
            && bits != self.v4.broadcast
            && !self.sources_v4.contains(&address)
    }

    /// As [`is_source_v4`](Self::is_source_v4), for IPv6 (RFC 4291 2.5.2, 2.5.3, 2.7).
    #[inline]
    pub(crate) fn is_source_v6(&self, address: Ipv6Addr) -> bool {
        !address.is_multicast() && !address.is_unspecified() && !address.is_loopback() && !self.is_ours_v6(address)
    }

    /// The first hop towards `destination`.
    pub(crate) fn route(&self, destination: IpAddr) -> Route {
        if self.is_local(destination) {
            return Route::Loopback;
        }
        let hop = match destination {
            IpAddr::V4(address) if address.is_multicast() || self.is_broadcast_v4(address) => None,
            IpAddr::V4(address) if self.is_on_link_v4(address) && !address.is_unspecified() => Some(destination),
            IpAddr::V4(_) => self.v4_configuration.and_then(|v4| v4.gateway).map(IpAddr::V4),
            IpAddr::V6(address) if address.is_multicast() => None,
            IpAddr::V6(address) if self.is_on_link_v6(address) => Some(destination),
            IpAddr::V6(_) => self.v6.and_then(|v6| v6.gateway).map(IpAddr::V6),
        };
        hop.map_or(Route::None, Route::Neighbour)
    }

    /// Our addresses that flows towards `destination` can come from, with their numbers: the host's own is 0. Of `wanted` ones
    /// if there are any, except within the host. Without a way there are none.
    pub(crate) fn sources_towards<'a>(
        &'a self,
        destination: IpAddr,
        wanted: &'a [IpAddr],
    ) -> impl Iterator<Item = (usize, IpAddr)> + Clone {
        let own = self.source_for(destination);
        let is_choosy = !wanted.is_empty() && !self.is_local(destination);
        let (further_v4, further_v6) = match own {
            _ if !wanted.is_empty() && !is_choosy => Default::default(),
            Some(IpAddr::V4(own)) if self.v4_configuration.is_some_and(|v4| v4.address == own) => {
                (self.sources_v4.as_slice(), [].as_slice())
            }
            Some(IpAddr::V6(own)) if self.v6.is_some_and(|v6| v6.address == own) => {
                ([].as_slice(), self.sources_v6.as_slice())
            }
            _ => Default::default(),
        };
        let further = further_v4.iter().map(|&v4| IpAddr::V4(v4)).chain(further_v6.iter().map(|&v6| IpAddr::V6(v6)));
        own.into_iter().chain(further).enumerate().filter(move |(_, ip)| !is_choosy || wanted.contains(ip))
    }

    /// Our address towards `destination`.
    pub(crate) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        match (self.route(destination), destination) {
            (Route::None, _) => None,
            (Route::Loopback, _) => Some(destination),
            (_, IpAddr::V4(_)) => self.v4_configuration.map(|v4| IpAddr::V4(v4.address)),
            (_, IpAddr::V6(address)) if address.is_unicast_link_local() => Some(IpAddr::V6(self.link_local)),
            (_, IpAddr::V6(_)) => self.v6.map(|v6| IpAddr::V6(v6.address)),
        }
    }
}

/// The link-local address with the station's modified EUI-64 (RFC 4291 appendix A).
fn link_local_address(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::{Addresses, Ipv4Configuration, Route};
    use core::net::{IpAddr, Ipv4Addr};

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn addresses() -> Addresses {
        let mut addresses = Addresses::new([2, 0, 0, 0, 0, 1]);
        let configuration = Ipv4Configuration::new(Ipv4Addr::new(10, 0, 0, 2), 24);
        addresses.configure_v4(Some(configuration.with_gateway(Ipv4Addr::new(10, 0, 0, 1))));
        addresses
    }

    #[test]
    fn packets_go_to_ourselves_to_neighbours_and_through_the_gateway() {
        let addresses = addresses();
        assert_eq!(addresses.route(address("127.9.9.9")), Route::Loopback);
        assert_eq!(addresses.route(address("10.0.0.2")), Route::Loopback);
        assert_eq!(addresses.route(address("10.0.0.77")), Route::Neighbour(address("10.0.0.77")));
        assert_eq!(addresses.route(address("8.8.8.8")), Route::Neighbour(address("10.0.0.1")));
        assert_eq!(addresses.route(address("10.0.0.255")), Route::None);
        assert_eq!(addresses.route(address("fe80::9")), Route::Neighbour(address("fe80::9")));
        assert_eq!(addresses.route(address("2001:db8::1")), Route::None);
    }

    #[test]
    fn rfc1122_3_2_1_3_sources_that_must_not_be_on_the_wire() {
        let addresses = addresses();
        for bad in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.2"] {
            assert!(!addresses.is_source_v4(bad.parse().expect("an address")), "{bad}");
        }
        assert!(addresses.is_source_v4(Ipv4Addr::new(10, 0, 0, 1)));
        assert!(addresses.is_source_v4(Ipv4Addr::new(8, 8, 8, 8)));
    }

    #[test]
    fn prefixes_of_every_length_are_safe() {
        for prefix_len in 0..=255 {
            let mut addresses = addresses();
            addresses.configure_v4(Some(Ipv4Configuration::new(Ipv4Addr::new(10, 0, 0, 2), prefix_len)));
            assert!(addresses.is_on_link_v4(Ipv4Addr::new(10, 0, 0, 2)));
            assert_eq!(addresses.is_on_link_v4(Ipv4Addr::new(11, 0, 0, 2)), prefix_len < 8);
        }
    }
}
