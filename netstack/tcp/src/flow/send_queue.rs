//! What the application queued and the peer has not acknowledged: chunks, shared with the segments that carry them.
//!
//! ```text
//!   head                     unsent
//!    |skip|······ sent ······|······ not yet sent ······|
//!    |<------------------- len ------------------------>|
//! ```

use weir_packet::Chunk;

use crate::slab::{NONE, Slab};

/// Chunks of all flows of an engine.
pub(crate) type Chunks = Slab<Option<Chunk>>;

/// Chunks that one flow queues at most: what bounds the memory of a writer of single bytes.
const CHUNKS_MAX: u32 = 4_096;

/// A place in a queue: a chunk, and bytes of it that lie before the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    node: u32,
    offset: u32,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { node: NONE, offset: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct SendQueue {
    head: u32,
    tail: u32,
    chunks: u32,
    /// Bytes of the head that are acknowledged already.
    skip: u32,
    len: u32,
    unsent: Cursor,
    unsent_len: u32,
}

impl Default for SendQueue {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, chunks: 0, skip: 0, len: 0, unsent: Cursor::default(), unsent_len: 0 }
    }
}

impl SendQueue {
    /// Bytes queued, sent or not.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Bytes not sent yet.
    #[inline(always)]
    pub fn unsent_len(&self) -> u32 {
        self.unsent_len
    }

    /// Whether a chunk can be appended.
    #[inline(always)]
    pub fn takes_chunk(&self, nodes: &mut Chunks) -> bool {
        self.chunks < CHUNKS_MAX && nodes.has_room()
    }

    /// Appends a chunk; it comes back when there are too many.
    #[inline(always)]
    pub fn push(&mut self, nodes: &mut Chunks, chunk: Chunk) -> Result<(), Chunk> {
        if self.chunks == CHUNKS_MAX {
            return Err(chunk);
        }
        let len = chunk.len() as u32;
        let node = match nodes.insert(Some(chunk)) {
            Ok(node) => node,
            Err(chunk) => return Err(chunk.unwrap_or(Chunk::from_static(b""))),
        };
        if self.tail == NONE {
            self.head = node;
        } else {
            nodes.set_next(self.tail, node);
        }
        self.tail = node;
        self.chunks += 1;
        self.len += len;
        self.unsent_len += len;
        if self.unsent.node == NONE {
            self.unsent = Cursor { node, offset: 0 };
        }
        Ok(())
    }

    /// Where the unsent bytes begin.
    #[inline]
    pub fn unsent(&self) -> Cursor {
        self.unsent
    }

    /// Counts `len` bytes as sent, up to the place `unsent`.
    #[inline(always)]
    pub fn mark_sent_to(&mut self, unsent: Cursor, len: u32) {
        self.unsent = unsent;
        self.unsent_len -= len;
    }

    /// Gives up the first `len` bytes: the peer has them.
    #[inline(always)]
    pub fn acknowledge(&mut self, nodes: &mut Chunks, len: u32) {
        self.len -= len;
        self.skip += len;
        while self.head != NONE {
            let chunk_len = chunk_len(&nodes[self.head]);
            if self.skip < chunk_len {
                break;
            }
            self.skip -= chunk_len;
            self.pop(nodes);
        }
    }

    /// Whether all that is queued are `len` bytes, and sent.
    #[inline(always)]
    pub fn is_sent_whole(&self, len: u32) -> bool {
        self.len == len && self.unsent_len | self.skip == 0
    }

    /// Gives up everything.
    #[inline(always)]
    pub fn clear(&mut self, nodes: &mut Chunks) {
        while self.head != NONE {
            let (chunk, next) = nodes.take(self.head);
            self.head = next;
            drop(chunk);
        }
        *self = Self::default();
    }

    #[inline(always)]
    fn pop(&mut self, nodes: &mut Chunks) {
        let (chunk, next) = nodes.take(self.head);
        drop(chunk);
        self.head = next;
        if next == NONE {
            self.tail = NONE;
        }
        self.chunks -= 1;
    }
}

/// The `len` bytes from `at`, when they lie in one chunk, and the place behind them.
#[inline(always)]
pub(crate) fn contiguous(nodes: &Chunks, at: Cursor, len: u32) -> Option<(&[u8], Cursor)> {
    let (chunk, next) = nodes.with_next(at.node);
    let rest = chunk.as_deref()?.get(at.offset as usize..)?;
    let bytes = rest.get(..len as usize)?;
    let after = if bytes.len() < rest.len() {
        Cursor { node: at.node, offset: at.offset + len }
    } else {
        Cursor { node: next, offset: 0 }
    };
    Some((bytes, after))
}

/// Copies the bytes from `at` on, as many as there are places, and answers the place behind them.
#[inline(always)]
pub(crate) fn copy_out(nodes: &Chunks, at: Cursor, mut places: &mut [u8]) -> Cursor {
    let Cursor { mut node, mut offset } = at;
    while !places.is_empty() && node != NONE {
        let (chunk, next) = nodes.with_next(node);
        let rest = chunk.as_deref().and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
        let len = rest.len().min(places.len());
        let (front, behind) = places.split_at_mut(len);
        front.copy_from_slice(&rest[..len]);
        places = behind;
        (node, offset) = if len < rest.len() { (node, offset + len as u32) } else { (next, 0) };
    }
    debug_assert!(places.is_empty(), "a queue holds what it counts");
    Cursor { node, offset }
}

/// The place `len` bytes after `at`. It never lies at the end of a chunk: there it is the next chunk's beginning.
#[inline]
pub(crate) fn advance(nodes: &Chunks, at: Cursor, len: u32) -> Cursor {
    let Cursor { mut node, mut offset } = at;
    offset += len;
    while node != NONE {
        let (chunk, next) = nodes.with_next(node);
        let chunk_len = chunk_len(chunk);
        if offset < chunk_len {
            return Cursor { node, offset };
        }
        offset -= chunk_len;
        node = next;
    }
    Cursor::default()
}

#[inline(always)]
fn chunk_len(chunk: &Option<Chunk>) -> u32 {
    chunk.as_ref().map_or(0, |chunk| chunk.len() as u32)
}

/// The bytes of one segment, as pieces of chunks.
#[derive(Clone)]
pub(crate) struct Pieces<'a> {
    nodes: &'a Chunks,
    at: Cursor,
    len: u32,
    count: usize,
}

impl<'a> Pieces<'a> {
    /// `len` bytes from `at`, or as many of them as lie in `count_max` pieces (one or more).
    pub fn new(nodes: &'a Chunks, at: Cursor, len: u32, count_max: usize) -> Self {
        let mut pieces = Self { nodes, at, len: 0, count: 0 };
        let (mut node, mut offset) = (at.node, at.offset);
        while pieces.len < len && node != NONE && pieces.count < count_max {
            let (chunk, next) = nodes.with_next(node);
            pieces.len += (chunk_len(chunk) - offset).min(len - pieces.len);
            pieces.count += 1;
            (node, offset) = (next, 0);
        }
        pieces
    }

    /// Calls `take` with the bytes of each piece, until one is refused.
    #[inline(always)]
    pub fn try_each<E>(&self, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let (Cursor { mut node, mut offset }, mut left) = (self.at, self.len as usize);
        while left > 0 {
            let (chunk, next) = self.nodes.with_next(node);
            let bytes = chunk.as_deref().and_then(|bytes| bytes.get(offset as usize..)).unwrap_or_default();
            let bytes = &bytes[..left.min(bytes.len())];
            take(bytes)?;
            left -= bytes.len();
            (node, offset) = (next, 0);
        }
        Ok(())
    }

    /// Bytes in all pieces that are left.
    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        self.len
    }
}

impl Iterator for Pieces<'_> {
    type Item = Chunk;

    #[inline]
    fn next(&mut self) -> Option<Chunk> {
        if self.len == 0 {
            return None;
        }
        let (chunk, next) = self.nodes.with_next(self.at.node);
        let mut chunk = chunk.clone()?;
        chunk.advance(self.at.offset as usize);
        chunk.truncate(self.len as usize);
        self.len -= chunk.len() as u32;
        self.count -= 1;
        self.at = Cursor { node: next, offset: 0 };
        Some(chunk)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Pieces<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn bytes(pieces: Pieces<'_>) -> Vec<u8> {
        assert_eq!(pieces.len(), pieces.clone().count());
        pieces.flat_map(|chunk| chunk.to_vec()).collect()
    }

    #[test]
    fn segments_cross_chunks_and_places_outlive_acknowledgements() {
        let mut nodes = Chunks::new(100);
        let mut queue = SendQueue::default();
        for part in [&b"abc"[..], b"de", b"fghij"] {
            queue.push(&mut nodes, Chunk::from_static(part)).unwrap();
        }
        let first = queue.unsent();
        assert_eq!(bytes(Pieces::new(&nodes, first, 4, 16)), b"abcd");
        queue.mark_sent_to(advance(&nodes, queue.unsent(), 4), 4);
        let second = queue.unsent();
        assert_eq!(bytes(Pieces::new(&nodes, second, 100, 16)), b"efghij");
        assert_eq!(bytes(Pieces::new(&nodes, first, 100, 2)), b"abcde");
        queue.mark_sent_to(advance(&nodes, queue.unsent(), 6), 6);
        queue.acknowledge(&mut nodes, 4);
        assert_eq!(bytes(Pieces::new(&nodes, second, 3, 16)), b"efg");
        queue.push(&mut nodes, Chunk::from_static(b"klm")).unwrap();
        assert_eq!(bytes(Pieces::new(&nodes, queue.unsent(), 3, 16)), b"klm");
        assert_eq!((queue.len(), queue.unsent_len()), (9, 3));
        queue.mark_sent_to(advance(&nodes, queue.unsent(), 3), 3);
        queue.acknowledge(&mut nodes, 9);
        assert_eq!((queue.len(), nodes.len()), (0, 0));
    }
}
