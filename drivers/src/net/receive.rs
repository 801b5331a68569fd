//! The receiving ring: whole buffers go in, frames come out.
//!
//! Each descriptor stands for one buffer of the pool, and its length and flags never change: to give the device a fresh buffer is to
//! write an address and an entry. The packet behind each descriptor is kept in a table of our own until the device is done with
//! it; its word of which that is, and how long, is checked against the table.

use alloc::boxed::Box;
use core::mem;

use weir_packet::frame::{ChecksumStatus, RxFrame};
use weir_packet::{BUFFER_BYTES, Packet, Pool};

use super::header::{self, Received};
use crate::DeviceError;
use crate::virtio::Doorbell;
use crate::virtio::ring::{Access, Buffer, DescIndex, SplitRing};

/// A frame is 64 KiB at most, Ethernet and virtio header included; twice the buffers that it needs, as the device need not
/// fill each of them.
const FRAME_BUFFERS_MAX: u16 = 2 * (65536 + 18 + header::BYTES).div_ceil(BUFFER_BYTES) as u16;

pub(super) struct ReceiveQueue<D> {
    pub(super) ring: SplitRing<D>,
    pool: Pool,
    /// The buffers that the device has, by descriptor.
    held: Box<[Option<Packet>]>,
    /// Free descriptors: a stack.
    free: Box<[u16]>,
    free_len: usize,
    /// Fresh buffers are given when so many descriptors are free.
    batch: usize,
    /// The device may spread a frame over buffers.
    merge: bool,
    partial: Option<Partial>,
    pub(super) packets: u64,
    pub(super) bytes: u64,
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
        let len = usize::from(ring.len());
        let mut queue = Self {
            ring,
            pool,
            held: (0..len).map(|_| None).collect(),
            free: (0..len as u16).rev().collect(),
            free_len: len,
            batch: (len / 8).max(1),
            merge,
            partial: None,
            packets: 0,
            bytes: 0,
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

    /// The next frame, if there is a complete one.
    ///
    /// # Errors
    /// The device lied; the queue must not be used until it was reset.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<RxFrame>, DeviceError> {
        if self.partial.is_some() {
            return self.assemble();
        }
        let Some(mut packet) = self.take()? else { return Ok(None) };
        let Some(received) = Received::parse(&packet) else {
            return Err(DeviceError::LengthTooShort(packet.len() as u32));
        };
        // Cannot fail: the header was just parsed.
        let _ = packet.trim_front(header::BYTES);
        if self.merge && received.buffers != 1 {
            return self.begin(packet, received);
        }
        Ok(Some(self.deliver(packet, received.checksum)))
    }

    /// Takes the next buffer that the device is done with, shortened to what it wrote.
    #[inline]
    fn take(&mut self) -> Result<Option<Packet>, DeviceError> {
        let Some(used) = self.ring.next_used()? else { return Ok(None) };
        let index = used.id as usize;
        let Some(held) = self.held.get_mut(index) else {
            return Err(DeviceError::DescriptorIdOutOfRange(used.id));
        };
        let Some(mut packet) = held.take() else { return Err(DeviceError::UsedTwice(index as u16)) };
        // Cannot overflow: each descriptor is either held or on the stack.
        if let Some(free) = self.free.get_mut(self.free_len) {
            *free = index as u16;
            self.free_len += 1;
        }
        if used.len as usize > BUFFER_BYTES {
            return Err(DeviceError::LengthTooLong(used.len));
        }
        packet.truncate(used.len as usize);
        Ok(Some(packet))
    }

    #[inline]
    fn deliver(&mut self, packet: Packet, checksum: ChecksumStatus) -> RxFrame {
        self.packets += 1;
        self.bytes += packet.len() as u64;
        RxFrame { packet, checksum }
    }

    /// Starts a frame of several buffers (5.1.6.4).
    #[cold]
    fn begin(&mut self, packet: Packet, received: Received) -> Result<Option<RxFrame>, DeviceError> {
        if received.buffers == 0 || received.buffers > FRAME_BUFFERS_MAX {
            return Err(DeviceError::BufferCountInvalid(received.buffers));
        }
        self.partial = Some(Partial { packet, missing: received.buffers - 1, checksum: received.checksum });
        self.assemble()
    }

    /// Adds buffers to the started frame until it is complete or the device has no more for now.
    fn assemble(&mut self) -> Result<Option<RxFrame>, DeviceError> {
        let Some(mut partial) = self.partial.take() else { return Ok(None) };
        while partial.missing > 0 {
            let Some(next) = self.take()? else {
                self.partial = Some(partial);
                return Ok(None);
            };
            if next.is_empty() {
                return Err(DeviceError::LengthTooShort(0));
            }
            self.bytes += next.len() as u64;
            partial.packet.append(next);
            partial.missing -= 1;
        }
        Ok(Some(self.deliver(partial.packet, partial.checksum)))
    }

    /// Gives the device fresh buffers, once it is worth the barrier.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.free_len >= self.batch {
            self.fill();
        }
    }

    /// Gives the device a buffer for each free descriptor, as far as the pool has some.
    pub(super) fn fill(&mut self) {
        while let Some(&index) = self.free_len.checked_sub(1).and_then(|top| self.free.get(top)) {
            // The pool counts the failure. What is missing now is given another time.
            let Some(packet) = self.pool.allocate_whole() else { break };
            self.free_len -= 1;
            self.ring.redirect(DescIndex(index), packet.address());
            if let Some(held) = self.held.get_mut(usize::from(index)) {
                *held = Some(packet);
            }
            self.ring.offer(DescIndex(index));
        }
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
