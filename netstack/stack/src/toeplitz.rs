//! The Toeplitz hash by which devices spread received frames over their queues (virtio 1.2, 5.1.6.4.3.2), and what it
//! predicts.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

/// Bytes of the key.
pub const KEY_BYTES: usize = 40;

/// Longest input: two IPv6 addresses and two ports.
const INPUT_BYTES_MAX: usize = 36;

/// How the device spreads what it receives over the cores' queues: as many queues as cores, entry `i` of the table is
/// queue `i mod cores`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The key of the hash.
    pub key: [u8; KEY_BYTES],
    /// Entries of the table, a power of two.
    pub table_len: u16,
}

/// Predicts the queue of a segment. The hash is linear: the contribution of each byte at each place is looked up.
pub(crate) struct Predictor {
    contributions: Box<[[u32; 256]; INPUT_BYTES_MAX]>,
    mask: u32,
    cores: u32,
}

/// The hash of all but the destination's port, for one source and one address of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix {
    hash: u32,
    /// Where the destination's port stands in the input.
    place: usize,
}

impl Predictor {
    pub(crate) fn new(spread: &Spread, cores: u16) -> Self {
        let mut contributions = Box::new([[0; 256]; INPUT_BYTES_MAX]);
        for (place, of_byte) in contributions.iter_mut().enumerate() {
            for (byte, sum) in of_byte.iter_mut().enumerate() {
                let bits = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
                *sum = bits.fold(0, |sum, bit| sum ^ window(&spread.key, 8 * place + bit));
            }
        }
        let mask = u32::from(spread.table_len.max(1)) - 1;
        Self { contributions, mask, cores: u32::from(cores.max(1)) }
    }

    /// The part of the hash that all segments from `source` to `destination` have in common.
    pub(crate) fn prefix(&self, source: SocketAddr, destination: IpAddr) -> Option<Prefix> {
        let mut prefix = Prefix { hash: 0, place: 0 };
        match (source.ip(), destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.add(&mut prefix, &from.octets());
                self.add(&mut prefix, &to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                self.add(&mut prefix, &from.octets());
                self.add(&mut prefix, &to.octets());
            }
            _ => return None,
        }
        self.add(&mut prefix, &source.port().to_be_bytes());
        Some(prefix)
    }

    /// The queue of a segment to `port`.
    pub(crate) fn queue(&self, mut prefix: Prefix, port: u16) -> u16 {
        self.add(&mut prefix, &port.to_be_bytes());
        ((prefix.hash & self.mask) % self.cores) as u16
    }

    fn add(&self, prefix: &mut Prefix, bytes: &[u8]) {
        for (of_byte, &byte) in self.contributions.iter().skip(prefix.place).zip(bytes) {
            prefix.hash ^= of_byte[usize::from(byte)];
        }
        prefix.place += bytes.len();
    }
}

/// The 32 bits of the key from bit `at` on.
fn window(key: &[u8; KEY_BYTES], at: usize) -> u32 {
    let bytes = key.iter().skip(at / 8).take(5).fold(0_u64, |bytes, &byte| bytes << 8 | u64::from(byte));
    (bytes >> (8 - at % 8)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of Microsoft's "Verifying the RSS Hash Calculation".
    const KEY: [u8; KEY_BYTES] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
        0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
        0xbe, 0xac, 0x01, 0xfa,
    ];

    fn hash(source: &str, destination: &str) -> u32 {
        let predictor = Predictor::new(&Spread { key: KEY, table_len: 128 }, 4);
        let (source, destination): (SocketAddr, SocketAddr) =
            (source.parse().expect("an address"), destination.parse().expect("an address"));
        let mut prefix = predictor.prefix(source, destination.ip()).expect("one family");
        let queue = predictor.queue(prefix, destination.port());
        predictor.add(&mut prefix, &destination.port().to_be_bytes());
        assert_eq!(u32::from(queue), prefix.hash % 128 % 4);
        prefix.hash
    }

    #[test]
    fn the_published_examples_come_out() {
        assert_eq!(hash("66.9.149.187:2794", "161.142.100.80:1766"), 0x51cc_c178);
        assert_eq!(hash("199.92.111.2:14230", "65.69.140.83:4739"), 0xc626_b0ea);
        assert_eq!(hash("[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766"), 0x4020_7d3d);
        assert_eq!(hash("[3ffe:501:8::260:97ff:fe40:efab]:14230", "[ff02::1]:4739"), 0xdde5_1bbf);
    }
}
