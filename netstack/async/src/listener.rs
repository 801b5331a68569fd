//! Flows that others open.

use core::future::poll_fn;
use core::task::Poll;

use weir_socket::{ListenerId, Sockets, Token};

use crate::flow::{Flow, Handle};
use crate::net::Net;
use crate::table::{FlowEntry, leave_waker};

/// Somebody listens. Dropping it ends that, and resets the flows that were not accepted.
pub struct Listener<'n, S: Sockets> {
    pub(crate) net: &'n Net<S>,
    pub(crate) id: ListenerId,
    pub(crate) token: Token,
}

impl<'n, S: Sockets> Listener<'n, S> {
    /// The next flow that completed its handshake. A flow that no future took stays for the next one.
    pub async fn accept(&mut self) -> Flow<'n, S> {
        poll_fn(|cx| {
            if let Some(flow) = self.try_accept() {
                return Poll::Ready(flow);
            }
            if let Some(waker) = self.net.inner.borrow_mut().listeners.get_mut(self.token) {
                leave_waker(waker, cx);
            }
            Poll::Pending
        })
        .await
    }

    /// The next flow, if there is one now.
    pub fn try_accept(&mut self) -> Option<Flow<'n, S>> {
        let inner = &mut *self.net.inner.borrow_mut();
        let token = inner.flows.insert(FlowEntry { is_established: true, ..FlowEntry::default() });
        let Some(flow) = inner.sockets.accept(self.id, token) else {
            inner.flows.remove(token);
            return None;
        };
        inner.adopt(token, flow);
        Some(Flow::new(Handle { net: self.net, flow, token }))
    }
}

impl<S: Sockets> Drop for Listener<'_, S> {
    fn drop(&mut self) {
        let inner = &mut *self.net.inner.borrow_mut();
        inner.sockets.unlisten(self.id);
        inner.listeners.remove(self.token);
    }
}
