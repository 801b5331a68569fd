//! How a core without a queue pair sends: its frames go through a ring to a core that has one.
//!
//! ```text
//! core without pair                                   core with a pair
//!   Relay:  gather a segment into one buffer  --frames-->  Outlet:  copy it, give the copy to the device
//!           the buffer is free again        <--returned--           the buffer goes home
//! ```
//!
//! Both rings are as long as the number of frames that may be away, so a buffer that goes home always has a place. What the
//! device has no room for stays in the ring, the sending core sees no room, and TCP waits: nothing is dropped for want of
//! room. Frames that these cores receive come as messages of the stack (`docs/decisions/relay.md`).

use weir_packet::frame::{Capabilities, Offload, Transmit, TransmitError};
use weir_packet::handoff::{Foreign, Receiver, Sender, ring};
use weir_packet::{Chunk, Gather, Packet, Pool};

/// Frames of one core that may be away: as many as a ring of the device has descriptors.
const FRAMES_AWAY_MAX: usize = 256;

/// When so many buffers wait to be fetched, their core is woken for them.
const RETURNED_MAX: usize = FRAMES_AWAY_MAX / 2;

/// A frame on its way to the core that sends it.
struct Outgoing {
    frame: Foreign,
    offload: Offload,
}

/// The sending end, before its core has taken it.
pub struct ParkedRelay {
    capabilities: Capabilities,
    frames: Sender<Outgoing>,
    returned: Receiver<Foreign>,
}

/// The sending end, on a core without queue pair.
pub struct Relay {
    capabilities: Capabilities,
    frames: Sender<Outgoing>,
    returned: Receiver<Foreign>,
    pool: Pool,
    /// Frames whose buffers are not back yet.
    away: usize,
    is_news: bool,
    counters: Counters,
}

/// The receiving end, on a core with a queue pair.
pub struct Outlet {
    /// The core that sends through us.
    core: u16,
    frames: Receiver<Outgoing>,
    returned: Sender<Foreign>,
}

/// What the two ends count.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    /// Frames given to another core to be sent.
    pub given: u64,
    /// Frames of other cores given to the device.
    pub sent: u64,
    /// Frames dropped because no buffer was free to gather or copy them.
    pub drop_no_buffer: u64,
    /// Frames of other cores that the device refused.
    pub drop_refused: u64,
}

/// Two ends for core `core`, which has no pair; the capabilities are those of the pair at the other end.
pub fn connect(core: u16, capabilities: Capabilities) -> (ParkedRelay, Outlet) {
    let (frames, to_send) = ring(FRAMES_AWAY_MAX);
    let (give_back, returned) = ring(FRAMES_AWAY_MAX);
    // A frame of 64 KiB would be gathered from 33 buffers and copied into as many: the segments are cut here instead.
    let capabilities = Capabilities { tso4: false, tso6: false, ..capabilities };
    (ParkedRelay { capabilities, frames, returned }, Outlet { core, frames: to_send, returned: give_back })
}

impl ParkedRelay {
    /// Starts the relay on the core that owns `pool`.
    pub fn start(self, pool: Pool) -> Relay {
        let Self { capabilities, frames, returned } = self;
        Relay { capabilities, frames, returned, pool, away: 0, is_news: false, counters: Counters::default() }
    }
}

impl Relay {
    /// Takes back the buffers of frames that were sent.
    #[inline]
    pub fn reclaim(&mut self) {
        while let Some(foreign) = self.returned.receive() {
            self.away -= 1;
            // Only our own come back this way; another pool's would be leaked rather than freed here.
            drop(self.pool.welcome(foreign));
        }
    }

    /// Whether buffers of frames that were sent are here.
    #[inline]
    pub fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// Whether frames were given since the last call: the core at the other end may sleep.
    pub const fn take_news(&mut self) -> bool {
        core::mem::replace(&mut self.is_news, false)
    }

    /// Frames whose buffers are not back yet.
    pub const fn away(&self) -> usize {
        self.away
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn gather<P: Iterator<Item = Chunk>>(&self, head: Packet, mut payload: P) -> Option<Packet> {
        payload.try_fold(Gather::onto(head, &self.pool), |frame, chunk| frame.with(&chunk)).map(Gather::finish)
    }
}

impl Transmit for Relay {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    #[inline]
    fn room(&self) -> usize {
        FRAMES_AWAY_MAX - self.away
    }

    #[inline(never)]
    fn transmit<P>(&mut self, head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        if offload.segmentation.is_some() {
            return Err(TransmitError::NotNegotiated);
        }
        // The ring may have room again before the buffers are back.
        if self.room() == 0 {
            return Err(TransmitError::Full);
        }
        let Some(frame) = self.gather(head, payload) else {
            self.counters.drop_no_buffer += 1;
            return Err(TransmitError::Full);
        };
        match self.frames.send(Outgoing { frame: Foreign::new(frame), offload }) {
            Ok(()) => {
                self.away += 1;
                self.is_news = true;
                self.counters.given += 1;
                Ok(())
            }
            Err(Outgoing { frame, .. }) => {
                drop(self.pool.welcome(frame));
                Err(TransmitError::Full)
            }
        }
    }
}

impl Outlet {
    /// The core that sends through us.
    pub const fn core(&self) -> u16 {
        self.core
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Gives at most `frames_max` frames to `device`, as copies in buffers of `pool`, and sends the buffers home. Whether
    /// there were any, and whether so many wait for their core that it should be woken for them.
    pub fn send<T: Transmit>(
        &mut self,
        device: &mut T,
        pool: &Pool,
        frames_max: usize,
        counters: &mut Counters,
    ) -> (bool, bool) {
        let mut left = frames_max;
        while left > 0
            && device.room() > 0
            && let Some(Outgoing { frame, offload }) = self.frames.receive()
        {
            left -= 1;
            let sent = frame.copy_into(pool).map(|copy| device.transmit(copy, core::iter::empty(), offload).is_ok());
            match sent {
                Some(true) => counters.sent += 1,
                Some(false) => counters.drop_refused += 1,
                None => counters.drop_no_buffer += 1,
            }
            // There is a place for every buffer that is away.
            let _ = self.returned.send(frame);
        }
        let is_any = left < frames_max;
        (is_any, is_any && self.returned.queued() >= RETURNED_MAX)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A device that remembers.
    #[derive(Default)]
    struct Recorder(Vec<Vec<u8>>);

    const CAPABILITIES: Capabilities =
        Capabilities { mac: [2; 6], mtu: 1500, transmit_checksum: true, tso4: true, tso6: true };

    impl Transmit for Recorder {
        fn capabilities(&self) -> &Capabilities {
            &CAPABILITIES
        }

        fn room(&self) -> usize {
            256
        }

        fn transmit<P>(&mut self, head: Packet, payload: P, _: Offload) -> Result<(), TransmitError>
        where
            P: ExactSizeIterator<Item = Chunk>,
        {
            assert!(head.headroom() >= 12 && payload.len() == 0);
            self.0.push(head.parts().flatten().copied().collect());
            Ok(())
        }
    }

    fn ends() -> (Relay, Pool, Outlet, Pool) {
        let [near, far] = [300, 300].map(|buffers| Pool::with_capacity(buffers).expect("memory"));
        let (relay, outlet) = connect(3, CAPABILITIES);
        (relay.start(near.clone()), near, outlet, far)
    }

    fn head(pool: &Pool, bytes: &[u8]) -> Packet {
        let mut head = pool.allocate().expect("a buffer");
        head.extend_from_slice(bytes).expect("room");
        head
    }

    #[test]
    fn a_segment_of_many_pieces_is_one_frame_and_every_buffer_comes_home() {
        let (mut relay, near, mut outlet, far) = ends();
        let text: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
        let mut first = head(&near, &text[1..1600]).freeze();
        let pieces = [first.split_to(700), first, head(&near, &text[1600..3000]).freeze()];
        let more = head(&near, &text[3000..4700]).freeze();
        let payload: Vec<Chunk> = pieces.into_iter().chain([more]).collect();
        relay.transmit(head(&near, &text[..1]), payload.into_iter(), Offload::default()).expect("room");
        assert!(relay.take_news() && !relay.take_news() && relay.away() == 1);
        let mut device = Recorder::default();
        let mut counters = Counters::default();
        assert_eq!(outlet.send(&mut device, &far, 64, &mut counters), (true, false));
        assert_eq!(device.0, [&text[..4700]]);
        assert_eq!(far.in_use(), 0);
        relay.reclaim();
        assert_eq!((relay.away(), near.in_use(), counters.sent), (0, 0, 1));
    }

    #[test]
    fn without_room_nothing_is_lost_and_the_sender_is_woken_when_there_is_room_again() {
        let (mut relay, near, mut outlet, far) = ends();
        for n in 0..FRAMES_AWAY_MAX {
            assert_eq!(relay.room(), FRAMES_AWAY_MAX - n);
            relay.transmit(head(&near, b"frame"), [].into_iter(), Offload::default()).expect("room");
        }
        assert_eq!(relay.room(), 0);
        let refused = relay.transmit(head(&near, b"frame"), [].into_iter(), Offload::default());
        assert_eq!((refused, near.in_use()), (Err(TransmitError::Full), FRAMES_AWAY_MAX));
        let (mut device, mut counters) = (Recorder::default(), Counters::default());
        assert_eq!(outlet.send(&mut device, &far, RETURNED_MAX - 1, &mut counters), (true, false));
        assert_eq!(outlet.send(&mut device, &far, 1, &mut counters), (true, true));
        assert_eq!(outlet.send(&mut device, &far, FRAMES_AWAY_MAX, &mut counters), (true, true));
        assert!(outlet.is_empty() && device.0.len() == FRAMES_AWAY_MAX);
        let refused = relay.transmit(head(&near, b"frame"), [].into_iter(), Offload::default());
        assert_eq!((refused, relay.room()), (Err(TransmitError::Full), 0), "the buffers are not back");
        relay.reclaim();
        assert_eq!((relay.room(), near.in_use()), (FRAMES_AWAY_MAX, 0));
    }

    #[test]
    fn a_frame_that_cannot_be_copied_is_a_counted_drop_and_its_buffer_goes_home() {
        let (mut relay, near, mut outlet, far) = ends();
        relay.transmit(head(&near, b"frame"), [].into_iter(), Offload::default()).expect("room");
        let _all: Vec<_> = core::iter::from_fn(|| far.allocate()).collect();
        let (mut device, mut counters) = (Recorder::default(), Counters::default());
        assert_eq!(outlet.send(&mut device, &far, 64, &mut counters), (true, false));
        relay.reclaim();
        assert_eq!((device.0.len(), counters.drop_no_buffer, near.in_use()), (0, 1, 0));
    }
}
