//! The metrics page: text from elsewhere, cut into buffers.

use alloc::vec::Vec;
use core::fmt;

use weir_packet::{Chunk, Packet};
use weir_socket::Sockets;

/// Buffers of one page at most: 256 KiB and more.
const PAGE_BUFFERS_MAX: usize = 160;

/// Who knows the figures of all cores.
pub trait MetricsSource {
    /// Writes everything in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// `out` refuses: there is no room for more.
    fn write_metrics(&mut self, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// A page without figures.
impl MetricsSource for () {
    fn write_metrics(&mut self, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

/// The page of `source` in buffers, and its length. None: the buffers do not suffice.
pub(crate) fn page(net: &mut impl Sockets, source: &mut impl MetricsSource) -> Option<(Vec<Chunk>, usize)> {
    let mut text = Text { net, chunks: Vec::new(), packet: None, len: 0 };
    source.write_metrics(&mut text).ok()?;
    text.finish_packet().ok()?;
    Some((text.chunks, text.len))
}

/// Text that grows by buffers.
struct Text<'n, N> {
    net: &'n mut N,
    chunks: Vec<Chunk>,
    packet: Option<Packet>,
    len: usize,
}

impl<N: Sockets> Text<'_, N> {
    fn finish_packet(&mut self) -> fmt::Result {
        let Some(packet) = self.packet.take() else { return Ok(()) };
        if self.chunks.len() >= PAGE_BUFFERS_MAX {
            return Err(fmt::Error);
        }
        self.chunks.try_reserve(1).map_err(|_| fmt::Error)?;
        self.chunks.push(packet.freeze());
        Ok(())
    }
}

impl<N: Sockets> fmt::Write for Text<'_, N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut bytes = text.as_bytes();
        self.len += bytes.len();
        while !bytes.is_empty() {
            let packet = match &mut self.packet {
                Some(packet) => packet,
                None => self.packet.insert(self.net.allocate().ok_or(fmt::Error)?),
            };
            let (part, rest) = bytes.split_at(packet.tailroom().min(bytes.len()));
            packet.extend_from_slice(part).map_err(|_| fmt::Error)?;
            bytes = rest;
            if packet.tailroom() == 0 {
                self.finish_packet()?;
            }
        }
        Ok(())
    }
}
