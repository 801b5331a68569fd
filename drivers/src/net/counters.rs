//! What a queue pair counts. Everything here belongs to one core.

/// Counters of a queue pair since it was started; all of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received.
    pub receive_packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub receive_bytes: u64,
    /// Turns in which frames were received.
    pub receive_bursts: u64,
    /// Times the device was told of fresh receive buffers.
    pub receive_doorbells: u64,
    /// Frames queued for sending.
    pub transmit_packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub transmit_bytes: u64,
    /// Flushes that had frames to send.
    pub transmit_bursts: u64,
    /// Times the device was told of frames to send.
    pub transmit_doorbells: u64,
    /// Times that the interrupt was asked for.
    pub armed: u64,
    /// Frames not sent: no descriptor was free.
    pub drop_full: u64,
    /// Frames not sent: more pieces than the ring has descriptors.
    pub drop_too_many_pieces: u64,
    /// Frames not sent: they ask for an offload that was not negotiated.
    pub drop_not_negotiated: u64,
    /// Frames not sent: the device was being reset.
    pub drop_stopped: u64,
    /// Frames not sent: no headroom for the device's header, and no buffer to put it into.
    pub drop_no_headroom: u64,
    /// Frames lost with the rings when the device was reset.
    pub drop_reset: u64,
    /// Lies of the device that were noticed on the rings.
    pub ring_errors: u64,
    /// Resets of the device that this pair went through.
    pub resets: u64,
}

impl Counters {
    /// Hands out each counter with its name, always in the same order.
    pub fn for_each(&self, mut give: impl FnMut(&'static str, u64)) {
        give("receive_packets", self.receive_packets);
        give("receive_bytes", self.receive_bytes);
        give("receive_bursts", self.receive_bursts);
        give("receive_doorbells", self.receive_doorbells);
        give("transmit_packets", self.transmit_packets);
        give("transmit_bytes", self.transmit_bytes);
        give("transmit_bursts", self.transmit_bursts);
        give("transmit_doorbells", self.transmit_doorbells);
        give("armed", self.armed);
        give("drop_full", self.drop_full);
        give("drop_too_many_pieces", self.drop_too_many_pieces);
        give("drop_not_negotiated", self.drop_not_negotiated);
        give("drop_stopped", self.drop_stopped);
        give("drop_no_headroom", self.drop_no_headroom);
        give("drop_reset", self.drop_reset);
        give("ring_errors", self.ring_errors);
        give("resets", self.resets);
    }
}

/// What a queue pair holds at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Buffers that the device may receive into.
    pub receive_buffers: usize,
    /// Frames that the device was given to send and has not reported as sent.
    pub transmit_frames: usize,
    /// Free descriptors for sending.
    pub transmit_room: usize,
}
