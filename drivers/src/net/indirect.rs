//! Frames of many pieces: their descriptors lie in a table, and the ring has one for the table.
//!
//! A queue has a few tables, not one per descriptor of the ring: those that were used last are in the cache, and when all are
//! taken a frame still goes the direct way.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use weir_hal::Machine;
use weir_packet::{Chunk, Hold};

use crate::DeviceError;
use crate::virtio::ring::{Buffer, IndirectTables, TableIndex, TableWriter};

/// Descriptors of a table: a head and the 16 pieces that TCP puts into a segment, with a few to spare.
pub(super) const TABLE_LEN_MAX: u16 = 20;

/// The part of a ring's descriptors for which there are tables: frames of 16 pieces are 32 KiB or so, and a core that has a
/// megabyte with the device waits for the device.
const RING_PER_TABLE: u16 = 4;

/// A frame of fewer pieces goes the direct way as long as the ring has room: it is cheaper (`docs/decisions/indirect.md`).
pub(super) const PIECES_MIN: usize = 10;

/// The tables of a sending queue, and what they point to.
pub(super) struct Indirect {
    tables: IndirectTables,
    frames: Box<[Frame]>,
    free: Vec<TableIndex>,
}

/// The pieces that a table names.
#[derive(Default)]
struct Frame {
    pieces: [Hold; TABLE_LEN_MAX as usize],
    len: u16,
}

/// A table that is being written.
pub(super) struct Filling<'a> {
    writer: TableWriter<'a>,
    frame: &'a mut Frame,
    bytes: u64,
}

impl Indirect {
    /// Memory for the tables of a ring of `ring_len` descriptors. No chain may be longer than the ring (2.7.5.3.1).
    ///
    /// # Errors
    /// Memory is exhausted.
    pub(super) fn tables<M: Machine>(machine: &M, ring_len: u16) -> Result<IndirectTables, DeviceError> {
        IndirectTables::allocate(machine, (ring_len / RING_PER_TABLE).max(1), TABLE_LEN_MAX.min(ring_len))
    }

    pub(super) fn new(tables: IndirectTables) -> Self {
        let frames = (0..tables.count()).map(|_| Frame::default()).collect();
        let free = (0..tables.count()).rev().map(TableIndex).collect();
        Self { tables, frames, free }
    }

    /// Pieces that a frame may have now, if the ring has room for one.
    #[inline]
    pub(super) fn room(&self) -> usize {
        if self.free.is_empty() { 0 } else { usize::from(self.tables.table_len()) }
    }

    /// Takes a table for so many pieces, if there is one.
    #[inline]
    pub(super) fn take(&mut self, pieces: usize) -> Option<TableIndex> {
        if pieces > usize::from(self.tables.table_len()) { None } else { self.free.pop() }
    }

    /// Begins to write a table that was taken.
    #[inline]
    pub(super) fn fill(&mut self, table: TableIndex) -> Filling<'_> {
        Filling { writer: self.tables.write(table), frame: &mut self.frames[usize::from(table.0)], bytes: 0 }
    }

    /// Lets go of a frame that the device has sent.
    #[inline]
    pub(super) fn release(&mut self, table: TableIndex) {
        let frame = &mut self.frames[usize::from(table.0)];
        let len = usize::from(frame.len);
        frame.pieces[..len].fill_with(Hold::default);
        self.free.push(table);
    }

    /// Lets go of all frames. The device must have been reset.
    pub(super) fn restart(&mut self) {
        self.frames.fill_with(Frame::default);
        self.free.clear();
        self.free.extend((0..self.tables.count()).rev().map(TableIndex));
    }
}

impl Filling<'_> {
    /// Adds a piece; no more than the table was taken for.
    #[inline]
    pub(super) fn place(&mut self, piece: Chunk) {
        let buffer = Buffer { address: piece.address(), len: piece.len() as u32 };
        let hold = &mut self.frame.pieces[self.writer.len()];
        self.writer.push(buffer);
        // Nothing to drop: a free table names nothing.
        mem::forget(mem::replace(hold, piece.into_hold()));
        self.bytes += u64::from(buffer.len);
    }

    /// Pieces so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.writer.len()
    }

    /// Ends the frame: what the ring's descriptor has to say, and the bytes of all pieces.
    #[inline]
    pub(super) fn finish(self) -> (Buffer, u64) {
        self.frame.len = self.writer.len() as u16;
        (self.writer.finish(), self.bytes)
    }
}

impl Drop for Indirect {
    /// The device may still read the buffers, so they never go back to their pool.
    fn drop(&mut self) {
        mem::forget(mem::take(&mut self.frames));
    }
}
