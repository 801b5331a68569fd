//! A core's way to the wire: a queue pair of its own, or the one of another core.

use alloc::vec::Vec;

use weir_drivers::DeviceError;
use weir_drivers::net::{Counters, Gauges, ParkedPair, QueuePair};
use weir_packet::frame::{Capabilities, Offload, Receive, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};

use crate::bed::Calls;
use crate::relay::{self, Outlet, ParkedRelay, Relay};

/// A way that its core has not taken yet.
pub enum ParkedWire {
    /// A queue pair, and the cores that send through it.
    Pair(ParkedPair, Vec<Outlet>),
    /// A ring to the core with this number, which has a pair.
    Relay(ParkedRelay, u16),
}

/// A core's way to the wire.
#[expect(clippy::large_enum_variant, reason = "there is one per core, and the large one is on the hot path")]
pub enum Wire {
    /// A queue pair.
    Pair(Shared),
    /// A ring to the core with this number, which has a pair.
    Relay(Relay, u16),
}

/// A queue pair, through which other cores may send too.
pub struct Shared {
    pair: QueuePair,
    outlets: Vec<Outlet>,
    pool: Pool,
    relayed: relay::Counters,
}

impl ParkedWire {
    /// Starts it on the core that owns `pool`.
    pub fn start(self, pool: Pool) -> Wire {
        match self {
            Self::Pair(pair, outlets) => {
                let relayed = relay::Counters::default();
                Wire::Pair(Shared { pair: pair.start(pool.clone()), outlets, pool, relayed })
            }
            Self::Relay(relay, to) => Wire::Relay(relay.start(pool), to),
        }
    }
}

impl Wire {
    /// Takes back the buffers of frames that were sent.
    #[inline]
    pub fn reclaim(&mut self) {
        match self {
            Self::Pair(shared) => shared.pair.reclaim(),
            Self::Relay(relay, _) => relay.reclaim(),
        }
    }

    /// Ends the receiving part of a turn.
    #[inline]
    pub fn refill(&mut self) {
        if let Self::Pair(shared) = self {
            shared.pair.refill();
        }
    }

    /// Sends what other cores have for this core's device. Whether there was anything.
    #[inline]
    pub fn serve_others(&mut self, calls: &mut Calls) -> bool {
        match self {
            Self::Pair(shared) if !shared.outlets.is_empty() => shared.serve_others(calls),
            Self::Pair(_) | Self::Relay(..) => false,
        }
    }

    /// Ends the sending part of a turn: the device, or the core that has it, is told.
    #[inline]
    pub fn flush(&mut self, calls: &mut Calls) {
        match self {
            Self::Pair(shared) => shared.pair.flush(),
            Self::Relay(relay, to) => {
                if relay.take_news() {
                    calls.add(usize::from(*to));
                }
            }
        }
    }

    /// Asks for an interrupt. True when there is work already, or none will come: the core must not sleep.
    pub fn arm(&mut self) -> bool {
        match self {
            Self::Pair(shared) => shared.pair.arm(),
            Self::Relay(..) => false,
        }
    }

    /// Takes the wish for interrupts back.
    #[inline]
    pub fn disarm(&mut self) {
        if let Self::Pair(shared) = self {
            shared.pair.disarm();
        }
    }

    /// Whether a turn would find something here. Cheap, for a core that waits without sleeping.
    #[inline]
    pub fn has_news(&self) -> bool {
        match self {
            Self::Pair(shared) => shared.pair.has_news() || !self.is_idle(),
            Self::Relay(relay, _) => relay.has_returned(),
        }
    }

    /// Whether no other core waits for this one's device. While the device has no room, its interrupt ends the wait.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Pair(shared) => shared.outlets.iter().all(Outlet::is_empty) || shared.pair.room() == 0,
            Self::Relay(..) => true,
        }
    }

    /// Whether buffers of this core are with others, who do not wake it for each of them.
    pub const fn is_owed(&self) -> bool {
        match self {
            Self::Pair(_) => false,
            Self::Relay(relay, _) => relay.away() > 0,
        }
    }

    /// The lie that stopped the device, once.
    pub fn take_fault(&mut self) -> Option<DeviceError> {
        match self {
            Self::Pair(shared) => shared.pair.take_fault(),
            Self::Relay(..) => None,
        }
    }

    /// What the queue pair counted; nothing without one.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Pair(shared) => shared.pair.counters(),
            Self::Relay(..) => Counters::default(),
        }
    }

    /// What the queue pair holds; nothing without one.
    pub fn gauges(&self) -> Gauges {
        match self {
            Self::Pair(shared) => shared.pair.gauges(),
            Self::Relay(..) => Gauges::default(),
        }
    }

    /// What was counted of frames that one core sends for another.
    pub const fn relayed(&self) -> relay::Counters {
        match self {
            Self::Pair(shared) => shared.relayed,
            Self::Relay(relay, _) => relay.counters(),
        }
    }
}

impl Shared {
    /// Each core gets an equal part of what the device has room for, and this core too.
    fn serve_others(&mut self, calls: &mut Calls) -> bool {
        let share = (self.pair.room() / (self.outlets.len() + 1)).max(1);
        let mut any = false;
        for outlet in &mut self.outlets {
            let (is_any, wants_wake) = outlet.send(&mut self.pair, &self.pool, share, &mut self.relayed);
            any |= is_any;
            if wants_wake {
                calls.add(usize::from(outlet.core()));
            }
        }
        any
    }
}

impl Receive for Wire {
    #[inline]
    fn receive(&mut self) -> Option<RxFrame> {
        match self {
            Self::Pair(shared) => shared.pair.receive(),
            Self::Relay(..) => None,
        }
    }
}

impl Transmit for Wire {
    #[inline]
    fn capabilities(&self) -> &Capabilities {
        match self {
            Self::Pair(shared) => shared.pair.capabilities(),
            Self::Relay(relay, _) => relay.capabilities(),
        }
    }

    #[inline]
    fn room(&self) -> usize {
        match self {
            Self::Pair(shared) => shared.pair.room(),
            Self::Relay(relay, _) => relay.room(),
        }
    }

    #[inline(always)]
    fn transmit<P>(&mut self, head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        match self {
            Self::Pair(shared) => shared.pair.transmit(head, payload, offload),
            Self::Relay(relay, _) => relay.transmit(head, payload, offload),
        }
    }
}
