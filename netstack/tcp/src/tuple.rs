//! The pair of endpoints that names a flow, and its keyed hash.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::fold;
use crate::link::Inbound;
use crate::segment::{HEADER_BYTES, word};

/// An IP address of either family in 16 bytes, as segments come and go with it.
///
/// An address of IPv4 is kept in its mapped form (`::ffff:a.b.c.d`). An IPv6 address of that form would be taken for it: made
/// from [`Ipv6Addr`], it becomes the unspecified address of IPv4, from which nothing is taken.
// Two registers in memory order, as on the wire; aligned as four words, so that a record of them has no gaps.
#[derive(Debug, Clone, Copy, Eq, Default)]
#[repr(Rust, packed(4))]
pub struct Address([u64; 2]);

/// In registers: what is derived compares memory, and a segment's addresses would be written there for it.
impl PartialEq for Address {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b], [c, d]) = (self.halves(), other.halves());
        (a ^ c) | (b ^ d) == 0
    }
}

const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
/// The unspecified address of IPv4, `0.0.0.0`.
const ANY_V4: Address = Address::of_words([0, 0, MAPPED, 0]);

impl Address {
    /// Whether it is one of IPv4.
    #[inline(always)]
    #[must_use]
    pub fn is_v4(self) -> bool {
        let [a, b] = self.halves();
        a == 0 && b as u32 == MAPPED
    }

    /// The address, when it is one of IPv4.
    #[inline(always)]
    #[must_use]
    pub fn to_v4(self) -> Option<Ipv4Addr> {
        self.is_v4().then(|| self.last_v4())
    }

    /// Its last four bytes: the address, when it is known to be one of IPv4.
    #[inline(always)]
    #[must_use]
    pub fn last_v4(self) -> Ipv4Addr {
        Ipv4Addr::from(self.words()[3].to_ne_bytes())
    }

    /// Its sixteen bytes as those of an IPv6 address.
    #[inline(always)]
    #[must_use]
    pub fn to_v6(self) -> Ipv6Addr {
        let mut octets = [0; 16];
        for (part, word) in octets.chunks_exact_mut(4).zip(self.words()) {
            part.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets)
    }

    /// The address in the form of the standard library.
    #[inline(always)]
    #[must_use]
    pub fn to_ip(self) -> IpAddr {
        self.to_v4().map_or_else(|| IpAddr::V6(self.to_v6()), IpAddr::V4)
    }

    /// An address that the application names: there an IPv6 address may stand for one of IPv4.
    pub(crate) fn of_application(ip: IpAddr) -> Self {
        ip.to_canonical().into()
    }

    /// The unspecified address of the same family.
    #[inline(always)]
    pub(crate) fn any(self) -> Self {
        if self.is_v4() { ANY_V4 } else { Self::default() }
    }

    /// The ones' complement sum of the address, not folded. The marker of a mapped address adds 0xffff, which is nothing.
    #[inline(always)]
    fn sum(self) -> u64 {
        self.words().into_iter().map(u64::from).sum()
    }

    /// For an ordered table of addresses.
    #[inline(always)]
    pub(crate) fn to_bits(self) -> u128 {
        let [a, b] = self.halves().map(u128::from);
        a | b << 64
    }

    #[inline(always)]
    pub(crate) fn halves(self) -> [u64; 2] {
        self.0
    }

    #[inline(always)]
    fn words(self) -> [u32; 4] {
        let [a, b] = self.0;
        [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32]
    }

    #[inline(always)]
    const fn of_words([a, b, c, d]: [u32; 4]) -> Self {
        Self([a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32])
    }
}

impl From<Ipv4Addr> for Address {
    #[inline(always)]
    fn from(v4: Ipv4Addr) -> Self {
        Self::of_words([0, 0, MAPPED, u32::from_ne_bytes(v4.octets())])
    }
}

impl From<Ipv6Addr> for Address {
    #[inline(always)]
    fn from(v6: Ipv6Addr) -> Self {
        let o = v6.octets();
        let word = |i: usize| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]);
        let address = Self::of_words([word(0), word(4), word(8), word(12)]);
        if address.is_v4() { ANY_V4 } else { address }
    }
}

impl From<IpAddr> for Address {
    #[inline(always)]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => v6.into(),
        }
    }
}

/// Both ends of a flow, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tuple {
    pub local: Address,
    pub remote: Address,
    /// The remote port above the local one: the first word of the headers that arrive.
    ports: u32,
}

const _: () = assert!(size_of::<Tuple>() == 36);

impl Tuple {
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let (local_ip, remote_ip) = (Address::of_application(local.ip()), Address::of_application(remote.ip()));
        Self { local: local_ip, remote: remote_ip, ports: u32::from(remote.port()) << 16 | u32::from(local.port()) }
    }

    /// The endpoints of a received segment. None when a port is 0, or the source can be nobody's.
    #[inline(always)]
    pub fn of_received(inbound: &Inbound, header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let tuple = Self { local: inbound.destination, remote: inbound.source, ports: word(header, 0) };
        let is_martian = tuple.local_port() == 0 || tuple.remote_port() == 0 || tuple.remote == ANY_V4;
        (!is_martian).then_some(tuple)
    }

    #[inline(always)]
    pub fn local_port(&self) -> u16 {
        self.ports as u16
    }

    #[inline(always)]
    pub fn remote_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// The first word of the headers that we send.
    #[inline(always)]
    pub fn header_word(&self) -> u32 {
        self.ports.rotate_left(16)
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.to_ip(), self.local_port())
    }

    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote.to_ip(), self.remote_port())
    }

    /// A keyed multiply-and-fold hash: three wide multiplications.
    ///
    /// It is not a pseudo-random function as SipHash is, at a tenth of its price. What it has to withstand: a remote
    /// attacker chooses address and port, does not know the 256-bit key (fresh at each boot, another one per core), and
    /// sees neither the hash nor the table. Without the key, tuples that collide cannot be computed; with timing alone, a
    /// probe sequence longer by a few entries would have to be seen through a network. What is visible from outside
    /// (sequence numbers, timestamps, cookies) comes from SipHash instead.
    #[inline(always)]
    pub fn hash(&self, key: &[u64; 4]) -> u32 {
        let ([l0, l1], [r0, r1]) = (self.local.halves(), self.remote.halves());
        let addresses = multiply_and_fold(l0 ^ key[0], l1 ^ key[1]) ^ multiply_and_fold(r0 ^ key[2], r1 ^ key[3]);
        let mixed = multiply_and_fold(addresses ^ u64::from(self.ports), key[1] | 1);
        (mixed ^ mixed >> 32) as u32
    }

    /// The part of the pseudo-header's sum that is the same for every segment of the flow (RFC 9293, 3.1).
    #[inline(always)]
    pub fn address_sum(&self) -> u16 {
        const PROTOCOL: u64 = (6_u16).to_be() as u64;
        fold(self.local.sum() + self.remote.sum() + PROTOCOL)
    }
}

#[inline(always)]
fn multiply_and_fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(local: &str, remote: &str) -> Tuple {
        Tuple::new(local.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn addresses_survive_the_compact_form() {
        for text in ["10.1.2.3:80", "[2001:db8::1]:443", "[::]:1", "0.0.0.0:9"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Tuple::new(address, address).local(), address);
        }
    }

    /// Also under a seed of hardly any bits.
    #[test]
    fn ports_of_one_host_spread_over_the_table() {
        let secrets = crate::secrets::Secrets::new([1, 2, 3, 4]);
        let key = *secrets.table_key();
        let mut buckets = [0_u32; 256];
        for port in 1..=25_600 {
            let remote = SocketAddr::from(([192, 0, 2, 1], port));
            buckets[Tuple::new("10.0.0.1:80".parse().unwrap(), remote).hash(&key) as usize & 255] += 1;
        }
        assert!(buckets.iter().all(|&n| (50..=160).contains(&n)), "{buckets:?}");
        assert_ne!(tuple("[::1]:1", "[::2]:2").hash(&key), tuple("[::2]:1", "[::1]:2").hash(&key));
    }
}
