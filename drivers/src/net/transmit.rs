//! The sending ring: frames go in as chains of pieces, and come back as free descriptors.
//!
//! Free descriptors form a list through `next`, in a table of our own that the device cannot touch. A frame takes its
//! pieces from the front of the list and is given back as a whole, so the links within it are never rewritten. Each
//! piece is kept from being used again by a [`Hold`] in the same table until the device has sent it. Where the device takes tables of
//! descriptors, a frame of many pieces needs one descriptor of the ring ([`Indirect`]).

use alloc::boxed::Box;
use core::mem;

use weir_packet::frame::{Offload, TransmitError};
use weir_packet::{Chunk, Hold, Packet, Pool};

use super::header;
use super::indirect::{Indirect, PIECES_MIN, TABLE_LEN_MAX};
use crate::DeviceError;
use crate::virtio::Doorbell;
use crate::virtio::ring::{Access, Buffer, DescIndex, IndirectTables, SplitRing, TableIndex};

pub(super) struct TransmitQueue<D> {
    pub(super) ring: SplitRing<D>,
    pool: Pool,
    slots: Box<[Slot]>,
    indirect: Option<Indirect>,
    /// Frames of more pieces ask for a table first.
    direct_max: usize,
    /// First descriptor of the free list, meaningful while `free` is not zero.
    free_head: u16,
    free: usize,
    /// Frames that the device was told of.
    packets: u64,
    /// Bytes sent, the device's headers included.
    bytes: u64,
    pub(super) no_headroom: u64,
}

/// What one descriptor holds: a quarter of a cache line.
struct Slot {
    piece: Hold,
    /// The descriptor that follows in the frame or in the free list.
    next: u16,
    /// On the first descriptor of a frame that the device has: how many descriptors the frame takes, or [`IN_TABLE`].
    /// Otherwise 0.
    frame_len: u16,
    /// The frame's table, if it is in one.
    table: TableIndex,
}

/// The frame takes one descriptor, and its pieces are in a table. No ring is so long.
const IN_TABLE: u16 = u16::MAX;

/// With fewer free descriptors than a table has, there may be more room in a table.
const ROOM_IS_SHORT: usize = TABLE_LEN_MAX as usize;

impl Slot {
    fn free(next: u16) -> Self {
        Self { piece: Hold::default(), next, frame_len: 0, table: TableIndex(0) }
    }
}

const _: () = assert!(size_of::<Slot>() == 16);

impl<D: Doorbell> TransmitQueue<D> {
    pub(super) fn new(ring: SplitRing<D>, pool: Pool, tables: Option<IndirectTables>) -> Self {
        let len = ring.len();
        Self {
            ring,
            pool,
            slots: (0..len).map(|i| Slot::free((i + 1) & (len - 1))).collect(),
            direct_max: if tables.is_some() { PIECES_MIN - 1 } else { usize::MAX },
            indirect: tables.map(Indirect::new),
            free_head: 0,
            free: len.into(),
            packets: 0,
            bytes: 0,
            no_headroom: 0,
        }
    }

    /// Free descriptors.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Pieces that a frame may have now.
    #[inline]
    pub(super) fn room(&self) -> usize {
        if self.free > ROOM_IS_SHORT { self.free } else { self.room_with_tables() }
    }

    #[cold]
    fn room_with_tables(&self) -> usize {
        if self.free == 0 { 0 } else { self.free.max(self.indirect.as_ref().map_or(0, Indirect::room)) }
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
    #[inline(always)]
    pub(super) fn send<P>(&mut self, mut head: Packet, payload: P, offload: Offload) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        let header = header::encode(offload);
        if head.is_chain() || head.prepend_array(header).is_err() {
            return self.send_unusual(head, header, payload);
        }
        if payload.len() > 0 || self.free == 0 {
            return self.send_pieces(head, None, payload);
        }
        self.send_alone(head.freeze());
        Ok(())
    }

    /// Queues a frame of one piece; there is a free descriptor.
    #[inline(always)]
    fn send_alone(&mut self, piece: Chunk) {
        let index = self.free_head;
        let slot = &mut self.slots[usize::from(index)];
        let buffer = Buffer { address: piece.address(), len: piece.len() as u32 };
        // Nothing to drop: a free descriptor holds nothing.
        mem::forget(mem::replace(&mut slot.piece, piece.into_hold()));
        slot.frame_len = 1;
        self.free_head = slot.next;
        self.free -= 1;
        self.bytes += u64::from(buffer.len);
        self.ring.describe(DescIndex(index), buffer, Access::DeviceReads, None);
        self.ring.offer(DescIndex(index));
    }

    /// Queues a frame whose head is a chain or has no headroom: then an empty buffer with the header goes in front of it.
    #[cold]
    fn send_unusual<P>(
        &mut self,
        mut head: Packet,
        header: [u8; header::BYTES],
        payload: P,
    ) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        if head.prepend_array(header).is_ok() {
            let rest = head.take_rest();
            return self.send_pieces(head, rest, payload);
        }
        let front = self.pool.allocate().and_then(|mut front| front.prepend_array(header).ok().map(|()| front));
        let Some(front) = front else {
            self.no_headroom += 1;
            return Err(TransmitError::Full);
        };
        self.send_pieces(front, Some(head), payload)
    }

    /// Queues a frame of `head`, which has the device's header, `rest` and `payload`.
    fn send_pieces<P>(&mut self, head: Packet, rest: Option<Packet>, payload: P) -> Result<(), TransmitError>
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        let behind = payload.len().saturating_add(rest.as_ref().map_or(0, Packet::buffers));
        let pieces = behind.saturating_add(1);
        if pieces > self.direct_max.min(self.free) {
            match self.make_room(pieces)? {
                Way::Direct => {}
                Way::Table(table) => {
                    self.send_table(table, head, rest, payload, pieces);
                    return Ok(());
                }
            }
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

    /// Queues a frame as one descriptor that points to a table.
    #[inline(never)]
    fn send_table<P>(&mut self, table: TableIndex, head: Packet, mut rest: Option<Packet>, payload: P, pieces: usize)
    where
        P: ExactSizeIterator<Item = Chunk>,
    {
        let Some(indirect) = &mut self.indirect else { return };
        let mut filling = indirect.fill(table);
        filling.place(head.freeze());
        while let Some(mut packet) = rest {
            rest = packet.take_rest();
            if !packet.is_empty() {
                filling.place(packet.freeze());
            }
        }
        for piece in payload {
            if !piece.is_empty() && filling.len() < pieces {
                filling.place(piece);
            }
        }
        let (buffer, bytes) = filling.finish();
        self.bytes += bytes;
        let index = self.free_head;
        let slot = &mut self.slots[usize::from(index)];
        slot.frame_len = IN_TABLE;
        slot.table = table;
        self.free_head = slot.next;
        self.free -= 1;
        self.ring.describe_table(DescIndex(index), buffer);
        self.ring.offer(DescIndex(index));
    }

    /// Writes a piece to the first free descriptor, as if another one followed.
    #[inline]
    fn place(&mut self, chain: &mut Chain, piece: Chunk) {
        let index = self.free_head;
        let slot = &mut self.slots[usize::from(index)];
        let buffer = Buffer { address: piece.address(), len: piece.len() as u32 };
        // Nothing to drop: a free descriptor holds nothing.
        mem::forget(mem::replace(&mut slot.piece, piece.into_hold()));
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
            slot.piece = Hold::default();
            if len == 1 {
                slot.next = self.free_head;
                self.free += 1;
            } else {
                self.release_rest(first, len);
            }
            self.free_head = first;
        }
    }

    /// Frees what the frame holds behind its first piece, and puts its descriptors in front of the free list.
    fn release_rest(&mut self, first: u16, len: u16) {
        let (mut last, mut count) = (first, 1);
        if len == IN_TABLE {
            let table = self.slots[usize::from(first)].table;
            if let Some(indirect) = &mut self.indirect {
                indirect.release(table);
            }
        } else {
            count = len;
            for _ in 1..len {
                last = self.slots[usize::from(last)].next;
                self.slots[usize::from(last)].piece = Hold::default();
            }
        }
        self.slots[usize::from(last)].next = self.free_head;
        self.free += usize::from(count);
    }

    /// Finds a way for a frame of many pieces, or of more than there is room for: then the device may have sent enough
    /// by now.
    fn make_room(&mut self, pieces: usize) -> Result<Way, TransmitError> {
        if pieces > self.slots.len() {
            return Err(TransmitError::TooManyPieces);
        }
        if let Some(way) = self.way(pieces) {
            return Ok(way);
        }
        self.reclaim();
        if self.ring.lie().is_some() {
            return Err(TransmitError::Stopped);
        }
        self.way(pieces).ok_or(TransmitError::Full)
    }

    fn way(&mut self, pieces: usize) -> Option<Way> {
        if self.free > 0
            && let Some(table) = self.indirect.as_mut().and_then(|indirect| indirect.take(pieces))
        {
            return Some(Way::Table(table));
        }
        (pieces <= self.free).then_some(Way::Direct)
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
            *slot = Slot::free((index as u16 + 1) & mask);
        }
        if let Some(indirect) = &mut self.indirect {
            indirect.restart();
        }
        self.free_head = 0;
        self.free = self.slots.len();
        lost
    }
}

/// How a frame goes into the ring.
enum Way {
    /// A descriptor for each piece.
    Direct,
    /// One for all.
    Table(TableIndex),
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
