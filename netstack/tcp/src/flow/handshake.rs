//! What a handshake settles: sequence numbers and options (RFC 9293, 3.5; RFC 7323; RFC 2018; RFC 3168, 6.1.1).

use crate::options::{OutOptions, SynOptions, Timestamp};
use crate::output::{MSS_DEFAULT_V4, MSS_DEFAULT_V6};
use crate::secrets::Derived;
use crate::segment::{Flags, Segment};
use crate::seq::SeqNumber;
use crate::shared::{Limits, Shared, WINDOW_SCALE_MAX};

/// Options that both sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Negotiated {
    pub timestamps: bool,
    pub sack: bool,
    pub ecn: bool,
}

/// A handshake after the peer's SYN.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handshake {
    pub iss: SeqNumber,
    pub irs: SeqNumber,
    pub timestamp_offset: u32,
    /// The timestamp of the peer's SYN.
    pub ts_recent: u32,
    pub peer_mss: u16,
    /// The window that the peer offered last, in bytes.
    pub peer_window: u32,
    /// The peer's shift; none when windows are not scaled either way.
    pub peer_scale: Option<u8>,
    pub negotiated: Negotiated,
}

impl Handshake {
    /// From a SYN or SYN-ACK of the peer's, as an answer to ours or to be answered.
    pub fn new(segment: &Segment, derived: Derived, is_v4: bool, ecn_allowed: bool) -> Self {
        let options = &segment.options;
        let mss_default = if is_v4 { MSS_DEFAULT_V4 } else { MSS_DEFAULT_V6 };
        // A SYN asks for ECN with both bits, a SYN-ACK agrees with ECE alone.
        let ecn_bits = segment.flags.0 & (Flags::ECE.0 | Flags::CWR.0);
        let ecn_wanted = if segment.flags.has(Flags::ACK) { Flags::ECE.0 } else { Flags::ECE.0 | Flags::CWR.0 };
        Self {
            iss: derived.iss,
            irs: segment.seq,
            timestamp_offset: derived.timestamp_offset,
            ts_recent: options.timestamp.map_or(0, |timestamp| timestamp.value),
            peer_mss: options.mss.unwrap_or(mss_default).max(MSS_MIN),
            peer_window: u32::from(segment.window),
            peer_scale: options.window_scale.map(|shift| shift.min(WINDOW_SCALE_MAX)),
            negotiated: Negotiated {
                timestamps: options.timestamp.is_some(),
                sack: options.sack_permitted,
                ecn: ecn_allowed && ecn_bits == ecn_wanted,
            },
        }
    }

    /// The window of the segment that completes the handshake is scaled, unlike a SYN's.
    pub fn complete(&mut self, window: u16) {
        self.peer_window = u32::from(window) << self.peer_scale.unwrap_or(0);
    }

    /// The options of our SYN-ACK: what the peer offered.
    pub fn syn_ack_options(&self, shared: &Shared) -> OutOptions {
        let value = Shared::timestamp_clock(shared.now, self.timestamp_offset);
        OutOptions {
            timestamp: self.negotiated.timestamps.then_some(Timestamp { value, echo: self.ts_recent }),
            syn: Some(SynOptions {
                window_scale: self.peer_scale.map(|_| shared.limits.window_scale),
                sack_permitted: self.negotiated.sack,
            }),
            ..OutOptions::default()
        }
    }

    /// The flags of our SYN-ACK.
    pub fn syn_ack_flags(&self) -> Flags {
        let flags = Flags::SYN.with(Flags::ACK);
        if self.negotiated.ecn { flags.with(Flags::ECE) } else { flags }
    }
}

/// Smaller segments than this are not agreed to: each costs a header, and a peer that asks for one byte means no good.
const MSS_MIN: u16 = 88;

/// The window of a SYN: never scaled.
pub(crate) fn syn_window(limits: &Limits) -> u16 {
    limits.receive_window_initial.min(u32::from(u16::MAX)) as u16
}
