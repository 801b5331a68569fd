//! One core's sockets, and who waits for what.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::{Poll, Waker};
use core::time::Duration;

use weir_socket::{Event, Instant, ListenError, Readiness, Received, Sockets};

use crate::error::{ConnectError, Elapsed};
use crate::flow::{Flow, Handle};
use crate::listener::Listener;
use crate::table::{FlowEntry, Table, leave_waker};
use crate::timer::{Sleep, Timers};

/// How long a writer that found no buffer waits at most before it looks again.
const BUFFER_RETRY: Duration = Duration::from_millis(1);

/// One core's sockets for asynchronous code.
///
/// `S` is borrowed for the time of each call and no longer: wakers are called when it is free, so an executor that polls at
/// once is as good as one that remembers.
pub struct Net<S> {
    pub(crate) inner: RefCell<Inner<S>>,
}

pub(crate) struct Inner<S> {
    pub sockets: S,
    pub flows: Table<FlowEntry>,
    pub listeners: Table<Option<Waker>>,
    pub timers: Timers,
    /// Writers that found no buffer. No event tells of buffers: they look again every turn.
    pub starved: Vec<Waker>,
}

/// Whom an event wakes.
type Woken = [Option<Waker>; 2];

impl<S: Sockets> Net<S> {
    /// The asynchronous face of `sockets`, all of whose events are this value's from now on.
    #[must_use]
    pub const fn new(sockets: S) -> Self {
        Self {
            inner: RefCell::new(Inner {
                sockets,
                flows: Table::new(),
                listeners: Table::new(),
                timers: Timers::new(),
                starved: Vec::new(),
            }),
        }
    }

    /// The sockets themselves, for the core's loop: frames in, time, frames out.
    ///
    /// # Panics
    /// `call` uses this `Net`.
    pub fn with<T>(&self, call: impl FnOnce(&mut S) -> T) -> T {
        call(&mut self.inner.borrow_mut().sockets)
    }

    /// Reads the events of a turn and the timers that are due, and wakes who waits for them.
    pub fn dispatch(&self) {
        while let Some(woken) = self.next_woken() {
            woken.into_iter().flatten().for_each(Waker::wake);
        }
        while let Some(waker) = self.next_due() {
            waker.wake();
        }
        let starved = core::mem::take(&mut self.inner.borrow_mut().starved);
        starved.into_iter().for_each(Waker::wake);
    }

    /// When [`dispatch`](Self::dispatch) has to be called at the latest for the sake of this value's timers; the sockets
    /// have deadlines of their own.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let inner = self.inner.borrow();
        let again = (!inner.starved.is_empty()).then(|| inner.sockets.now() + BUFFER_RETRY);
        [inner.timers.next_deadline(), again].into_iter().flatten().min()
    }

    /// The time of the turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.inner.borrow().sockets.now()
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// As [`Sockets::listen`].
    pub fn listen(&self, local: SocketAddr) -> Result<Listener<'_, S>, ListenError> {
        let inner = &mut *self.inner.borrow_mut();
        let token = inner.listeners.insert(None);
        match inner.sockets.listen(local, token) {
            Ok(id) => Ok(Listener { net: self, id, token }),
            Err(error) => {
                inner.listeners.remove(token);
                Err(error)
            }
        }
    }

    /// Opens a flow to `remote` and waits until it is established. Dropping the future gives the flow up.
    ///
    /// # Errors
    /// Nothing could be sent, or the flow ended before it was established.
    pub async fn connect(&self, remote: SocketAddr) -> Result<Flow<'_, S>, ConnectError> {
        let flow = self.begin_connect(remote).map_err(ConnectError::NotSent)?;
        let handle = flow.handle;
        poll_fn(|cx| {
            let inner = &mut *self.inner.borrow_mut();
            let entry = inner.flows.get_mut(handle.token).expect("the entry of a flow that is held");
            if entry.is_established {
                return Poll::Ready(Ok(()));
            }
            if entry.is_closed
                && let Received::Closed(reason) = inner.sockets.receive(handle.flow)
            {
                return Poll::Ready(Err(ConnectError::Closed(reason)));
            }
            leave_waker(&mut entry.writer, cx);
            Poll::Pending
        })
        .await?;
        Ok(flow)
    }

    /// Ready at `deadline`, to the tick of the core's loop.
    #[must_use]
    pub const fn sleep_until(&self, deadline: Instant) -> Sleep<'_, S> {
        Sleep { net: self, deadline, number: None }
    }

    /// What `future` comes to, if it does by `deadline`; if not, it is dropped.
    ///
    /// # Errors
    /// The time was over first.
    pub async fn by<F: Future>(&self, deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = self.sleep_until(deadline);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    fn begin_connect(&self, remote: SocketAddr) -> Result<Flow<'_, S>, weir_socket::ConnectError> {
        let inner = &mut *self.inner.borrow_mut();
        let token = inner.flows.insert(FlowEntry::default());
        match inner.sockets.connect(remote, token) {
            Ok(flow) => {
                inner.adopt(token, flow);
                Ok(Flow::new(Handle { net: self, flow, token }))
            }
            Err(error) => {
                inner.flows.remove(token);
                Err(error)
            }
        }
    }

    /// Takes one event. The borrow ends before anybody is woken.
    fn next_woken(&self) -> Option<Woken> {
        let inner = &mut *self.inner.borrow_mut();
        Some(match inner.sockets.poll_event()? {
            Event::Acceptable { token, .. } => [inner.listeners.get_mut(token).and_then(Option::take), None],
            Event::Flow { flow, token, ready } => {
                match inner.flows.get_mut(token).filter(|entry| entry.flow == Some(flow)) {
                    Some(entry) => entry.take(ready),
                    None => [None, None],
                }
            }
        })
    }

    fn next_due(&self) -> Option<Waker> {
        let inner = &mut *self.inner.borrow_mut();
        inner.timers.pop_due(inner.sockets.now())
    }
}

impl<S> Inner<S> {
    /// The flow of an entry exists.
    pub fn adopt(&mut self, token: weir_socket::Token, flow: weir_socket::FlowId) {
        if let Some(entry) = self.flows.get_mut(token) {
            entry.flow = Some(flow);
        }
    }
}

impl FlowEntry {
    /// Notes what an event says. Whoever waits for it is taken out.
    fn take(&mut self, ready: Readiness) -> Woken {
        let is_closed = ready.contains(Readiness::CLOSED);
        let is_writable = ready.contains(Readiness::WRITABLE);
        self.is_closed |= is_closed;
        self.is_established |= is_writable;
        let reader = if is_closed || ready.contains(Readiness::READABLE) { self.reader.take() } else { None };
        let writer = if is_closed || is_writable { self.writer.take() } else { None };
        [reader, writer]
    }
}
