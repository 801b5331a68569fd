//! A queue pair: one core's own way to the wire.

use alloc::sync::Arc;

use weir_packet::frame::{Capabilities, Offload, Receive, RxFrame, Transmit, TransmitError};
use weir_packet::{Chunk, Packet, Pool};

use super::link::{Link, Phase};
use super::receive::ReceiveQueue;
use super::transmit::TransmitQueue;
use super::{Counters, Gauges};
use crate::DeviceError;
use crate::virtio::ring::{IndirectTables, SplitRing};
use crate::virtio::{AnyDoorbell, Doorbell};

/// A queue pair that no core has taken yet. It holds no buffers, and moves to its core.
#[derive(Debug)]
pub struct ParkedPair<D: Doorbell = AnyDoorbell> {
    pub(super) index: usize,
    pub(super) receive: SplitRing<D>,
    pub(super) transmit: SplitRing<D>,
    /// With `INDIRECT_DESC`.
    pub(super) tables: Option<IndirectTables>,
    pub(super) capabilities: Capabilities,
    pub(super) merge: bool,
    pub(super) interrupts: bool,
    pub(super) link: Arc<Link>,
}

impl<D: Doorbell> ParkedPair<D> {
    /// Number of the pair, from 0.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// What the device can do.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Starts the pair on the core that owns `pool`, and gives the device buffers of it to receive into.
    ///
    /// If the pool is empty the device gets as many buffers as there are, the others with a later
    /// [`refill`](QueuePair::refill).
    pub fn start(self, pool: Pool) -> QueuePair<D> {
        let mut pair = QueuePair {
            index: self.index,
            receive: ReceiveQueue::new(self.receive, pool.clone(), self.merge),
            transmit: TransmitQueue::new(self.transmit, pool, self.tables),
            capabilities: self.capabilities,
            interrupts: self.interrupts,
            link: self.link,
            phase: Phase::default(),
            stopped: false,
            armed: false,
            fault: None,
            counters: Counters::default(),
            burst_start: 0,
        };
        pair.disarm_rings();
        pair.follow();
        if !pair.stopped {
            pair.receive.fill();
            pair.receive.ring.flush();
        }
        pair
    }
}

/// One core's queue pair. Made by [`ParkedPair::start`], and bound to the core by the packets that it holds.
///
/// A turn: [`reclaim`](Self::reclaim); [`receive`](Receive::receive) until none or the budget is spent;
/// [`refill`](Self::refill); [`transmit`](Transmit::transmit) as the stack wants; [`flush`](Self::flush). Before the
/// core sleeps: [`arm`](Self::arm), and sleep only if it says false; afterwards [`disarm`](Self::disarm).
///
/// What it costs per frame, in instructions (release build on a host, `examples/cost.rs` under callgrind, bursts of 32, the
/// measuring loop included): receiving 49 and replacing the buffer 33; sending a frame of one, two and three pieces 60, 181
/// and 221; reclaiming it 46, 78 and 95. Memory: one used entry and the frame's first line; one address and one entry for
/// the fresh buffer; a descriptor per piece and one entry to send, or a table for many pieces; one used entry to reclaim.
/// Per burst and direction: an index, a barrier, and a doorbell if the device asks for it. No locked instruction, no
/// division, no allocation.
///
/// When the device lies on a ring, the pair touches the rings no more, receives nothing and refuses to transmit, until
/// the control handle has reset the device ([`super::NetControl::poll`]); the pair then goes on by itself. The core
/// sees it by [`take_fault`](Self::take_fault), to be looked at before it sleeps.
pub struct QueuePair<D: Doorbell = AnyDoorbell> {
    index: usize,
    receive: ReceiveQueue<D>,
    transmit: TransmitQueue<D>,
    capabilities: Capabilities,
    interrupts: bool,
    link: Arc<Link>,
    phase: Phase,
    /// The rings must not be touched: the device lied, or is in reset.
    stopped: bool,
    armed: bool,
    fault: Option<DeviceError>,
    counters: Counters,
    /// Frames received when the current burst began.
    burst_start: u64,
}

impl<D: Doorbell> QueuePair<D> {
    /// Number of the pair, from 0.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Takes back the buffers of frames that the device has sent.
    #[inline]
    pub fn reclaim(&mut self) {
        if self.stopped {
            return;
        }
        self.transmit.reclaim();
        if let Some(lie) = self.transmit.ring.lie() {
            self.fail(lie);
        }
    }

    /// Ends the receiving part of a turn: replaces the buffers that were received, in batches, and follows a reset of
    /// the device if there was one.
    #[inline]
    pub fn refill(&mut self) {
        if self.link.phase() != self.phase {
            self.follow();
        }
        self.counters.receive_bursts += u64::from(self.receive.packets != self.burst_start);
        self.burst_start = self.receive.packets;
        if !self.stopped {
            self.receive.refill();
        }
    }

    /// Tells the device of frames to send and of fresh buffers: a barrier and at most one doorbell for each.
    #[inline]
    pub fn flush(&mut self) {
        if self.stopped {
            return;
        }
        self.counters.transmit_bursts += u64::from(self.transmit.flush());
        self.receive.ring.flush();
    }

    /// Whether a turn would find something: a received frame, or that a crowded sending ring has room again. Cheap, for a core
    /// that waits without sleeping. What does not show here, as a reset of the device, the next turn finds.
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.stopped && (self.receive.ring.has_used() || (self.is_crowded() && self.transmit.ring.has_used()))
    }

    /// Whether more than half of the sending ring is taken.
    #[inline]
    fn is_crowded(&self) -> bool {
        self.transmit.free() < usize::from(self.transmit.ring.len() / 2)
    }

    /// Asks for an interrupt at the next received frame, and when half of a crowded sending ring is free again. True
    /// when there is work already, or when the device cannot interrupt: then the core must not sleep.
    ///
    /// During a reset the core must not sleep either, as it has to follow; the control core resets within its next
    /// turn. If the device is dead, there is nothing to stay awake for.
    ///
    /// Frames that the device has not sent yet do not keep the core awake and do not wake it, unless more than half of
    /// the sending ring is taken.
    pub fn arm(&mut self) -> bool {
        if self.link.phase() != self.phase {
            return true;
        }
        if self.stopped {
            return !self.link.is_dead();
        }
        self.receive.fill();
        self.flush();
        self.counters.armed += 1;
        self.armed = true;
        let received = self.receive.ring.arm(1);
        let outstanding = self.transmit.ring.outstanding();
        let sent = self.is_crowded() && outstanding > 0 && self.transmit.ring.arm(outstanding.div_ceil(2));
        received || sent || !self.interrupts
    }

    /// Takes the wish for interrupts back. Costs two stores, and nothing when there was no wish.
    #[inline]
    pub fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.disarm_rings();
        }
    }

    fn disarm_rings(&mut self) {
        self.receive.ring.disarm();
        self.transmit.ring.disarm();
    }

    /// What the pair counted so far.
    pub fn counters(&self) -> Counters {
        Counters {
            receive_packets: self.receive.packets,
            receive_bytes: self.receive.bytes,
            receive_doorbells: self.receive.ring.doorbells,
            transmit_packets: self.transmit.frames(),
            transmit_bytes: self.transmit.frame_bytes(),
            transmit_doorbells: self.transmit.ring.doorbells,
            drop_no_headroom: self.transmit.no_headroom,
            ..self.counters
        }
    }

    /// What the pair holds now.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            receive_buffers: self.receive.buffers(),
            transmit_frames: self.transmit.ring.queued().into(),
            transmit_room: self.transmit.free(),
        }
    }

    /// The lie that stopped the pair, once: log it and wake the control core, which resets the device.
    pub const fn take_fault(&mut self) -> Option<DeviceError> {
        self.fault.take()
    }

    /// Whether the pair waits for a reset of the device.
    pub const fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Stops: the device cannot be believed any more. Its buffers stay where they are until it was reset, as it may
    /// still write to them.
    #[cold]
    fn fail(&mut self, error: DeviceError) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        self.receive.stop();
        self.fault = Some(error);
        self.counters.ring_errors += 1;
        self.link.want_reset();
    }

    /// Goes along with a reset that the control handle has begun or ended.
    #[cold]
    fn follow(&mut self) {
        let phase = self.link.phase();
        if phase == self.phase {
            return;
        }
        if phase.is_running() {
            self.stopped = false;
            self.receive.resume();
            self.disarm_rings();
        } else {
            self.stopped = true;
            self.receive.stop();
            self.receive.restart();
            self.counters.drop_reset += self.transmit.restart();
            self.counters.resets += 1;
            self.link.park();
        }
        self.phase = phase;
    }
}

impl<D: Doorbell> Receive for QueuePair<D> {
    #[inline]
    fn receive(&mut self) -> Option<RxFrame> {
        let frame = self.receive.next();
        if frame.is_none()
            && let Some(lie) = self.receive.ring.lie()
        {
            self.fail(lie);
        }
        frame
    }
}

impl<D: Doorbell> Transmit for QueuePair<D> {
    #[inline]
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    #[inline]
    fn room(&self) -> usize {
        if self.stopped { 0 } else { self.transmit.room() }
    }

    /// Inlined down to the descriptor of a frame of one piece: what the caller knows of `offload` need not be asked again.
    #[inline(always)]
    fn transmit<P>(&mut self, head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        if self.stopped {
            return self.refuse(TransmitError::Stopped);
        }
        if !allows(&self.capabilities, offload) {
            return self.refuse(TransmitError::NotNegotiated);
        }
        self.transmit.send(head, payload, offload).or_else(|error| self.refuse(error))
    }
}

impl<D: Doorbell> QueuePair<D> {
    #[cold]
    fn refuse(&mut self, error: TransmitError) -> Result<(), TransmitError> {
        if let Some(lie) = self.transmit.ring.lie() {
            self.fail(lie);
        }
        let counter = match error {
            TransmitError::Full => &mut self.counters.drop_full,
            TransmitError::TooManyPieces => &mut self.counters.drop_too_many_pieces,
            TransmitError::NotNegotiated => &mut self.counters.drop_not_negotiated,
            TransmitError::Stopped => &mut self.counters.drop_stopped,
        };
        *counter += 1;
        Err(error)
    }
}

/// Whether a device with these capabilities can do what a frame asks for.
#[inline(always)]
const fn allows(capabilities: &Capabilities, offload: Offload) -> bool {
    let segmentation = match offload.segmentation {
        None => true,
        Some(segmentation) => {
            // A segment's checksum is never the whole frame's: the device must compute it (5.1.6.2.1).
            offload.checksum.is_some() && if segmentation.ipv6 { capabilities.tso6 } else { capabilities.tso4 }
        }
    };
    segmentation && (offload.checksum.is_none() || capabilities.transmit_checksum)
}
