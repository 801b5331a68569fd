//! What was received in order and not yet read: packets as they came, except that small ones are gathered.
//!
//! A received packet occupies a whole buffer however small its payload. When the reader does not keep up, small payloads
//! are copied behind the last one's, so that a peer that sends single bytes cannot hold a buffer with each.

use weir_packet::{Chunk, Packet};

/// Payloads up to so many bytes are gathered.
const GATHER_BYTES_MAX: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// All but the last packet, as a chain.
    chain: Option<Packet>,
    last: Option<Packet>,
    len: u32,
}

impl Inbox {
    /// Bytes that wait to be read.
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Appends the payload of a single buffer.
    #[inline(always)]
    pub fn push(&mut self, packet: Packet) {
        self.len += packet.len() as u32;
        if self.last.is_none() {
            self.last = Some(packet);
        } else {
            self.push_behind(packet);
        }
    }

    /// Appends the payload of several buffers.
    #[inline(never)]
    pub fn push_chain(&mut self, mut chain: Packet) {
        let mut rest = chain.take_rest();
        // The device may have filled the first buffer with the headers alone.
        if !chain.is_empty() {
            self.push(chain);
        }
        while let Some(mut part) = rest {
            rest = part.take_rest();
            self.push(part);
        }
    }

    #[inline(never)]
    fn push_behind(&mut self, packet: Packet) {
        let Some(last) = &mut self.last else { return };
        if packet.len() <= GATHER_BYTES_MAX && last.extend_from_slice(&packet).is_ok() {
            return;
        }
        let Some(full) = self.last.replace(packet) else { return };
        match &mut self.chain {
            Some(chain) => chain.append(full),
            None => self.chain = Some(full),
        }
    }

    /// Takes the oldest bytes.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Chunk> {
        let packet = match self.chain.take() {
            Some(mut first) => {
                self.chain = first.take_rest();
                first
            }
            None => self.last.take()?,
        };
        self.len -= packet.len() as u32;
        Some(packet.freeze())
    }

    /// Discards what waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::Inbox;
    use alloc::vec::Vec;
    use weir_packet::Pool;

    #[test]
    fn bytes_come_out_as_they_went_in_and_small_ones_share_buffers() {
        let pool = Pool::with_capacity(16).unwrap();
        let mut inbox = Inbox::default();
        let mut sent = Vec::new();
        for i in 0..2_000_u32 {
            let Some(mut packet) = pool.allocate() else { panic!("{} buffers are held", pool.in_use()) };
            let bytes = [i as u8; 7];
            let bytes = if i % 500 == 0 { &[9; 1400][..] } else { &bytes[..] };
            packet.extend_from_slice(bytes).unwrap();
            sent.extend_from_slice(bytes);
            inbox.push(packet);
        }
        assert_eq!(inbox.len() as usize, sent.len());
        let mut received = Vec::new();
        while let Some(chunk) = inbox.pop() {
            received.extend_from_slice(&chunk);
        }
        assert!(received == sent && inbox.len() == 0 && pool.in_use() == 0);
    }
}
