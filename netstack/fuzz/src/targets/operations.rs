//! Sequences of everything that can happen to an engine: verbs, segments, ICMP errors, time, a device that is full.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use weir_packet::Chunk;
use weir_socket::FlowId;
use weir_tcp::{Ecn, IcmpError, IcmpErrorKind, Unreachable};

use crate::features::Features;
use crate::rig::{Known, Line, Rig};

/// Operations of one input, at most.
const OPERATIONS_MAX: usize = 300;

/// What an application sends that needs no buffer.
static BYTES: [u8; 4_096] = [0x55; 4_096];

/// Where a sequence or acknowledgement number lies, from the one that would be right.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Offset {
    /// There.
    Exact,
    /// There, too: most segments are good.
    Right,
    /// Around it.
    Near(i8),
    /// Within a window, perhaps.
    Far(i16),
    /// Anywhere.
    Anywhere(i32),
}

impl Offset {
    const fn from(self, right: u32) -> u32 {
        match self {
            Self::Exact | Self::Right => right,
            Self::Near(by) => right.wrapping_add_signed(by as i32),
            Self::Far(by) => right.wrapping_add_signed(by as i32),
            Self::Anywhere(by) => right.wrapping_add_signed(by),
        }
    }
}

/// The options of a segment.
#[derive(Debug, Clone, Arbitrary)]
enum Options {
    None,
    Handshake { mss: u16, scale: u8, with_timestamp: bool },
    Timestamp { value: u16, echo: Offset },
    Sack { blocks: [(Offset, u8); 3], count: u8, with_timestamp: Option<u16> },
    Raw([u8; 12]),
}

/// A segment of the peer's.
#[derive(Debug, Clone, Arbitrary)]
struct Segment {
    line: u8,
    flags: u8,
    seq: Offset,
    ack: Offset,
    window: u16,
    options: Options,
    payload_len: u16,
    ecn: u8,
}

/// Something that happens.
#[derive(Debug, Clone, Arbitrary)]
enum Operation {
    Segment(Segment),
    Handshake {
        line: u8,
    },
    /// The next bytes in order, or the FIN.
    Next {
        line: u8,
        payload_len: u16,
        has_fin: bool,
    },
    Turn,
    Accept,
    Connect {
        line: u8,
    },
    Read {
        flow: u8,
    },
    LetGo,
    Send {
        flow: u8,
        len: u16,
        buffered: bool,
    },
    Shutdown {
        flow: u8,
    },
    Close {
        flow: u8,
    },
    Abort {
        flow: u8,
    },
    Timer {
        flow: u8,
        after_ms: Option<u16>,
    },
    Nagle {
        flow: u8,
        on: bool,
    },
    Events,
    Advance {
        by_ms: u16,
    },
    Deadline,
    Room {
        segments: u8,
    },
    Deaf {
        is_deaf: bool,
    },
    Icmp {
        line: u8,
        sequence: Offset,
        mtu: u16,
        kind: u8,
    },
    ToggleListener {
        line: u8,
    },
}

pub fn run(data: &[u8]) -> Features {
    let mut rig = Rig::new();
    let mut input = Unstructured::new(data);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(operation) = Operation::arbitrary(&mut input) else { break };
        happen(&mut rig, operation);
    }
    rig.finish()
}

fn happen(rig: &mut Rig, operation: Operation) {
    match operation {
        Operation::Segment(segment) => segment.arrive(rig),
        Operation::Handshake { line } => handshake(rig, line),
        Operation::Next { line, payload_len, has_fin } => next(rig, line, payload_len, has_fin),
        Operation::Turn => rig.turn(),
        Operation::Accept => rig.accept(),
        Operation::Connect { line } => rig.connect(&Line::of(line)),
        Operation::LetGo => rig.let_go(),
        Operation::Events => rig.events(),
        Operation::Advance { by_ms } => rig.advance(Duration::from_millis(by_ms.into())),
        Operation::Deadline => drop(rig.advance_to_deadline()),
        Operation::Room { segments } => rig.wire.room = segments.into(),
        Operation::Deaf { is_deaf } => deafen(rig, is_deaf),
        Operation::Icmp { line, sequence, mtu, kind } => icmp(rig, &Line::of(line), sequence, (mtu, kind)),
        Operation::ToggleListener { line } => rig.toggle_listener(&Line::of(line)),
        about_a_flow => verb(rig, about_a_flow),
    }
}

fn verb(rig: &mut Rig, operation: Operation) {
    use Operation::{Abort, Close, Nagle, Read, Send, Shutdown, Timer};
    let (Read { flow: number }
    | Send { flow: number, .. }
    | Shutdown { flow: number }
    | Close { flow: number }
    | Abort { flow: number }
    | Timer { flow: number, .. }
    | Nagle { flow: number, .. }) = operation
    else {
        return;
    };
    let Some(flow) = rig.flow(number) else { return };
    match operation {
        Read { .. } => rig.read(flow),
        Send { len, buffered, .. } => send(rig, flow, len.into(), buffered),
        Shutdown { .. } => rig.engine.shutdown(flow),
        Close { .. } => rig.engine.close(flow),
        Abort { .. } => rig.engine.abort(flow),
        Timer { after_ms, .. } => {
            let now = rig.now();
            let deadline = after_ms.map(|ms| now + Duration::from_millis(ms.into()));
            rig.engine.set_timer(flow, deadline);
        }
        Nagle { on, .. } => rig.engine.set_nagle(flow, on),
        _ => {}
    }
}

fn send(rig: &mut Rig, flow: FlowId, len: usize, buffered: bool) {
    let chunk = if buffered { rig.buffer(len) } else { Some(Chunk::from_static(&BYTES[..len.min(BYTES.len())])) };
    let Some(chunk) = chunk else { return };
    let (room, len) = (rig.engine.send_room(flow), chunk.len());
    let is_taken = rig.engine.send(flow, chunk).is_ok();
    assert!(is_taken || room < len.max(1), "{len} bytes were refused where {room} fit");
}

fn deafen(rig: &mut Rig, is_deaf: bool) {
    rig.wire.is_deaf = is_deaf;
    if !is_deaf {
        rig.engine.handle_neighbour_change();
    }
}

fn icmp(rig: &mut Rig, line: &Line, sequence: Offset, (mtu, kind): (u16, u8)) {
    let kind = match kind % 6 {
        0 => IcmpErrorKind::Unreachable(Unreachable::Network),
        1 => IcmpErrorKind::Unreachable(Unreachable::Host),
        2 => IcmpErrorKind::Unreachable(Unreachable::Protocol),
        3 => IcmpErrorKind::Unreachable(Unreachable::Port),
        4 => IcmpErrorKind::Unreachable(Unreachable::Prohibited),
        _ => IcmpErrorKind::PacketTooBig(mtu),
    };
    let sequence = sequence.from(rig.wire.known(line).snd_nxt);
    rig.engine.handle_icmp_error(IcmpError { local: line.local, remote: line.remote, sequence, kind });
}

/// A peer that does it right: SYN, our SYN-ACK, ACK.
pub fn handshake(rig: &mut Rig, line: u8) {
    let options = Options::Handshake { mss: 500, scale: 2, with_timestamp: line & 0x40 == 0 };
    let syn = Segment::right(line, SYN, 0);
    Segment { seq: Offset::Anywhere(i32::from(line) << 20), options, ..syn }.arrive(rig);
    rig.turn();
    let echo = Options::Timestamp { value: 2, echo: Offset::Exact };
    let options = if line & 0x40 == 0 { echo } else { Options::None };
    Segment { options, ..Segment::right(line, ACK, 0) }.arrive(rig);
}

/// The next bytes in order.
pub fn next(rig: &mut Rig, line: u8, payload_len: u16, has_fin: bool) {
    let flags = if has_fin { ACK | FIN } else { ACK };
    let options = Options::Timestamp { value: 3, echo: Offset::Exact };
    Segment { options, ..Segment::right(line, flags, payload_len % 1_400) }.arrive(rig);
    rig.turn();
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

impl Segment {
    const fn right(line: u8, flags: u8, payload_len: u16) -> Self {
        let (seq, ack) = (Offset::Exact, Offset::Exact);
        Self { line, flags, seq, ack, window: 10_000, options: Options::None, payload_len, ecn: 0 }
    }

    fn arrive(&self, rig: &mut Rig) {
        let line = Line::of(self.line);
        let known = rig.wire.known(&line);
        let mut options = self.options.bytes(&known);
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 1);
        let mut bytes = Vec::with_capacity(1_600);
        bytes.extend_from_slice(&line.remote.port().to_be_bytes());
        bytes.extend_from_slice(&line.local.port().to_be_bytes());
        bytes.extend_from_slice(&self.seq.from(known.rcv_nxt).to_be_bytes());
        bytes.extend_from_slice(&self.ack.from(known.snd_nxt).to_be_bytes());
        bytes.extend_from_slice(&[(5 + options.len() as u8 / 4) << 4, self.flags]);
        bytes.extend_from_slice(&self.window.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&options);
        bytes.resize(bytes.len() + usize::from(self.payload_len % 3_000), 0x66);
        rig.receive(&line, &bytes, Ecn::from_bits(self.ecn));
    }
}

impl Options {
    fn bytes(&self, known: &Known) -> Vec<u8> {
        let timestamp = |value: u16, echo: Offset| {
            let mut bytes = vec![1, 1, 8, 10];
            bytes.extend_from_slice(&u32::from(value).to_be_bytes());
            bytes.extend_from_slice(&echo.from(known.timestamp).to_be_bytes());
            bytes
        };
        match self {
            Self::None => Vec::new(),
            Self::Raw(bytes) => bytes.to_vec(),
            Self::Timestamp { value, echo } => timestamp(*value, *echo),
            Self::Handshake { mss, scale, with_timestamp } => {
                let [high, low] = mss.to_be_bytes();
                let mut bytes = vec![2, 4, high, low, 4, 2, 3, 3, *scale];
                if *with_timestamp {
                    bytes.push(1);
                    bytes.extend_from_slice(&timestamp(1, Offset::Exact)[2..]);
                }
                bytes
            }
            Self::Sack { blocks, count, with_timestamp } => {
                let mut bytes = with_timestamp.map_or(Vec::new(), |value| timestamp(value, Offset::Exact));
                let count = usize::from(count % 4);
                bytes.extend_from_slice(&[1, 1, 5, 2 + 8 * count as u8]);
                for (at, len) in &blocks[..count] {
                    let left = at.from(known.snd_nxt);
                    bytes.extend_from_slice(&left.to_be_bytes());
                    bytes.extend_from_slice(&left.wrapping_add(u32::from(*len) * 16).to_be_bytes());
                }
                bytes
            }
        }
    }
}
