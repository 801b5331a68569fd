//! The name that a TLS client asks for (RFC 8446 4.1.2, RFC 6066 3), read from its first message without answering it.

use alloc::vec::Vec;

/// Longest ClientHello that is looked at, in bytes of its handshake message.
pub(crate) const HELLO_LEN_MAX: usize = 16 * 1024;

/// Bytes of records that may hold it: each has at least one byte of it behind a head of five, but nobody sends such.
pub(crate) const RECORD_BYTES_MAX: usize = HELLO_LEN_MAX + 4 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const RECORD_LEN_MAX: usize = 1 << 14;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;
const NAME_LEN_MAX: usize = 255;

/// What came is no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAHello;

/// How far the reading of a ClientHello is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hello {
    /// It asks for this name, or with an empty one for none.
    Name(Vec<u8>),
    /// It is not complete; trying again is worth it with so many bytes in all.
    Needs(usize),
}

/// Reads the ClientHello at the front of `bytes`.
pub(crate) fn server_name(bytes: &[u8]) -> Result<Hello, NotAHello> {
    let mut message = Vec::new();
    let mut records = Reader(bytes);
    loop {
        if let Some(hello) = complete(&message)? {
            return name(hello).ok_or(NotAHello).map(Hello::Name);
        }
        let before = bytes.len() - records.0.len();
        let fragment = match record(&mut records)? {
            Ok(fragment) => fragment,
            Err(record_len) => return Ok(Hello::Needs(before + record_len)),
        };
        if message.len() + fragment.len() > HELLO_LEN_MAX + RECORD_LEN_MAX
            || message.try_reserve(fragment.len()).is_err()
        {
            return Err(NotAHello);
        }
        message.extend_from_slice(fragment);
    }
}

/// Bytes in front of a record's content.
const RECORD_HEAD_LEN: usize = 5;

/// The content of the next record (RFC 8446 5.1); the inner error: it is not complete before so many bytes.
fn record<'b>(records: &mut Reader<'b>) -> Result<Result<&'b [u8], usize>, NotAHello> {
    let [kind, rest @ ..] = records.0 else { return Ok(Err(RECORD_HEAD_LEN)) };
    if *kind != RECORD_HANDSHAKE || rest.first().is_some_and(|&major| major != 3) {
        return Err(NotAHello);
    }
    let mut attempt = Reader(records.0);
    let Some((_, len)) = attempt.take(3).zip(attempt.u16()) else { return Ok(Err(RECORD_HEAD_LEN)) };
    // An empty fragment is not allowed for handshakes.
    if len == 0 || usize::from(len) > RECORD_LEN_MAX {
        return Err(NotAHello);
    }
    let Some(fragment) = attempt.take(len.into()) else { return Ok(Err(RECORD_HEAD_LEN + usize::from(len))) };
    *records = attempt;
    Ok(Ok(fragment))
}

/// The body of the handshake message, once all of it is there.
fn complete(message: &[u8]) -> Result<Option<&[u8]>, NotAHello> {
    let Some((&[kind, a, b, c], body)) = message.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    if kind != HANDSHAKE_CLIENT_HELLO || len > HELLO_LEN_MAX {
        return Err(NotAHello);
    }
    Ok(body.get(..len))
}

/// None: it is malformed.
fn name(hello: &[u8]) -> Option<Vec<u8>> {
    let mut hello = Reader(hello);
    // Version and random, session, cipher suites, compression methods.
    hello.take(2 + 32)?;
    hello.vector8()?;
    hello.vector16()?;
    hello.vector8()?;
    if hello.0.is_empty() {
        return Some(Vec::new());
    }
    let mut extensions = Reader(hello.vector16()?);
    while !extensions.0.is_empty() {
        let (kind, content) = (extensions.u16()?, extensions.vector16()?);
        if kind == EXTENSION_SERVER_NAME {
            return host_name(content);
        }
    }
    Some(Vec::new())
}

/// RFC 6066 3: a list with one entry per type of name; a name is ASCII without a final dot.
fn host_name(content: &[u8]) -> Option<Vec<u8>> {
    let mut names = Reader(Reader(content).vector16()?);
    while !names.0.is_empty() {
        let (kind, name) = (names.u8()?, names.vector16()?);
        if kind == NAME_TYPE_HOST {
            let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            let is_name = !name.is_empty() && name.len() <= NAME_LEN_MAX && name.iter().all(is_fine);
            return is_name.then(|| name.into());
        }
    }
    Some(Vec::new())
}

/// Bytes that are read from the front.
#[derive(Clone, Copy)]
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, len: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    fn vector8(&mut self) -> Option<&'b [u8]> {
        let len = self.u8()?;
        self.take(len.into())
    }

    fn vector16(&mut self) -> Option<&'b [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A ClientHello for `name` in records of at most `record_len` bytes.
    pub(crate) fn hello(name: Option<&[u8]>, record_len: usize) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let extension = |kind: u16, content: &[u8]| [&kind.to_be_bytes()[..], &sized(content)].concat();
        let mut extensions = extension(43, &[2, 3, 4]);
        if let Some(name) = name {
            extensions.extend(extension(0, &sized(&[&[0][..], &sized(name)].concat())));
        }
        extensions.extend(extension(21, &[0; 300]));
        let body = [&[3, 3][..], &[7; 32], &[0], &sized(&[0x13, 1]), &[1, 0], &sized(&extensions)].concat();
        let message = [&[1, 0, (body.len() >> 8) as u8, body.len() as u8][..], &body].concat();
        message.chunks(record_len).flat_map(|part| [&[22, 3, 1][..], &sized(part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_however_the_message_is_cut() {
        for record_len in [16 * 1024, 100, 7] {
            let bytes = hello(Some(b"www.example.com"), record_len);
            assert_eq!(server_name(&bytes), Ok(Hello::Name(b"www.example.com".to_vec())));
            for cut in 0..bytes.len() {
                let Ok(Hello::Needs(needed)) = server_name(&bytes[..cut]) else { panic!("{cut}") };
                assert!((cut + 1..=bytes.len()).contains(&needed), "{cut}: {needed}");
            }
        }
        assert_eq!(server_name(&hello(None, 500)), Ok(Hello::Name(Vec::new())));
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        let good = hello(Some(b"a.example"), 1000);
        for (at, byte) in [(0, 23), (1, 2), (3, 0xff), (5, 2), (6, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(server_name(&bad), Err(NotAHello), "{at}");
        }
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n"), Err(NotAHello));
        assert_eq!(server_name(&[22, 3, 1, 0, 0]), Err(NotAHello), "an empty record");
        for name in [&b"a b"[..], b"", b"a\0b", &[b'a'; 256], "ä".as_bytes()] {
            assert_eq!(server_name(&hello(Some(name), 1000)), Err(NotAHello), "{name:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let good = hello(Some(b"a.example"), 60);
        let mut state = 7_u32;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = state as u8;
            }
            let _ = server_name(&bytes);
        }
    }
}
