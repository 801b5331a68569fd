//! What the application queued and the peer has not acknowledged: chunks, shared with the segments that carry them.
//!
//! ```text
//!   head                     unsent
//!    |skip|······ sent ······|······ not yet sent ······|
//!    |<------------------- len ------------------------>|
//! ```
//!
//! A chunk that is the only one stays in the queue itself, and is sent as a whole or not at all, until something else is to be
//! done with it: then [`SendQueue::unfold`] gives it the node that it was promised.

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

/// Where nothing is.
const NOWHERE: Cursor = Cursor { node: NONE, offset: 0 };

impl Default for Cursor {
    fn default() -> Self {
        NOWHERE
    }
}

#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    store: Store,
    /// Bytes queued, sent or not.
    len: u32,
    unsent_len: u32,
    /// Chunks in the list.
    chunks: u32,
    /// Bytes of its head that are acknowledged already.
    skip: u32,
}

/// Where the chunks are.
#[derive(Debug)]
enum Store {
    /// In the queue, with a node promised; nothing of it is acknowledged, and all or nothing is sent.
    Sole(Chunk),
    Listed(List),
}

#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
    unsent: Cursor,
}

const EMPTY: List = List { head: NONE, tail: NONE, unsent: NOWHERE };

const _: () = assert!(size_of::<Store>() == size_of::<Chunk>());

impl Default for Store {
    #[inline(always)]
    fn default() -> Self {
        Self::Listed(EMPTY)
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

    /// Appends a chunk that is not empty; it comes back when there are too many.
    #[inline(always)]
    pub fn push(&mut self, nodes: &mut Chunks, chunk: Chunk) -> Result<(), Chunk> {
        if self.len > 0 {
            return self.push_behind(nodes, chunk);
        }
        if !nodes.promise() {
            return Err(chunk);
        }
        (self.len, self.unsent_len) = (chunk.len() as u32, chunk.len() as u32);
        // What was there is an empty list, of which nothing is to be dropped.
        core::mem::forget(core::mem::replace(&mut self.store, Store::Sole(chunk)));
        Ok(())
    }

    #[inline(never)]
    fn push_behind(&mut self, nodes: &mut Chunks, chunk: Chunk) -> Result<(), Chunk> {
        if self.chunks == CHUNKS_MAX {
            return Err(chunk);
        }
        let len = chunk.len() as u32;
        let node = match nodes.insert(Some(chunk)) {
            Ok(node) => node,
            Err(chunk) => return Err(chunk.unwrap_or(Chunk::from_static(b""))),
        };
        let mut list = self.unfold(nodes);
        nodes.set_next(list.tail, node);
        list.tail = node;
        if list.unsent.node == NONE {
            list.unsent = Cursor { node, offset: 0 };
        }
        self.store = Store::Listed(list);
        self.chunks += 1;
        self.len += len;
        self.unsent_len += len;
        Ok(())
    }

    /// The chunk that is the only one, and in the queue itself.
    #[inline(always)]
    pub fn sole(&self) -> Option<&Chunk> {
        match &self.store {
            Store::Sole(chunk) => Some(chunk),
            Store::Listed(_) => None,
        }
    }

    /// Gives a sole chunk the node that it was promised. Answers the list.
    #[inline(always)]
    fn unfold(&mut self, nodes: &mut Chunks) -> List {
        match self.store {
            Store::Listed(list) => list,
            Store::Sole(_) => self.unfold_sole(nodes),
        }
    }

    #[inline(never)]
    fn unfold_sole(&mut self, nodes: &mut Chunks) -> List {
        let mut list = EMPTY;
        if let Store::Sole(chunk) = core::mem::take(&mut self.store) {
            let node = nodes.redeem(Some(chunk));
            let first = Cursor { node, offset: 0 };
            list = List { head: node, tail: node, unsent: if self.unsent_len > 0 { first } else { NOWHERE } };
            self.chunks = 1;
        }
        self.store = Store::Listed(list);
        list
    }

    /// Where all begins that is queued; a sole chunk gets a node.
    pub fn first(&mut self, nodes: &mut Chunks) -> Cursor {
        Cursor { node: self.unfold(nodes).head, offset: self.skip }
    }

    /// All that is queued has been sent.
    #[inline(always)]
    pub fn mark_all_sent(&mut self) {
        self.unsent_len = 0;
        if let Store::Listed(list) = &mut self.store {
            list.unsent = NOWHERE;
        }
    }

    /// Where the unsent bytes begin. No chunk is sole.
    #[inline]
    pub fn unsent(&self) -> Cursor {
        self.list().unsent
    }

    /// Counts `len` bytes as sent, up to the place `unsent`. No chunk is sole.
    #[inline(always)]
    pub fn mark_sent_to(&mut self, unsent: Cursor, len: u32) {
        self.store = Store::Listed(List { unsent, ..self.list() });
        self.unsent_len -= len;
    }

    /// Gives up the first `len` bytes: the peer has them. No chunk is sole.
    #[inline(always)]
    pub fn acknowledge(&mut self, nodes: &mut Chunks, len: u32) {
        self.len -= len;
        self.skip += len;
        let mut list = self.list();
        while list.head != NONE {
            let chunk_len = chunk_len(&nodes[list.head]);
            if self.skip < chunk_len {
                break;
            }
            self.skip -= chunk_len;
            let (chunk, next) = nodes.take(list.head);
            drop(chunk);
            list.head = next;
            self.chunks -= 1;
        }
        if list.head == NONE {
            list.tail = NONE;
        }
        self.store = Store::Listed(list);
    }

    /// Gives up everything.
    #[inline(always)]
    pub fn clear(&mut self, nodes: &mut Chunks) {
        (self.len, self.unsent_len) = (0, 0);
        match core::mem::take(&mut self.store) {
            Store::Sole(chunk) => {
                nodes.withdraw();
                drop(chunk);
            }
            Store::Listed(list) => self.clear_list(list.head, nodes),
        }
    }

    #[inline(never)]
    fn clear_list(&mut self, mut head: u32, nodes: &mut Chunks) {
        (self.chunks, self.skip) = (0, 0);
        while head != NONE {
            let (chunk, next) = nodes.take(head);
            head = next;
            drop(chunk);
        }
    }

    #[inline(always)]
    fn list(&self) -> List {
        match self.store {
            Store::Listed(list) => list,
            Store::Sole(_) => {
                debug_assert!(false, "a sole chunk is unfolded before it is sent or acknowledged otherwise");
                EMPTY
            }
        }
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
        assert_eq!((first, queue.sole().is_none()), (queue.first(&mut nodes), true));
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
    #[test]
    fn a_sole_chunk_takes_no_node_until_it_needs_one() {
        let mut nodes = Chunks::new(2);
        let mut queue = SendQueue::default();
        queue.push(&mut nodes, Chunk::from_static(b"abc")).unwrap();
        assert_eq!((queue.sole().map(|chunk| chunk.to_vec()), nodes.len()), (Some(b"abc".to_vec()), 1));
        queue.mark_all_sent();
        queue.clear(&mut nodes);
        assert_eq!((queue.len(), queue.sole().is_none(), nodes.len()), (0, true, 0));
        // The last node is promised: another queue gets none, and this one gets it.
        queue.push(&mut nodes, Chunk::from_static(b"abc")).unwrap();
        nodes.insert(None).unwrap();
        assert!(SendQueue::default().push(&mut nodes, Chunk::from_static(b"x")).is_err());
        assert!(queue.push(&mut nodes, Chunk::from_static(b"x")).is_err());
        queue.mark_all_sent();
        let first = queue.first(&mut nodes);
        assert_eq!((bytes(Pieces::new(&nodes, first, 9, 16)), queue.unsent()), (b"abc".to_vec(), Cursor::default()));
        queue.acknowledge(&mut nodes, 2);
        let first = queue.first(&mut nodes);
        assert_eq!(bytes(Pieces::new(&nodes, first, 1, 16)), b"c");
        queue.clear(&mut nodes);
        assert_eq!((queue.len(), nodes.len()), (0, 1));
    }
}
