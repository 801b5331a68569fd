//! Attackers on the wire: floods of SYNs, and segments that pretend to belong to somebody else's flow.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber, TcpTimestampRepr};
use weir_peer::{Conditions, Host, Outcome, Plan, Stream, ensure, linux};
use weir_socket::CloseReason;
use weir_tcp::Counter;

use crate::frames::Attacker;
use crate::{Failed, Tested, Tests, long_or, with_state};

/// All tests here.
pub const TESTS: Tests = &[
    ("syn_flood::ipv4", || syn_flood(false)),
    ("syn_flood::ipv6", || syn_flood(true)),
    ("injection::outside_of_the_window::ipv4", || nothing_comes_of(false, OUTSIDE)),
    ("injection::outside_of_the_window::ipv6", || nothing_comes_of(true, OUTSIDE)),
    ("injection::inside_of_the_window::ipv4", || nothing_comes_of(false, INSIDE)),
    ("injection::inside_of_the_window::ipv6", || nothing_comes_of(true, INSIDE)),
    ("injection::the_exact_reset_is_believed", the_exact_reset_is_believed),
];

const PORT: u16 = 7_000;

const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// SYNs that a flood has at most.
const FLOOD_MAX: u32 = 20_000_000;

/// SYNs before Weir has taken those before them. More would fill the host's queue, which loses a client's segments in runs then, until none
/// of its repetitions has come through within the limit.
const FLOOD_AHEAD: u32 = 5_000;

fn on_a_clear_day(test: impl FnOnce(&Host) -> Tested) -> Tested {
    let host = Host::new(Conditions::CLEAR, 815)?;
    with_state(&host, test(&host).and_then(|()| host.settle()))
}

fn segment(control: TcpControl, seq: TcpSeqNumber, ack: Option<TcpSeqNumber>) -> TcpRepr<'static> {
    TcpRepr {
        src_port: 0,
        dst_port: PORT,
        control,
        seq_number: seq,
        ack_number: ack,
        window_len: 1_000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

/// RFC 4987: while somebody sends SYNs from addresses that do not exist, as fast as Weir takes them, every connection of an
/// honest client succeeds, and what is held for the others is bounded.
fn syn_flood(ipv6: bool) -> Tested {
    /// A flood takes all of a processor; two would drown one another's clients.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    on_a_clear_day(|host| {
        let plan = Plan::new(10_000, 10_000);
        let limit = weir_tcp::Config::default().half_open_max;
        let outcomes = host.listen(ipv6, PORT, plan)?;
        let remote = host.interface().at(ipv6, PORT);
        let mut attacker = Attacker::new(host.interface())?;
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let flood = scope.spawn(|| flood(host, &mut attacker, remote, &is_over));
            let calm = honest_clients(host, remote, &outcomes, &plan);
            is_over.store(true, Ordering::Relaxed);
            let sent = flood.join().map_err(|_| "the attacker panicked")??;
            // How fast a flood is depends on the machine; how large it must be does not.
            ensure(sent as usize > 2 * limit, || format!("{sent} SYNs are no flood for a cache of {limit}"))?;
            calm
        })?;
        let cookies = host.counter(Counter::SynCookiesSent)?;
        ensure(cookies > 0, || "the flood never filled the SYN cache".to_owned())?;
        let half_open = host.with(|world| world.shard.tcp_gauges().half_open)? as usize;
        ensure(half_open <= limit, || format!("{half_open} half-open handshakes, at most {limit} may be"))
    })
}

fn honest_clients(host: &Host, remote: SocketAddr, outcomes: &Receiver<Outcome>, plan: &Plan) -> Tested {
    // Before the cache is full there is nothing to prove.
    host.wait_until("the SYN cache is full", |world| world.shard.tcp_counters().get(Counter::SynCookiesSent) > 0)?;
    let client = || -> Tested {
        let stream = linux::connect(remote)?;
        linux::exchange(&stream, &plan.mirrored().of_client(stream.local_addr()?.port()))?;
        outcomes.recv_timeout(REPORT_LIMIT)?.check(plan)
    };
    for n in 0..long_or(40, 5_000) {
        client().map_err(|error| format!("client {n} during the flood: {error}"))?;
    }
    Ok(())
}

fn flood(host: &Host, attacker: &mut Attacker, remote: SocketAddr, is_over: &AtomicBool) -> Result<u32, Failed> {
    for n in 0..FLOOD_MAX {
        if is_over.load(Ordering::Relaxed) {
            return Ok(n);
        }
        if n.is_multiple_of(FLOOD_AHEAD) {
            host.wait_until("the flood before is taken", move |world| {
                world.shard.tcp_counters().get(Counter::SegmentsIn) + u64::from(FLOOD_AHEAD) >= u64::from(n)
            })?;
        }
        let random = n.wrapping_mul(2_654_435_769);
        let from: IpAddr = if remote.is_ipv6() {
            Ipv6Addr::new(0x2001, 0xdb8, (random >> 16) as u16, random as u16, 0, 0, 0, 1).into()
        } else {
            Ipv4Addr::from(0x0b00_0000 | random >> 8).into()
        };
        let source_port = 1_024 + (random >> 7) as u16 % 60_000;
        let mut syn = segment(TcpControl::Syn, TcpSeqNumber(random as i32), None);
        (syn.src_port, syn.max_seg_size) = (source_port, Some(1_460));
        attacker.send((from, source_port).into(), remote, &syn)?;
    }
    Ok(FLOOD_MAX)
}

/// A segment of the attacker's: what it is, relative to the numbers that Weir expects next from the peer (`seq`) and has
/// sent last (`ack`).
struct Forgery {
    control: TcpControl,
    seq: i64,
    ack: Option<i64>,
    payload: &'static [u8],
}

const fn forged(control: TcpControl, seq: i64, ack: Option<i64>, payload: &'static [u8]) -> Forgery {
    Forgery { control, seq, ack, payload }
}

const EVIL: &[u8] = b"these bytes are in nobody's plan";
const HALF: i64 = 1 << 31;
/// Beyond every window that Weir offers.
const FAR: i64 = 4 << 20;

/// RFC 9293, 3.10.7.4, first step: at most acknowledged.
const OUTSIDE: &[Forgery] = &[
    forged(TcpControl::Rst, -1, None, &[]),
    forged(TcpControl::Rst, -100_000, None, &[]),
    forged(TcpControl::Rst, FAR, None, &[]),
    forged(TcpControl::Rst, HALF - 1, None, &[]),
    forged(TcpControl::Rst, -1, Some(0), &[]),
    forged(TcpControl::Rst, FAR, Some(0), &[]),
    forged(TcpControl::Psh, -(EVIL.len() as i64), Some(0), EVIL),
    forged(TcpControl::Psh, -50_000, Some(0), EVIL),
    forged(TcpControl::Psh, FAR, Some(0), EVIL),
    forged(TcpControl::Psh, HALF, Some(0), EVIL),
    forged(TcpControl::Fin, -1, Some(0), &[]),
    forged(TcpControl::Fin, FAR, Some(0), EVIL),
    forged(TcpControl::Syn, FAR, None, &[]),
];

/// RFC 5961, 3 to 5: a reset that is not exact, a SYN, and data whose acknowledgement is impossible.
const INSIDE: &[Forgery] = &[
    forged(TcpControl::Rst, 1, None, &[]),
    forged(TcpControl::Rst, 1_000, Some(0), &[]),
    forged(TcpControl::Rst, 20_000, None, &[]),
    forged(TcpControl::Syn, 0, None, &[]),
    forged(TcpControl::Syn, 1_000, None, &[]),
    forged(TcpControl::Syn, 0, Some(0), &[]),
    forged(TcpControl::Psh, 0, Some(100_000), EVIL),
    forged(TcpControl::Psh, 0, Some(-(64 << 20)), EVIL),
    forged(TcpControl::Psh, 0, Some(HALF), EVIL),
    forged(TcpControl::Psh, 0, None, EVIL),
    forged(TcpControl::Fin, 0, Some(100_000), &[]),
    forged(TcpControl::Fin, 0, None, &[]),
];

/// A flow in the middle of its transfer, as an attacker sees it who saw its handshake.
struct Victim {
    stream: TcpStream,
    plan: Plan,
    outcomes: Receiver<Outcome>,
    rcv_nxt: TcpSeqNumber,
    snd_nxt: TcpSeqNumber,
    timestamp: TcpTimestampRepr,
}

const HALF_WAY: u64 = 100_000;

impl Victim {
    fn new(host: &Host, ipv6: bool, attacker: &mut Attacker) -> Result<Self, Failed> {
        let remote = host.interface().at(ipv6, PORT);
        let plan = Plan::new(0, 2 * HALF_WAY);
        let outcomes = host.listen(ipv6, PORT, plan)?;
        let stream = linux::connect(remote)?;
        let local = stream.local_addr()?;
        // The client's third segment has all numbers.
        let seen = |segment: &TcpRepr| {
            let ack = (segment.control != TcpControl::Syn).then_some(segment.ack_number).flatten()?;
            Some((segment.seq_number, ack, segment.timestamp?))
        };
        let (first, snd_nxt, timestamp) = attacker.next_segment(local, remote, seen)?;
        let plan = plan.mirrored().of_client(local.port());
        linux::send(&stream, Stream { len: HALF_WAY, ..plan.send })?;
        host.wait_until("half of the bytes are there", |world| world.application.received() == HALF_WAY)?;
        let rcv_nxt = first + HALF_WAY as usize;
        Ok(Self { stream, plan, outcomes, rcv_nxt, snd_nxt, timestamp })
    }

    /// Sends one in the client's name, without and with a timestamp that could be the client's; waits until Weir has seen it.
    fn attack(&self, host: &Host, attacker: &mut Attacker, forgery: &Forgery) -> Tested {
        let (local, remote) = (self.stream.local_addr()?, self.stream.peer_addr()?);
        let seen = host.counter(Counter::SegmentsIn)?;
        let ack = forgery.ack.map(|offset| TcpSeqNumber(self.snd_nxt.0.wrapping_add(offset as i32)));
        let seq = TcpSeqNumber(self.rcv_nxt.0.wrapping_add(forgery.seq as i32));
        let plain = TcpRepr { src_port: local.port(), payload: forgery.payload, ..segment(forgery.control, seq, ack) };
        let stamped = TcpRepr { timestamp: Some(self.timestamp), ..plain };
        attacker.send(local, remote, &plain)?;
        attacker.send(local, remote, &stamped)?;
        host.wait_until("Weir has seen both", move |world| {
            world.shard.tcp_counters().get(Counter::SegmentsIn) >= seen + 2
        })
    }
}

fn nothing_comes_of(ipv6: bool, forgeries: &[Forgery]) -> Tested {
    on_a_clear_day(|host| {
        let mut attacker = Attacker::new(host.interface())?;
        let victim = Victim::new(host, ipv6, &mut attacker)?;
        let sent = host.counter(Counter::SegmentsOut)?;
        for forgery in forgeries {
            victim.attack(host, &mut attacker, forgery)?;
            let received = host.with(|world| (world.application.flows(), world.application.received()))?;
            let (control, seq, ack) = (forgery.control, forgery.seq, forgery.ack);
            ensure(received == (1, HALF_WAY), || format!("{control:?} seq {seq:+} ack {ack:?}: {received:?}"))?;
        }
        let answers = host.counter(Counter::SegmentsOut)? - sent;
        let limit = 2 * forgeries.len() as u64;
        ensure(answers <= limit, || format!("{answers} answers to {limit} segments"))?;
        finish(&victim)
    })
}

/// The second half of the transfer.
fn finish(victim: &Victim) -> Tested {
    let mut offset = HALF_WAY;
    while offset < victim.plan.send.len {
        let piece = victim.plan.send.at(offset, 50_000);
        (&victim.stream).write_all(piece)?;
        offset += piece.len() as u64;
    }
    victim.stream.shutdown(Shutdown::Write)?;
    linux::receive_end(&victim.stream)?;
    victim.outcomes.recv_timeout(REPORT_LIMIT)?.check(&victim.plan.mirrored())
}

/// What the other tests would have done with one number less: the moment where invalid becomes valid.
fn the_exact_reset_is_believed() -> Tested {
    on_a_clear_day(|host| {
        let mut attacker = Attacker::new(host.interface())?;
        let victim = Victim::new(host, false, &mut attacker)?;
        let exact = forged(TcpControl::Rst, 0, None, &[]);
        victim.attack(host, &mut attacker, &exact)?;
        let broken = victim.outcomes.recv_timeout(REPORT_LIMIT)?.broken;
        ensure(broken == Some(CloseReason::Reset), || format!("{broken:?}"))
    })
}
