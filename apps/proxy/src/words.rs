//! Short texts as words.

/// Bytes of a word.
pub(crate) const WORD_LEN: usize = size_of::<u64>();

/// The first eight bytes as a number that is ordered as they are; fewer are filled with zeros.
#[inline(always)]
pub(crate) fn front(text: &[u8]) -> u64 {
    if let Some(front) = text.first_chunk() {
        return u64::from_be_bytes(*front);
    }
    match (text.first_chunk(), text.last_chunk(), text) {
        // Four bytes at each end, which overlap.
        (Some(first), Some(last), _) => {
            let last = u64::from(u32::from_be_bytes(*last)) << (8 * (WORD_LEN - text.len()));
            u64::from(u32::from_be_bytes(*first)) << 32 | last
        }
        (.., [a]) => u64::from(*a) << 56,
        (.., [a, b]) => u64::from(*a) << 56 | u64::from(*b) << 48,
        (.., [a, b, c, ..]) => u64::from(*a) << 56 | u64::from(*b) << 48 | u64::from(*c) << 40,
        (.., []) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fronts_are_filled_and_ordered_as_texts_are() {
        let text = *b"\x81bcdefg\xf8ij";
        for len in 0..=text.len() {
            let mut filled = [0; WORD_LEN];
            filled[..len.min(WORD_LEN)].copy_from_slice(&text[..len.min(WORD_LEN)]);
            assert_eq!(front(&text[..len]), u64::from_be_bytes(filled), "{len}");
        }
    }
}
