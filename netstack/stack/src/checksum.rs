//! The Internet checksum (RFC 1071) over the small things that the stack itself sends: headers and ICMP messages.
//!
//! The sum is commutative and independent of byte order (RFC 1071, 2), so it is taken over native words and only the
//! result is written as it lies in memory: no byte is swapped.

/// The 20 bytes of an IPv4 header without options, in words, so that they are read and written with three instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) u64, pub(crate) u64, pub(crate) u32);

/// Words are both summed, in which order does not matter, and taken apart, where it does.
const _: () = assert!(cfg!(target_endian = "little"));

impl Words {
    #[inline(always)]
    pub(crate) fn read(bytes: &[u8; 20]) -> Self {
        let word = |at: usize| bytes[at..].first_chunk::<8>().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        Self(word(0), word(8), bytes.last_chunk::<4>().map_or(0, |chunk| u32::from_le_bytes(*chunk)))
    }

    #[inline(always)]
    pub(crate) fn write(self, bytes: &mut [u8; 20]) {
        let (words, back) = bytes.as_chunks_mut::<8>();
        if let [front, middle] = words {
            (*front, *middle) = (self.0.to_le_bytes(), self.1.to_le_bytes());
        }
        back.copy_from_slice(&self.2.to_le_bytes());
    }
}

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

    /// The sum of an IPv4 header without options, as it lies in memory. Words of 64 bits are as good as of 16: their carries
    /// count 1 as well (RFC 1071, 2). Nothing can be added to it.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn of_header(Words(front, middle, back): Words) -> Self {
        let (sum, carry) = front.overflowing_add(middle);
        let (sum, carry_too) = sum.overflowing_add(back as u64 + carry as u64);
        // After an overflow the sum is far from the next one.
        Self(sum + carry_too as u64)
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
        let (sum, carry) = (self.0 as u32).overflowing_add((self.0 >> 32) as u32);
        // After an overflow the sum is at most the largest number less one.
        let sum = sum + carry as u32;
        let (sum, carry) = (sum as u16).overflowing_add((sum >> 16) as u16);
        (sum + carry as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the folded sum, as it lies in memory.
    #[inline]
    #[must_use]
    pub(crate) const fn checksum(self) -> [u8; 2] {
        let [high, low] = self.fold();
        [!high, !low]
    }

    /// Whether data that contain their own checksum are intact: the sum folds to all ones.
    #[inline]
    #[must_use]
    pub(crate) const fn is_intact(self) -> bool {
        u16::from_ne_bytes(self.fold()) == 0xffff
    }
}

#[cfg(test)]
mod tests {
    use super::{Sum, Words};

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
        assert_eq!(Sum::of_header(Words::read(header)).fold(), Sum::ZERO.add(header).fold());
    }

    #[test]
    fn every_carry_of_a_header_counts() {
        let high = [0, 1, u64::MAX >> 1, 1 << 63, u64::MAX - 1, u64::MAX];
        for (front, middle) in high.into_iter().flat_map(|front| high.map(|middle| (front, middle))) {
            for back in [0, 1, u32::MAX - 1, u32::MAX] {
                let exact = u128::from(front) + u128::from(middle) + u128::from(back);
                let sum = Sum::of_header(Words(front, middle, back));
                assert_eq!(u128::from(sum.0) % 0xffff, exact % 0xffff, "{front:x} {middle:x} {back:x}");
                assert_eq!(sum.0 == 0, exact == 0);
                assert_eq!(u64::from(u16::from_ne_bytes(sum.fold())) % 0xffff, sum.0 % 0xffff);
            }
        }
    }

    #[test]
    fn intact_means_a_multiple_of_all_ones_other_than_zero() {
        for sum in (0..1 << 18).chain([u64::MAX, u64::MAX - 1, 0xffff << 40, (0xffff << 40) + 1]) {
            assert_eq!(Sum(sum).is_intact(), sum != 0 && sum.is_multiple_of(0xffff), "{sum:x}");
        }
    }

    #[test]
    fn the_largest_sum_does_not_overflow_the_fold() {
        let sum = Sum::ZERO.add(&[0xff; 60]);
        assert!(sum.is_intact());
    }
}
