//! Addresses as text. Those of IPv4, which most are, are written without a format string.

use core::fmt::{self, Write};
use core::net::IpAddr;

use weir_http1::HeadWriter;

/// Bytes of the longest text here: an IPv6 address with its scope and port.
const TEXT_LEN_MAX: usize = 72;

/// An address; one of IPv6 in RFC 5952's form and without brackets, as servers expect it where no port follows.
#[inline]
pub(crate) fn address(writer: &mut HeadWriter<'_>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, others @ ..] = address.octets();
            writer.decimal(first.into());
            for octet in others {
                writer.bytes(b".");
                writer.decimal(octet.into());
            }
        }
        IpAddr::V6(address) => {
            let (text, len) = formatted(address);
            writer.front(&text, len);
        }
    }
}

/// What needs a format string.
#[cold]
pub(crate) fn formatted(value: impl fmt::Display) -> ([u8; TEXT_LEN_MAX], usize) {
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
    use core::net::Ipv4Addr;

    use super::*;

    fn address_text(ip: IpAddr) -> String {
        let mut buffer = [0; TEXT_LEN_MAX];
        let mut writer = HeadWriter::new(&mut buffer);
        address(&mut writer, ip);
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
                assert_eq!(address_text(ip.into()), format!("{ip}"));
            }
        }
    }

    #[test]
    fn the_longest_text_has_room() {
        let ip = IpAddr::from([0xffff; 8]);
        assert_eq!(address_text(ip), format!("{ip}"));
        let socket = core::net::SocketAddrV6::new([0xffff; 8].into(), 65_535, 0, u32::MAX);
        let (text, len) = formatted(socket);
        assert_eq!(text[..len], *format!("{socket}").as_bytes());
    }
}
