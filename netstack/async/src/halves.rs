//! The two directions of a flow, each for a future of its own.

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use embedded_io_async::{BufRead, ErrorType, Read, ReadReady, Write, WriteReady};
use weir_socket::{Chunk, Sockets};

use crate::error::Error;
use crate::flow::Handle;

/// What the peer sends.
pub struct Reader<'f, S: Sockets> {
    pub(crate) handle: Handle<'f, S>,
    pub(crate) rest: &'f mut Option<Chunk>,
}

/// What we send.
pub struct Writer<'f, S: Sockets> {
    pub(crate) handle: Handle<'f, S>,
}

impl<S: Sockets> Reader<'_, S> {
    /// Passes everything up to the end of the stream on to `to`, in the buffers it came in; answers how many bytes. `to` is
    /// not shut down. Safe to cancel, but for the count.
    ///
    /// # Errors
    /// One of the flows is gone.
    pub async fn splice(&mut self, to: &mut Writer<'_, S>) -> Result<u64, Error> {
        let mut moved = 0;
        while let Some(len) = self.rest.as_deref().map(<[u8]>::len).filter(|len| *len > 0) {
            let rest = self.rest.as_deref().unwrap_or_default();
            let taken = to.write(rest).await?;
            self.consume(taken.min(len));
            moved += taken as u64;
        }
        poll_fn(|cx| self.handle.poll_splice(&to.handle, &mut moved, cx)).await?;
        Ok(moved)
    }

    /// Waits until bytes are there. False: the stream has ended.
    pub(crate) async fn fill(&mut self) -> Result<bool, Error> {
        poll_fn(|cx| self.handle.poll_fill(self.rest, cx)).await
    }
}

impl<S: Sockets> Writer<'_, S> {
    /// Ends our direction after what was written.
    pub fn shutdown(&mut self) {
        self.handle.net.with(|sockets| sockets.shutdown(self.handle.flow));
    }
}

impl<S: Sockets> ErrorType for Reader<'_, S> {
    type Error = Error;
}

impl<S: Sockets> Read for Reader<'_, S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if buf.is_empty() || !self.fill().await? {
            return Ok(0);
        }
        let bytes = self.rest.as_deref().unwrap_or_default();
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

impl<S: Sockets> BufRead for Reader<'_, S> {
    async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        self.fill().await?;
        Ok(self.rest.as_deref().unwrap_or_default())
    }

    fn consume(&mut self, amt: usize) {
        if let Some(rest) = self.rest {
            rest.advance(amt);
            if rest.is_empty() {
                *self.rest = None;
            }
        }
    }
}

impl<S: Sockets> ReadReady for Reader<'_, S> {
    fn read_ready(&mut self) -> Result<bool, Error> {
        // Whoever waits already keeps its place: the waker that is left here wakes nobody.
        let handle = self.handle;
        let place = |waker: Option<Waker>| {
            let inner = &mut *handle.net.inner.borrow_mut();
            inner.flows.get_mut(handle.token).and_then(|entry| core::mem::replace(&mut entry.reader, waker))
        };
        let waiting = place(None);
        let filled = handle.poll_fill(self.rest, &Context::from_waker(Waker::noop()));
        place(waiting);
        // The end of the stream is ready to be read as well.
        match filled {
            Poll::Ready(filled) => filled.map(|_| true),
            Poll::Pending => Ok(false),
        }
    }
}

impl<S: Sockets> ErrorType for Writer<'_, S> {
    type Error = Error;
}

impl<S: Sockets> Write for Writer<'_, S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Error> {
        poll_fn(|cx| self.handle.poll_write(buf, cx)).await
    }

    /// Nothing to be done: what was written is TCP's, which sends it with the turn and until it is acknowledged.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl<S: Sockets> WriteReady for Writer<'_, S> {
    fn write_ready(&mut self) -> Result<bool, Error> {
        Ok(self.handle.net.with(|sockets| sockets.send_room(self.handle.flow) > 0))
    }
}
