//! One engine, and a peer that says what the test lets it say. The peer's segments are written and read by smoltcp.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smoltcp::wire::{IpAddress, TcpOption, TcpPacket, TcpSeqNumber};
use weir_packet::frame::ChecksumStatus;
use weir_packet::{Chunk, Packet, Pool};
use weir_socket::{CloseReason, Event, FlowId, Instant, ListenerId, Readiness, Received, Token};
use weir_tcp::{
    Config, Counter, Ecn, EmitError, Engine, FlowState, IcmpError, IcmpErrorKind, Inbound, Link, NextHop, Outbound,
};

use crate::script::{Options, Script};

/// The peer's initial sequence number: the circle closes within the first kilobytes.
const PEER_ISN: u32 = u32::MAX - 2_000;

/// What a buffer of an arriving segment holds: longer segments are chains.
const BUFFER_BYTES: usize = 1_400;

pub struct Dialogue {
    pub engine: Engine,
    pub pool: Pool,
    pub link: Wire,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    now: Instant,
    /// Our initial sequence number, once it was seen.
    iss: Option<u32>,
    /// Our latest timestamp: what the peer echoes when the script says 0.
    timestamp: u32,
    pub flow: Option<FlowId>,
    listener: Option<ListenerId>,
    pub events: Vec<Event>,
    written: u32,
    read: u32,
    /// Let the peer's bytes carry ECN marks.
    pub ecn: Ecn,
    /// What the first buffer of an arriving segment holds.
    pub first_buffer_bytes: usize,
}

/// One of several flows of a dialogue, while another one is spoken with.
#[derive(Clone, Copy)]
pub struct Other {
    pub remote: SocketAddr,
    iss: Option<u32>,
    timestamp: u32,
    flow: Option<FlowId>,
    written: u32,
    read: u32,
}

/// The link: what was emitted, whole.
#[derive(Default)]
pub struct Wire {
    pub sent: VecDeque<(Outbound, Vec<u8>)>,
    pub room: Option<usize>,
    pub mtu: Option<u16>,
    pub segmentation_max: usize,
    pub no_neighbour: bool,
}

impl Link for Wire {
    fn room(&self) -> usize {
        self.room.unwrap_or(1_000)
    }

    fn mtu(&self, _: IpAddr) -> u16 {
        self.mtu.unwrap_or(1_500)
    }

    fn segmentation_max(&self, _: bool) -> usize {
        self.segmentation_max
    }

    fn transmit_checksum(&self) -> bool {
        false
    }

    fn emit<P: ExactSizeIterator<Item = Chunk>>(
        &mut self,
        segment: Outbound,
        head: Packet,
        payload: P,
    ) -> Result<(), EmitError> {
        if self.no_neighbour {
            return Err(EmitError::NoNeighbour);
        }
        let pieces = payload.len();
        assert!(self.room() > pieces, "the engine looks at the room");
        if let Some(room) = &mut self.room {
            *room -= 1 + pieces;
        }
        let mut bytes = head.to_vec();
        let header_len = bytes.len();
        let mut counted = 0;
        for piece in payload {
            counted += 1;
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(counted, pieces, "the iterator knows its length");
        assert_eq!(bytes.len() - header_len, segment.payload_len);
        let (source, destination) =
            (IpAddress::from(segment.source.to_ip()), IpAddress::from(segment.destination.to_ip()));
        assert!(TcpPacket::new_checked(&bytes).unwrap().verify_checksum(&source, &destination));
        self.sent.push_back((segment, bytes));
        Ok(())
    }
}

fn config() -> Config {
    Config { seed: [1, 2, 3, 4], ecn: false, ..Config::default() }
}

impl Dialogue {
    pub fn new() -> Self {
        Self::with(config())
    }

    pub fn with_config(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::with(config)
    }

    pub fn v6() -> Self {
        let mut dialogue = Self::new();
        dialogue.local = "[2001:db8::1]:80".parse().unwrap();
        dialogue.remote = "[2001:db8::2]:50000".parse().unwrap();
        dialogue
    }

    fn with(config: Config) -> Self {
        Self::with_pool(2_048, config)
    }

    /// With so many buffers, which the peer's segments also come out of.
    pub fn with_buffers(buffers: usize, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        Self::with_pool(buffers, config)
    }

    fn with_pool(buffers: usize, config: Config) -> Self {
        let pool = Pool::with_capacity(buffers).unwrap();
        let mut engine = Engine::new(config, pool.clone());
        let now = Instant::from_nanos(1_000_000_000);
        engine.set_now(now);
        Self {
            engine,
            pool,
            link: Wire::default(),
            local: "192.0.2.1:80".parse().unwrap(),
            remote: "198.51.100.7:50000".parse().unwrap(),
            now,
            iss: None,
            timestamp: 0,
            flow: None,
            listener: None,
            events: Vec::new(),
            written: 0,
            read: 0,
            ecn: Ecn::NotCapable,
            first_buffer_bytes: BUFFER_BYTES,
        }
    }

    /// A listener and an established flow, with a peer that has timestamps and SACK.
    pub fn established() -> Self {
        Self::new().accepted("mss 1460,sackOK,ws 7,ts 100 0")
    }

    /// A listener and an established flow, with a peer that has these options. Its window is 65,535 << 7, or 65,535.
    pub fn accepted(mut self, options: &str) -> Self {
        self.listen();
        self.peer(&format!("S 0:0(0) win 65535 <{options}>"));
        self.expect("S. 0:0(0) ack 1");
        let ts = if options.contains("ts") { "ts 101 0" } else { "" };
        self.peer(&format!(". 1:1(0) ack 1 win 65535 <{ts}>"));
        self.accept();
        self.expect_nothing();
        self
    }

    pub fn listen(&mut self) {
        self.listener = Some(self.engine.listen(self.local, Token(1)).unwrap());
    }

    pub fn accept(&mut self) {
        self.turn();
        let (listener, token) = (self.listener.unwrap(), Token(1));
        assert_eq!(self.events.pop(), Some(Event::Acceptable { listener, token }));
        self.flow = self.engine.accept(listener, Token(7));
        assert!(self.flow.is_some(), "a flow waits");
        self.turn();
    }

    /// Whether somebody waits to be accepted.
    pub fn is_acceptable(&mut self) -> bool {
        self.turn();
        self.events.iter().any(|event| matches!(event, Event::Acceptable { .. }))
    }

    pub fn connect(&mut self) {
        self.flow = Some(self.engine.connect(self.local, self.remote, Token(7)).unwrap());
        self.turn();
    }

    /// Goes on with another flow. Answers what this one needs to be gone on with.
    pub fn switch(&mut self, to: Other) -> Other {
        let from = self.present();
        let Other { remote, iss, timestamp, flow, written, read } = to;
        (self.remote, self.iss, self.timestamp) = (remote, iss, timestamp);
        (self.flow, self.written, self.read) = (flow, written, read);
        from
    }

    /// The flow that is spoken with.
    pub fn present(&self) -> Other {
        let &Self { remote, iss, timestamp, flow, written, read, .. } = self;
        Other { remote, iss, timestamp, flow, written, read }
    }

    /// Another client, which has no flow yet.
    pub fn client(port: u16) -> Other {
        let remote = ([203, 0, 113, 9], port).into();
        Other { remote, iss: None, timestamp: 0, flow: None, written: 0, read: 0 }
    }

    pub fn flow(&self) -> FlowId {
        self.flow.expect("a flow")
    }

    /// The peer sends a segment.
    pub fn peer(&mut self, script: &str) {
        self.peer_changed(script, |_| {});
    }

    /// The peer sends a segment, and something on the way changes it.
    pub fn peer_changed(&mut self, script: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.encode(&Script::parse(script));
        change(&mut bytes);
        self.arrive(&bytes);
        self.turn();
    }

    /// Several segments of the peer arrive in one turn.
    pub fn peer_burst(&mut self, scripts: &[&str]) {
        for script in scripts {
            self.arrive(&self.encode(&Script::parse(script)));
        }
        self.turn();
    }

    fn arrive(&mut self, bytes: &[u8]) {
        let mut packet: Option<Packet> = None;
        let (first, rest) = bytes.split_at(bytes.len().min(self.first_buffer_bytes));
        for part in std::iter::once(first).chain(rest.chunks(BUFFER_BYTES)) {
            let mut next = self.pool.allocate().expect("a buffer");
            next.extend_from_slice(part).unwrap();
            match &mut packet {
                Some(first) => first.append(next),
                None => packet = Some(next),
            }
        }
        self.engine.handle_segment(Inbound {
            source: self.remote.ip().into(),
            destination: self.local.ip().into(),
            next_hop: NextHop(5),
            ecn: self.ecn,
            checksum: ChecksumStatus::Unverified,
            packet: packet.expect("one buffer at least"),
        });
    }

    /// The peer sends a segment with these options, byte by byte, padded with no-operations.
    pub fn peer_with_options(&mut self, script: &str, options: &[u8]) {
        let (source, destination) = (self.remote.ip().into(), self.local.ip().into());
        self.peer_changed(script, |bytes| {
            let mut padded = options.to_vec();
            padded.resize(options.len().next_multiple_of(4), 1);
            bytes.splice(20..20, padded.iter().copied());
            let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
            packet.set_header_len(20 + padded.len() as u8);
            packet.fill_checksum(&source, &destination);
        });
    }

    fn encode(&self, script: &Script) -> Vec<u8> {
        let iss = self.iss.unwrap_or(0);
        let mut options = [0; 40];
        let mut rest = &mut options[..];
        let given = script.options.clone().unwrap_or_default();
        if let Some(mss) = given.mss {
            rest = TcpOption::MaxSegmentSize(mss).emit(rest);
        }
        if let Some(shift) = given.ws {
            rest = TcpOption::WindowScale(shift).emit(rest);
        }
        if given.sack_ok {
            rest = TcpOption::SackPermitted.emit(rest);
        }
        if let Some((value, echo)) = given.ts {
            rest = TcpOption::NoOperation.emit(TcpOption::NoOperation.emit(rest));
            let latest = if script.flags.contains('.') { self.timestamp } else { 0 };
            let echo = echo.filter(|&echo| echo != 0).unwrap_or(latest);
            rest = TcpOption::TimeStamp { tsval: value, tsecr: echo }.emit(rest);
        }
        if !given.sack.is_empty() {
            let mut blocks = [None; 3];
            for (block, (start, end)) in blocks.iter_mut().zip(&given.sack) {
                *block = Some((iss.wrapping_add(*start), iss.wrapping_add(*end)));
            }
            rest = TcpOption::SackRange(blocks).emit(rest);
        }
        let used = (40 - rest.len()).next_multiple_of(4);
        let header_len = 20 + used;
        let mut bytes = vec![0; header_len];
        bytes[20..].copy_from_slice(&options[..used]);
        bytes.extend((0..script.len).map(|i| byte(script.seq.wrapping_add(i))));
        let mut packet = TcpPacket::new_unchecked(&mut bytes[..]);
        packet.set_src_port(self.remote.port());
        packet.set_dst_port(self.local.port());
        packet.set_seq_number(TcpSeqNumber(PEER_ISN.wrapping_add(script.seq) as i32));
        packet.set_ack_number(TcpSeqNumber(script.ack.map_or(0, |ack| iss.wrapping_add(ack)) as i32));
        packet.set_header_len(header_len as u8);
        packet.set_window_len(script.win.unwrap_or(65_535));
        packet.set_fin(script.flags.contains('F'));
        packet.set_syn(script.flags.contains('S'));
        packet.set_rst(script.flags.contains('R'));
        packet.set_psh(script.flags.contains('P'));
        packet.set_ack(script.flags.contains('.'));
        packet.set_ece(script.flags.contains('E'));
        packet.set_cwr(script.flags.contains('W'));
        packet.fill_checksum(&self.remote.ip().into(), &self.local.ip().into());
        bytes
    }

    fn decode(&mut self, segment: &Outbound, bytes: &[u8]) -> Script {
        assert_eq!((segment.source.to_ip(), segment.destination.to_ip()), (self.local.ip(), self.remote.ip()));
        let packet = TcpPacket::new_checked(bytes).unwrap();
        assert_eq!((packet.src_port(), packet.dst_port()), (self.local.port(), self.remote.port()));
        let seq = packet.seq_number().0 as u32;
        if packet.syn() {
            self.iss = Some(seq);
        }
        let iss = self.iss.unwrap_or(0);
        let mut options = Options::default();
        let mut rest = packet.options();
        while !rest.is_empty() {
            let (next, option) = TcpOption::parse(rest).unwrap();
            match option {
                TcpOption::MaxSegmentSize(mss) => options.mss = Some(mss),
                TcpOption::WindowScale(shift) => options.ws = Some(shift),
                TcpOption::SackPermitted => options.sack_ok = true,
                TcpOption::TimeStamp { tsval, tsecr } => {
                    options.ts = Some((tsval, Some(tsecr)));
                    self.timestamp = tsval;
                }
                TcpOption::SackRange(blocks) => {
                    let relative = |number: u32| number.wrapping_sub(PEER_ISN);
                    options.sack = blocks.iter().flatten().map(|&(s, e)| (relative(s), relative(e))).collect();
                }
                _ => {}
            }
            rest = next;
        }
        let mut flags = String::new();
        let set = [
            (packet.syn(), 'S'),
            (packet.fin(), 'F'),
            (packet.rst(), 'R'),
            (packet.psh(), 'P'),
            (packet.ece(), 'E'),
            (packet.cwr(), 'W'),
            (packet.ack(), '.'),
        ];
        flags.extend(set.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| *letter));
        // The RST of somebody without numbers.
        let relative = if packet.rst() && seq == 0 { 0 } else { seq.wrapping_sub(iss) };
        for (i, &seen) in packet.payload().iter().enumerate() {
            assert_eq!(seen, byte(relative.wrapping_add(i as u32)), "byte {i} of {relative}");
        }
        Script {
            flags,
            seq: relative,
            len: packet.payload().len() as u32,
            ack: packet.ack().then(|| (packet.ack_number().0 as u32).wrapping_sub(PEER_ISN)),
            win: Some(packet.window_len()),
            options: Some(options),
        }
    }

    /// What the engine sent next, if anything.
    pub fn next(&mut self) -> Option<Script> {
        self.turn();
        let (segment, bytes) = self.link.sent.pop_front()?;
        Some(self.decode(&segment, &bytes))
    }

    /// The engine has sent this. Answers it as it was seen.
    #[track_caller]
    pub fn expect(&mut self, script: &str) -> Script {
        let seen = self.next().unwrap_or_else(|| panic!("expected {script}, saw nothing"));
        assert!(Script::parse(script).matches(&seen), "expected {script}\n     saw {seen}");
        seen
    }

    #[track_caller]
    pub fn expect_nothing(&mut self) {
        if let Some(seen) = self.next() {
            panic!("expected nothing, saw {seen}");
        }
    }

    /// Nothing but acknowledgements without payload has been sent.
    pub fn drain_acks(&mut self) {
        while let Some(seen) = self.next() {
            assert!(seen.len == 0 && seen.flags == ".", "an acknowledgement: {seen}");
        }
    }

    /// Everything that was sent, and forgets it.
    pub fn drain(&mut self) -> Vec<Script> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The application's part of a turn is the test's; this is the rest.
    pub fn turn(&mut self) {
        self.engine.set_now(self.now);
        self.engine.handle_timers();
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
        self.engine.poll_transmit(&mut self.link);
    }

    /// Time passes, and every timer fires when it is due.
    pub fn after(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.engine.next_deadline().filter(|&deadline| deadline <= end) {
            self.now = self.now.max(deadline);
            self.turn();
        }
        self.now = end;
        self.turn();
    }

    pub fn after_ms(&mut self, ms: u64) {
        self.after(Duration::from_millis(ms));
    }

    /// The application queues the next `len` bytes of its stream, in one chunk for each 1,000.
    pub fn write(&mut self, len: u32) {
        let bytes: Vec<u8> = (0..len).map(|i| byte(1 + self.written + i)).collect();
        for part in bytes.chunks(1_000) {
            let mut packet = self.pool.allocate().unwrap();
            packet.extend_from_slice(part).unwrap();
            self.engine.send(self.flow(), packet.freeze()).unwrap();
        }
        self.written += len;
        self.turn();
    }

    /// The application reads all that is there; it is the peer's stream. Answers how much.
    pub fn read(&mut self) -> u32 {
        let mut len = 0;
        while let Received::Data(chunk) = self.engine.receive(self.flow()) {
            assert!(!chunk.is_empty(), "nothing is not read");
            for &seen in chunk.iter() {
                assert_eq!(seen, byte(1 + self.read), "byte {} of the stream", self.read);
                self.read += 1;
                len += 1;
            }
        }
        self.turn();
        len
    }

    pub fn is_at_end(&mut self) -> bool {
        matches!(self.engine.receive(self.flow()), Received::End)
    }

    pub fn closed_for(&mut self) -> Option<CloseReason> {
        match self.engine.receive(self.flow()) {
            Received::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    pub fn shutdown(&mut self) {
        self.engine.shutdown(self.flow());
        self.turn();
    }

    pub fn close(&mut self) {
        self.engine.close(self.flow());
        self.turn();
    }

    pub fn abort(&mut self) {
        self.engine.abort(self.flow());
        self.turn();
    }

    pub fn icmp(&mut self, relative: u32, kind: IcmpErrorKind) {
        let sequence = self.iss.unwrap_or(0).wrapping_add(relative);
        self.engine.handle_icmp_error(IcmpError { local: self.local, remote: self.remote, sequence, kind });
        self.turn();
    }

    /// The readiness reported since the last call, of all events of the flow.
    pub fn ready(&mut self) -> Readiness {
        self.turn();
        let ready = |event| match event {
            Event::Flow { ready, .. } => ready,
            Event::Acceptable { .. } => Readiness::NONE,
        };
        self.events.drain(..).map(ready).fold(Readiness::NONE, |all, ready| all | ready)
    }

    pub fn count(&self, counter: Counter) -> u64 {
        self.engine.counters().get(counter)
    }

    /// The state of the only flow there is.
    #[track_caller]
    pub fn expect_state(&self, state: FlowState) {
        let gauges = self.engine.gauges();
        let there: Vec<_> = FlowState::ALL.into_iter().filter(|&s| gauges.flows[s as usize] > 0).collect();
        assert_eq!(there, [state]);
    }

    /// Nothing is left but listeners: no flow, no record, no buffer, no timer.
    #[track_caller]
    pub fn expect_all_gone(&mut self) {
        self.turn();
        let gauges = self.engine.gauges();
        assert_eq!(gauges.flows.iter().sum::<u32>(), 0, "flows are left: {gauges:?}");
        assert_eq!((gauges.half_open, gauges.send_queued, gauges.receive_queued), (0, 0, 0));
        assert_eq!(self.pool.in_use(), 0, "buffers are left");
        if gauges.time_wait == 0 {
            assert_eq!(self.engine.next_deadline(), None, "a timer is left");
        }
    }
}

/// Byte of a stream at a relative sequence number, of either side.
fn byte(seq: u32) -> u8 {
    (seq.wrapping_mul(0x9e37_79b1) >> 24) as u8
}
