//! What each client address has: connections, and how many more of them and of requests it may have in this moment.
//!
//! A table of fixed size in sets of four places. A client without a connection and with full buckets is as good as unknown,
//! so its place is the first to be given away. Who finds all places of its set in use is not limited, and counted: a table
//! that was full of others must not shut anybody out.
//!
//! An IPv6 client is known by the first 64 bits of its address: the others are its own to choose (RFC 4291 2.5.4).
//!
//! Each core counts what comes to it, and allows its share of what the configuration says.
//!
//! Cost: a connection keeps its client's place, so that a request of it is a look at that place alone.

use alloc::boxed::Box;
use alloc::vec;
use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

use weir_config::{ClientLimits, Rate};
use weir_socket::Instant;

use crate::upstream;

const SETS: usize = 4096;
const WAYS: usize = 4;
const _: () = assert!(SETS * WAYS <= u16::MAX as usize);

/// Parts of one connection or request in a bucket.
const PARTS: u64 = 1 << 16;

const MILLISECOND_NS: u64 = 1_000_000;

/// All clients of one core.
pub(crate) struct Clients {
    places: Box<[Client]>,
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

/// The place of a client with a connection that was granted: nobody else gets it as long as that lasts. It is counted from one,
/// so that a connection needs two bytes for one or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU16);

impl Place {
    fn at(index: usize) -> Option<Self> {
        NonZeroU16::new(index as u16 + 1).map(Self)
    }

    fn index(self) -> usize {
        usize::from(self.0.get() - 1)
    }
}

/// Why a client does not get what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has as many connections as it may.
    TooMany,
    /// It comes too often.
    TooOften,
    /// It does, but nobody counts it: the table is full.
    Untracked,
}

impl Clients {
    /// None: nothing is limited. This core is one of `cores`.
    pub(crate) fn new(limits: &ClientLimits, cores: usize) -> Option<Self> {
        if limits.connections.is_none() && limits.connection_rate.is_none() && limits.request_rate.is_none() {
            return None;
        }
        Some(Self {
            places: vec![Client::default(); SETS * WAYS].into(),
            connections_max: limits.connections.map_or(u32::MAX, |max| max.div_ceil(cores.max(1) as u32)),
            connection_rate: limits.connection_rate.map(|rate| Bucket::new(rate, cores)),
            request_rate: limits.request_rate.map(|rate| Bucket::new(rate, cores)),
        })
    }

    /// A connection comes in. If granted, its place is to be [given back](Self::disconnect).
    pub(crate) fn connect(&mut self, client: Option<SocketAddr>, now: Instant) -> Result<Place, Refusal> {
        let (connections_max, rate) = (self.connections_max, self.connection_rate);
        let place = self.find(client, now).ok_or(Refusal::Untracked)?;
        let client = self.client(place, now).ok_or(Refusal::Untracked)?;
        if client.connections >= connections_max {
            return Err(Refusal::TooMany);
        }
        if !rate.is_none_or(|rate| rate.take(&mut client.connections_spent)) {
            return Err(Refusal::TooOften);
        }
        client.connections += 1;
        Ok(place)
    }

    /// A connection that was granted has ended.
    pub(crate) fn disconnect(&mut self, place: Place) {
        if let Some(client) = self.places.get_mut(place.index()) {
            client.connections = client.connections.saturating_sub(1);
        }
    }

    /// A request comes in, of a connection with a place, or of a client that has none there.
    #[inline]
    pub(crate) fn request(
        &mut self,
        place: Option<Place>,
        client: impl FnOnce() -> Option<SocketAddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Some(rate) = self.request_rate else { return Ok(()) };
        let place = place.or_else(|| self.find(client(), now)).ok_or(Refusal::Untracked)?;
        let client = self.client(place, now).ok_or(Refusal::Untracked)?;
        if rate.take(&mut client.requests_spent) { Ok(()) } else { Err(Refusal::TooOften) }
    }

    /// The client at a place, its buckets filled up.
    #[inline]
    fn client(&mut self, place: Place, now: Instant) -> Option<&mut Client> {
        let client = self.places.get_mut(place.index())?;
        if now.nanos_since(client.at) >= MILLISECOND_NS {
            client.refill(now, [self.connection_rate, self.request_rate]);
        }
        Some(client)
    }

    /// The client's place, or one that nobody needs and that is its from now on.
    #[inline(never)]
    fn find(&mut self, client: Option<SocketAddr>, now: Instant) -> Option<Place> {
        let hash = hash(client).max(1);
        let first = hash as usize % SETS * WAYS;
        let set = self.places.get_mut(first..first + WAYS)?;
        let known = set.iter().position(|client| client.hash == hash);
        let way = known.or_else(|| take_place(set, hash, now, [self.connection_rate, self.request_rate]))?;
        Place::at(first + way)
    }
}

/// A place that nobody needs, for a client that has none.
fn take_place(set: &mut [Client], hash: u64, now: Instant, rates: [Option<Bucket>; 2]) -> Option<usize> {
    let way = set.iter_mut().position(|client| {
        client.refill(now, rates);
        (client.connections, client.connections_spent, client.requests_spent) == (0, 0, 0)
    })?;
    *set.get_mut(way)? = Client { hash, at: now, ..Client::default() };
    Some(way)
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
        let elapsed_ms = now.nanos_since(self.at) / MILLISECOND_NS;
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
    use alloc::vec::Vec;
    use core::time::Duration;

    const START: Instant = Instant::from_nanos(5_000_000_000);

    fn limits(connections: Option<u32>, per_second: Option<u32>) -> ClientLimits {
        let rate = per_second.map(|n| Rate { per_minute: n * 60 });
        ClientLimits { connections, connection_rate: None, request_rate: rate, dry_run: false }
    }

    fn ask(clients: &mut Clients, client: Option<SocketAddr>, now: Instant) -> Result<(), Refusal> {
        clients.request(None, || client, now)
    }

    fn client(n: u32) -> Option<SocketAddr> {
        Some((core::net::Ipv4Addr::from(0x0a00_0000 + n), n as u16 | 1).into())
    }

    #[test]
    fn connections_are_counted_by_address() {
        let mut clients = Clients::new(&limits(Some(3), None), 1).expect("limits");
        let other_port = Some(SocketAddr::from(([10, 0, 0, 1], 9)));
        let [place, other, third] = [client(1), other_port, client(1)].map(|c| clients.connect(c, START));
        assert!(place.is_ok() && place == other && place == third);
        assert_eq!(clients.connect(other_port, START), Err(Refusal::TooMany));
        assert_ne!(clients.connect(client(2), START).expect("granted"), place.expect("granted"));
        clients.disconnect(place.expect("granted"));
        assert_eq!(clients.connect(client(1), START), place);
    }

    #[test]
    fn an_ipv6_client_is_its_subnet() {
        let mut clients = Clients::new(&limits(Some(1), None), 1).expect("limits");
        let from = |text: &str| Some(text.parse().expect("an address"));
        assert!(clients.connect(from("[2001:db8::1]:1"), START).is_ok());
        assert_eq!(clients.connect(from("[2001:db8::ffff:0:0:2]:1"), START), Err(Refusal::TooMany));
        assert!(clients.connect(from("[2001:db8:0:1::1]:1"), START).is_ok());
    }

    #[test]
    fn a_rate_is_held_in_the_long_run_and_a_second_of_it_at_once() {
        for (per_second, cores) in [(10, 1), (100, 4), (1, 1)] {
            let mut clients = Clients::new(&limits(None, Some(per_second)), cores).expect("limits");
            let share = (per_second as usize).div_ceil(cores);
            let burst = (0..1000).filter(|_| ask(&mut clients, client(1), START).is_ok()).count();
            assert_eq!(burst, share);
            let mut now = START;
            let mut granted = 0;
            for _ in 0..10_000 {
                now = now + Duration::from_micros(2_500);
                granted += usize::from(ask(&mut clients, client(1), now).is_ok());
            }
            assert!(granted.abs_diff(25 * share) <= share / 5 + 1, "{granted} in 25 s at {share} a second");
            assert_eq!(ask(&mut clients, client(2), now), Ok(()), "everybody has its own");
        }
    }

    /// As long as a client has a connection, its place is its own, full buckets or not.
    #[test]
    fn a_connection_keeps_its_place() {
        let mut clients = Clients::new(&limits(Some(1), Some(2)), 1).expect("limits");
        let place = clients.connect(client(0), START).ok();
        let later = START + Duration::from_secs(60);
        let others = (1..200_000).filter(|&n| clients.connect(client(n), later).is_ok()).count();
        assert_eq!(others, SETS * WAYS - 1);
        let mut ask_at = |place| clients.request(place, || client(0), later);
        assert_eq!([place, None, place].map(&mut ask_at), [Ok(()), Ok(()), Err(Refusal::TooOften)]);
        clients.disconnect(place.expect("granted"));
        assert_eq!(clients.connect(client(0), later), Ok(place.expect("granted")));
    }

    #[test]
    fn a_full_set_limits_nobody_and_empties_again() {
        let mut clients = Clients::new(&limits(Some(1), None), 1).expect("limits");
        let (mut granted, mut untracked) = (Vec::new(), 0);
        for n in 0..200_000 {
            match clients.connect(client(n), START) {
                Ok(place) => granted.push(place),
                Err(Refusal::Untracked) => untracked += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(granted.len(), SETS * WAYS);
        assert_eq!(untracked, 200_000 - SETS * WAYS);
        granted.into_iter().for_each(|place| clients.disconnect(place));
        assert!(clients.connect(client(7), START).is_ok());
    }

    #[test]
    fn nothing_limited_is_no_table() {
        assert!(Clients::new(&limits(None, None), 1).is_none());
    }
}
