//! What cores say to each other.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use weir_packet::frame::ChecksumStatus;
use weir_packet::handoff::Foreign;
use weir_tcp::IcmpError;

use crate::address::{Ipv4Configuration, Ipv6Configuration};

/// A message from one core's shard to another's. The runtime carries it through a ring of [`weir_packet::handoff`].
#[derive(Debug)]
pub enum Message {
    /// A frame that belongs to the receiving core. The receiver copies it and sends the buffer home.
    Frame {
        /// The frame, in a buffer of the sender's pool.
        frame: Foreign,
        /// What the device said of its transport checksum.
        checksum: ChecksumStatus,
        /// The core whose pool the buffer is of.
        home: u16,
    },
    /// A frame with a segment to a listened port whose flow the core at which it arrived does not have. Whoever has it
    /// takes it; the others pass it on in the order of their numbers, until it is home again.
    Stray {
        /// The frame, in a buffer of its home's pool.
        frame: Foreign,
        /// What the device said of its transport checksum.
        checksum: ChecksumStatus,
        /// The core at which it arrived.
        home: u16,
    },
    /// The buffer of a [`Message::Frame`] or [`Message::Stray`], on its way home. It must not be lost: its pool would miss it for ever.
    GiveBack(Foreign),
    /// A neighbour has told this Ethernet address.
    Neighbour {
        /// The neighbour's address.
        address: IpAddr,
        /// Its Ethernet address.
        mac: [u8; 6],
    },
    /// Another station claims an address of ours: for core 0.
    Conflict {
        /// The address.
        address: IpAddr,
        /// Who claims it.
        mac: [u8; 6],
    },
    /// The router towards everything else does not answer: for core 0.
    RouterSilent(IpAddr),
    /// An ICMP error for a flow that may be the receiver's.
    IcmpError(IcmpError),
    /// The host's IPv4 has changed.
    Ipv4(Option<Ipv4Configuration>),
    /// The host's IPv6 has changed.
    Ipv6(Option<Ipv6Configuration>),
}

impl Message {
    /// Whether the message must arrive, sooner or later: a buffer that goes home, the host's addresses. The others are
    /// about packets, and packets may be lost.
    fn must_arrive(&self) -> bool {
        matches!(self, Self::GiveBack(_) | Self::Ipv4(_) | Self::Ipv6(_))
    }
}

/// Messages that wait to be carried away.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<(u16, Message)>,
    /// Messages whose ring was full; offered again in the next turn.
    refused: VecDeque<(u16, Message)>,
    limit: usize,
}

impl Outbox {
    /// An outbox for `limit` messages, and as many more as must arrive: there are no more buffers to go home than other
    /// cores have given us.
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: VecDeque::with_capacity(limit * 2), refused: VecDeque::new(), limit }
    }

    /// Puts a message into the outbox; it comes back when there is no room, unless it must arrive.
    pub(crate) fn push(&mut self, target: usize, message: Message) -> Result<(), Message> {
        let Ok(target) = u16::try_from(target) else { return Err(message) };
        if self.queue.len() >= self.limit && !message.must_arrive() {
            return Err(message);
        }
        self.queue.push_back((target, message));
        Ok(())
    }

    /// Keeps a message whose ring was full for the next turn, if it must arrive; otherwise it comes back.
    pub(crate) fn refuse(&mut self, target: usize, message: Message) -> Result<(), Message> {
        match u16::try_from(target) {
            Ok(target) if message.must_arrive() => self.refused.push_back((target, message)),
            _ => return Err(message),
        }
        Ok(())
    }

    /// Offers again what was refused.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        while let Some(message) = self.refused.pop_back() {
            self.queue.push_front(message);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<(usize, Message)> {
        self.queue.pop_front().map(|(target, message)| (usize::from(target), message))
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.refused.len()
    }
}
