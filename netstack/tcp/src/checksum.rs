//! The Internet checksum (RFC 1071) over bytes that lie in several pieces.

/// A running ones' complement sum. Bytes are summed in memory order; the sum is right in either byte order (RFC 1071, 2B).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checksum {
    sum: u64,
    /// An odd number of bytes was added so far: the next piece is summed with its bytes exchanged.
    odd: bool,
}

impl Checksum {
    /// Begins with the flow's part of the pseudo-header ([`crate::tuple::Tuple::address_sum`]) and the TCP length.
    #[inline(always)]
    pub fn pseudo_header(address_sum: u16, tcp_len: usize) -> Self {
        Self { sum: u64::from(pseudo_sum(address_sum, tcp_len)), odd: false }
    }

    #[inline]
    pub fn add(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(4);
        let mut sum: u64 = 0;
        for word in &mut words {
            sum += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
        let mut last = [0_u8; 4];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        sum += u64::from(u32::from_ne_bytes(last));
        let folded = fold(sum);
        self.sum += u64::from(if self.odd { folded.swap_bytes() } else { folded });
        self.odd ^= bytes.len() % 2 == 1;
    }

    /// The checksum as bytes to be stored.
    #[inline(always)]
    pub fn finish(self) -> [u8; 2] {
        (!fold(self.sum)).to_ne_bytes()
    }

    /// Whether what was summed, its checksum included, is intact.
    #[inline(always)]
    pub fn is_valid(self) -> bool {
        fold(self.sum) == 0xffff
    }
}

/// The sum of the pseudo-header as a device wants it that completes the checksum: not complemented.
#[inline(always)]
pub(crate) fn partial(address_sum: u16, tcp_len: usize) -> [u8; 2] {
    let sum = pseudo_sum(address_sum, tcp_len);
    ((sum & 0xffff) as u16 + (sum >> 16) as u16).to_ne_bytes()
}

/// Two words. 65,535 bytes is the most; the sum of larger (segmented) ones is 16 bits of the length, as devices expect.
#[inline(always)]
fn pseudo_sum(address_sum: u16, tcp_len: usize) -> u32 {
    u32::from(address_sum) + u32::from((tcp_len as u16).to_be())
}

#[inline(always)]
pub(crate) fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::Checksum;
    use smoltcp::wire::{IpAddress, TcpPacket};

    #[test]
    fn agrees_with_smoltcp_however_the_bytes_are_cut() {
        let mut segment = [0_u8; 61];
        for (i, byte) in segment.iter_mut().enumerate() {
            *byte = (i * 37) as u8;
        }
        segment[12] = 5 << 4;
        let (a, b) = ("192.0.2.1:1".parse().unwrap(), "198.51.100.7:2".parse().unwrap());
        let sum = crate::tuple::Tuple::new(a, b).address_sum();
        let (source, destination) = (IpAddress::from(a.ip()), IpAddress::from(b.ip()));
        TcpPacket::new_unchecked(&mut segment[..]).fill_checksum(&source, &destination);
        for cut in 0..segment.len() {
            let mut checksum = Checksum::pseudo_header(sum, segment.len());
            checksum.add(&segment[..cut]);
            checksum.add(&segment[cut..]);
            assert!(checksum.is_valid(), "cut at {cut}");
        }
        segment[40] ^= 1;
        let mut checksum = Checksum::pseudo_header(sum, segment.len());
        checksum.add(&segment);
        assert!(!checksum.is_valid());
    }
}
