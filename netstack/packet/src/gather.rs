//! A frame that is put together from pieces.

use crate::{Packet, Pool};

/// Appends copies of bytes to a frame, and takes further buffers of a pool as they fill up.
///
/// Every buffer is filled before the next one is taken, so the headers of a frame are in its first one if they are all
/// near its beginning, however the bytes were cut before.
pub struct Gather<'a> {
    pool: &'a Pool,
    frame: Packet,
    /// The buffer that is being filled, behind those that the frame has.
    tail: Option<Packet>,
}

impl<'a> Gather<'a> {
    /// Goes on with `frame`, which is a single buffer.
    #[must_use]
    pub const fn onto(frame: Packet, pool: &'a Pool) -> Self {
        Self { pool, frame, tail: None }
    }

    /// Appends a copy of `bytes`; none, and the frame is lost, when the pool (which counts it) has no buffer left.
    #[must_use]
    pub fn with(mut self, mut bytes: &[u8]) -> Option<Self> {
        loop {
            let last = self.tail.as_mut().unwrap_or(&mut self.frame);
            let (front, rest) = bytes.split_at(bytes.len().min(last.tailroom()));
            last.extend_from_slice(front).ok()?;
            if rest.is_empty() {
                return Some(self);
            }
            bytes = rest;
            if let Some(full) = self.tail.replace(self.pool.allocate()?) {
                self.frame.append(full);
            }
        }
    }

    /// The frame.
    #[must_use]
    pub fn finish(mut self) -> Packet {
        if let Some(tail) = self.tail {
            self.frame.append(tail);
        }
        self.frame
    }
}
