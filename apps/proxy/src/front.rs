//! A connection from a client.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr, SocketAddrV4};

use weir_http1::{BodyReader, HeadWriter};
use weir_httpd::Connection;
use weir_socket::{FlowId, Instant, Sockets};

use crate::clients::Place;
use crate::exchange::Exchange;
use crate::log::Entry;
use crate::proxy_header::Ends;
use crate::service::Preface;
use crate::stream::{Inbox, Outbox};
use crate::text;
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
    /// What the proxy in front said about the client, if it did.
    pub ends: Option<Box<Ends>>,
    /// The peer is a proxy that is believed.
    pub is_trusted: bool,
    /// Where its client is counted, with this connection as one of its own.
    pub place: Option<Place>,
    /// The connection is counted as one of its listener's.
    pub is_counted: bool,
    /// What the access log will say of the exchange under way.
    pub entry: Option<Box<Entry>>,
    /// When the head that comes in pieces began to.
    pub head_began: Option<Instant>,
}

/// What the connection is doing.
///
/// ```text
///   accept -> [ProxyHeader] -> [Hello] -> tunnel, an Exchange too
///                    |
///                    v
///             Head --local route--> [Drain] -> Head ...
///              |  \---pool-------> Exchange -> Head ...
///              |                      |
///              +--------> Flush <-----+
///                           |
///                         [Linger] -> closed
/// ```
pub(crate) enum FrontState {
    /// Waits for the header of the proxy in front.
    ProxyHeader(Box<Preface>),
    /// Waits for a TLS client's first message.
    Hello(Box<Preface>),
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
    /// Our direction has ended; what the client still sends is dropped, so long at most.
    Linger { until: Instant },
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
            client: ClientText { text: [0; _], len: 0, logged_len: 0 },
            ends: None,
            is_trusted: false,
            place: None,
            is_counted: false,
            entry: None,
            head_began: None,
        }
    }

    /// The client's address: that of the connection, or what a proxy in front said.
    pub(crate) fn peer_address(&self, net: &impl Sockets) -> Option<SocketAddr> {
        self.ends.as_ref().map_or_else(|| net.peer_address(self.flow), |ends| Some(ends.source))
    }

    /// Both ends of the client's connection.
    pub(crate) fn ends(&self, net: &impl Sockets) -> Option<Ends> {
        let own = || {
            let (source, destination) = (net.peer_address(self.flow)?, net.local_address(self.flow)?);
            Some(Ends { source, destination })
        };
        self.ends.as_ref().map_or_else(own, |ends| Some(**ends))
    }

    /// The fields that tell servers for whom a request is forwarded, up to the value of the last one, which is the host.
    #[inline]
    pub(crate) fn client_text(&mut self, net: &impl Sockets) -> &[u8] {
        if self.client.len == 0 {
            let (source, port) = (self.peer_address(net), net.local_address(self.flow));
            let port = self.ends.as_ref().map(|ends| ends.destination).or(port).map_or(0, |address| address.port());
            self.client.fill(source.map(|address| address.ip()), port);
        }
        self.client.text.get(..usize::from(self.client.len)).unwrap_or_default()
    }

    /// The client as the access log says it: with its port, and in quotation marks.
    #[inline]
    pub(crate) fn logged_client(&mut self, net: &impl Sockets) -> LoggedClient<'_> {
        if self.client.logged_len == 0 {
            match self.peer_address(net) {
                Some(SocketAddr::V4(address)) => self.client.keep_logged(address),
                other => return LoggedClient::Other(other),
            }
        }
        let text = self.client.text.last_chunk().unwrap_or(&[0; _]);
        LoggedClient::Kept { text, len: self.client.logged_len.into() }
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

/// How the access log gets a client's text.
#[derive(Clone, Copy)]
pub(crate) enum LoggedClient<'f> {
    /// It is kept with the connection, at the front of `text`.
    Kept { text: &'f [u8; LOGGED_LEN_MAX], len: usize },
    /// It is still to be written: an IPv6 address, or none.
    Other(Option<SocketAddr>),
}

/// The fields that tell servers for whom a request is forwarded, up to the value of the last one, which is the host:
/// written at the connection's first request that needs them. Behind those of an IPv4 client there is room for what the
/// access log says of it.
pub(crate) struct ClientText {
    text: ForwardingText,
    len: u8,
    /// Length of what the log says, at the front of the last bytes.
    logged_len: u8,
}

pub(crate) type ForwardingText = [u8; 126];

const FOR: &[u8] = b"X-Forwarded-For: ";
const PROTO_AND_PORT: &[u8] = b"\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: ";
const HOST: &[u8] = b"\r\nX-Forwarded-Host: ";

/// Characters of the longest address: eight groups of an IPv6 one (RFC 5952), and the colons between them.
const ADDRESS_LEN_MAX: usize = 8 * 4 + 7;
const PORT_LEN_MAX: usize = 5;
const _: () = assert!(
    FOR.len() + ADDRESS_LEN_MAX + PROTO_AND_PORT.len() + PORT_LEN_MAX + HOST.len() <= size_of::<ForwardingText>()
);

/// Characters of the longest IPv4 address, and of it with its port and quotation marks.
const IPV4_LEN_MAX: usize = 4 * 3 + 3;
const LOGGED_LEN_MAX: usize = IPV4_LEN_MAX + 1 + PORT_LEN_MAX + 2;
const _: () = assert!(
    FOR.len() + IPV4_LEN_MAX + PROTO_AND_PORT.len() + PORT_LEN_MAX + HOST.len() + LOGGED_LEN_MAX
        <= size_of::<ForwardingText>()
);

impl ClientText {
    #[cold]
    fn keep_logged(&mut self, address: SocketAddrV4) {
        let Some(place) = self.text.last_chunk_mut::<LOGGED_LEN_MAX>() else { return };
        let mut writer = HeadWriter::new(place);
        writer.bytes(b"\"");
        text::address(&mut writer, (*address.ip()).into());
        writer.bytes(b":");
        writer.decimal(address.port().into());
        writer.bytes(b"\"");
        self.logged_len = writer.finish().unwrap_or(0) as u8;
    }

    #[cold]
    fn fill(&mut self, client: Option<IpAddr>, port: u16) {
        let mut writer = HeadWriter::new(&mut self.text);
        writer.bytes(FOR);
        match client {
            Some(address) => text::address(&mut writer, address),
            None => writer.bytes(b"unknown"),
        }
        writer.bytes(PROTO_AND_PORT);
        writer.decimal(port.into());
        writer.bytes(HOST);
        self.len = writer.finish().unwrap_or(0) as u8;
    }
}
