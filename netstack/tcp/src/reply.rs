//! Segments that no flow sends: RSTs, SYN-ACKs, answers from TIME-WAIT. They go before everything else.

use alloc::collections::VecDeque;

use crate::link::{Ecn, NextHop};
use crate::options::OutOptions;
use crate::output::{Header, Route};
use crate::segment::{Flags, Segment};
use crate::seq::SeqNumber;
use crate::tuple::Tuple;

/// A whole segment, except for checksum and the link's MSS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    pub tuple: Tuple,
    pub next_hop: NextHop,
    pub header: Header,
}

impl Reply {
    pub fn new(tuple: Tuple, next_hop: NextHop, flags: Flags, seq: SeqNumber, ack: SeqNumber) -> Self {
        let header = Header { seq, ack, flags, window: 0, ecn: Ecn::NotCapable, options: OutOptions::default() };
        Self { tuple, next_hop, header }
    }

    /// The answer of CLOSED to anything but a RST (RFC 9293, 3.10.7.1).
    pub fn reset(tuple: Tuple, segment: &Segment) -> Self {
        if segment.flags.has(Flags::ACK) {
            return Self::new(tuple, segment.next_hop, Flags::RST, segment.ack, SeqNumber(0));
        }
        let ack = segment.seq + segment.sequence_len();
        Self::new(tuple, segment.next_hop, Flags::RST.with(Flags::ACK), SeqNumber(0), ack)
    }

    pub fn route(&self) -> Route<'_> {
        Route { tuple: &self.tuple, address_sum: self.tuple.address_sum(), next_hop: self.next_hop }
    }
}

/// What waits to be sent; what does not fit is dropped, as the network might have done.
pub(crate) struct Replies {
    queue: VecDeque<Reply>,
}

const REPLIES_MAX: usize = 1_024;

impl Replies {
    pub fn new() -> Self {
        Self { queue: VecDeque::new() }
    }

    /// False when there are too many.
    pub fn push(&mut self, reply: Reply) -> bool {
        if self.queue.len() == REPLIES_MAX {
            return false;
        }
        self.queue.push_back(reply);
        true
    }

    #[inline]
    pub fn first(&self) -> Option<&Reply> {
        self.queue.front()
    }

    pub fn pop(&mut self) {
        self.queue.pop_front();
    }
}
