//! Sixteen bytes at a time: finding and checking bytes of a head with vectors, which every x86-64 has (SSE2) and other
//! machines emulate. A mask has one bit per byte, the lowest for the first.
//!
//! What is looked at is often given as the front of a longer slice, so that a vector may be read across its end; what lies
//! beyond is then left out of the mask.

use wide::u8x16;

const WIDTH: usize = 16;

/// The mask of the (up to) sixteen bytes at the front.
#[inline(always)]
fn front_mask(bytes: &[u8], mask: impl Fn(u8x16) -> u32) -> u32 {
    match bytes.first_chunk::<WIDTH>() {
        Some(window) => mask(u8x16::new(*window)),
        None => short_mask(bytes, mask),
    }
}

/// The mask of fewer than sixteen bytes, as they are left at the end of a buffer.
#[inline(never)]
fn short_mask(rest: &[u8], mask: impl Fn(u8x16) -> u32) -> u32 {
    let mut window = [0; WIDTH];
    for (place, byte) in window.iter_mut().zip(rest) {
        *place = *byte;
    }
    mask(u8x16::new(window)) & ((1 << rest.len().min(WIDTH)) - 1)
}

/// The place of the first byte in the mask among the first `len` bytes; `len` if there is none.
#[inline(always)]
fn find(bytes: &[u8], len: usize, mask: impl Fn(u8x16) -> u32) -> usize {
    let mut done = 0;
    let mut rest = bytes;
    while done < len {
        let found = front_mask(rest, &mask);
        if found != 0 {
            return (done + first(found)).min(len);
        }
        let Some((_, next)) = rest.split_at_checked(WIDTH) else { break };
        (rest, done) = (next, done + WIDTH);
    }
    len
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

#[inline(always)]
fn letters(bytes: u8x16) -> u8x16 {
    // With bit 5 set, letters are in lower case, and nothing else becomes one.
    between(bytes | u8x16::splat(0x20), b'a', b'z')
}

#[inline(always)]
fn controls(bytes: u8x16) -> u32 {
    (between(bytes, 0, 0x1f) | equal(bytes, 0x7f)).to_bitmask()
}

#[inline(always)]
const fn first(mask: u32) -> usize {
    mask.trailing_zeros() as usize
}

/// Where in `bytes` the first control character (below 0x20, or 0x7f) at or behind `from` is; the length if there is none.
#[inline(always)]
pub(crate) fn find_control(bytes: &[u8], from: usize) -> usize {
    let mut rest = bytes.get(from..).unwrap_or_default();
    while let Some((window, next)) = rest.split_first_chunk::<WIDTH>() {
        let mask = controls(u8x16::new(*window));
        if mask != 0 {
            return bytes.len() - rest.len() + first(mask);
        }
        rest = next;
    }
    find_last_control(bytes, rest.len())
}

/// The same in the last `left` bytes, fewer than a vector.
#[inline(never)]
fn find_last_control(bytes: &[u8], left: usize) -> usize {
    match bytes.last_chunk::<WIDTH>() {
        Some(window) if left > 0 => {
            // The bytes before have been looked at.
            let mask = controls(u8x16::new(*window)) >> (WIDTH - left);
            if mask == 0 { bytes.len() } else { bytes.len() - left + first(mask) }
        }
        _ => {
            let rest = bytes.get(bytes.len() - left..).unwrap_or_default();
            bytes.len() - left + rest.iter().position(u8::is_ascii_control).unwrap_or(left)
        }
    }
}

/// The name at the front of a field line.
#[derive(Clone, Copy)]
pub(crate) struct Name {
    pub len: usize,
    /// Its first eight bytes in lower case, as [`lower_word`] gives them.
    pub word: u64,
}

/// The field name (RFC 9110 5.1) at the front, if it is a usual one: letters and hyphens, fewer than a vector, and a colon
/// behind them.
#[inline(always)]
pub(crate) fn usual_name(bytes: &[u8]) -> Option<Name> {
    let window = bytes.first_chunk::<WIDTH>()?;
    let vector = u8x16::new(*window);
    let others = unusual(vector);
    let colons = equal(vector, b':').to_bitmask();
    // The first character that is none of a usual name is the colon behind it, and not the first of the line.
    let stop = others & others.wrapping_neg();
    if stop & colons & !1 == 0 {
        return None;
    }
    let [a, b, c, d, e, f, g, h, ..] = *window;
    let len = first(stop);
    Some(Name { len, word: (u64::from_le_bytes([a, b, c, d, e, f, g, h]) | CASE) & front_of_word(len) })
}

/// What is not usual in names.
#[inline(always)]
fn unusual(bytes: u8x16) -> u32 {
    !(letters(bytes) | equal(bytes, b'-')).to_bitmask() & 0xffff
}

/// The field name at the front, if a colon follows it: of any length and any token characters.
#[inline(never)]
pub(crate) fn field_name(bytes: &[u8]) -> Option<Name> {
    let mut len = find(bytes, bytes.len(), unusual);
    if bytes.get(len) != Some(&b':') {
        len += token_len(bytes.get(len..)?);
    }
    let (name, rest) = bytes.split_at_checked(len)?;
    (len > 0 && rest.first() == Some(&b':')).then(|| Name { len, word: lower_word(name) })
}

/// How many token characters (RFC 9110 5.6.2) stand at the front.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| is_token(byte)).count()
}

/// What a target is made of.
pub(crate) struct TargetScan {
    /// Length of the path: where the query begins, with its question mark.
    pub path_len: usize,
    /// How many bytes there are before the first one that a target cannot have: white space, control characters, `#`, or one
    /// above 127.
    pub len: usize,
}

/// Looks through the target at the front of `bytes`, not further than `max`.
#[inline(always)]
pub(crate) fn scan_target(bytes: &[u8], max: usize) -> TargetScan {
    let bad = |bytes| between(bytes, 0, 0x20) | between(bytes, 0x7f, 0xff) | equal(bytes, b'#');
    // One mask for both: they are told apart by the byte.
    let path_len = find(bytes, max, |bytes| (bad(bytes) | equal(bytes, b'?')).to_bitmask());
    match bytes.get(path_len..) {
        Some(query @ [b'?', ..]) if path_len < max => {
            TargetScan { path_len, len: path_len + find(query, max - path_len, |bytes| bad(bytes).to_bitmask()) }
        }
        _ => TargetScan { path_len, len: path_len },
    }
}

/// How many of the first `len` bytes are letters, digits, dots and hyphens, what hosts are made of.
#[inline(always)]
pub(crate) fn usual_host_len(bytes: &[u8], len: usize) -> usize {
    let usual = |bytes| letters(bytes) | between(bytes, b'0', b'9') | between(bytes, b'-', b'.');
    find(bytes, len, |bytes| !usual(bytes).to_bitmask() & 0xffff)
}

/// Sets the bit that makes letters lower case, and hyphens and digits what they are.
pub(crate) const CASE: u64 = u64::from_ne_bytes([0x20; 8]);

/// The first `len` bytes of a word.
#[inline(always)]
const fn front_of_word(len: usize) -> u64 {
    const FRONTS: [u64; WIDTH] = {
        let mut fronts = [u64::MAX; WIDTH];
        let mut len = 0;
        while len < 8 {
            fronts[len] = (1 << (8 * len)) - 1;
            len += 1;
        }
        fronts
    };
    if len < WIDTH { FRONTS[len] } else { u64::MAX }
}

/// Eight bytes of a name as a number, in lower case: names of at most eight bytes are equal if these are. Shorter ones are
/// filled with zeros.
#[inline]
pub(crate) fn lower_word(name: &[u8]) -> u64 {
    if let Some(word) = name.first_chunk() {
        return u64::from_le_bytes(*word) | CASE;
    }
    let word = name.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    (word | CASE) & front_of_word(name.len())
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
            let expected = bytes[at..].iter().position(u8::is_ascii_control).unwrap_or(bytes.len() - at);
            assert_eq!(find_control(&bytes[at..], 0), expected);
            assert_eq!(find_control(bytes, at), at + expected);
        });
    }

    #[test]
    fn names_end_at_their_colon() {
        let check = |line: &[u8]| {
            let len = line.iter().take_while(|&&byte| is_token(byte)).count();
            let expected = (len > 0 && line.get(len) == Some(&b':')).then_some(len);
            let found = field_name(line);
            assert_eq!(found.map(|name| name.len), expected, "{}", line.escape_ascii());
            let usual = usual_name(line);
            let is_usual = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
            let is_short = line.len() >= WIDTH && len < WIDTH && line[..len].iter().all(is_usual);
            assert_eq!(usual.map(|name| name.len), expected.filter(|_| is_short), "{}", line.escape_ascii());
            for name in found.into_iter().chain(usual) {
                assert_eq!(name.word, lower_word(&line[..name.len]), "{}", line.escape_ascii());
            }
        };
        each_place(|bytes, at, _| check(&bytes[at..]));
        // A colon behind names of all lengths around the vector's, and each byte in each place of them.
        for len in 0..=2 * WIDTH + 2 {
            for after in [0, 1, WIDTH] {
                let mut line: Vec<u8> = Vec::new();
                line.resize(len, b'n');
                line.push(b':');
                line.resize(len + 1 + after, b'v');
                check(&line);
                for place in 0..len {
                    for byte in 0..=255 {
                        line[place] = byte;
                        check(&line);
                    }
                    line[place] = b'n';
                }
            }
        }
    }

    #[test]
    fn targets_are_looked_through() {
        each_place(|bytes, at, len| {
            let target = &bytes[at..at + len];
            let scan = scan_target(&bytes[at..], len);
            let is_clean = target.iter().all(|&byte| matches!(byte, 0x21..=0x7e) && byte != b'#');
            assert_eq!(scan.len == len, is_clean, "{}", target.escape_ascii());
            let path_len = target.iter().position(|&byte| byte == b'?').unwrap_or(len);
            assert!(!is_clean || scan.path_len == path_len);
        });
        for (max, path_len, len) in [(8, 2, 6), (6, 2, 6), (5, 2, 5), (2, 2, 2), (1, 1, 1)] {
            let scan = scan_target(b"/a?b?c#d", max);
            assert_eq!((scan.path_len, scan.len), (path_len, len));
        }
    }

    #[test]
    fn hosts_end_at_their_port() {
        each_place(|bytes, at, len| {
            let is_usual = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            let end = bytes[at..at + len].iter().position(|byte| !is_usual(byte)).unwrap_or(len);
            assert_eq!(usual_host_len(&bytes[at..], len), end);
        });
    }

    #[test]
    fn names_become_words_without_case() {
        assert_eq!(lower_word(b"HoSt"), lower_word(b"host"));
        assert_ne!(lower_word(b"hos"), lower_word(b"host"));
        assert_eq!(lower_word(b"hOs"), u64::from_le_bytes(*b"hos\0\0\0\0\0"));
        assert_eq!(lower_word(b"Content-Length"), lower_word(b"CONTENT-type"));
    }
}
