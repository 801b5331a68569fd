//! The sending ring: frames go in as chains of pieces, and come back as free descriptors.
//!
//! Free descriptors form a list through `next`, in a table of our own that the device cannot touch. A frame takes its
//! pieces from the front of the list and is given back as a whole, so the links within it are never rewritten. Each
//! piece is kept as a [`Chunk`] in the same table until the device has sent it.

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
    /// Frames that the device was told of.
    packets: u64,
    /// Bytes sent, the device's headers included.
    bytes: u64,
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

    /// Frames queued.
    pub(super) fn frames(&self) -> u64 {
        self.packets + u64::from(self.ring.unpublished())
    }

    /// Their bytes, from the Ethernet header on.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.bytes - self.frames() * header::BYTES as u64
    }

    /// Queues a frame of `head`, what is chained to it, and `payload`, in this order.
    ///
    /// # Errors
    /// There is no room for it now, or never, and its buffers are back in their pool. If the device lied:
    /// [`TransmitError::Stopped`], and see [`SplitRing::lie`].
    #[inline]
    pub(super) fn send<P>(&mut self, mut head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        let mut pieces = payload.len().saturating_add(1);
        let mut rest = None;
        if head.headroom() < header::BYTES || head.is_chain() {
            (head, rest) = self.unusual_head(head)?;
            pieces = pieces.saturating_add(rest.as_ref().map_or(0, Packet::buffers));
        }
        if let Ok(front) = head.prepend(header::BYTES) {
            front.copy_from_slice(&header::encode(offload));
        }
        if pieces > self.free {
            self.make_room(pieces)?;
        }
        let mut chain = Chain { first: self.free_head, last: self.free_head, len: 0, last_bytes: 0 };
        self.place(&mut chain, head.freeze());
        if rest.is_some() {
            chain = self.place_rest(chain, rest);
        }
        for piece in payload {
            // An empty buffer is an error to the device. An iterator that has more than it said is cut short.
            if !piece.is_empty() && chain.len < pieces {
                self.place(&mut chain, piece);
            }
        }
        self.finish(chain);
        Ok(())
    }

    /// Writes a piece to the first free descriptor, as if another one followed.
    #[inline]
    fn place(&mut self, chain: &mut Chain, piece: Chunk) {
        let index = self.free_head;
        let slot = &mut self.slots[usize::from(index)];
        let buffer = Buffer { address: piece.address(), len: piece.len() as u32 };
        // Nothing to drop: a free descriptor holds nothing.
        mem::forget(slot.piece.replace(piece));
        let next = slot.next;
        self.ring.describe(DescIndex(index), buffer, Access::DeviceReads, Some(DescIndex(next)));
        self.free_head = next;
        self.bytes += u64::from(buffer.len);
        chain.last = index;
        chain.last_bytes = buffer.len;
        chain.len += 1;
    }

    /// Ends the chain and offers it.
    #[inline]
    fn finish(&mut self, chain: Chain) {
        self.ring.end_chain(DescIndex(chain.last), chain.last_bytes);
        self.free -= chain.len;
        self.slots[usize::from(chain.first)].frame_len = chain.len as u16;
        self.ring.offer(DescIndex(chain.first));
    }

    /// Takes back what the device has sent. If it lied, see [`SplitRing::lie`].
    #[inline]
    pub(super) fn reclaim(&mut self) {
        while let Some(used) = self.ring.next_used() {
            let Some(slot) = self.slots.get_mut(used.id as usize) else {
                return self.ring.accuse(DeviceError::DescriptorIdOutOfRange(used.id));
            };
            let first = used.id as u16;
            let len = mem::take(&mut slot.frame_len);
            if len == 0 {
                return self.ring.accuse(DeviceError::UsedTwice(first));
            }
            slot.piece = None;
            let last = if len == 1 {
                first
            } else {
                {
                    let next = slot.next;
                    self.release_rest(next, len - 1)
                }
            };
            self.slots[usize::from(last)].next = self.free_head;
            self.free_head = first;
            self.free += usize::from(len);
        }
    }

    /// Frees what `len` descriptors from `index` on hold; returns the last of them.
    #[inline]
    fn release_rest(&mut self, mut index: u16, len: u16) -> u16 {
        for _ in 1..len {
            let slot = &mut self.slots[usize::from(index)];
            slot.piece = None;
            index = slot.next;
        }
        self.slots[usize::from(index)].piece = None;
        index
    }

    /// Looks whether the device has sent enough by now for `pieces` more.
    #[cold]
    fn make_room(&mut self, pieces: usize) -> Result<(), TransmitError> {
        if pieces > self.slots.len() {
            return Err(TransmitError::TooManyPieces);
        }
        self.reclaim();
        if self.ring.lie().is_some() {
            return Err(TransmitError::Stopped);
        }
        if pieces > self.free { Err(TransmitError::Full) } else { Ok(()) }
    }

    /// Splits a head of several buffers; puts an empty buffer in front of one without headroom.
    #[cold]
    fn unusual_head(&mut self, mut head: Packet) -> Result<(Packet, Option<Packet>), TransmitError> {
        if head.headroom() < header::BYTES {
            let Some(front) = self.pool.allocate() else {
                self.no_headroom += 1;
                return Err(TransmitError::Full);
            };
            return Ok((front, Some(head)));
        }
        let rest = head.take_rest();
        Ok((head, rest))
    }

    /// Writes the buffers of `rest`.
    #[cold]
    fn place_rest(&mut self, mut chain: Chain, mut rest: Option<Packet>) -> Chain {
        while let Some(mut packet) = rest {
            rest = packet.take_rest();
            if !packet.is_empty() {
                self.place(&mut chain, packet.freeze());
            }
        }
        chain
    }

    /// Tells the device of what was queued, with a doorbell if it wants one. True if there was something.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        let frames = self.ring.unpublished();
        self.packets += u64::from(frames);
        self.ring.flush();
        frames > 0
    }

    /// Starts over with an empty ring; the frames in it are lost, their number is returned. The device must have been
    /// reset.
    pub(super) fn restart(&mut self) -> u64 {
        let lost = self.ring.queued().into();
        self.packets += u64::from(self.ring.unpublished());
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
    first: u16,
    last: u16,
    len: usize,
    last_bytes: u32,
}

impl<D> Drop for TransmitQueue<D> {
    /// The device may still read the buffers, so they never go back to their pool.
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.slots));
    }
}
