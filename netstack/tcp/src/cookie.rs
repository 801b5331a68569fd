//! SYN cookies (RFC 4987, 3.6): a SYN-ACK that needs no memory, for when the SYN cache is full.
//!
//! ```text
//!   initial sequence number:   | minute: 5 | MSS: 3 | keyed hash of endpoints, peer's ISN, minute, MSS: 24 |
//!   low bits of our timestamp: | ECN: 1 | SACK: 1 | window scale: 4 |
//! ```
//!
//! A peer without timestamps loses its other options. An ACK is looked at as a cookie only while cookies are being sent, so
//! that nobody can open flows blindly by guessing 24 bits in quiet times.

use weir_socket::Instant;

use crate::flow::handshake::{Handshake, Negotiated};
use crate::secrets::{Derived, Secrets};
use crate::segment::Segment;
use crate::seq::SeqNumber;
use crate::time::{Nanoseconds, SECOND_NS};
use crate::tuple::Tuple;

/// How long one count of the cookie's clock lasts; a cookie is good during its own and the next.
const PERIOD_NS: u64 = 64 * SECOND_NS;
/// Segment sizes that a cookie can remember.
const SIZES: [u16; 8] = [216, 536, 1_220, 1_360, 1_440, 1_460, 4_312, 8_960];
const NO_SCALE: u32 = 0xf;

#[derive(Debug, Default)]
pub(crate) struct Cookies {
    last_sent: Option<Instant>,
}

impl Cookies {
    /// Makes `handshake` one that can be told again from its ACK. Answers its timestamp, if it has timestamps.
    pub fn bake(
        &mut self,
        handshake: &mut Handshake,
        tuple: &Tuple,
        secrets: &Secrets,
        (now, clock): (Instant, u32),
    ) -> Option<u32> {
        self.last_sent = Some(now);
        let size = SIZES.iter().rposition(|&size| size <= handshake.peer_mss).unwrap_or(0);
        let period = period(now);
        handshake.iss = cookie(secrets, tuple, handshake.irs, period, size as u32);
        if !handshake.negotiated.timestamps {
            handshake.peer_scale = None;
            handshake.negotiated = Negotiated::default();
            return None;
        }
        let scale = handshake.peer_scale.map_or(NO_SCALE, u32::from);
        let bits = scale | u32::from(handshake.negotiated.sack) << 4 | u32::from(handshake.negotiated.ecn) << 5;
        // Not later than the clock, so that later timestamps go forward.
        let value = clock & !0x3f | bits;
        Some(if value > clock { value.wrapping_sub(0x40) } else { value })
    }

    /// Whether a cookie that was sent may still come back.
    pub fn are_in_use(&self, now: Instant) -> bool {
        self.last_sent.is_some_and(|sent| now.since_ns(sent) <= 2 * PERIOD_NS)
    }

    /// The handshake that `segment` completes, if it carries one of our cookies.
    pub fn open(&self, segment: &Segment, tuple: &Tuple, secrets: &Secrets, now: Instant) -> Option<Handshake> {
        if !self.are_in_use(now) {
            return None;
        }
        let (iss, irs) = (segment.ack - 1, segment.seq - 1);
        let size = iss.0 >> 24 & 0x7;
        let age = (period(now) as u32).wrapping_sub(iss.0 >> 27) & 0x1f;
        let baked = period(now).checked_sub(u64::from(age)).filter(|_| age <= 1)?;
        if cookie(secrets, tuple, irs, baked, size) != iss {
            return None;
        }
        let Derived { timestamp_offset, .. } = secrets.derive(tuple, now);
        let mut handshake =
            Handshake { iss, irs, timestamp_offset, peer_mss: *SIZES.get(size as usize)?, ..Handshake::default() };
        if let Some(timestamp) = segment.options.timestamp {
            let bits = timestamp.echo;
            handshake.ts_recent = timestamp.value;
            handshake.peer_scale = (bits & 0xf != NO_SCALE).then_some((bits & 0xf) as u8);
            handshake.negotiated = Negotiated { timestamps: true, sack: bits & 0x10 != 0, ecn: bits & 0x20 != 0 };
        }
        Some(handshake)
    }
}

fn period(now: Instant) -> u64 {
    now.as_nanos() / PERIOD_NS
}

fn cookie(secrets: &Secrets, tuple: &Tuple, irs: SeqNumber, period: u64, size: u32) -> SeqNumber {
    let word = u64::from(irs.0) << 32 | (period & 0xfff_ffff) << 4 | 1 << 3 | u64::from(size);
    let hash = secrets.hash(tuple, word) as u32 & 0xff_ffff;
    SeqNumber((period as u32 & 0x1f) << 27 | size << 24 | hash)
}
