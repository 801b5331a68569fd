//! The sending ring: frames go in as chains of pieces, and come back as free descriptors.
//!
//! Free descriptors form a list through `next`, in a table of our own that the device cannot touch. A frame takes its
//! pieces from the front of the list and is given back as a whole, so the links within it are never rewritten. Each piece is
//! kept as a [`Chunk`] in the same table until the device has sent it.

use alloc::boxed::Box;
use core::mem;

use weir_packet::frame::{Offload, TransmitError};
use weir_packet::{Chunk, Packet, Pool};

use super::header;
use crate::DeviceError;
use crate::virtio::Doorbell;
use crate::virtio::ring::{Access, Buffer, DescIndex, SplitRing};

pub(super) struct TransmitQueue<D> {
    pub(super) ring: SplitRing<D>,
    pool: Pool,
    slots: Box<[Slot]>,
    /// First descriptor of the free list, meaningful while `free` is not zero.
    free_head: u16,
    free: usize,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) no_headroom: u64,
}

/// What one descriptor holds: half a cache line.
struct Slot {
    piece: Option<Chunk>,
    /// The descriptor that follows in the frame or in the free list.
    next: u16,
    /// On the first descriptor of a frame that the device has: how many descriptors the frame takes. Otherwise 0.
    frame_len: u16,
}

const _: () = assert!(size_of::<Slot>() == 32);

impl<D: Doorbell> TransmitQueue<D> {
    pub(super) fn new(ring: SplitRing<D>, pool: Pool) -> Self {
        let len = ring.len();
        let slots = (0..len).map(|i| Slot { piece: None, next: (i + 1) & (len - 1), frame_len: 0 }).collect();
        Self { ring, pool, slots, free_head: 0, free: len.into(), packets: 0, bytes: 0, no_headroom: 0 }
    }

    /// Free descriptors.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.free
    }

    /// Queues a frame of `head`, what is chained to it, and `payload`, in this order.
    ///
    /// # Errors
    /// There is no room for it now, or never; `Ok(Err(...))` and its buffers are back in their pool. The outer error is the
    /// device's.
    #[inline]
    pub(super) fn send<P>(
        &mut self,
        mut head: Packet,
        payload: P,
        offload: Offload,
    ) -> Result<Result<(), TransmitError>, DeviceError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        if head.headroom() < header::BYTES {
            match self.put_in_front(head) {
                Some(chained) => head = chained,
                None => return Ok(Err(TransmitError::Full)),
            }
        }
        if let Ok(front) = head.prepend(header::BYTES) {
            front.copy_from_slice(&header::encode(offload));
        }
        let chained = if head.is_chain() { head.buffers() - 1 } else { 0 };
        let pieces = payload.len().saturating_add(1 + chained);
        if pieces > self.free {
            if pieces > self.slots.len() {
                return Ok(Err(TransmitError::TooManyPieces));
            }
            self.reclaim()?;
            if pieces > self.free {
                return Ok(Err(TransmitError::Full));
            }
        }
        self.queue(head, payload, pieces);
        Ok(Ok(()))
    }

    /// Writes the chain of at most `limit` descriptors, which are free.
    #[inline]
    fn queue<P: Iterator<Item = Chunk>>(&mut self, mut head: Packet, payload: P, limit: usize) {
        let first = self.free_head;
        let mut chain = Chain { index: first, len: 1, bytes: 0 };
        let mut rest = head.take_rest();
        let mut piece = head.freeze();
        // Each piece is written when the next one is known: only then it is clear whether the chain goes on.
        while let Some(mut packet) = rest {
            rest = packet.take_rest();
            if !packet.is_empty() {
                self.place(&mut chain, mem::replace(&mut piece, packet.freeze()), true);
            }
        }
        for next in payload {
            // An empty buffer is an error to the device. `limit` guards against an iterator that has more than it said.
            if !next.is_empty() && usize::from(chain.len) < limit {
                self.place(&mut chain, mem::replace(&mut piece, next), true);
            }
        }
        self.place(&mut chain, piece, false);
        self.free_head = chain.index;
        self.free -= usize::from(chain.len);
        self.slots[usize::from(first)].frame_len = chain.len;
        self.packets += 1;
        self.bytes += (chain.bytes - header::BYTES as u32) as u64;
        self.ring.offer(DescIndex(first));
    }

    /// Writes a piece to the chain's next descriptor.
    #[inline]
    fn place(&mut self, chain: &mut Chain, piece: Chunk, more: bool) {
        let index = chain.index;
        let slot = &mut self.slots[usize::from(index)];
        let buffer = Buffer { address: piece.address(), len: piece.len() as u32 };
        slot.piece = Some(piece);
        chain.index = slot.next;
        chain.bytes = chain.bytes.wrapping_add(buffer.len);
        chain.len += u16::from(more);
        let next = more.then_some(DescIndex(slot.next));
        self.ring.describe(DescIndex(index), buffer, Access::DeviceReads, next);
    }

    /// Takes back what the device has sent.
    ///
    /// # Errors
    /// The device lied; the queue must not be used until it was reset.
    #[inline]
    pub(super) fn reclaim(&mut self) -> Result<(), DeviceError> {
        while let Some(used) = self.ring.next_used()? {
            let Some(slot) = self.slots.get_mut(used.id as usize) else {
                return Err(DeviceError::DescriptorIdOutOfRange(used.id));
            };
            let first = used.id as u16;
            let len = mem::take(&mut slot.frame_len);
            if len == 0 {
                return Err(DeviceError::UsedTwice(first));
            }
            self.release(first, len);
        }
        Ok(())
    }

    /// Frees the `len` descriptors of the frame that begins at `first`, and what they hold.
    #[inline]
    fn release(&mut self, first: u16, len: u16) {
        let mut index = first;
        for left in (0..len).rev() {
            let slot = &mut self.slots[usize::from(index)];
            slot.piece = None;
            if left == 0 {
                slot.next = self.free_head;
            } else {
                index = slot.next;
            }
        }
        self.free_head = first;
        self.free += usize::from(len);
    }

    /// An empty packet with headroom, and `head` chained to it: for frames without headroom.
    #[cold]
    fn put_in_front(&mut self, head: Packet) -> Option<Packet> {
        let Some(mut front) = self.pool.allocate() else {
            self.no_headroom += 1;
            return None;
        };
        front.append(head);
        Some(front)
    }

    /// Starts over with an empty ring; the frames in it are lost, their number is returned. The device must have been reset.
    pub(super) fn restart(&mut self) -> u64 {
        let lost = self.ring.queued().into();
        self.ring.restart();
        let mask = self.ring.len() - 1;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            *slot = Slot { piece: None, next: (index as u16 + 1) & mask, frame_len: 0 };
        }
        self.free_head = 0;
        self.free = self.slots.len();
        lost
    }
}

/// A chain that is being written.
struct Chain {
    /// The descriptor that the next piece goes to.
    index: u16,
    len: u16,
    bytes: u32,
}

impl<D> Drop for TransmitQueue<D> {
    /// The device may still read the buffers, so they never go back to their pool.
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.slots));
    }
}
