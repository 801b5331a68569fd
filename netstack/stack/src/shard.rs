//! One core's stack behind one door.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use weir_packet::Pool;
use weir_packet::frame::{ChecksumStatus, RxFrame, Transmit};
use weir_packet::handoff::Foreign;
use weir_socket::{Instant, ListenerId};
use weir_tcp::{Engine, IcmpError, IcmpErrorKind, Unreachable};

use crate::address::{Ipv4Configuration, Ipv6Configuration};
use crate::config::{Ipv4Source, Ipv6Source, ShardConfig};
use crate::control::{Change, Control, PATIENCE};
use crate::counters::{Counters, DropReason, Event};
use crate::ethernet;
use crate::icmpv4;
use crate::icmpv6;
use crate::message::Message;
use crate::neighbour::Question;
use crate::network::{Network, Waiting};
use crate::presence::Presence;
use crate::receive::Origin;
use crate::router::RouterDiscovery;
use crate::steering::Steering;
use crate::time::{NEVER, RateLimit};
use crate::transmit::Wire;
use crate::udp;

/// Echo requests answered per second and core, and at once.
const ECHO_REPLIES_PER_SECOND: u32 = 1_000;
const ECHO_REPLIES_BURST: u32 = 100;
/// ICMP errors passed to other cores per second, and at once.
const ICMP_ERRORS_PER_SECOND: u32 = 100;
const ICMP_ERRORS_BURST: u32 = 50;
/// Strays for which the other cores are asked per second, and at once: at most one message to each core for each of them.
const STRAYS_PER_SECOND: u32 = 2_000;
const STRAYS_BURST: u32 = 256;
/// Events that wait to be asked for; more are forgotten.
const EVENTS_MAX: usize = 32;
/// Rounds between engine and loopback in one call: a handshake and an answer.
const LOOPBACK_ROUNDS: usize = 4;
/// Questions about neighbours in one call.
const QUESTIONS_PER_TURN: usize = 16;

/// One core's network stack: everything about its flows, and nothing that another core could touch.
///
/// A turn of the core calls, in this order:
///
/// 1. [`set_now`](Self::set_now), once;
/// 2. [`handle_message`](Self::handle_message) for a bounded number of messages of other cores;
/// 3. [`handle_frame`](Self::handle_frame) for a burst of received frames;
/// 4. [`handle_timers`](Self::handle_timers);
/// 5. the application, which drains [`weir_socket::Sockets::poll_event`];
/// 6. [`poll_transmit`](Self::poll_transmit), and the device is told of the burst;
/// 7. [`poll_message`](Self::poll_message) until none is left;
///
/// and may sleep until [`next_deadline`](Self::next_deadline), a frame or a message.
pub struct Shard {
    pub(crate) network: Network,
    pub(crate) engine: Engine,
    pub(crate) steering: Steering,
    pub(crate) control: Option<Control>,
    pub(crate) routers: Option<RouterDiscovery>,
    /// When the control plane has something to do.
    pub(crate) control_at: Instant,
    /// Whether somebody in this host waits for DHCP.
    pub(crate) asks_dhcp: bool,
    pub(crate) echo_limit: RateLimit,
    pub(crate) error_limit: RateLimit,
    pub(crate) stray_limit: RateLimit,
    /// Ports bound for datagrams.
    pub(crate) datagrams: udp::Ports,
    /// Loopback traffic has made events that the application has not seen.
    pub(crate) has_news: bool,
    /// Listeners and their ports.
    pub(crate) listeners: Vec<(ListenerId, u16)>,
    pub(crate) presence: Presence,
    events: VecDeque<ShardEvent>,
}

/// What the administrator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardEvent {
    /// The host has an IPv4 address, or a new one.
    Ipv4Configured(Ipv4Configuration),
    /// The host's IPv4 address is gone: its lease has ended.
    Ipv4Lost,
    /// The host has an IPv6 address beside its link-local one, or a new one.
    Ipv6Configured(Ipv6Configuration),
    /// That address is gone.
    Ipv6Lost,
    /// No DHCP server has answered for so long: `no address from DHCP`. Asking goes on.
    NoAddress(Duration),
    /// The router towards everything else does not answer.
    RouterSilent(IpAddr),
    /// It answers again.
    RouterBack(IpAddr),
    /// Another station claims an address of ours.
    AddressConflict {
        /// The address.
        address: IpAddr,
        /// Who claims it.
        mac: [u8; 6],
    },
    /// This address, just leased, is another station's: it was given back, and another one is asked for after a while.
    AddressDeclined(Ipv4Addr),
}

impl Shard {
    /// A shard that takes its buffers from `pool`.
    #[must_use]
    pub fn new(config: ShardConfig, pool: Pool) -> Self {
        let [seed_tcp, seed_ports, seed_table, seed_control] = config.seed;
        let mut tcp = config.tcp;
        tcp.seed = [seed_tcp, seed_ports, seed_table, seed_control].map(|word| word.rotate_left(29) ^ seed_tcp);
        let place = (config.core, config.cores.max(1));
        let asks_dhcp = config.ipv4 == Ipv4Source::Dhcp;
        let now = Instant::default();
        let mut shard = Self {
            network: Network::new(place, config.device, pool.clone(), config.neighbours_max, seed_table),
            engine: Engine::new(tcp, pool),
            steering: Steering::new(place.0, place.1, &config.ephemeral_ports, seed_ports)
                .with_passive(config.passive)
                .with_spread(config.spread.as_ref()),
            control: None,
            routers: None,
            control_at: now,
            asks_dhcp,
            echo_limit: RateLimit::new(ECHO_REPLIES_PER_SECOND, ECHO_REPLIES_BURST),
            error_limit: RateLimit::new(ICMP_ERRORS_PER_SECOND, ICMP_ERRORS_BURST),
            stray_limit: RateLimit::new(STRAYS_PER_SECOND, STRAYS_BURST),
            datagrams: udp::Ports::new(place.0, place.1),
            has_news: false,
            listeners: Vec::new(),
            presence: Presence::new(),
            events: VecDeque::with_capacity(EVENTS_MAX),
        };
        shard.network.addresses.add_sources(&config.sources);
        if asks_dhcp && config.core == 0 {
            shard.control = Control::new(&config.device, seed_control, now);
        }
        if let Ipv4Source::Static(configuration) = config.ipv4 {
            shard.apply_ipv4(Some(configuration));
        }
        match config.ipv6 {
            Ipv6Source::Static(configuration) => shard.apply_ipv6(Some(configuration)),
            Ipv6Source::Router if config.core == 0 => {
                shard.routers = Some(RouterDiscovery::new(shard.network.addresses.link_local(), now));
            }
            Ipv6Source::Router | Ipv6Source::None => {}
        }
        shard
    }

    /// Tells the time; once per turn, before anything else. It never goes back.
    #[inline]
    pub fn set_now(&mut self, now: Instant) {
        self.network.now = now;
        self.network.outbox.begin_turn();
        self.engine.set_now(now);
    }

    /// Takes one frame that the device has received.
    #[inline]
    pub fn handle_frame(&mut self, frame: RxFrame) {
        self.network.count(Event::FrameReceived);
        self.take_frame(frame, Origin::Wire);
    }

    /// Takes one message of another core.
    pub fn handle_message(&mut self, message: Message) {
        self.network.count(Event::MessageReceived);
        match message {
            Message::Frame { frame, checksum, home } => self.take_over(frame, checksum, home),
            Message::Stray { frame, checksum, home } => self.receive_stray(frame, checksum, home),
            Message::GiveBack(foreign) => {
                // Not ours after all: better leaked than freed on the wrong core.
                let _ = self.network.pool.welcome(foreign);
            }
            Message::Neighbour { address, mac } => {
                self.network.hear_of(address, mac.into(), false);
                self.after_neighbour_news();
            }
            Message::IcmpError(error) => {
                if self.engine.owns(error.local, error.remote) {
                    self.network.count(Event::IcmpErrorDelivered);
                    self.engine.handle_icmp_error(error);
                }
            }
            Message::Conflict { address, mac } => self.meet_rival(address, mac.into()),
            Message::RouterSilent(address) => self.miss_router(address),
            Message::Ipv4(configuration) => self.apply_ipv4(configuration),
            Message::Ipv6(configuration) => self.apply_ipv6(configuration),
        }
    }

    /// Takes a frame of another core: a copy of it.
    pub(crate) fn take_over(&mut self, frame: Foreign, checksum: ChecksumStatus, home: u16) {
        self.network.count(Event::FrameTakenOver);
        let copy = frame.copy_into(&self.network.pool);
        // Only now does it go home: its bytes were ours to read.
        let _ = self.network.outbox.push(usize::from(home), Message::GiveBack(frame));
        match copy {
            Some(packet) => self.take_home(RxFrame { packet, checksum }),
            None => self.network.drop_for(DropReason::NoBuffer),
        }
    }

    /// The next message for another core, and for which. What its ring refuses must come back through
    /// [`refuse_message`](Self::refuse_message): buffers of other cores are among them.
    #[inline]
    pub fn poll_message(&mut self) -> Option<(usize, Message)> {
        self.network.outbox.pop()
    }

    /// The ring to `target` was full. What must arrive is offered again in the next turn; the rest is dropped and counted.
    #[cold]
    pub fn refuse_message(&mut self, target: usize, message: Message) {
        if let Err(message) = self.network.outbox.refuse(target, message) {
            self.network.take_back(message);
        }
    }

    /// Fires what is due: TCP's timers, questions for neighbours, the control plane. Bounded.
    #[inline]
    pub fn handle_timers(&mut self) {
        self.engine.handle_timers();
        if self.engine.has_advice() {
            self.take_advice();
        }
        let now = self.network.now;
        if self.network.neighbours.next_deadline() <= now {
            self.ask_neighbours();
        }
        if self.control_at <= now {
            self.run_control_plane();
        }
    }

    #[cold]
    fn take_advice(&mut self) {
        while let Some(peer) = self.engine.poll_advice() {
            self.network.doubt_way_to(peer);
        }
    }

    #[cold]
    fn run_control_plane(&mut self) {
        let change = self.control.as_mut().and_then(|control| control.poll(&mut self.network));
        match change {
            Some(Change::Configured(configuration)) => self.configure_ipv4(Some(configuration)),
            Some(Change::Lost) => self.configure_ipv4(None),
            Some(Change::NoAnswer) => self.report(ShardEvent::NoAddress(PATIENCE)),
            None => {}
        }
        let now = self.network.now;
        if self.routers.as_ref().and_then(RouterDiscovery::next_deadline).is_some_and(|at| at <= now) {
            self.discover_routers();
        }
        if self.presence.announce_at <= now {
            self.announce_again();
        }
        let control = self.control.as_ref().and_then(Control::next_deadline);
        let routers = self.routers.as_ref().and_then(RouterDiscovery::next_deadline);
        self.control_at = control.into_iter().chain(routers).min().unwrap_or(NEVER).min(self.presence.announce_at);
    }

    /// When [`handle_timers`](Self::handle_timers) has to be called next, or the turn to be repeated at once.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let network = &self.network;
        if self.has_news
            || self.engine.has_events()
            || !network.loopback.is_empty()
            || network.has_replies()
            || network.outbox.len() > 0
        {
            return Some(network.now);
        }
        let others = network.neighbours.next_deadline().min(self.control_at);
        let deadline = self.engine.next_deadline().map_or(others, |deadline| deadline.min(others));
        (deadline != NEVER).then_some(deadline)
    }

    /// Sends what is due until nothing is left or the device has no room.
    pub fn poll_transmit<T: Transmit>(&mut self, device: &mut T) {
        self.network.flush_replies(device);
        self.engine.poll_transmit(&mut Wire { network: &mut self.network, device });
        for _ in 0..LOOPBACK_ROUNDS {
            if self.network.loopback.is_empty() {
                break;
            }
            self.deliver_loopback();
            self.engine.poll_transmit(&mut Wire { network: &mut self.network, device });
        }
        // What was sent may have begun questions.
        if self.network.neighbours.next_deadline() <= self.network.now {
            self.ask_neighbours();
            self.network.flush_replies(device);
        }
    }

    /// Gives the host an IPv4 address, or takes it away, on this core and all others.
    pub fn configure_ipv4(&mut self, configuration: Option<Ipv4Configuration>) {
        self.replace_ipv4(configuration);
        self.report(configuration.map_or(ShardEvent::Ipv4Lost, ShardEvent::Ipv4Configured));
    }

    pub(crate) fn replace_ipv4(&mut self, configuration: Option<Ipv4Configuration>) {
        self.apply_ipv4(configuration);
        self.network.tell_others(|| Message::Ipv4(configuration));
    }

    /// Gives the host an IPv6 address beside its link-local one, or takes it away, on this core and all others.
    pub fn configure_ipv6(&mut self, configuration: Option<Ipv6Configuration>) {
        self.apply_ipv6(configuration);
        self.network.tell_others(|| Message::Ipv6(configuration));
        self.report(configuration.map_or(ShardEvent::Ipv6Lost, ShardEvent::Ipv6Configured));
    }

    /// The host's IPv6 address beside the link-local one, once it has one.
    #[must_use]
    pub fn ipv6(&self) -> Option<&Ipv6Configuration> {
        self.network.addresses.v6()
    }

    /// The host's link-local IPv6 address, which it always has.
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        self.network.addresses.link_local()
    }

    /// The host's IPv4, once it has one.
    #[must_use]
    pub fn ipv4(&self) -> Option<&Ipv4Configuration> {
        self.network.addresses.v4()
    }

    /// Name servers that DHCP and routers told to this core, which is core 0 or none.
    pub fn told_name_servers(&self) -> impl Iterator<Item = IpAddr> {
        let from_dhcp = self.network.addresses.v4().into_iter().flat_map(|v4| v4.dns).flatten().map(IpAddr::V4);
        let now = self.network.now;
        let from_routers = self.routers.iter().flat_map(move |routers| routers.name_servers(now)).map(IpAddr::V6);
        from_dhcp.chain(from_routers)
    }

    /// The next thing that the administrator should know.
    pub fn poll_shard_event(&mut self) -> Option<ShardEvent> {
        self.events.pop_front()
    }

    /// What was counted below TCP.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.network.counters
    }

    /// What TCP counted.
    #[must_use]
    pub fn tcp_counters(&self) -> &weir_tcp::Counters {
        self.engine.counters()
    }

    /// What TCP has now.
    #[must_use]
    pub fn tcp_gauges(&self) -> weir_tcp::Gauges {
        self.engine.gauges()
    }

    /// Source ports that this core has on each of our addresses towards each destination.
    #[must_use]
    pub fn source_ports(&self) -> u64 {
        self.steering.ports() as u64
    }

    /// Source ports in use on this core; looks at all destinations.
    #[must_use]
    pub fn source_ports_in_use(&self) -> weir_tcp::SourcePortUse {
        self.engine.source_ports_in_use()
    }

    /// What there is now, below TCP: name and value.
    pub fn gauges(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let pool = &self.network.pool;
        [
            ("neighbours", self.network.neighbours.len()),
            ("packets_waiting_for_neighbour", self.network.waiting_len()),
            ("loopback_queued", self.network.loopback.len()),
            ("messages_queued", self.network.outbox.len()),
            ("source_ports_per_destination", self.steering.ports() * self.network.addresses.all_v4().count()),
            ("buffers", pool.capacity()),
            ("buffers_in_use", pool.in_use()),
        ]
        .into_iter()
        .map(|(name, value)| (name, value as u64))
    }

    fn apply_ipv4(&mut self, configuration: Option<Ipv4Configuration>) {
        if self.network.addresses.v4().copied() == configuration {
            return;
        }
        self.network.addresses.configure_v4(configuration);
        self.network.forget_neighbours_v4();
        if self.network.core == 0 {
            self.announce_v4();
        }
        self.after_change_of_address(configuration.is_some());
    }

    fn apply_ipv6(&mut self, configuration: Option<Ipv6Configuration>) {
        if self.network.addresses.v6().copied() == configuration {
            return;
        }
        self.network.addresses.configure_v6(configuration);
        self.network.forget_neighbours_v6();
        if self.network.core == 0 && configuration.is_some() {
            self.announce_v6();
        }
        self.after_change_of_address(configuration.is_some());
    }

    /// Flows of an address that is lost wait for it to come back, and end when another one comes in its place.
    fn after_change_of_address(&mut self, is_replaced: bool) {
        if is_replaced {
            let Self { network, engine, .. } = self;
            engine.abandon_flows(|local| network.addresses.is_local(local));
        }
        self.engine.handle_neighbour_change();
    }

    /// A neighbour may have been resolved: TCP's segments that waited in the engine can go.
    pub(crate) fn after_neighbour_news(&mut self) {
        self.engine.handle_neighbour_change();
        self.look_for_routers();
    }

    /// Asks for neighbours that are due to be asked for, and tells TCP of those that failed.
    #[cold]
    fn ask_neighbours(&mut self) {
        for _ in 0..QUESTIONS_PER_TURN {
            match self.network.neighbours.poll_question(self.network.now) {
                Some(Ok(Question { address: IpAddr::V4(target), station })) => self.network.ask_arp(target, station),
                Some(Ok(Question { address: IpAddr::V6(target), station })) => {
                    self.network.ask_neighbour_v6(target, station);
                }
                Some(Err(address)) => self.neighbour_failed(address),
                None => return,
            }
        }
    }

    #[cold]
    fn neighbour_failed(&mut self, address: IpAddr) {
        self.network.count(Event::NeighbourFailed);
        self.network.fail_waiting(address);
        while let Some(Waiting { packet, .. }) = self.network.failed.pop() {
            let quote = packet.get(ethernet::HEADER_BYTES..).unwrap_or_default();
            let ends = if address.is_ipv4() { icmpv4::quoted(quote) } else { icmpv6::quoted(quote) };
            if let Some((local, remote, sequence)) = ends {
                let kind = IcmpErrorKind::Unreachable(Unreachable::Host);
                self.engine.handle_icmp_error(IcmpError { local, remote, sequence, kind });
            }
        }
        self.miss_router(address);
        self.engine.handle_neighbour_change();
    }

    /// Gives the segments to ourselves that wait now to the engine; what it answers waits for the next round.
    fn deliver_loopback(&mut self) {
        for _ in 0..self.network.loopback.len() {
            let Some(segment) = self.network.take_looped() else { return };
            self.engine.handle_segment(segment);
            self.has_news = true;
        }
    }

    pub(crate) fn report(&mut self, event: ShardEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        }
    }
}
