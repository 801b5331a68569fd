//! The pair of endpoints that names a flow, and its keyed hash.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::link::Inbound;
use crate::segment::HEADER_BYTES;

/// An address of either family in 16 bytes; IPv4 in its mapped form (`::ffff:a.b.c.d`), which never comes from the wire
/// (the engine drops it as a martian). Words are in memory order, as on the wire.
#[derive(Debug, Clone, Copy, Eq, Default)]
pub(crate) struct Address([u32; 4]);

/// In registers: what is derived compares memory, and a segment's addresses would be written there for it.
impl PartialEq for Address {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let ([a, b], [c, d]) = (self.halves(), other.halves());
        (a ^ c) | (b ^ d) == 0
    }
}

const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl Address {
    #[inline(always)]
    pub fn is_v4(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// The IPv4 address, which it must be.
    #[inline(always)]
    fn to_v4(self) -> Ipv4Addr {
        Ipv4Addr::from(self.0[3].to_ne_bytes())
    }

    /// The unspecified address of the same family.
    #[inline(always)]
    pub fn any(self) -> Self {
        if self.is_v4() { Self([0, 0, MAPPED, 0]) } else { Self([0; 4]) }
    }

    #[inline(always)]
    pub fn to_ip(self) -> IpAddr {
        if self.is_v4() {
            IpAddr::V4(self.to_v4())
        } else {
            let mut octets = [0; 16];
            for (part, word) in octets.chunks_exact_mut(4).zip(self.0) {
                part.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
    }

    /// The ones' complement sum of the address, not folded. The marker of a mapped address adds 0xffff, which is nothing.
    #[inline(always)]
    fn sum(self) -> u64 {
        self.0.iter().map(|&word| u64::from(word)).sum()
    }

    /// For an ordered table of addresses.
    #[inline(always)]
    pub fn to_bits(self) -> u128 {
        let [a, b] = self.halves().map(u128::from);
        a | b << 64
    }

    #[inline(always)]
    pub fn halves(self) -> [u64; 2] {
        let [a, b, c, d] = self.0.map(u64::from);
        [a | b << 32, c | d << 32]
    }
}

impl From<IpAddr> for Address {
    #[inline(always)]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self([0, 0, MAPPED, u32::from_ne_bytes(v4.octets())]),
            IpAddr::V6(v6) => {
                let o = v6.octets();
                let word = |i: usize| u32::from_ne_bytes([o[i], o[i + 1], o[i + 2], o[i + 3]]);
                Self([word(0), word(4), word(8), word(12)])
            }
        }
    }
}

/// Both ends of a flow, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tuple {
    pub local: Address,
    pub remote: Address,
    pub local_port: u16,
    pub remote_port: u16,
}

const _: () = assert!(size_of::<Tuple>() == 36);

impl Tuple {
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local: local.ip().into(),
            remote: remote.ip().into(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    /// The endpoints of a received segment. None when a port is 0, or the source is an IPv6 address that stands for one of
    /// IPv4 and can be nobody's.
    #[inline(always)]
    pub fn of_received(inbound: &Inbound, header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let local_port = u16::from_be_bytes([header[2], header[3]]);
        let remote_port = u16::from_be_bytes([header[0], header[1]]);
        let (local, remote) = (inbound.destination.into(), Address::from(inbound.source));
        let is_mapped = inbound.source.is_ipv6() && remote.is_v4();
        let is_martian = local_port == 0 || remote_port == 0 || is_mapped;
        (!is_martian).then_some(Self { local, remote, local_port, remote_port })
    }

    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.to_ip(), self.local_port)
    }

    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote.to_ip(), self.remote_port)
    }

    /// Both addresses: local, remote. They are of one family.
    #[inline(always)]
    pub fn to_ips(self) -> (IpAddr, IpAddr) {
        if self.remote.is_v4() {
            (self.local.to_v4().into(), self.remote.to_v4().into())
        } else {
            (self.local.to_ip(), self.remote.to_ip())
        }
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
        let ports = u64::from(self.local_port) << 16 | u64::from(self.remote_port);
        let ([l0, l1], [r0, r1]) = (self.local.halves(), self.remote.halves());
        let addresses = fold(l0 ^ key[0], l1 ^ key[1]) ^ fold(r0 ^ key[2], r1 ^ key[3]);
        let mixed = fold(addresses ^ ports, key[1] | 1);
        (mixed ^ mixed >> 32) as u32
    }

    /// The part of the pseudo-header's sum that is the same for every segment of the flow (RFC 9293, 3.1), folded to 32
    /// bits.
    #[inline(always)]
    pub fn address_sum(&self) -> u32 {
        const PROTOCOL: u64 = (6_u16).to_be() as u64;
        let sum = self.local.sum() + self.remote.sum() + PROTOCOL;
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        ((sum & 0xffff_ffff) + (sum >> 32)) as u32
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
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
