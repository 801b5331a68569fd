//! The two ends of a connection's byte stream: what was received and not yet used, what could not be sent yet.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use weir_http1::HeadScan;
use weir_packet::Chunk;
use weir_socket::{FlowId, Received, SendError, Sockets};

/// Chunks that wait for room in the send queue of one flow; the metrics page is the longest thing that does.
const OUTBOX_CHUNKS_MAX: usize = 1024;

/// Received bytes that were not used yet.
#[derive(Default)]
pub(crate) struct Inbox {
    /// The end of a chunk whose front was used.
    pub rest: Option<Chunk>,
    /// A head that comes in pieces.
    pub gathered: Option<Box<Gathered>>,
}

/// A head that is not complete yet, in one piece.
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    scan: HeadScan,
}

impl Inbox {
    /// The next bytes of the stream.
    #[inline]
    pub(crate) fn next(&mut self, net: &mut impl Sockets, flow: FlowId) -> Received {
        match self.rest.take() {
            Some(chunk) => Received::Data(chunk),
            None => net.receive(flow),
        }
    }

    /// Whether no byte is waiting here.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none() && self.gathered.is_none()
    }

    /// Keeps what follows the first `used` bytes.
    #[inline(always)]
    pub(crate) fn keep_behind(&mut self, mut chunk: Chunk, used: usize) {
        // Most often nothing does.
        if used < chunk.len() {
            chunk.advance(used);
            self.rest = Some(chunk);
        }
    }

    /// Keeps what follows the bytes that were used.
    #[inline]
    pub(crate) fn keep(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.rest = Some(chunk);
        }
    }
}

impl Gathered {
    /// Begins with what was parsed and is not complete. None: there is no memory.
    fn begin(bytes: &[u8]) -> Option<Box<Self>> {
        let mut copy = Vec::new();
        copy.try_reserve(bytes.len().max(512)).ok()?;
        copy.extend_from_slice(bytes);
        Some(Box::new(Self { bytes: copy, scan: HeadScan::after(bytes) }))
    }

    /// Adds bytes, up to `max` in all: more are of no use to a parser that refuses longer heads. None: there is no memory.
    /// True: it is worth parsing again.
    fn add(&mut self, bytes: &[u8], max: usize) -> Option<bool> {
        let taken = bytes.len().min(max.saturating_sub(self.bytes.len()));
        let bytes = bytes.get(..taken).unwrap_or_default();
        self.bytes.try_reserve(bytes.len()).ok()?;
        self.bytes.extend_from_slice(bytes);
        Some(self.scan.add(bytes) || self.bytes.len() >= max)
    }
}

/// Bytes that may be a whole head: the chunk as it came, or what was gathered up to it.
pub(crate) struct HeadBytes {
    gathered: Option<Box<Gathered>>,
    chunk: Chunk,
    /// Bytes that were gathered before the chunk.
    before: usize,
}

/// There is no memory for a head that comes in pieces.
#[derive(Debug)]
pub(crate) struct OutOfMemory;

impl HeadBytes {
    /// A chunk before which nothing was gathered.
    pub(crate) fn whole(chunk: Chunk) -> Self {
        Self { gathered: None, chunk, before: 0 }
    }

    /// Adds a chunk to what was gathered. None: it is not worth parsing yet.
    #[cold]
    pub(crate) fn collect(inbox: &mut Inbox, chunk: Chunk, max: usize) -> Result<Option<Self>, OutOfMemory> {
        let Some(mut gathered) = inbox.gathered.take() else { return Ok(Some(Self::whole(chunk))) };
        let before = gathered.bytes.len();
        if gathered.add(&chunk, max).ok_or(OutOfMemory)? {
            return Ok(Some(Self { gathered: Some(gathered), chunk, before }));
        }
        inbox.gathered = Some(gathered);
        Ok(None)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.gathered {
            None => &self.chunk,
            Some(gathered) => &gathered.bytes,
        }
    }

    /// Whether it is not the first part of its head.
    pub(crate) fn is_continued(&self) -> bool {
        self.gathered.is_some()
    }

    /// The head was parsed: what follows it waits in the inbox.
    pub(crate) fn used(self, inbox: &mut Inbox, head_len: usize) {
        inbox.keep_behind(self.chunk, head_len.saturating_sub(self.before));
    }

    /// The head is not complete: wait for more.
    #[cold]
    pub(crate) fn incomplete(self, inbox: &mut Inbox) -> Result<(), OutOfMemory> {
        let gathered = match self.gathered {
            Some(gathered) => gathered,
            None => Gathered::begin(&self.chunk).ok_or(OutOfMemory)?,
        };
        inbox.gathered = Some(gathered);
        Ok(())
    }
}

/// Chunks that could not be sent yet. While there are any, later ones queue behind them.
#[derive(Default)]
pub(crate) struct Outbox(VecDeque<Chunk>);

/// Nothing can be sent on the flow any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Outbox {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn send(&mut self, net: &mut impl Sockets, flow: FlowId, chunk: Chunk) -> Result<(), Gone> {
        if !self.0.is_empty() {
            return self.push(chunk);
        }
        match net.send(flow, chunk) {
            Ok(()) => Ok(()),
            Err(SendError::Full(chunk)) => self.push(chunk),
            Err(SendError::Closed(_)) => Err(Gone),
        }
    }

    /// Sends what waits. True: nothing waits any more.
    #[inline]
    pub(crate) fn flush(&mut self, net: &mut impl Sockets, flow: FlowId) -> Result<bool, Gone> {
        while let Some(chunk) = self.0.pop_front() {
            match net.send(flow, chunk) {
                Ok(()) => {}
                Err(SendError::Full(chunk)) => {
                    self.0.push_front(chunk);
                    return Ok(false);
                }
                Err(SendError::Closed(_)) => return Err(Gone),
            }
        }
        Ok(true)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn push(&mut self, chunk: Chunk) -> Result<(), Gone> {
        if self.0.len() >= OUTBOX_CHUNKS_MAX || self.0.try_reserve(1).is_err() {
            return Err(Gone);
        }
        self.0.push_back(chunk);
        Ok(())
    }
}
