//! The engine: one core's flows behind one door.

use core::net::SocketAddr;

use weir_packet::{Chunk, Pool};
use weir_socket::{
    CloseReason, ConnectError, Event, FlowId, Instant, ListenError, ListenerId, Received, SendError, Token,
};

use crate::config::Config;
use crate::counters::{Counters, Gauges};
use crate::link::{IcmpError, Inbound, Link};

/// One core's flows.
pub struct Engine {
    now: Instant,
    counters: Counters,
}

#[allow(unused_variables)]
impl Engine {
    /// An engine without flows. `pool` gives the buffers of what it sends.
    #[must_use]
    pub fn new(config: Config, pool: Pool) -> Self {
        Self { now: Instant::default(), counters: Counters::default() }
    }

    /// Tells the time; once per turn.
    pub fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Takes a received segment (RFC 9293, 3.10.7).
    pub fn handle_segment(&mut self, segment: Inbound) {}

    /// Takes an ICMP error about a segment that we sent.
    pub fn handle_icmp_error(&mut self, error: IcmpError) {}

    /// A neighbour was resolved or changed: what waits for one is tried again at the next [`Self::poll_transmit`].
    pub fn handle_neighbour_change(&mut self) {}

    /// Fires what is due. Bounded: when more is due, [`Self::next_deadline`] lies in the past.
    pub fn handle_timers(&mut self) {}

    /// When [`Self::handle_timers`] has to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Sends what is due until nothing is left or the link has no room.
    pub fn poll_transmit<L: Link>(&mut self, link: &mut L) {}

    /// See [`weir_socket::Sockets::listen`].
    ///
    /// # Errors
    /// As there.
    pub fn listen(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError> {
        Err(ListenError::TableFull)
    }

    /// See [`weir_socket::Sockets::unlisten`].
    pub fn unlisten(&mut self, listener: ListenerId) {}

    /// See [`weir_socket::Sockets::accept`].
    pub fn accept(&mut self, listener: ListenerId, token: Token) -> Option<FlowId> {
        None
    }

    /// Opens a flow from `local` to `remote`. See [`weir_socket::Sockets::connect`].
    ///
    /// # Errors
    /// As there; [`ConnectError::NoSourcePort`] when the pair of endpoints is in use.
    pub fn connect(&mut self, local: SocketAddr, remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        Err(ConnectError::TableFull)
    }

    /// See [`weir_socket::Sockets::receive`].
    pub fn receive(&mut self, flow: FlowId) -> Received {
        Received::Closed(CloseReason::Released)
    }

    /// See [`weir_socket::Sockets::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        Err(SendError::Closed(CloseReason::Released))
    }

    /// See [`weir_socket::Sockets::send_room`].
    #[must_use]
    pub fn send_room(&self, flow: FlowId) -> usize {
        0
    }

    /// See [`weir_socket::Sockets::send_queued`].
    #[must_use]
    pub fn send_queued(&self, flow: FlowId) -> usize {
        0
    }

    /// See [`weir_socket::Sockets::shutdown`].
    pub fn shutdown(&mut self, flow: FlowId) {}

    /// See [`weir_socket::Sockets::close`].
    pub fn close(&mut self, flow: FlowId) {}

    /// See [`weir_socket::Sockets::abort`].
    pub fn abort(&mut self, flow: FlowId) {}

    /// See [`weir_socket::Sockets::set_timer`].
    pub fn set_timer(&mut self, flow: FlowId, deadline: Option<Instant>) {}

    /// See [`weir_socket::Sockets::set_token`].
    pub fn set_token(&mut self, flow: FlowId, token: Token) {}

    /// See [`weir_socket::Sockets::set_nagle`].
    pub fn set_nagle(&mut self, flow: FlowId, on: bool) {}

    /// See [`weir_socket::Sockets::local_address`].
    #[must_use]
    pub fn local_address(&self, flow: FlowId) -> Option<SocketAddr> {
        None
    }

    /// See [`weir_socket::Sockets::peer_address`].
    #[must_use]
    pub fn peer_address(&self, flow: FlowId) -> Option<SocketAddr> {
        None
    }

    /// See [`weir_socket::Sockets::poll_event`].
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// Whether a connect from `local` to `remote` would be possible: nothing of ours uses this pair, or only a TIME-WAIT
    /// record that may be reused (RFC 6191).
    #[must_use]
    pub fn is_tuple_free(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        true
    }

    /// Whether a flow, a half-open handshake or a TIME-WAIT record exists for this pair of endpoints.
    #[must_use]
    pub fn owns(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        false
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What there is now.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }
}
