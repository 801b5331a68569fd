//! The socket API of a shard: TCP's, plus the choice of our address and port.

use core::net::{IpAddr, SocketAddr};

use weir_packet::{Chunk, Packet};
use weir_socket::{
    ConnectError, Event, FlowId, Instant, ListenError, ListenerId, Received, SendError, Sockets, Spliced, Token,
};

use crate::counters;
use crate::shard::Shard;

impl Sockets for Shard {
    #[inline]
    fn now(&self) -> Instant {
        self.network.now
    }

    fn listen(&mut self, local: SocketAddr, token: Token) -> Result<ListenerId, ListenError> {
        let listener = self.engine.listen(local, token)?;
        self.steering.claim(local.port());
        self.listeners.push((listener, local.port()));
        Ok(listener)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.engine.unlisten(listener);
        let Some(index) = self.listeners.iter().position(|(id, _)| *id == listener) else { return };
        let (_, port) = self.listeners.swap_remove(index);
        if self.listeners.iter().all(|(_, other)| *other != port) {
            self.steering.release(port);
        }
    }

    #[inline]
    fn accept(&mut self, listener: ListenerId, token: Token) -> Option<FlowId> {
        self.engine.accept(listener, token)
    }

    fn connect_from(&mut self, sources: &[IpAddr], remote: SocketAddr, token: Token) -> Result<FlowId, ConnectError> {
        let is_broadcast = matches!(remote, SocketAddr::V4(v4) if self.network.addresses.is_broadcast_v4(*v4.ip()));
        if remote.port() == 0 || remote.ip().is_unspecified() || remote.ip().is_multicast() || is_broadcast {
            return Err(ConnectError::InvalidAddress);
        }
        let sources = self.network.addresses.sources_towards(remote.ip(), sources);
        if sources.clone().next().is_none() {
            return Err(ConnectError::NoRoute);
        }
        let engine = &self.engine;
        let is_free = |local| engine.is_tuple_free(local, remote);
        let Some(port) = self.steering.allocate_among(sources, remote, self.network.now, is_free) else {
            self.network.count(counters::Event::NoSourcePort);
            return Err(ConnectError::NoSourcePort);
        };
        if port.is_elsewhere {
            self.network.count(counters::Event::SourcePortElsewhere);
        }
        self.engine.connect(port.local, remote, token)
    }

    #[inline]
    fn receive(&mut self, flow: FlowId) -> Received {
        self.engine.receive(flow)
    }

    #[inline]
    fn send(&mut self, flow: FlowId, chunk: Chunk) -> Result<(), SendError> {
        self.engine.send(flow, chunk)
    }

    #[inline]
    fn send_room(&self, flow: FlowId) -> usize {
        self.engine.send_room(flow)
    }

    #[inline]
    fn send_queued(&self, flow: FlowId) -> usize {
        self.engine.send_queued(flow)
    }

    #[inline]
    fn splice(&mut self, from: FlowId, to: FlowId, max: usize) -> Spliced {
        self.engine.splice(from, to, max)
    }

    #[inline]
    fn shutdown(&mut self, flow: FlowId) {
        self.engine.shutdown(flow);
    }

    #[inline]
    fn close(&mut self, flow: FlowId) {
        self.engine.close(flow);
    }

    #[inline]
    fn abort(&mut self, flow: FlowId) {
        self.engine.abort(flow);
    }

    #[inline]
    fn set_timer(&mut self, flow: FlowId, deadline: Option<Instant>) {
        self.engine.set_timer(flow, deadline);
    }

    #[inline]
    fn set_token(&mut self, flow: FlowId, token: Token) {
        self.engine.set_token(flow, token);
    }

    #[inline]
    fn set_nagle(&mut self, flow: FlowId, on: bool) {
        self.engine.set_nagle(flow, on);
    }

    #[inline]
    fn local_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.engine.local_address(flow)
    }

    #[inline]
    fn peer_address(&self, flow: FlowId) -> Option<SocketAddr> {
        self.engine.peer_address(flow)
    }

    #[inline]
    fn allocate(&mut self) -> Option<Packet> {
        self.network.pool.allocate()
    }

    #[inline]
    fn poll_event(&mut self) -> Option<Event> {
        let event = self.engine.poll_event();
        if event.is_none() {
            self.has_news = false;
        }
        event
    }
}
