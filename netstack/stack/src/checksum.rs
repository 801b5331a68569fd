//! The Internet checksum (RFC 1071) over the small things that the stack itself sends: headers and ICMP messages.
//!
//! The sum is commutative and independent of byte order (RFC 1071, 2), so it is taken over native words and only the
//! result is written as it lies in memory: no byte is swapped.

/// A ones' complement sum that is not yet folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum(u64);

impl Sum {
    pub(crate) const ZERO: Self = Self(0);

    /// Adds `bytes`; an odd last byte is padded with zero. All but the last call must be for an even number of bytes.
    #[inline]
    #[must_use]
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            // 2^32 words of 32 bits fit before this could overflow.
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        Self(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// The sum of an IPv4 header without options, without a loop that the compiler would vectorise.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of_header(bytes: &[u8; 20]) -> Self {
        const fn word(bytes: &[u8; 20], at: usize) -> u32 {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        }
        Self::of_words([word(bytes, 0), word(bytes, 4), word(bytes, 8), word(bytes, 12), word(bytes, 16)])
    }

    /// The sum of five words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of_words([a, b, c, d, e]: [u32; 5]) -> Self {
        Self(a as u64 + b as u64 + c as u64 + d as u64 + e as u64)
    }

    /// Adds the pseudo-header of IPv6 (RFC 8200 8.1): addresses, length and protocol.
    #[must_use]
    pub(crate) fn add_pseudo_header_v6(self, source: [u8; 16], destination: [u8; 16], len: u32, protocol: u8) -> Self {
        self.add(&source).add(&destination).add(&len.to_be_bytes()).add(&[0, 0, 0, protocol])
    }

    /// The sum folded to 16 bits, as it lies in memory.
    #[inline]
    #[must_use]
    pub(crate) const fn fold(self) -> [u8; 2] {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        (sum as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the folded sum, as it lies in memory.
    #[inline]
    #[must_use]
    pub(crate) const fn checksum(self) -> [u8; 2] {
        let [high, low] = self.fold();
        [!high, !low]
    }

    /// Whether data that contain their own checksum are intact: the sum folds to all ones, which is to say that it is a
    /// multiple of 2^16 - 1 other than zero (whose remainder is a multiplication and no loop).
    #[inline]
    #[must_use]
    pub(crate) const fn is_intact(self) -> bool {
        self.0 != 0 && self.0.is_multiple_of(0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn rfc1071_section_3_example() {
        let sum = Sum::ZERO.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), [0xdd, 0xf2]);
        assert_eq!(sum.checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn any_length_agrees_with_the_sum_by_words_of_sixteen_bits() {
        let bytes: [u8; 67] = core::array::from_fn(|i| (i * 37 + 11) as u8);
        for len in 0..bytes.len() {
            let mut plain: u32 = 0;
            for pair in bytes[..len].chunks(2) {
                plain += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            }
            while plain > 0xffff {
                plain = (plain >> 16) + (plain & 0xffff);
            }
            assert_eq!(Sum::ZERO.add(&bytes[..len]).fold(), (plain as u16).to_be_bytes(), "{len} bytes");
        }
        let header = bytes.first_chunk().expect("longer than a header");
        assert_eq!(Sum::of_header(header).fold(), Sum::ZERO.add(header).fold());
    }

    #[test]
    fn intact_means_that_the_sum_folds_to_all_ones() {
        for sum in (0..1 << 18).chain([u64::MAX, u64::MAX - 1, 0xffff << 40, (0xffff << 40) + 1]) {
            assert_eq!(Sum(sum).is_intact(), Sum(sum).fold() == [0xff, 0xff], "{sum:x}");
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow_the_fold() {
        let sum = Sum::ZERO.add(&[0xff; 60]);
        assert!(sum.is_intact());
    }
}
