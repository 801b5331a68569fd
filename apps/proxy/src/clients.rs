//! What each client address has: connections, and how many more of them and of requests it may have in this moment.
//!
//! A table of fixed size in sets of four places. A client without a connection and with full buckets is as good as unknown,
//! so its place is the first to be given away. Who finds all places of its set in use is not limited, and counted: a table
//! that was full of others must not shut anybody out.
//!
//! An IPv6 client is known by the first 64 bits of its address: the others are its own to choose (RFC 4291 2.5.4).
//!
//! Each core counts what comes to it, and allows its share of what the configuration says.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, SocketAddr};

use weir_config::{ClientLimits, Rate};
use weir_socket::Instant;

use crate::upstream;

const SETS: usize = 4096;
const WAYS: usize = 4;

/// Parts of one connection or request in a bucket.
const PARTS: u64 = 1 << 16;

const MILLISECOND_NS: u64 = 1_000_000;

/// All clients of one core.
pub(crate) struct Clients {
    sets: Box<[[Client; WAYS]]>,
    connections_max: u32,
    connection_rate: Option<Bucket>,
    request_rate: Option<Bucket>,
}

/// One client.
#[derive(Clone, Copy, Default)]
struct Client {
    /// 0: the place is free.
    hash: u64,
    connections: u32,
    /// What is missing in the buckets, in parts, at the time `at`: so that an empty place has full ones.
    connections_spent: u64,
    requests_spent: u64,
    at: Instant,
}

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy)]
struct Bucket {
    parts_per_ms: u64,
    size: u64,
}

/// What a client asks for is granted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    /// It has as many connections as it may.
    TooMany,
    /// It comes too often.
    TooOften,
    /// Nobody counts it: the table is full.
    Untracked,
}

impl Clients {
    /// None: nothing is limited. This core is one of `cores`.
    pub(crate) fn new(limits: &ClientLimits, cores: usize) -> Option<Self> {
        if limits.connections.is_none() && limits.connection_rate.is_none() && limits.request_rate.is_none() {
            return None;
        }
        Some(Self {
            sets: vec![[Client::default(); WAYS]; SETS].into(),
            connections_max: limits.connections.map_or(u32::MAX, |max| max.div_ceil(cores.max(1) as u32)),
            connection_rate: limits.connection_rate.map(|rate| Bucket::new(rate, cores)),
            request_rate: limits.request_rate.map(|rate| Bucket::new(rate, cores)),
        })
    }

    /// A connection comes in. If granted, it is to be [given back](Self::disconnect).
    pub(crate) fn connect(&mut self, client: Option<SocketAddr>, now: Instant) -> Admission {
        let (connections_max, rate) = (self.connections_max, self.connection_rate);
        let Some(client) = self.find(client, now) else { return Admission::Untracked };
        if client.connections >= connections_max {
            return Admission::TooMany;
        }
        if !rate.is_none_or(|rate| rate.take(&mut client.connections_spent)) {
            return Admission::TooOften;
        }
        client.connections += 1;
        Admission::Granted
    }

    /// A connection that was granted has ended.
    pub(crate) fn disconnect(&mut self, client: Option<SocketAddr>, now: Instant) {
        if let Some(client) = self.find(client, now) {
            client.connections = client.connections.saturating_sub(1);
        }
    }

    /// A request comes in.
    pub(crate) fn request(&mut self, client: Option<SocketAddr>, now: Instant) -> Admission {
        let Some(rate) = self.request_rate else { return Admission::Granted };
        let Some(client) = self.find(client, now) else { return Admission::Untracked };
        if rate.take(&mut client.requests_spent) { Admission::Granted } else { Admission::TooOften }
    }

    /// The client's place with its buckets filled up, or one that nobody needs.
    #[inline(always)]
    fn find(&mut self, client: Option<SocketAddr>, now: Instant) -> Option<&mut Client> {
        let hash = hash(client).max(1);
        let set = self.sets.get_mut(hash as usize % SETS)?;
        let Some(index) = set.iter().position(|place| place.hash == hash) else {
            return take_place(set, hash, now, [self.connection_rate, self.request_rate]);
        };
        let place = set.get_mut(index)?;
        if now.as_nanos().saturating_sub(place.at.as_nanos()) >= MILLISECOND_NS {
            place.refill(now, [self.connection_rate, self.request_rate]);
        }
        Some(place)
    }
}

/// A place that nobody needs, for a client that has none.
#[cold]
fn take_place(set: &mut [Client], hash: u64, now: Instant, rates: [Option<Bucket>; 2]) -> Option<&mut Client> {
    let place = set.iter_mut().find_map(|place| {
        place.refill(now, rates);
        let is_free = (place.connections, place.connections_spent, place.requests_spent) == (0, 0, 0);
        is_free.then_some(place)
    })?;
    *place = Client { hash, at: now, ..Client::default() };
    Some(place)
}

fn hash(client: Option<SocketAddr>) -> u64 {
    match client.map(|client| client.ip()) {
        Some(IpAddr::V4(ip)) => upstream::mix(u64::from(ip.to_bits()) | 1 << 32),
        Some(IpAddr::V6(ip)) => upstream::hash(ip.octets().first_chunk::<8>().unwrap_or(&[0; 8])),
        None => 0,
    }
}

impl Client {
    fn refill(&mut self, now: Instant, [connection_rate, request_rate]: [Option<Bucket>; 2]) {
        let elapsed_ns = now.as_nanos().saturating_sub(self.at.as_nanos());
        let elapsed_ms = elapsed_ns / MILLISECOND_NS;
        let earned = |rate: Option<Bucket>| rate.map_or(0, |rate| rate.parts_per_ms.saturating_mul(elapsed_ms));
        self.connections_spent = self.connections_spent.saturating_sub(earned(connection_rate));
        self.requests_spent = self.requests_spent.saturating_sub(earned(request_rate));
        // What is left of a millisecond is not lost.
        self.at = Instant::from_nanos(self.at.as_nanos() + elapsed_ms * MILLISECOND_NS);
    }
}

impl Bucket {
    /// A core's share of a rate, and as much at once as comes in a second.
    fn new(rate: Rate, cores: usize) -> Self {
        let per_core = u64::from(rate.per_minute) * PARTS / cores.max(1) as u64;
        Self { parts_per_ms: (per_core / 60_000).max(1), size: (per_core / 60).max(PARTS) }
    }

    fn take(self, spent: &mut u64) -> bool {
        let is_enough = *spent + PARTS <= self.size;
        if is_enough {
            *spent += PARTS;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const START: Instant = Instant::from_nanos(5_000_000_000);

    fn limits(connections: Option<u32>, per_second: Option<u32>) -> ClientLimits {
        let rate = per_second.map(|n| Rate { per_minute: n * 60 });
        ClientLimits { connections, connection_rate: None, request_rate: rate, dry_run: false }
    }

    fn client(n: u32) -> Option<SocketAddr> {
        Some((core::net::Ipv4Addr::from(0x0a00_0000 + n), n as u16 | 1).into())
    }

    #[test]
    fn connections_are_counted_by_address() {
        let mut clients = Clients::new(&limits(Some(3), None), 1).expect("limits");
        let other_port = Some(SocketAddr::from(([10, 0, 0, 1], 9)));
        assert_eq!([client(1), other_port, client(1)].map(|c| clients.connect(c, START)), [Admission::Granted; 3]);
        assert_eq!(clients.connect(other_port, START), Admission::TooMany);
        assert_eq!(clients.connect(client(2), START), Admission::Granted);
        clients.disconnect(client(1), START);
        assert_eq!(clients.connect(client(1), START), Admission::Granted);
    }

    #[test]
    fn an_ipv6_client_is_its_subnet() {
        let mut clients = Clients::new(&limits(Some(1), None), 1).expect("limits");
        let from = |text: &str| Some(text.parse().expect("an address"));
        assert_eq!(clients.connect(from("[2001:db8::1]:1"), START), Admission::Granted);
        assert_eq!(clients.connect(from("[2001:db8::ffff:0:0:2]:1"), START), Admission::TooMany);
        assert_eq!(clients.connect(from("[2001:db8:0:1::1]:1"), START), Admission::Granted);
    }

    #[test]
    fn a_rate_is_held_in_the_long_run_and_a_second_of_it_at_once() {
        for (per_second, cores) in [(10, 1), (100, 4), (1, 1)] {
            let mut clients = Clients::new(&limits(None, Some(per_second)), cores).expect("limits");
            let share = (per_second as usize).div_ceil(cores);
            let burst = (0..1000).filter(|_| clients.request(client(1), START) == Admission::Granted).count();
            assert_eq!(burst, share);
            let mut now = START;
            let mut granted = 0;
            for _ in 0..10_000 {
                now = now + Duration::from_micros(2_500);
                granted += usize::from(clients.request(client(1), now) == Admission::Granted);
            }
            assert!(granted.abs_diff(25 * share) <= share / 5 + 1, "{granted} in 25 s at {share} a second");
            assert_eq!(clients.request(client(2), now), Admission::Granted, "everybody has its own");
        }
    }

    #[test]
    fn a_full_set_limits_nobody_and_empties_again() {
        let mut clients = Clients::new(&limits(Some(1), None), 1).expect("limits");
        let (mut granted, mut untracked) = (0, 0);
        for n in 0..200_000 {
            match clients.connect(client(n), START) {
                Admission::Granted => granted += 1,
                Admission::Untracked => untracked += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(granted, SETS * WAYS);
        assert_eq!(untracked, 200_000 - SETS * WAYS);
        (0..200_000).for_each(|n| clients.disconnect(client(n), START));
        assert_eq!(clients.connect(client(7), START), Admission::Granted);
    }

    #[test]
    fn nothing_limited_is_no_table() {
        assert!(Clients::new(&limits(None, None), 1).is_none());
    }
}
