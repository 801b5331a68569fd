//! Addresses as text. Those of IPv4, which most are, are written without a format string.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_http1::HeadWriter;

/// Bytes of the longest text here: an IPv6 address with its scope and port.
const TEXT_LEN_MAX: usize = 72;

/// An address; one of IPv6 in RFC 5952's form and without brackets, as servers expect it where no port follows.
#[inline]
pub(crate) fn address(writer: &mut HeadWriter<'_>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => octets(writer, address),
        IpAddr::V6(address) => format(writer, address),
    }
}

/// An address with its port.
#[inline]
pub(crate) fn socket_address(writer: &mut HeadWriter<'_>, socket: SocketAddr) {
    match socket {
        SocketAddr::V4(socket) => {
            octets(writer, *socket.ip());
            writer.bytes(b":");
            writer.decimal(socket.port().into());
        }
        SocketAddr::V6(_) => format(writer, socket),
    }
}

#[inline(always)]
fn octets(writer: &mut HeadWriter<'_>, address: Ipv4Addr) {
    let [a, b, c, d] = address.octets().map(|octet| &OCTETS[usize::from(octet)]);
    for octet in [a, b, c] {
        writer.front(&octet.text, octet.len + 1);
    }
    writer.front(&d.text, d.len);
}

/// A number below 256.
struct Octet {
    /// A dot follows it.
    text: [u8; 4],
    len: usize,
}

static OCTETS: [Octet; 256] = {
    let mut octets = [const { Octet { text: [b'.'; 4], len: 0 } }; 256];
    let mut number = 0;
    while number < octets.len() {
        let octet = &mut octets[number];
        octet.len = 1 + (number > 9) as usize + (number > 99) as usize;
        let (mut place, mut rest) = (octet.len, number);
        while place > 0 {
            place -= 1;
            octet.text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        number += 1;
    }
    octets
};

#[inline(always)]
fn format(writer: &mut HeadWriter<'_>, value: impl fmt::Display) {
    let (text, len) = formatted(value);
    writer.bytes(text.get(..len).unwrap_or_default());
}

/// By way of a text of its own, so that the writer need not be in memory for this.
#[cold]
fn formatted(value: impl fmt::Display) -> ([u8; TEXT_LEN_MAX], usize) {
    struct Text<'b>(HeadWriter<'b>);
    impl Write for Text<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.bytes(text.as_bytes());
            Ok(())
        }
    }
    let mut text = [0; TEXT_LEN_MAX];
    let mut writer = Text(HeadWriter::new(&mut text));
    let len = match write!(writer, "{value}") {
        Ok(()) => writer.0.finish().unwrap_or(0),
        Err(fmt::Error) => 0,
    };
    (text, len)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    fn written(write: impl FnOnce(&mut HeadWriter<'_>)) -> String {
        let mut buffer = [0; TEXT_LEN_MAX];
        let mut writer = HeadWriter::new(&mut buffer);
        write(&mut writer);
        let len = writer.finish().expect("fits");
        String::from_utf8(buffer[..len].to_vec()).expect("ASCII")
    }

    #[test]
    fn every_octet_is_written_in_every_place() {
        for number in 0..=255 {
            for place in 0..4 {
                let mut octets = [1, 22, 133, 0];
                octets[place] = number;
                let ip = Ipv4Addr::from(octets);
                assert_eq!(written(|writer| address(writer, ip.into())), format!("{ip}"));
                let socket = SocketAddr::from((ip, u16::from(number) * 257));
                assert_eq!(written(|writer| socket_address(writer, socket)), format!("{socket}"));
            }
        }
    }

    #[test]
    fn the_longest_text_has_room() {
        let ip = IpAddr::from([0xffff; 8]);
        assert_eq!(written(|writer| address(writer, ip)), format!("{ip}"));
        let socket = SocketAddr::V6(core::net::SocketAddrV6::new([0xffff; 8].into(), 65_535, 0, u32::MAX));
        assert_eq!(written(|writer| socket_address(writer, socket)), format!("{socket}"));
    }
}
