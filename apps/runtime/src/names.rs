//! Servers by name: resolved here, on the control core, for all cores.
//!
//! Servers of a pool with the same name and port share its addresses. One that a name still has is kept, whatever the order of
//! an answer, so that servers do not move without need.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Display;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use weir_config::{Address, Config};
use weir_kernel::entropy;
use weir_packet::Packet;
use weir_proxy::{Moved, NOBODY};
use weir_resolver::{
    Counters, Datagrams, Event, Name, Network, QUESTIONS_MAX, Resolver, STREAM_BYTES_MAX, States, Streams, TtlBounds,
};
use weir_socket::{FlowId, Instant, Received, Sockets};
use weir_stack::{DATAGRAM_PORTS_MAX, Shard};

/// Between two looks at what the network is like.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The port of DNS (RFC 1035 4.2.1).
const DNS_PORT: u16 = 53;

const _: () = assert!(QUESTIONS_MAX < DATAGRAM_PORTS_MAX);

/// The names of all servers.
pub struct Names {
    resolver: Resolver,
    /// The servers of each name, in the resolver's order.
    targets: Vec<Vec<Target>>,
    /// Those that the configuration names; those that DHCP and routers told if empty.
    dns_servers: Vec<SocketAddr>,
    look_at: Instant,
    changes: VecDeque<Change>,
    is_without_servers: bool,
}

/// What comes of resolving.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// A server is elsewhere.
    Moved(Moved),
    /// Something for the administrator.
    Said {
        /// Whether it is nothing to worry about.
        is_good: bool,
        /// The line.
        text: String,
    },
}

/// A server with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    pool: u16,
    server: u16,
    port: u16,
    /// How messages call it.
    label: String,
    address: Option<IpAddr>,
}

impl Names {
    /// The names of the servers of a configuration; none without any.
    pub fn new(config: &Config) -> Option<Self> {
        let mut by_name: BTreeMap<Name, Vec<Target>> = BTreeMap::new();
        for (number, pool) in config.pools.iter().enumerate() {
            for (index, server) in pool.servers.iter().enumerate() {
                let Address::Name { host, port } = &server.address else { continue };
                // What the configuration takes for a name is one.
                let Some(name) = Name::new(host) else { continue };
                let label = format!("{}/{}", pool.name, server.name);
                let target = Target { pool: number as u16, server: index as u16, port: *port, label, address: None };
                by_name.entry(name).or_default().push(target);
            }
        }
        if by_name.is_empty() {
            return None;
        }
        let (min, max) = (config.dns.ttl_min_ns, config.dns.ttl_max_ns);
        let ttl = TtlBounds { min: Duration::from_nanos(min), max: Duration::from_nanos(max) };
        let (names, targets) = by_name.into_iter().unzip();
        Some(Self {
            resolver: Resolver::new(names, ttl),
            targets,
            dns_servers: config.dns.servers.clone(),
            look_at: Instant::default(),
            changes: VecDeque::new(),
            is_without_servers: false,
        })
    }

    /// Whether [`poll`](Self::poll) has, or may have, something to do.
    #[inline]
    pub fn is_due(&self, now: Instant) -> bool {
        self.resolver.is_waiting() || self.next_deadline() <= now
    }

    /// When it has, frames aside.
    pub fn next_deadline(&self) -> Instant {
        self.resolver.next_deadline().map_or(self.look_at, |at| at.min(self.look_at))
    }

    /// Goes on with questions, and begins those that are due. Whether a connection has something to send.
    pub fn poll(&mut self, shard: &mut Shard) -> bool {
        let now = shard.now();
        if self.look_at <= now {
            self.look_at = now + LOOK_PERIOD;
            self.look(shard);
        }
        let mut port = Port { shard, has_spoken: false };
        self.resolver.poll(now, &mut port);
        let has_spoken = port.has_spoken;
        while let Some(event) = self.resolver.poll_event() {
            match event {
                Event::Resolved { name, addresses } => self.resolved(name, &addresses),
                Event::Failed { name, failure, is_kept } => self.failed(name, &failure, is_kept),
            }
        }
        has_spoken
    }

    /// The next change.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        self.resolver.counters()
    }

    /// How many names are in which state.
    pub fn states(&self) -> States {
        self.resolver.states()
    }

    /// Sees what the network is like now.
    fn look(&mut self, shard: &Shard) {
        let told = shard.told_name_servers().map(|address| SocketAddr::new(address, DNS_PORT));
        let servers = if self.dns_servers.is_empty() { told.collect() } else { self.dns_servers.clone() };
        let (has_v4, has_v6) = (shard.ipv4().is_some(), shard.ipv6().is_some());
        self.resolver.configure(&Network { servers, has_v4, has_v6 }, shard.now());
        let is_without = !self.resolver.has_servers();
        if is_without && !self.is_without_servers {
            let names = self.targets.len();
            let help = "does DHCP or a router tell one? Otherwise: [dns] servers = \"A.B.C.D:53\"";
            self.say(false, format!("names: no DNS server is known for {names} names of servers: {help}"));
        }
        self.is_without_servers = is_without;
    }

    fn resolved(&mut self, name: usize, addresses: &[IpAddr]) {
        let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let text = format!("names: {} is {}", self.text(name), list.join(", "));
        self.say(true, text);
        let Some(targets) = self.targets.get_mut(name) else { return };
        for index in place(targets, addresses) {
            let Some(Target { pool, server, port, label, address: Some(ip) }) = targets.get(index) else { continue };
            let address = SocketAddr::new(*ip, *port);
            let text = format!("names: server {label} is at {address}");
            self.changes.push_back(Change::Moved(Moved { pool: *pool, server: *server, address }));
            self.changes.push_back(Change::Said { is_good: true, text });
        }
    }

    fn failed(&mut self, name: usize, failure: &dyn Display, is_kept: bool) {
        let servers = self.targets.get(name).map_or(0, Vec::len);
        let (name, s) = (self.text(name), if servers == 1 { "" } else { "s" });
        let fate = match (is_kept, servers) {
            (true, 1) => "its address stays what it was",
            (true, _) => "their addresses stay what they were",
            (false, 1) => "it gets no requests until then",
            (false, _) => "they get no requests until then",
        };
        self.say(false, format!("names: {name}, of {servers} server{s}, is not resolved: {failure}; {fate}"));
    }

    fn text(&self, name: usize) -> String {
        self.resolver.name(name).map(ToString::to_string).unwrap_or_default()
    }

    fn say(&mut self, is_good: bool, text: String) {
        self.changes.push_back(Change::Said { is_good, text });
    }
}

/// Gives each of a name's servers one of its addresses; which of them have another one now.
///
/// A server whose address the name still has keeps it. The others get the address that the fewest servers of the same pool and
/// port have.
fn place(targets: &mut [Target], addresses: &[IpAddr]) -> Vec<usize> {
    let mut moved = Vec::new();
    let mut crowd: BTreeMap<(u16, u16, IpAddr), u32> = BTreeMap::new();
    for target in targets.iter_mut() {
        target.address = target.address.filter(|address| addresses.contains(address));
        if let Some(address) = target.address {
            *crowd.entry((target.pool, target.port, address)).or_default() += 1;
        }
    }
    for (index, target) in targets.iter_mut().enumerate().filter(|(_, target)| target.address.is_none()) {
        let place = |address: &IpAddr| (target.pool, target.port, *address);
        let chosen = addresses.iter().min_by_key(|address| crowd.get(&place(address)).copied().unwrap_or_default());
        let Some(&address) = chosen else { break };
        *crowd.entry(place(&address)).or_default() += 1;
        target.address = Some(address);
        moved.push(index);
    }
    moved
}

/// A shard as the resolver sees it.
struct Port<'s> {
    shard: &'s mut Shard,
    /// A connection was opened or closed.
    has_spoken: bool,
}

impl Datagrams for Port<'_> {
    type Payload = Packet;

    fn random(&mut self) -> u16 {
        random().unwrap_or_default() as u16
    }

    fn bind(&mut self) -> Option<u16> {
        self.shard.bind_datagrams(random()?)
    }

    fn unbind(&mut self, port: u16) {
        self.shard.unbind_datagrams(port);
    }

    fn send(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) -> bool {
        self.shard.send_datagram(port, to, bytes).is_ok()
    }

    fn receive(&mut self, port: u16) -> Option<(SocketAddr, Packet)> {
        self.shard.receive_datagram(port).map(|datagram| (datagram.source, datagram.payload))
    }
}

/// What happens on these connections nobody is told: they are looked at as long as one is waited for.
impl Streams for Port<'_> {
    fn open(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<FlowId> {
        let mut packet = self.shard.allocate()?;
        packet.extend_from_slice(bytes).ok()?;
        let flow = self.shard.connect(to, NOBODY).ok()?;
        self.has_spoken = true;
        if self.shard.send(flow, packet.freeze()).is_err() {
            self.shard.abort(flow);
            return None;
        }
        Some(flow)
    }

    fn read(&mut self, stream: FlowId, to: &mut Vec<u8>) -> bool {
        loop {
            match self.shard.receive(stream) {
                Received::Data(chunk) => {
                    let room = STREAM_BYTES_MAX.saturating_sub(to.len());
                    to.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
                }
                Received::Nothing => return true,
                Received::End | Received::Closed(_) => return false,
            }
        }
    }

    fn close(&mut self, stream: FlowId) {
        self.shard.close(stream);
        self.has_spoken = true;
    }
}

/// Hard to guess. None: there is no randomness, and then there are no questions.
fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    entropy::fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use weir_stack::{Ipv4Configuration, Ipv4Source};

    fn address(host: u8) -> IpAddr {
        [10, 0, 0, host].into()
    }

    fn target(pool: u16, port: u16) -> Target {
        Target { pool, server: 0, port, label: String::new(), address: None }
    }

    fn places(targets: &[Target]) -> Vec<Option<u8>> {
        let last = |ip| if let IpAddr::V4(v4) = ip { v4.octets()[3] } else { 0 };
        targets.iter().map(|target| target.address.map(last)).collect()
    }

    #[test]
    fn servers_of_one_name_share_its_addresses_and_move_only_if_they_must() {
        let mut targets = [target(0, 80), target(0, 80), target(0, 80), target(1, 80)];
        assert_eq!(place(&mut targets, &[address(1), address(2)]), [0, 1, 2, 3]);
        assert_eq!(places(&targets), [Some(1), Some(2), Some(1), Some(1)]);
        assert!(place(&mut targets, &[address(2), address(1)]).is_empty(), "another order");
        assert_eq!(place(&mut targets, &[address(2), address(3), address(4)]), [0, 2, 3]);
        assert_eq!(places(&targets), [Some(3), Some(2), Some(4), Some(2)]);
        assert_eq!(place(&mut targets, &[address(4)]), [0, 1, 3]);
        assert_eq!(places(&targets), [Some(4); 4]);
    }

    fn config(dns: &str, address: &str) -> Config {
        let text = format!(
            "{dns}[[listener]]\nname = \"l\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npool = \"p\"\n[[pool]]\nname = \"p\"\n\
             [[pool.server]]\nname = \"a\"\naddress = \"{address}\"\n[[pool.server]]\nname = \"b\"\naddress = \"App.x:81\"\n"
        );
        Config::parse(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn every_name_is_asked_for_once_and_every_server_hears() {
        let mut names = Names::new(&config("", "app.x:80")).expect("names");
        assert_eq!((names.targets.len(), names.states().unresolved), (1, 1));
        names.resolved(0, &[address(7)]);
        let moved = |server, port| Change::Moved(Moved { pool: 0, server, address: (address(7), port).into() });
        let changes: Vec<Change> = core::iter::from_fn(|| names.poll_change()).collect();
        assert!(changes.contains(&moved(0, 80)) && changes.contains(&moved(1, 81)), "{changes:?}");
        let said = |text: &str| Change::Said { is_good: true, text: text.into() };
        assert!(changes.contains(&said("names: app.x is 10.0.0.7")), "{changes:?}");
        assert!(changes.contains(&said("names: server p/b is at 10.0.0.7:81")), "{changes:?}");
        names.failed(0, &"no DNS server answers", true);
        let text =
            "names: app.x, of 2 servers, is not resolved: no DNS server answers; their addresses stay what they were";
        assert_eq!(names.poll_change(), Some(Change::Said { is_good: false, text: text.into() }));
    }

    #[test]
    fn dns_servers_are_those_of_the_configuration_or_those_that_were_told() {
        let mut v4 = Ipv4Configuration::new([10, 0, 0, 2].into(), 24);
        v4.dns = [Some([10, 0, 0, 53].into()), None, None];
        let ask = |dns: &str, v4: Ipv4Configuration| {
            let mut names = Names::new(&config(dns, "app.x:80")).expect("names");
            let mut shard = crate::syslog::tests::shard(Ipv4Source::Static(v4));
            names.poll(&mut shard);
            let said: Vec<Change> = core::iter::from_fn(|| names.poll_change()).collect();
            (names.resolver.has_servers(), said.len())
        };
        let none = Ipv4Configuration { dns: [None; 3], ..v4 };
        assert_eq!(ask("", v4), (true, 0));
        assert_eq!(ask("[dns]\nservers = \"10.0.0.5:53\"\n", none), (true, 0));
        assert_eq!(ask("", none), (false, 1), "and it is said, once");
    }

    #[test]
    fn without_names_there_is_nothing_to_do() {
        let text = "[[listener]]\nname = \"l\"\nbind = \"0.0.0.0:80\"\n[[listener.route]]\npage = \"demo\"\n";
        assert!(Names::new(&Config::parse(text).expect("a configuration")).is_none());
        assert_eq!(Names::new(&config("", "10.0.0.1:80")).map(|names| names.targets.len()), Some(1));
    }
}
