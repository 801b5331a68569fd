//! A flow: bytes in both directions.

use core::net::SocketAddr;
use core::task::{Context, Poll};

use embedded_io_async::{BufRead, ErrorType, Read, ReadReady, Write, WriteReady};
use weir_socket::{Chunk, FlowId, Packet, Received, SendError, Sockets, SpliceStop, Token};

use crate::error::Error;
use crate::halves::{Reader, Writer};
use crate::net::Net;
use crate::table::leave_waker;

/// An established flow. Dropping it is [`Sockets::close`]: what was written is still sent, and what was not read resets it.
///
/// Reads and writes of the `embedded-io-async` traits are safe to cancel: until they are ready, nothing was moved.
/// [`BufRead`] lends the received bytes where they lie.
pub struct Flow<'n, S: Sockets> {
    pub(crate) handle: Handle<'n, S>,
    /// What is left of a buffer that was read in part. The receive window has opened by all of it.
    rest: Option<Chunk>,
}

/// Where a flow is found.
pub(crate) struct Handle<'n, S> {
    pub net: &'n Net<S>,
    pub flow: FlowId,
    pub token: Token,
}

impl<S> Clone for Handle<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Handle<'_, S> {}

impl<'n, S: Sockets> Flow<'n, S> {
    pub(crate) const fn new(handle: Handle<'n, S>) -> Self {
        Self { handle, rest: None }
    }

    /// Both directions, for two futures at the same time.
    pub const fn split(&mut self) -> (Reader<'_, S>, Writer<'_, S>) {
        (Reader { handle: self.handle, rest: &mut self.rest }, Writer { handle: self.handle })
    }

    /// The name of the flow, for the sockets themselves.
    #[must_use]
    pub const fn id(&self) -> FlowId {
        self.handle.flow
    }

    /// Ends our direction after what was written; reading goes on.
    pub fn shutdown(&mut self) {
        self.split().1.shutdown();
    }

    /// Ends the flow at once: the peer gets a RST.
    pub fn abort(self) {
        self.handle.net.with(|sockets| sockets.abort(self.handle.flow));
    }

    /// The peer's end.
    #[must_use]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.handle.net.with(|sockets| sockets.peer_address(self.handle.flow))
    }

    /// Our end, as the peer addressed it.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.handle.net.with(|sockets| sockets.local_address(self.handle.flow))
    }
}

impl<S: Sockets> Drop for Flow<'_, S> {
    fn drop(&mut self) {
        let inner = &mut *self.handle.net.inner.borrow_mut();
        // After an abort the id is stale, and this does nothing.
        match self.rest.take() {
            // Bytes that the sockets believe read.
            Some(rest) if !rest.is_empty() => inner.sockets.abort(self.handle.flow),
            _ => inner.sockets.close(self.handle.flow),
        }
        inner.flows.remove(self.handle.token);
    }
}

impl<S: Sockets> Handle<'_, S> {
    /// Makes `rest` hold bytes. False: the stream has ended.
    pub fn poll_fill(&self, rest: &mut Option<Chunk>, cx: &Context<'_>) -> Poll<Result<bool, Error>> {
        if rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
            return Poll::Ready(Ok(true));
        }
        let inner = &mut *self.net.inner.borrow_mut();
        match inner.sockets.receive(self.flow) {
            Received::Data(chunk) => {
                *rest = Some(chunk);
                Poll::Ready(Ok(true))
            }
            Received::End => Poll::Ready(Ok(false)),
            Received::Closed(reason) => Poll::Ready(Err(Error(reason))),
            Received::Nothing => {
                if let Some(entry) = inner.flows.get_mut(self.token) {
                    leave_waker(&mut entry.reader, cx);
                }
                Poll::Pending
            }
        }
    }

    /// Queues the first bytes of `bytes`, up to a buffer full.
    pub fn poll_write(&self, bytes: &[u8], cx: &Context<'_>) -> Poll<Result<usize, Error>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let inner = &mut *self.net.inner.borrow_mut();
        let Some(packet) = inner.sockets.allocate() else {
            inner.starved.push(cx.waker().clone());
            return Poll::Pending;
        };
        let (len, chunk) = fill(packet, bytes);
        match inner.sockets.send(self.flow, chunk) {
            Ok(()) => Poll::Ready(Ok(len)),
            Err(SendError::Closed(reason)) => Poll::Ready(Err(Error(reason))),
            Err(SendError::Full(_)) => {
                if let Some(entry) = inner.flows.get_mut(self.token) {
                    leave_waker(&mut entry.writer, cx);
                }
                Poll::Pending
            }
        }
    }

    /// Moves what there is to `to`, until the stream ends. Adds up in `moved`.
    pub fn poll_splice(&self, to: &Self, moved: &mut u64, cx: &Context<'_>) -> Poll<Result<(), Error>> {
        let inner = &mut *self.net.inner.borrow_mut();
        let spliced = inner.sockets.splice(self.flow, to.flow, usize::MAX);
        *moved += spliced.moved as u64;
        let waits = match spliced.stop {
            SpliceStop::End => return Poll::Ready(Ok(())),
            SpliceStop::SourceClosed(reason) | SpliceStop::TargetClosed(reason) => {
                return Poll::Ready(Err(Error(reason)));
            }
            SpliceStop::Full => inner.flows.get_mut(to.token).map(|entry| &mut entry.writer),
            SpliceStop::Nothing | SpliceStop::Limit(_) => {
                inner.flows.get_mut(self.token).map(|entry| &mut entry.reader)
            }
        };
        if let Some(place) = waits {
            leave_waker(place, cx);
        }
        Poll::Pending
    }
}

fn fill(mut packet: Packet, bytes: &[u8]) -> (usize, Chunk) {
    let len = bytes.len().min(packet.tailroom());
    packet.extend_from_slice(&bytes[..len]).expect("there is room for so many");
    (len, packet.freeze())
}

impl<S: Sockets> ErrorType for Flow<'_, S> {
    type Error = Error;
}

impl<S: Sockets> Read for Flow<'_, S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        self.split().0.read(buf).await
    }
}

impl<S: Sockets> BufRead for Flow<'_, S> {
    async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        self.split().0.fill().await?;
        Ok(self.rest.as_deref().unwrap_or_default())
    }

    fn consume(&mut self, amt: usize) {
        self.split().0.consume(amt);
    }
}

impl<S: Sockets> ReadReady for Flow<'_, S> {
    fn read_ready(&mut self) -> Result<bool, Error> {
        self.split().0.read_ready()
    }
}

impl<S: Sockets> Write for Flow<'_, S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        self.split().1.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.split().1.flush().await
    }
}

impl<S: Sockets> WriteReady for Flow<'_, S> {
    fn write_ready(&mut self) -> Result<bool, Error> {
        self.split().1.write_ready()
    }
}
