//! A flow's slot: what is common to all of its states, and the state itself.
//!
//! ```text
//!   connect ─▶ Opening ──▶ Open ──▶ Ended ──▶ Vacant        (Ended: the application still holds the id)
//!   SYN cache ────────────▶ │  └──▶ TIME-WAIT record
//! ```

pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod open;
pub(crate) mod opening;
pub(crate) mod out_of_order;
pub(crate) mod rack;
pub(crate) mod reassembly;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod scoreboard;
pub(crate) mod send_queue;

use weir_socket::{CloseReason, Instant, Readiness, Token};

use crate::config::FLOW_BYTES_MAX;
use crate::demux::Demux;
use crate::link::NextHop;
use crate::output::Route;
use crate::slab::Slab;
use crate::time::NEVER;
use crate::tuple::Tuple;
use crate::wheel::Wheel;
use inbox::Inbox;
use open::Open;
use opening::Opening;

/// An entry of the flow table.
pub(crate) struct Slot {
    /// Which use of the slot this is. It advances when the application gives the flow back, which makes its id stale while
    /// the flow itself may go on.
    pub generation: u32,
    pub common: Common,
    pub state: State,
    /// In the queue of events.
    pub is_event_queued: bool,
    /// In the queue of flows that hold something out of order.
    pub is_reordered: bool,
    /// In a queue of flows that have something to send.
    pub queued: Queued,
    /// What the timer wheel is armed for. It stays so when a flow ends: the next one in the slot has its deadlines later, as a
    /// rule, and a slot whose flows come and go stands on the wheel once, as one whose deadline moves does.
    pub armed: Instant,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            generation: 0,
            common: Common::default(),
            state: State::default(),
            is_event_queued: false,
            is_reordered: false,
            queued: Queued::default(),
            armed: NEVER,
        }
    }
}

/// What an idle flow costs in all: its slot with the slab's link, its place on the wheel and its entry in the flow table.
const IDLE_BYTES: usize = Slab::<Slot>::ENTRY_BYTES + Wheel::NODE_BYTES + Demux::ENTRY_BYTES;

const _: () = assert!(IDLE_BYTES <= FLOW_BYTES_MAX);

/// Which of the transmit queues a slot is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Queued {
    #[default]
    None,
    Acks,
    Data,
    /// Waits for a neighbour.
    Unresolved,
}

// The largest state sets the size of every slot on purpose: a flow is one piece of memory.
#[allow(clippy::large_enum_variant)]
// Two variants, and not four: one value of a byte of `Open` tells them apart, which takes no room and one comparison.
pub(crate) enum State {
    /// ESTABLISHED and all states of closing but TIME-WAIT.
    Open(Open),
    NotOpen(NotOpen),
}

/// What a slot is before and after.
#[derive(Default)]
pub(crate) enum NotOpen {
    #[default]
    Vacant,
    /// SYN-SENT, or SYN-RECEIVED after a simultaneous open.
    Opening(Opening),
    /// The flow is gone; the application has not given it back.
    Ended(Ended),
}

impl Default for State {
    fn default() -> Self {
        Self::NotOpen(NotOpen::Vacant)
    }
}

impl From<NotOpen> for State {
    #[inline(always)]
    fn from(not_open: NotOpen) -> Self {
        Self::NotOpen(not_open)
    }
}

/// What is left of a flow for the application to look at.
pub(crate) struct Ended {
    pub reason: CloseReason,
    pub inbox: Inbox,
    /// The peer's direction ended in order.
    pub fin_received: bool,
}

/// What every state has.
pub(crate) struct Common {
    pub tuple: Tuple,
    /// The tuple's hash in the flow table.
    pub hash: u32,
    /// See [`Tuple::address_sum`].
    pub address_sum: u16,
    pub next_hop: NextHop,
    pub token: Token,
    pub timers: Timers,
    /// Edges not yet reported.
    pub pending: Readiness,
    /// The application has the id.
    pub is_held: bool,
    /// RFC 9293, 3.7.4.
    pub nagle: bool,
    /// There may be something to send.
    pub output: bool,
    /// We opened the flow, and its port is counted as in use.
    pub holds_source_port: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            tuple: Tuple::default(),
            hash: 0,
            address_sum: 0,
            next_hop: NextHop::UNKNOWN,
            token: Token::default(),
            timers: Timers::default(),
            pending: Readiness::NONE,
            is_held: false,
            nagle: false,
            output: false,
            holds_source_port: false,
        }
    }
}

impl Common {
    pub fn new(tuple: Tuple, hash: u32, next_hop: NextHop) -> Self {
        Self { tuple, hash, address_sum: tuple.address_sum(), next_hop, ..Self::default() }
    }

    #[inline(always)]
    pub fn route(&self) -> Route<'_> {
        Route { tuple: &self.tuple, address_sum: self.address_sum, next_hop: self.next_hop }
    }
}

/// The deadlines of a flow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timers {
    /// Retransmission, tail loss probe, reordering or persist.
    pub loss: Instant,
    /// Delayed acknowledgement.
    pub ack: Instant,
    /// Keepalive, FIN-WAIT-2 or user timeout.
    pub idle: Instant,
    /// The application's.
    pub app: Instant,
}

impl Default for Timers {
    fn default() -> Self {
        Self { loss: NEVER, ack: NEVER, idle: NEVER, app: NEVER }
    }
}

impl Timers {
    #[inline(always)]
    pub fn earliest(&self) -> Instant {
        self.loss.min(self.ack).min(self.idle.min(self.app))
    }
}

/// What an event means for the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The flow goes on.
    Keep,
    /// Both directions ended, and ours first: TIME-WAIT.
    TimeWait,
    /// The flow is gone.
    Gone(CloseReason),
    /// The flow is given up, and the peer is told with a RST.
    Abort(CloseReason),
}
