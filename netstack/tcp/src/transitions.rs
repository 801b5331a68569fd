//! Which states follow which (RFC 9293, 3.3.2, figure 5), and how often that happened.
//!
//! A slot's life has no LISTEN, no passive SYN-RECEIVED and no TIME-WAIT: a listener, the SYN cache and the TIME-WAIT
//! records are elsewhere. To a slot they are "none", where it comes from and where it goes.

use crate::counters::FlowState::{self, *};

/// A state of a slot; none before and after.
type Place = Option<FlowState>;

/// All that may happen. What is not here is our mistake.
pub const TRANSITIONS: [(Place, Place); 18] = [
    (None, Some(SynSent)),
    (None, Some(Established)),
    (None, Some(Ended)),
    // A simultaneous open.
    (Some(SynSent), Some(SynReceived)),
    // The handshake is over, one way or the other: an open flow comes from none.
    (Some(SynSent), None),
    (Some(SynReceived), None),
    (Some(Established), Some(FinWait1)),
    (Some(Established), Some(CloseWait)),
    (Some(FinWait1), Some(FinWait2)),
    (Some(FinWait1), Some(Closing)),
    (Some(CloseWait), Some(LastAck)),
    // To TIME-WAIT, or reset.
    (Some(FinWait2), None),
    (Some(Closing), None),
    // Acknowledged, or reset.
    (Some(LastAck), None),
    // Reset, aborted, timed out.
    (Some(Established), None),
    (Some(FinWait1), None),
    (Some(CloseWait), None),
    (Some(Ended), None),
];

/// A place as an index: none is 0.
#[inline(always)]
const fn place(place: Place) -> usize {
    match place {
        Some(state) => state as usize + 1,
        None => 0,
    }
}

const PLACES: usize = FlowState::COUNT + 1;

/// The row of [`TRANSITIONS`] by both places; [`NO_ROW`] for what must not happen.
const ROWS: [[u8; PLACES]; PLACES] = {
    let mut rows = [[NO_ROW; PLACES]; PLACES];
    let mut row = 0;
    while row < TRANSITIONS.len() {
        let (from, to) = TRANSITIONS[row];
        rows[place(from)][place(to)] = row as u8;
        row += 1;
    }
    rows
};

const NO_ROW: u8 = TRANSITIONS.len() as u8;

/// How often each of [`TRANSITIONS`] happened.
#[derive(Debug, Clone, Default)]
pub struct Transitions([u64; TRANSITIONS.len()]);

impl Transitions {
    /// Counts one.
    #[inline]
    pub(crate) fn count(&mut self, from: Place, to: Place) {
        let row = ROWS[place(from)][place(to)];
        match self.0.get_mut(usize::from(row)) {
            Some(count) => *count += 1,
            None => debug_assert!(false, "from {from:?} to {to:?}: RFC 9293 has no such transition"),
        }
    }

    /// Those that happened, by the names of their states.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        let name = |place: Place| place.map_or("none", FlowState::name);
        let happened = TRANSITIONS.iter().zip(&self.0).filter(|(_, count)| **count > 0);
        happened.map(move |(&(from, to), _)| (name(from), name(to)))
    }
}
