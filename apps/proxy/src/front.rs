//! A connection from a client.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv6Addr};

use weir_http1::{BodyReader, HeadWriter};
use weir_httpd::Connection;
use weir_socket::{FlowId, Sockets};

use crate::exchange::Exchange;
use crate::stream::{Inbox, Outbox};
use crate::timer::Timer;

/// One client's connection. Requests are taken one after the other: the next one is looked at when the response to the one
/// before is queued.
pub(crate) struct Front {
    pub flow: FlowId,
    /// Number of the listener.
    pub listener: u16,
    /// Whether a request came before: then the client knows that connections may end between requests.
    pub has_served: bool,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub timer: Timer,
    pub state: FrontState,
    pub client: ClientText,
}

/// What the connection is doing.
///
/// ```text
///   accept -> Head --local route--> [Drain] -> Head ...
///              |  \---pool-------> Exchange -> Head ...
///              |                      |
///              +--------> Flush <-----+
///                           |
///                         [Linger] -> closed
/// ```
pub(crate) enum FrontState {
    /// Waits for a request head, or has a part of it.
    Head,
    /// The response is queued; the rest of the request's body is of no interest.
    Drain {
        reader: BodyReader,
        /// Bytes of content that may still come.
        left: u64,
    },
    /// A server answers.
    Exchange(Exchange),
    /// The last response is still being queued.
    Flush {
        /// The client may still be sending: let it see the response before the connection is reset.
        linger: bool,
    },
    /// Our direction has ended; what the client still sends is dropped, so many bytes at most.
    Linger { left: usize },
}

impl Front {
    pub(crate) fn new(flow: FlowId, listener: u16) -> Self {
        Self {
            flow,
            listener,
            has_served: false,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            timer: Timer::new(),
            state: FrontState::Head,
            client: ClientText { text: [0; _], len: 0 },
        }
    }

    pub(crate) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        match &mut self.state {
            FrontState::Exchange(exchange) => Some(exchange),
            _ => None,
        }
    }
}

/// How a response announces the end of the connection, or that there is none.
pub(crate) fn connection(is_persistent: bool, version: weir_http1::Version) -> Connection {
    match (is_persistent, version) {
        (false, _) => Connection::Close,
        (true, weir_http1::Version::Http11) => Connection::Persistent,
        (true, weir_http1::Version::Http10) => Connection::KeepAlive,
    }
}

/// The fields that tell servers for whom a request is forwarded, up to the value of the last one, which is the host:
/// written at the connection's first request that needs them.
pub(crate) struct ClientText {
    text: ForwardingText,
    len: u8,
}

type ForwardingText = [u8; 103];

const FOR: &[u8] = b"X-Forwarded-For: ";
const PROTO_AND_HOST: &[u8] = b"\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ";

/// Characters of the longest address: eight groups of an IPv6 one (RFC 5952), and the colons between them.
const ADDRESS_LEN_MAX: usize = 8 * 4 + 7;
const _: () = assert!(FOR.len() + ADDRESS_LEN_MAX + PROTO_AND_HOST.len() <= size_of::<ForwardingText>());

impl ClientText {
    #[inline]
    pub(crate) fn get(&mut self, net: &impl Sockets, flow: FlowId) -> &[u8] {
        if self.len == 0 {
            self.fill(net, flow);
        }
        self.text.get(..usize::from(self.len)).unwrap_or_default()
    }

    #[cold]
    fn fill(&mut self, net: &impl Sockets, flow: FlowId) {
        let mut writer = HeadWriter::new(&mut self.text);
        writer.bytes(FOR);
        match net.peer_address(flow).map(|address| address.ip()) {
            Some(IpAddr::V4(address)) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        writer.bytes(b".");
                    }
                    writer.decimal(octet.into());
                }
            }
            Some(IpAddr::V6(address)) => write_ipv6(&mut writer, address),
            None => writer.bytes(b"unknown"),
        }
        writer.bytes(PROTO_AND_HOST);
        self.len = writer.finish().unwrap_or(0) as u8;
    }
}

/// The address in RFC 5952's form and without brackets, as servers expect it where no port follows.
fn write_ipv6(writer: &mut HeadWriter<'_>, address: Ipv6Addr) {
    struct Text<'w, 'b>(&'w mut HeadWriter<'b>);
    impl Write for Text<'_, '_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.bytes(text.as_bytes());
            Ok(())
        }
    }
    // The writer takes everything, and says at the end whether it had room.
    let _ = write!(Text(writer), "{address}");
}
