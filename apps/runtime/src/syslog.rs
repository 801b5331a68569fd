//! Messages to a log server: syslog (RFC 5424) over UDP (RFC 5426), one datagram for each, from the core that has something to
//! say.
//!
//! Nobody waits for the network: what the stack does not take is lost and counted. A turn sends no more than
//! [`MESSAGES_PER_TURN`], so that a flood of messages leaves room for what they are about.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};

use weir_http1::civil_date;
use weir_socket::Sockets;
use weir_stack::Shard;

/// Messages of one turn at most: as many as the stack keeps for the device.
pub const MESSAGES_PER_TURN: u32 = 128;

/// Severities (RFC 5424 6.2.1).
pub const ERROR: u8 = 3;
pub const WARNING: u8 = 4;
pub const INFO: u8 = 6;

/// local0, as other balancers have it.
const FACILITY: u8 = 16;
/// Recommended for senders too (RFC 5426 3.3).
const SOURCE_PORT: u16 = 514;

/// One core's way to the log server.
pub struct Syslog {
    server: Option<SocketAddr>,
    core: usize,
    /// Wall clock at the origin of [`weir_socket::Instant`], in nanoseconds since 1970.
    unix_ns_at_origin: u64,
    /// Our address, and how it is written.
    host: (Option<IpAddr>, String),
    message: Vec<u8>,
    left: u32,
    sent: u64,
    lost: u64,
}

impl Syslog {
    /// Messages of `core` to `server`; without a server, nothing is sent and nothing is lost.
    pub fn new(server: Option<SocketAddr>, core: usize, unix_ns_at_origin: u64) -> Self {
        Self {
            server,
            core,
            unix_ns_at_origin,
            host: (None, String::from("-")),
            message: Vec::new(),
            left: MESSAGES_PER_TURN,
            sent: 0,
            lost: 0,
        }
    }

    /// To be called once in each turn.
    #[inline]
    pub const fn begin_turn(&mut self) {
        self.left = MESSAGES_PER_TURN;
    }

    /// Sends one message of a severity (RFC 5424 6.2.1), as much of `body` as a packet carries. It leaves at the end of the
    /// turn. False: it did not, and is counted as lost if there is a server.
    pub fn send(&mut self, shard: &mut Shard, severity: u8, body: &[u8]) -> bool {
        let Some(server) = self.server else { return false };
        let is_sent = self.left > 0 && self.try_send(shard, server, severity, body);
        if is_sent {
            self.left -= 1;
            self.sent += 1;
        } else {
            self.lost += 1;
        }
        is_sent
    }

    /// Messages sent.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages lost.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    fn try_send(&mut self, shard: &mut Shard, server: SocketAddr, severity: u8, body: &[u8]) -> bool {
        let address = match server {
            SocketAddr::V4(_) => shard.ipv4().map(|v4| IpAddr::V4(v4.address)),
            SocketAddr::V6(_) => Some(IpAddr::V6(shard.ipv6().map_or(shard.link_local(), |v6| v6.address))),
        };
        self.rename(address);
        let unix_ns = self.unix_ns_at_origin.saturating_add(shard.now().as_nanos());
        self.write(unix_ns, severity, body);
        self.message.truncate(shard.datagram_bytes_max(server));
        shard.send_datagram(SOURCE_PORT, server, &self.message).is_ok()
    }

    #[inline]
    fn rename(&mut self, address: Option<IpAddr>) {
        if self.host.0 != address {
            self.host = (address, String::new());
            // A string takes all.
            let _ = match address {
                Some(address) => write!(self.host.1, "{address}"),
                None => write!(self.host.1, "-"),
            };
        }
    }

    /// RFC 5424 6: header, no structured data, message. By hand, for there may be one for each request.
    fn write(&mut self, unix_ns: u64, severity: u8, body: &[u8]) {
        let text = &mut self.message;
        text.clear();
        text.push(b'<');
        decimal(text, u64::from(FACILITY * 8 + severity.min(7)), 1);
        text.extend_from_slice(b">1 ");
        timestamp(text, unix_ns);
        text.push(b' ');
        text.extend_from_slice(self.host.1.as_bytes());
        text.extend_from_slice(b" weir ");
        decimal(text, self.core as u64, 1);
        text.extend_from_slice(b" - - ");
        text.extend_from_slice(body);
    }
}

/// RFC 5424 6.2.3, with microseconds, in UTC.
fn timestamp(text: &mut Vec<u8>, unix_ns: u64) {
    let (seconds, micros) = (unix_ns / 1_000_000_000, unix_ns / 1_000 % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    for (value, width, end) in [
        (year, 4, b'-'),
        (month + 1, 2, b'-'),
        (day, 2, b'T'),
        (second / 3_600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (micros, 6, b'Z'),
    ] {
        decimal(text, value, width);
        text.push(end);
    }
}

/// A number of at least `width` digits.
fn decimal(text: &mut Vec<u8>, value: u64, width: usize) {
    let begin = text.len();
    let mut left = value;
    while left > 0 || text.len() - begin < width {
        text.push(b'0' + (left % 10) as u8);
        left /= 10;
    }
    if let Some(digits) = text.get_mut(begin..) {
        digits.reverse();
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use weir_packet::Pool;
    use weir_packet::frame::Capabilities;
    use weir_socket::Instant;
    use weir_stack::{Ipv4Configuration, Ipv4Source, Ipv6Source, ShardConfig};

    /// 2003-10-11T22:14:15.003 UTC, the date of RFC 5424's first example.
    const EXAMPLE_NS: u64 = 1_065_910_455_003_000_000;

    /// A shard without neighbours.
    pub fn shard(ipv4: Ipv4Source) -> Shard {
        let device = Capabilities {
            mac: [0x52, 0x54, 0, 0, 0, 1],
            mtu: 1500,
            transmit_checksum: false,
            tso4: false,
            tso6: false,
        };
        let mut config = ShardConfig::new(0, 1, [1, 2, 3, 4], device);
        config.ipv4 = ipv4;
        config.ipv6 = Ipv6Source::None;
        config.tcp.flows_max = 16;
        let mut shard = Shard::new(config, Pool::with_capacity(64).expect("memory"));
        shard.set_now(Instant::from_nanos(1_000_000_000));
        shard
    }

    #[test]
    fn rfc5424_6_a_message_has_its_header() {
        let mut syslog = Syslog::new(None, 3, 0);
        syslog.write(EXAMPLE_NS, 6, b"hello");
        assert_eq!(syslog.message, b"<134>1 2003-10-11T22:14:15.003000Z - weir 3 - - hello");
        syslog.rename(Some([192, 0, 2, 1].into()));
        syslog.write(EXAMPLE_NS + 86_400_000_000_000 * 30, 99, b"");
        assert_eq!(syslog.message, b"<135>1 2003-11-10T22:14:15.003000Z 192.0.2.1 weir 3 - - ");
        syslog.write(0, 0, b"\xff");
        assert_eq!(syslog.message, b"<128>1 1970-01-01T00:00:00.000000Z 192.0.2.1 weir 3 - - \xff");
    }

    #[test]
    fn without_a_server_nothing_is_sent_and_nothing_is_lost() {
        let mut syslog = Syslog::new(None, 0, 0);
        assert!(!syslog.send(&mut shard(Ipv4Source::None), INFO, b"x"));
        assert_eq!((syslog.sent(), syslog.lost()), (0, 0));
    }

    #[test]
    fn what_the_stack_does_not_take_is_lost_and_counted() {
        let server = SocketAddr::from(([10, 0, 0, 5], 514));
        let mut syslog = Syslog::new(Some(server), 0, EXAMPLE_NS);
        assert!(!syslog.send(&mut shard(Ipv4Source::None), INFO, b"there is no address"));
        let address = Ipv4Configuration::new([10, 0, 0, 2].into(), 24);
        let mut shard = shard(Ipv4Source::Static(address));
        // A few wait for the neighbour.
        let sent = (0..200).filter(|_| syslog.send(&mut shard, INFO, &[b'x'; 5_000])).count() as u64;
        assert!(sent > 0 && sent < 100, "{sent}");
        assert_eq!((syslog.sent(), syslog.lost()), (sent, 201 - sent));
        assert!(syslog.message.len() == shard.datagram_bytes_max(server));
        assert!(syslog.message.starts_with(b"<134>1 2003-10-11T22:14:16.003000Z 10.0.0.2 weir 0 - - xxx"));
    }

    #[test]
    fn a_turn_has_an_end() {
        let mut syslog = Syslog::new(Some(SocketAddr::from(([10, 0, 0, 5], 514))), 0, 0);
        let mut shard = shard(Ipv4Source::Static(Ipv4Configuration::new([10, 0, 0, 2].into(), 24)));
        syslog.left = 1;
        assert!(syslog.send(&mut shard, INFO, b"last"));
        assert!(!syslog.send(&mut shard, INFO, b"one too many"));
        assert_eq!((syslog.left, syslog.lost()), (0, 1));
        syslog.begin_turn();
        assert!(syslog.send(&mut shard, INFO, b"first"));
    }
}
