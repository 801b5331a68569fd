//! The receiving ring: whole buffers go in, frames come out.
//!
//! Each descriptor stands for one buffer of the pool, and its length and flags never change: to give the device a fresh
//! buffer is to write an address and an entry. The packet behind each descriptor is kept in a table of our own until
//! the device is done with it; its word of which that is, and how long, is checked against the table.
//!
//! Buffers that were taken out are replaced in batches, and not before: as long as a descriptor has no fresh buffer,
//! the device cannot use it a second time unnoticed.

use alloc::boxed::Box;
use core::mem;

use weir_packet::frame::{ChecksumStatus, RxFrame};
use weir_packet::{BUFFER_BYTES, Packet, Pool};

use super::header::{self, Received};
use crate::DeviceError;
use crate::virtio::Doorbell;
use crate::virtio::ring::{Access, Buffer, DescIndex, SplitRing};

/// A frame is 64 KiB at most, Ethernet and virtio header included; twice the buffers that it needs, as the device need
/// not fill each of them.
const FRAME_BUFFERS_MAX: u16 = 2 * (65536 + 18 + header::BYTES).div_ceil(BUFFER_BYTES) as u16;

pub(super) struct ReceiveQueue<D> {
    pub(super) ring: SplitRing<D>,
    state: State,
    pool: Pool,
    /// The buffers that the device has, by descriptor.
    held: Box<[Option<Packet>]>,
    pub(super) bytes: u64,
    /// Descriptors without buffer: the first `free_len`.
    free: Box<[u16]>,
    free_len: usize,
    /// Fresh buffers are given when so many descriptors are free.
    batch: usize,
    /// The device may spread a frame over buffers.
    merge: bool,
    partial: Option<Partial>,
    pub(super) packets: u64,
}

/// What a look at the ring has to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The beginning of a frame.
    Running,
    /// The rest of a frame.
    Partial,
    /// Nothing: the ring must not be touched.
    Stopped,
}

/// A frame of which the device has not yet given all buffers.
struct Partial {
    packet: Packet,
    missing: u16,
    checksum: ChecksumStatus,
}

impl<D: Doorbell> ReceiveQueue<D> {
    /// An empty queue; [`fill`](Self::fill) gives the device its first buffers.
    pub(super) fn new(ring: SplitRing<D>, pool: Pool, merge: bool) -> Self {
        let len = ring.len();
        let mut queue = Self {
            ring,
            state: State::Running,
            pool,
            held: (0..len).map(|_| None).collect(),
            bytes: 0,
            free: (0..len).rev().collect(),
            free_len: len.into(),
            batch: usize::from(len / 8).max(1),
            merge,
            partial: None,
            packets: 0,
        };
        queue.describe_all();
        queue
    }

    fn describe_all(&mut self) {
        let empty = Buffer { address: 0, len: BUFFER_BYTES as u32 };
        for index in 0..self.ring.len() {
            self.ring.describe(DescIndex(index), empty, Access::DeviceWrites, None);
        }
    }

    /// The next frame, if there is a complete one. None also if the device lied: see [`SplitRing::lie`].
    #[inline]
    pub(super) fn next(&mut self) -> Option<RxFrame> {
        if self.state != State::Running {
            return self.assemble();
        }
        let (mut packet, len) = self.take()?;
        let received = Received::parse(packet.buffer());
        // Cannot fail but for a length that is too short: it was compared with the buffer's.
        if packet.set_range(header::BYTES..len).is_err() {
            self.ring.accuse(DeviceError::LengthTooShort(len as u32));
            return None;
        }
        if self.merge && received.buffers != 1 {
            return self.begin(packet, received);
        }
        self.packets += 1;
        self.bytes += packet.len() as u64;
        Some(RxFrame { packet, checksum: received.checksum })
    }

    /// Takes the next buffer that the device is done with, and how many bytes it wrote: no more than it has.
    #[inline]
    fn take(&mut self) -> Option<(Packet, usize)> {
        let used = self.ring.next_used()?;
        let Some(held) = self.held.get_mut(used.id as usize) else {
            self.ring.accuse(DeviceError::DescriptorIdOutOfRange(used.id));
            return None;
        };
        let Some(packet) = held.take() else {
            self.ring.accuse(DeviceError::UsedTwice(used.id as u16));
            return None;
        };
        // There is room: each descriptor is either held or free.
        if let Some(free) = self.free.get_mut(self.free_len) {
            *free = used.id as u16;
            self.free_len += 1;
        }
        if used.len as usize > BUFFER_BYTES {
            self.ring.accuse(DeviceError::LengthTooLong(used.len));
            return None;
        }
        Some((packet, used.len as usize))
    }

    /// Starts a frame of several buffers (5.1.6.4).
    #[cold]
    fn begin(&mut self, packet: Packet, received: Received) -> Option<RxFrame> {
        if received.buffers == 0 || received.buffers > FRAME_BUFFERS_MAX {
            self.ring.accuse(DeviceError::BufferCountInvalid(received.buffers));
            return None;
        }
        self.partial = Some(Partial { packet, missing: received.buffers - 1, checksum: received.checksum });
        self.state = State::Partial;
        self.assemble()
    }

    /// Adds buffers to the started frame until it is complete or the device has no more for now.
    #[cold]
    fn assemble(&mut self) -> Option<RxFrame> {
        if self.state != State::Partial {
            return None;
        }
        while self.partial.as_ref().is_some_and(|partial| partial.missing > 0) {
            let (mut next, len) = self.take()?;
            next.truncate(len);
            if next.is_empty() {
                self.ring.accuse(DeviceError::LengthTooShort(0));
                return None;
            }
            if let Some(partial) = &mut self.partial {
                partial.packet.append(next);
                partial.missing -= 1;
            }
        }
        self.state = State::Running;
        let Partial { packet, checksum, .. } = self.partial.take()?;
        self.packets += 1;
        self.bytes += packet.frame_len() as u64;
        Some(RxFrame { packet, checksum })
    }

    /// Prepares fresh buffers for the device, once it is worth the barrier that the flush will cost.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.free_len >= self.batch {
            self.fill();
        }
    }

    /// Prepares a buffer for each free descriptor, as far as the pool has some.
    pub(super) fn fill(&mut self) {
        let Some(free) = self.free.get(..self.free_len) else { return };
        let mut left = self.free_len;
        for &index in free.iter().rev() {
            // The pool counts the failure. What is missing now is given another time.
            let Some(packet) = self.pool.allocate_whole() else { break };
            self.ring.redirect(DescIndex(index), packet.address());
            if let Some(held) = self.held.get_mut(usize::from(index)) {
                // Nothing to drop: a free descriptor holds nothing.
                mem::forget(held.replace(packet));
            }
            self.ring.offer(DescIndex(index));
            left -= 1;
        }
        self.free_len = left;
    }

    /// Looks at the ring no more, until it is restarted and resumed.
    pub(super) fn stop(&mut self) {
        self.state = State::Stopped;
    }

    /// Looks at the ring again.
    pub(super) fn resume(&mut self) {
        self.state = State::Running;
    }

    /// Buffers that the device may receive into.
    pub(super) fn buffers(&self) -> usize {
        self.held.len() - self.free_len
    }

    /// Starts over with an empty ring and all buffers back in the pool. The device must have been reset.
    pub(super) fn restart(&mut self) {
        self.ring.restart();
        self.partial = None;
        self.held.fill_with(|| None);
        for (index, free) in self.free.iter_mut().rev().enumerate() {
            *free = index as u16;
        }
        self.free_len = self.free.len();
        self.describe_all();
    }
}

impl<D> Drop for ReceiveQueue<D> {
    /// The device may still write to the buffers, so they never go back to their pool.
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.held));
    }
}
