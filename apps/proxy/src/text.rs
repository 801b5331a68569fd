//! Addresses as text. Those of IPv4, which most are, are written without a format string.

use core::fmt::{self, Write};
use core::net::{IpAddr, SocketAddr};

use weir_http1::HeadWriter;

/// An address; one of IPv6 in RFC 5952's form and without brackets, as servers expect it where no port follows.
pub(crate) fn address(writer: &mut HeadWriter<'_>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            writer.decimal(a.into());
            for octet in [b, c, d] {
                writer.bytes(b".");
                writer.decimal(octet.into());
            }
        }
        IpAddr::V6(address) => format(writer, address),
    }
}

/// An address with its port.
pub(crate) fn socket_address(writer: &mut HeadWriter<'_>, socket: SocketAddr) {
    match socket {
        SocketAddr::V4(_) => {
            address(writer, socket.ip());
            writer.bytes(b":");
            writer.decimal(socket.port().into());
        }
        SocketAddr::V6(_) => format(writer, socket),
    }
}

fn format(writer: &mut HeadWriter<'_>, value: impl fmt::Display) {
    struct Text<'w, 'b>(&'w mut HeadWriter<'b>);
    impl Write for Text<'_, '_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.bytes(text.as_bytes());
            Ok(())
        }
    }
    // The writer takes everything, and says at the end whether it had room.
    let _ = write!(Text(writer), "{value}");
}
