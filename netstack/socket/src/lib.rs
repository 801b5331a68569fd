//! The socket API: what applications see of the network stack.
//!
//! [`Sockets`] is one core's view: listeners and flows that live on this core and nowhere else. Nothing blocks and nothing
//! is shared. The application asks for the next [`Event`], does what it can on that flow, and asks again; the runtime
//! sends what was queued once the application has seen all events of a turn.
//!
//! ```text
//!   loop {                                     one turn of a core
//!       stack takes a burst of frames
//!       while let Some(event) = net.poll_event() { app.handle(net, event) }
//!       stack sends a burst of frames
//!   }
//! ```
//!
//! The trait is also where other transports fit in: TLS is a `Sockets` over another, a test is one in memory
//! ([`testing`], with the feature of that name).

#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "testing"))]
extern crate alloc;

mod event;
mod flow;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod time;

use core::net::{IpAddr, SocketAddr};

pub use event::{Event, Readiness};
pub use flow::{CloseReason, FlowId, ListenerId, Token};
pub use time::Instant;
pub use weir_packet::{Chunk, Packet};

/// One core's sockets.
///
/// # Readiness
///
/// Events are edges: [`Readiness::READABLE`] is reported when bytes or the peer's end of stream arrive, and not again
/// until more do; so read until [`Received::Nothing`], or remember that there is more. [`Readiness::WRITABLE`] is reported
/// when a [`send`](Self::send) was refused and room has come. Several edges of one flow between two calls of
/// [`poll_event`](Self::poll_event) are one event.
///
/// # Life of a flow
///
/// [`accept`](Self::accept) or [`connect`](Self::connect) gives a [`FlowId`]; [`close`](Self::close) or
/// [`abort`](Self::abort) gives it back, always, also after the peer or the network ended the flow. Until then the id
/// stays valid and calls on it answer with the [`CloseReason`]. An id that was given back is stale: calls on it do nothing
/// and answer [`CloseReason::Released`]; it is never mistaken for a newer flow.
pub trait Sockets {
    /// The time of this turn.
    fn now(&self) -> Instant;

    /// Begins to listen. `token` comes back in the events of the listener.
    ///
    /// # Errors
    /// The endpoint is already listened on, is not an address of this host, or the table is full.
    fn listen(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError>;

    /// Stops listening. Flows that were accepted stay; those not yet accepted are reset.
    fn unlisten(&mut self, listener: ListenerId);

    /// The next flow that completed its handshake on `listener`; call until none is left. Its events carry `token`.
    fn accept(&mut self, listener: ListenerId, token: Token) -> Option<FlowId>;

    /// Opens a flow to `remote`. [`Readiness::WRITABLE`] reports that it is established, [`Readiness::CLOSED`] that it could
    /// not be. Bytes may be queued at once.
    ///
    /// # Errors
    /// No route, no source port or no memory: nothing was sent.
    fn connect(&mut self, remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        self.connect_from(&[], remote, token)
    }

    /// As [`connect`](Self::connect), from one of `sources`: addresses of this host, which take turns; all of this host do
    /// when there are none. What stays within this host comes from where it goes to.
    ///
    /// # Errors
    /// As there; no route also when none of `sources` can be used towards `remote`.
    fn connect_from(&mut self, sources: &[IpAddr], remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError>;

    /// Takes received bytes, in order, as they lie in their buffer; the receive window opens by as much.
    fn receive(&mut self, flow: FlowId) -> Received;

    /// Queues bytes to be sent. All or nothing: a chunk that is not taken comes back.
    ///
    /// # Errors
    /// The queue has no room now (an edge will follow), or nothing can be sent any more.
    fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError>;

    /// Bytes that [`send`](Self::send) takes at least now; 0 when closed or full. A single chunk is also taken whole when it
    /// is larger than what is left, as long as this is not 0.
    fn send_room(&self, flow: FlowId) -> usize;

    /// Bytes that were queued and are not yet acknowledged by the peer.
    fn send_queued(&self, flow: FlowId) -> usize;

    /// Moves received bytes of `from` to the send queue of `to`, up to `max` of them, in the buffers they came in: what a
    /// proxy does with a body that it need not look at. `from` and `to` may be the same flow.
    ///
    /// A byte leaves `from` only when `to` takes it, so that the receive window of `from` opens as fast as `to` is
    /// acknowledged: back pressure, without a byte held in between. Room is judged as [`send`](Self::send) judges it: the
    /// last buffer is taken whole.
    ///
    /// [`SpliceStop`] tells why no more was moved and which event says to go on. The end of `from`'s stream moves nothing by
    /// itself: pass it on with [`shutdown`](Self::shutdown) of `to`, and receiving from `to` goes on.
    fn splice(&mut self, from: FlowId, to: FlowId, max: usize) -> Spliced;

    /// Ends our direction after what is queued (FIN); receiving goes on.
    fn shutdown(&mut self, flow: FlowId);

    /// Gives the flow back: what is queued is still sent and acknowledged, what is received is discarded, the id is stale.
    /// Received bytes that nobody read make it an [`abort`](Self::abort) (RFC 9293 3.6.1, RFC 2525 2.17).
    fn close(&mut self, flow: FlowId);

    /// Gives the flow back at once: queues are dropped, the peer gets a RST.
    fn abort(&mut self, flow: FlowId);

    /// One timer for each flow: [`Readiness::TIMER`] is reported at or soon after `deadline` (the wheel's tick is 1 ms).
    /// None cancels.
    fn set_timer(&mut self, flow: FlowId, deadline: Option<Instant>);

    /// Changes the token that the flow's events carry.
    fn set_token(&mut self, flow: FlowId, token: Token);

    /// Switches Nagle's algorithm (RFC 9293 3.7.4); it is off when a flow begins, as a proxy wants it.
    fn set_nagle(&mut self, flow: FlowId, on: bool);

    /// Our end of the flow, as the peer addressed it.
    fn local_address(&self, flow: FlowId) -> Option<SocketAddr>;

    /// The peer's end.
    fn peer_address(&self, flow: FlowId) -> Option<SocketAddr>;

    /// An empty buffer to write into and [`send`](Self::send) frozen; none when the pool is empty.
    fn allocate(&mut self) -> Option<Packet>;

    /// The oldest event that was not reported yet.
    fn poll_event(&mut self) -> Option<Event>;
}

/// What [`Sockets::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// The next bytes; never empty.
    Data(Chunk),
    /// None now; an edge will follow.
    Nothing,
    /// The peer ended its direction, and all of it was read.
    End,
    /// The flow is gone, and what it had received was read or lost.
    Closed(CloseReason),
}

/// What [`Sockets::splice`] did.
#[derive(Debug)]
pub struct Spliced {
    /// Bytes that went from one flow to the other.
    pub moved: usize,
    /// Why not more.
    pub stop: SpliceStop,
}

/// Why [`Sockets::splice`] moved no more.
#[derive(Debug)]
pub enum SpliceStop {
    /// As many as asked for were moved. When the limit cut a buffer, its other bytes come out, as received.
    Limit(Option<Chunk>),
    /// The source has no more now; [`Readiness::READABLE`] of it will follow.
    Nothing,
    /// The target has no room; what is left stays with the source. [`Readiness::WRITABLE`] of the target will follow.
    Full,
    /// The source's peer ended its direction, and all of it was moved.
    End,
    /// The source is gone, and what it had received was moved or lost.
    SourceClosed(CloseReason),
    /// The target is gone, or its direction was shut down; what is left stays with the source.
    TargetClosed(CloseReason),
}

/// Why bytes were not queued.
#[derive(Debug)]
pub enum SendError {
    /// The queue is full. The chunk comes back; [`Readiness::WRITABLE`] will follow.
    Full(Chunk),
    /// The flow is gone, or our direction was shut down.
    Closed(CloseReason),
}

/// Why a listener could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenError {
    /// Somebody listens there already.
    AddressInUse,
    /// The listener table is full.
    TableFull,
    /// Port 0 or a multicast address.
    InvalidAddress,
}

/// Why a flow could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// No interface or gateway leads to the address, or there is no source address of its family.
    NoRoute,
    /// All source ports of this core towards the address are in use: `no source port left`.
    NoSourcePort,
    /// The flow table is full, or memory is short.
    TableFull,
    /// Port 0, an unspecified or a multicast address.
    InvalidAddress,
}

macro_rules! display {
    ($type:ident { $($variant:ident => $text:literal,)* }) => {
        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
        impl core::error::Error for $type {}
    };
}

display!(ListenError {
    AddressInUse => "address in use",
    TableFull => "listener table full",
    InvalidAddress => "invalid address",
});

display!(ConnectError {
    NoRoute => "no route to host",
    NoSourcePort => "no source port left",
    TableFull => "flow table full",
    InvalidAddress => "invalid address",
});
