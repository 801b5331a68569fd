//! The PROXY protocol, versions 1 and 2 (haproxy's `proxy-protocol.txt`, sections 2.1 and 2.2): who the client is, said by
//! the proxy before, in front of the client's first byte.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use weir_config::ProxyVersion;
use weir_socket::{FlowId, Sockets};

/// Longest line of version 1, with its end.
const LINE_LEN_MAX: usize = 107;

/// Longest header of version 2 that is taken. The addresses need 52 bytes; the rest is for extensions, which nobody reads.
const HEADER_LEN_MAX: usize = 4096;

/// Longest header that is written.
const WRITTEN_LEN_MAX: usize = LINE_LEN_MAX;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_LEN: usize = 16;

const COMMAND_LOCAL: u8 = 0x20;
const COMMAND_PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub len: usize,
    /// None: the proxy speaks for itself (LOCAL), or does not know (UNKNOWN, other families).
    pub ends: Option<Ends>,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What came is no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAHeader;

/// Reads the header at the front of `bytes`. None: it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, NotAHeader> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_line(bytes),
        Some(_) => parse_binary(bytes),
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, NotAHeader> {
    let start = bytes.get(..6).unwrap_or(bytes);
    if !b"PROXY ".starts_with(start) {
        return Err(NotAHeader);
    }
    let window = bytes.get(..LINE_LEN_MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return if window.len() == LINE_LEN_MAX { Err(NotAHeader) } else { Ok(None) };
    };
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")).ok_or(NotAHeader)?;
    let line = core::str::from_utf8(line).map_err(|_| NotAHeader)?;
    let mut words = line.split(' ').skip(1);
    let len = end + 1;
    let is_ipv4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        Some("UNKNOWN") => return Ok(Some(Header { len, ends: None })),
        _ => return Err(NotAHeader),
    };
    let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok()).filter(|ip| ip.is_ipv4() == is_ipv4);
    let (source, destination) = (address().ok_or(NotAHeader)?, address().ok_or(NotAHeader)?);
    let mut port = || words.next().and_then(port);
    let (from, to) = (port().ok_or(NotAHeader)?, port().ok_or(NotAHeader)?);
    if words.next().is_some() {
        return Err(NotAHeader);
    }
    let ends = Ends { source: (source, from).into(), destination: (destination, to).into() };
    Ok(Some(Header { len, ends: Some(ends) }))
}

/// Digits without sign and without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_plain { word.parse().ok() } else { None }
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, NotAHeader> {
    let start = bytes.get(..SIGNATURE.len()).unwrap_or(bytes);
    if !SIGNATURE.starts_with(start) {
        return Err(NotAHeader);
    }
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_LEN) else { return Ok(None) };
    let len = FIXED_LEN + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, COMMAND_LOCAL | COMMAND_PROXY) || len > HEADER_LEN_MAX {
        return Err(NotAHeader);
    }
    let Some(body) = bytes.get(FIXED_LEN..len) else { return Ok(None) };
    let ends = match (command, family) {
        (COMMAND_PROXY, TCP_OVER_IPV4) => Some(ipv4_ends(body).ok_or(NotAHeader)?),
        (COMMAND_PROXY, TCP_OVER_IPV6) => Some(ipv6_ends(body).ok_or(NotAHeader)?),
        _ => None,
    };
    Ok(Some(Header { len, ends }))
}

fn ipv4_ends(body: &[u8]) -> Option<Ends> {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    ends(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), rest)
}

fn ipv6_ends(body: &[u8]) -> Option<Ends> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    ends(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), rest)
}

fn ends(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<Ends> {
    let (from, rest) = ports.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    let (from, to) = (u16::from_be_bytes(*from), u16::from_be_bytes(*to));
    Some(Ends { source: (source, from).into(), destination: (destination, to).into() })
}

/// Sends a header on a new connection, as [`Written::new`] makes it. False: the connection is gone, or no buffer is free.
pub(crate) fn send(net: &mut impl Sockets, flow: FlowId, version: ProxyVersion, ends: Option<Ends>) -> bool {
    let Some(mut packet) = net.allocate() else { return false };
    packet.extend_from_slice(Written::new(version, ends).bytes()).is_ok() && net.send(flow, packet.freeze()).is_ok()
}

/// A header that is being written.
struct Written {
    bytes: [u8; WRITTEN_LEN_MAX],
    len: usize,
}

impl Written {
    /// For a client's connection; without ends, for one of our own.
    fn new(version: ProxyVersion, ends: Option<Ends>) -> Self {
        let mut header = Self { bytes: [0; WRITTEN_LEN_MAX], len: 0 };
        // Both addresses are of one family, or there is no way to say them.
        let ends = ends.filter(|ends| ends.source.is_ipv4() == ends.destination.is_ipv4());
        match version {
            ProxyVersion::V1 => header.line(ends),
            ProxyVersion::V2 => header.binary(ends),
        }
        header
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn line(&mut self, ends: Option<Ends>) {
        // The longest line has room.
        let _ = match ends {
            None => write!(self, "PROXY UNKNOWN\r\n"),
            Some(Ends { source, destination }) => {
                let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
                let (from, to) = (source.port(), destination.port());
                write!(self, "PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip())
            }
        };
    }

    fn binary(&mut self, ends: Option<Ends>) {
        self.add(&SIGNATURE);
        let Some(Ends { source, destination }) = ends else { return self.add(&[COMMAND_LOCAL, 0, 0, 0]) };
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                self.add(&[COMMAND_PROXY, TCP_OVER_IPV4, 0, 12]);
                self.add(&from.octets());
                self.add(&to.octets());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                self.add(&[COMMAND_PROXY, TCP_OVER_IPV6, 0, 36]);
                self.add(&from.octets());
                self.add(&to.octets());
            }
            _ => return,
        }
        self.add(&source.port().to_be_bytes());
        self.add(&destination.port().to_be_bytes());
    }

    fn add(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

impl Write for Written {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().expect("an address"), destination: destination.parse().expect("an address") }
    }

    #[test]
    fn both_versions_say_both_ends_of_both_families() {
        for ends in [
            ends("192.0.2.1:56324", "198.51.100.7:443"),
            ends("[2001:db8::1]:1", "[2001:db8::2]:65535"),
            ends("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535"),
        ] {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let header = Written::new(version, Some(ends));
                let mut bytes = header.bytes().to_vec();
                let len = bytes.len();
                bytes.extend_from_slice(b"GET /");
                assert_eq!(parse(&bytes), Ok(Some(Header { len, ends: Some(ends) })), "{version:?}");
                for cut in 0..len {
                    assert_eq!(parse(&bytes[..cut]), Ok(None), "{version:?} {cut}");
                }
            }
        }
        let line = Written::new(ProxyVersion::V1, Some(ends("192.0.2.1:56324", "198.51.100.7:443")));
        assert_eq!(line.bytes(), b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
    }

    #[test]
    fn who_speaks_for_nobody_says_so() {
        for (version, expected) in
            [(ProxyVersion::V1, &b"PROXY UNKNOWN\r\n"[..]), (ProxyVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")]
        {
            for none in [None, Some(ends("192.0.2.1:1", "[2001:db8::1]:2"))] {
                assert_eq!(Written::new(version, none).bytes(), expected);
            }
            assert_eq!(parse(expected), Ok(Some(Header { len: expected.len(), ends: None })));
        }
        let unknown = b"PROXY UNKNOWN ff:: ::1 whatever\r\nGET";
        assert_eq!(parse(unknown), Ok(Some(Header { len: 33, ends: None })));
        let unix = [&SIGNATURE[..], &[COMMAND_PROXY, 0x31, 0, 2, 0, 0]].concat();
        assert_eq!(parse(&unix), Ok(Some(Header { len: 18, ends: None })));
    }

    #[test]
    fn extensions_are_passed_over() {
        let ends = ends("192.0.2.1:1", "192.0.2.2:2");
        let mut bytes = Written::new(ProxyVersion::V2, Some(ends)).bytes().to_vec();
        bytes[15] += 5;
        bytes.extend_from_slice(&[0x04, 0, 2, 9, 9]);
        assert_eq!(parse(&bytes), Ok(Some(Header { len: 33, ends: Some(ends) })));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_LEN_MAX));
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.\u{664} 1.2.3.4 1 2\r\n",
            &long,
        ];
        for line in lines {
            assert_eq!(parse(line.as_bytes()), Err(NotAHeader), "{line:?}");
        }
        let binary = |rest: &[u8]| [&SIGNATURE[..], rest].concat();
        let wrong: [Vec<u8>; 5] = [
            binary(&[0x11, 0x11, 0, 12]),
            binary(&[0x22, 0x11, 0, 12]),
            binary(&[COMMAND_PROXY, TCP_OVER_IPV4, 0, 4, 1, 2, 3, 4]),
            binary(&[COMMAND_PROXY, TCP_OVER_IPV4, 0x10, 0]),
            b"\r\n\r\n\0\r\nQUIX".to_vec(),
        ];
        for bytes in wrong {
            assert_eq!(parse(&bytes), Err(NotAHeader), "{bytes:?}");
        }
    }
}
