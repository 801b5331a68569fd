//! Raw segments against every state.

use std::time::Duration;

use weir_tcp::Ecn;

use crate::features::Features;
use crate::rig::{Line, Rig};
use crate::targets::operations::{handshake, next};

/// Bytes of a TCP header without options.
const HEADER_BYTES: usize = 20;

/// A passive line, and one that we open ourselves.
const PASSIVE: u8 = 0;
const ACTIVE: u8 = 0b1_0100;

/// States that a flow can be brought to.
const STATES: u8 = 11;

/// The first byte chooses the state. Then follow segments: a byte of choices, the length, the bytes.
pub fn run(data: &[u8]) -> Features {
    let mut rig = Rig::new();
    let Some((&first, mut rest)) = data.split_first() else { return rig.finish() };
    let ipv6 = first >> 7;
    let line = reach(&mut rig, first % STATES, ipv6);
    while let [choices, len, more @ ..] = rest {
        let (bytes, more) = more.split_at(usize::from(*len).min(more.len()));
        rest = more;
        let bytes = fit(&rig, &Line::of(line), *choices, bytes);
        rig.receive(&Line::of(line), &bytes, Ecn::from_bits(choices >> 4));
        if choices & 8 == 0 {
            rig.turn();
            rig.events();
        }
        if choices & 0xc0 == 0xc0 {
            rig.advance(Duration::from_millis(300));
        }
    }
    rig.turn();
    rig.finish()
}

/// Brings a flow to a state; its line.
fn reach(rig: &mut Rig, state: u8, ipv6: u8) -> u8 {
    let line = if matches!(state, 1 | 2) { ACTIVE | ipv6 } else { PASSIVE | ipv6 };
    match state {
        // LISTEN
        0 => {}
        // SYN-SENT; then, with a SYN of the peer's, SYN-RECEIVED
        1 | 2 => {
            rig.connect(&Line::of(line));
            rig.turn();
        }
        _ => handshake(rig, line),
    }
    rig.turn();
    rig.accept();
    let Some(flow) = rig.flow(0) else { return line };
    match state {
        // FIN-WAIT-1
        4 => rig.engine.close(flow),
        // FIN-WAIT-2
        5 => {
            rig.engine.shutdown(flow);
            rig.turn();
            next(rig, line, 0, false);
        }
        // CLOSE-WAIT
        6 => next(rig, line, 10, true),
        // CLOSING: both FINs cross
        7 => {
            rig.engine.shutdown(flow);
            next(rig, line, 0, true);
        }
        // LAST-ACK
        8 => {
            next(rig, line, 0, true);
            rig.engine.close(flow);
        }
        // TIME-WAIT
        9 => {
            rig.engine.close(flow);
            rig.turn();
            next(rig, line, 0, true);
        }
        // ESTABLISHED with data under way
        10 => {
            let bytes = rig.buffer(1_500);
            bytes.into_iter().for_each(|chunk| drop(rig.engine.send(flow, chunk)));
        }
        _ => {}
    }
    rig.turn();
    line
}

/// By choice, puts ports in, and numbers near those that are right.
fn fit(rig: &Rig, line: &Line, choices: u8, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if choices & 1 != 0 || bytes.len() < HEADER_BYTES {
        return bytes;
    }
    bytes[..2].copy_from_slice(&line.remote.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&line.local.port().to_be_bytes());
    let known = rig.wire.known(line);
    let mut near = |at: usize, right: u32| {
        // The second byte chooses how near.
        let [kind, sign, high, low] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        let by = match kind % 4 {
            0 => 0,
            1 => i32::from(low.cast_signed()),
            2 => i32::from(i16::from_be_bytes([high, low])),
            _ => i32::from_be_bytes([sign, high, low, kind]),
        };
        bytes[at..at + 4].copy_from_slice(&right.wrapping_add_signed(by).to_be_bytes());
    };
    if choices & 2 == 0 {
        near(4, known.rcv_nxt);
    }
    if choices & 4 == 0 {
        near(8, known.snd_nxt);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use weir_tcp::FlowState;

    use super::{ACTIVE, PASSIVE, reach};
    use crate::rig::Rig;

    #[test]
    fn each_state_is_reached_in_both_families() {
        let states = [
            (1, FlowState::SynSent),
            (3, FlowState::Established),
            (4, FlowState::FinWait1),
            (5, FlowState::FinWait2),
            (6, FlowState::CloseWait),
            (7, FlowState::Closing),
            (8, FlowState::LastAck),
            (10, FlowState::Established),
        ];
        for ipv6 in [0, 1] {
            for (number, state) in states {
                let mut rig = Rig::new();
                let line = reach(&mut rig, number, ipv6);
                assert_eq!(line, if number == 1 { ACTIVE } else { PASSIVE } | ipv6);
                let gauges = rig.engine.gauges();
                assert_eq!(gauges.flows[state as usize], 1, "{} in {gauges:?}", state.name());
            }
            let mut rig = Rig::new();
            reach(&mut rig, 9, ipv6);
            assert_eq!(rig.engine.gauges().time_wait, 1);
        }
    }
}
