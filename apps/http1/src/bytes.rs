//! Sixteen bytes at a time: finding and checking bytes of a head with vectors, which every x86-64 has (SSE2) and other
//! machines emulate. A mask has one bit per byte, the lowest for the first.
//!
//! Places are given as positions in the whole head and not as slices, so that a vector may be read across the end of what
//! is looked at; what lies beyond is then left out of the mask.

use wide::u8x16;

const WIDTH: usize = 16;

/// The mask of the (up to) sixteen bytes from `at`, and how many these are: fewer only at the end of `bytes`.
#[inline(always)]
fn mask_at(bytes: &[u8], at: usize, mask: impl Fn(u8x16) -> u32) -> (u32, usize) {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(window) = rest.first_chunk::<WIDTH>() {
        return (mask(u8x16::new(*window)), WIDTH);
    }
    match bytes.last_chunk::<WIDTH>() {
        Some(window) => (mask(u8x16::new(*window)) >> (WIDTH - rest.len()), rest.len()),
        None => (short_mask(rest, mask), rest.len()),
    }
}

/// For heads that are so short that they cannot be complete.
#[cold]
#[inline(never)]
fn short_mask(rest: &[u8], mask: impl Fn(u8x16) -> u32) -> u32 {
    let mut window = [0; WIDTH];
    for (place, byte) in window.iter_mut().zip(rest) {
        *place = *byte;
    }
    mask(u8x16::new(window)) & ((1 << rest.len()) - 1)
}

/// The masks of `bytes[at..at + len]`, sixteen bytes each, until `look` gives something; it also gets how many bytes came
/// before.
#[inline(always)]
fn scan<T>(
    bytes: &[u8],
    at: usize,
    len: usize,
    mask: impl Fn(u8x16) -> u32,
    mut look: impl FnMut(usize, u32) -> Option<T>,
) -> Option<T> {
    let mut done = 0;
    while done < len {
        let (found, width) = mask_at(bytes, at + done, &mask);
        let left = len - done;
        let found = if left < WIDTH { found & ((1 << left) - 1) } else { found };
        if let Some(result) = look(done, found) {
            return Some(result);
        }
        if width < WIDTH {
            break;
        }
        done += WIDTH;
    }
    None
}

#[inline(always)]
fn equal(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

/// Bytes from `first` to `last`.
#[inline(always)]
fn between(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    let above = bytes - u8x16::splat(first);
    above.min(u8x16::splat(last - first)).simd_eq(above)
}

/// Letters and digits.
#[inline(always)]
fn alphanumeric(bytes: u8x16) -> u8x16 {
    // With bit 5 set, letters are in lower case, and nothing else becomes one.
    between(bytes | u8x16::splat(0x20), b'a', b'z') | between(bytes, b'0', b'9')
}

#[inline(always)]
fn controls(bytes: u8x16) -> u32 {
    (between(bytes, 0, 0x1f) | equal(bytes, 0x7f)).to_bitmask()
}

#[inline(always)]
const fn first(mask: u32) -> usize {
    mask.trailing_zeros() as usize
}

/// Where the first control character (below 0x20, or 0x7f) from `at` on is; none if there is none.
#[inline(always)]
pub(crate) fn find_control(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let (mask, width) = mask_at(bytes, at, controls);
        if mask != 0 {
            return Some(at + first(mask));
        }
        if width < WIDTH {
            return None;
        }
        at += WIDTH;
    }
}

/// The token at the front of a field line.
pub(crate) struct Token {
    pub len: usize,
    /// Its first eight bytes in lower case, as [`lower_word`] gives them.
    pub word: u64,
}

/// The token characters (RFC 9110 5.6.2) from `at` on; a control character must follow somewhere.
#[inline(always)]
pub(crate) fn token_at(bytes: &[u8], at: usize) -> Token {
    let others = |bytes| !(alphanumeric(bytes) | equal(bytes, b'-')).to_bitmask() & 0xffff;
    let (mask, _) = mask_at(bytes, at, others);
    let usual = first(mask);
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        Some(window) if mask != 0 && bytes.get(at + usual) == Some(&b':') => {
            let word = u64::from_le_bytes(*window);
            // Keeps the name's bytes; the rest becomes spaces.
            let name = if usual < 8 { (1 << (8 * usual)) - 1 } else { u64::MAX };
            Token { len: usual, word: word & name | SPACES }
        }
        _ => unusual_token(bytes, at),
    }
}

/// A name longer than a vector, or with unusual characters, or too close to the end.
fn unusual_token(bytes: &[u8], at: usize) -> Token {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = rest.iter().take_while(|&&byte| is_token(byte)).count();
    Token { len, word: lower_word(rest.get(..len).unwrap_or_default()) }
}

/// What a target is made of.
pub(crate) struct TargetScan {
    /// Where the query begins in the target, with its question mark.
    pub query: Option<usize>,
    /// There is no byte that a target cannot have: white space, control characters, `#`, or one above 127.
    pub is_clean: bool,
}

/// Looks through a target.
#[inline(always)]
pub(crate) fn scan_target(bytes: &[u8], at: usize, len: usize) -> TargetScan {
    let unclean = |bytes| {
        let bad = between(bytes, 0, 0x20) | between(bytes, 0x7f, 0xff) | equal(bytes, b'#');
        // One mask for both: they are told apart by the byte.
        (bad | equal(bytes, b'?')).to_bitmask()
    };
    let mut found = TargetScan { query: None, is_clean: true };
    scan(bytes, at, len, unclean, |done, mut mask| {
        while mask != 0 {
            let place = done + first(mask);
            mask &= mask - 1;
            if bytes.get(at + place) != Some(&b'?') {
                found.is_clean = false;
                return Some(());
            }
            found.query = found.query.or(Some(place));
        }
        None
    });
    found
}

/// Where the port of a usual host begins, with its colon: the length if there is none. None: it has other characters than
/// letters, digits, dots, hyphens and colons, and has to be looked at byte by byte.
#[inline(always)]
pub(crate) fn usual_host(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let unusual = |bytes| !(alphanumeric(bytes) | between(bytes, b'-', b'.')).to_bitmask() & 0xffff;
    let end = scan(bytes, at, len, unusual, |done, mask| (mask != 0).then(|| done + first(mask)));
    match end {
        None => Some(len),
        Some(end) => (bytes.get(at + end) == Some(&b':')).then_some(end),
    }
}

const SPACES: u64 = u64::from_ne_bytes([b' '; 8]);

/// Eight bytes of a name as a number, in lower case: names of at most eight bytes are equal if these are. Shorter ones are
/// filled with spaces.
#[inline]
pub(crate) fn lower_word(name: &[u8]) -> u64 {
    if let Some(word) = name.first_chunk() {
        return u64::from_le_bytes(*word) | SPACES;
    }
    name.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)) | SPACES
}

/// RFC 9110 5.6.2.
#[inline]
pub(crate) fn is_token(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            let is_mark = matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
            table[byte as usize] = byte.is_ascii_alphanumeric() || is_mark;
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// Every byte in every place, with `before` bytes before and `after` behind what is looked at.
    fn each_place(mut check: impl FnMut(&[u8], usize, usize)) {
        for len in [1, 7, 15, 16, 17, 40] {
            for (before, after) in [(0, 0), (0, 3), (5, 0), (20, 40)] {
                for byte in 0..=255 {
                    for place in [0, 1, 7, 8, 15, 16, 31, 39].into_iter().filter(|&place| place < len) {
                        let mut bytes: Vec<u8> = Vec::new();
                        bytes.resize(before + len + after, b'x');
                        bytes[before + place] = byte;
                        check(&bytes, before, len);
                    }
                }
            }
        }
    }

    #[test]
    fn controls_are_found() {
        each_place(|bytes, at, _| {
            let expected = bytes[at..].iter().position(u8::is_ascii_control).map(|place| at + place);
            assert_eq!(find_control(bytes, at), expected);
        });
    }

    #[test]
    fn tokens_are_measured() {
        each_place(|bytes, at, _| {
            let len = bytes[at..].iter().take_while(|&&byte| is_token(byte)).count();
            let token = token_at(bytes, at);
            assert_eq!((token.len, token.word), (len, lower_word(&bytes[at..at + len])), "{}", bytes.escape_ascii());
        });
    }

    #[test]
    fn targets_are_looked_through() {
        each_place(|bytes, at, len| {
            let target = &bytes[at..at + len];
            let scan = scan_target(bytes, at, len);
            let is_clean = target.iter().all(|&byte| matches!(byte, 0x21..=0x7e) && byte != b'#');
            assert_eq!(scan.is_clean, is_clean);
            assert_eq!(scan.query, target.iter().position(|&byte| byte == b'?').filter(|_| is_clean));
        });
        let scan = scan_target(b"/a?b?c", 0, 6);
        assert_eq!((scan.query, scan.is_clean), (Some(2), true));
    }

    #[test]
    fn hosts_end_at_their_port() {
        each_place(|bytes, at, len| {
            let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            let end = bytes[at..at + len].iter().position(|byte| !is_usual(byte));
            let expected = end.map_or(Some(len), |end| (bytes[at + end] == b':').then_some(end));
            assert_eq!(usual_host(bytes, at, len), expected);
        });
    }

    #[test]
    fn names_become_words_without_case() {
        assert_eq!(lower_word(b"HoSt"), lower_word(b"host"));
        assert_ne!(lower_word(b"hos"), lower_word(b"host"));
        assert_eq!(lower_word(b"Content-Length"), lower_word(b"CONTENT-type"));
    }
}
