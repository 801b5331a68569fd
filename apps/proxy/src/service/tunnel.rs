//! Tunnels: bytes of any protocol between a client and a server. A listener of `tcp` or `tls-passthrough` is nothing else; in
//! HTTP, one begins with a 101.

use weir_socket::{FlowId, Received, Sockets, SpliceStop};

use super::forward::Fault;
use super::{Service, Step};
use crate::affinity;
use crate::counters::Incident;
use crate::exchange::{Aim, Exchange, Head, ResponseState, Tunnel};
use crate::front::FrontState;
use crate::metrics::MetricsSource;
use crate::slab::Key;
use crate::stream::{Inbox, Outbox};
use crate::upstream::Choice;

impl<M: MetricsSource> Service<M> {
    /// Connects a client to a server of a pool; `head` are bytes of the client's that were read already.
    pub(super) fn begin_tunnel(&mut self, net: &mut impl Sockets, key: Key, pool: u16, head: Head) {
        self.open_entry(net, key, None);
        let Some(front) = self.fronts.get_mut(key) else { return };
        let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
        self.counters.request(front.listener.into());
        let hash = upstream.hash_on.as_ref().map_or(0, |_| affinity::hash_client(front.peer_address(net)));
        let (server, is_queued) = match upstream.place(net.now(), hash) {
            Choice::Server(server) => (server, false),
            Choice::Full => (0, true),
            Choice::Down => {
                self.mishap(key, Incident::NoServer);
                self.drop_front(net, key, true);
                return;
            }
        };
        let aim = Aim { pool, server, hash, way: 0 };
        front.state = FrontState::Exchange(Exchange::tunnel(aim, head, net.now()));
        if is_queued {
            return self.enqueue(net, key, pool);
        }
        self.attempt(net, key, false);
    }

    /// The server switched protocols: what follows belongs to nobody but the two.
    pub(super) fn switch_protocols(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::Exchange(exchange) = &mut front.state else { return Step::Again };
        exchange.response = ResponseState::Tunnel(Tunnel::default());
        exchange.head = Head::None;
        front.timer.set(net, front.flow, net.now() + self.times.tunnel);
        Step::Again
    }

    /// [`ResponseState::Tunnel`]: moves what can be moved, in both directions.
    #[inline(never)]
    pub(super) fn tunnel(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::Exchange(exchange) = &mut front.state else { return Step::Again };
        let Some(back) = exchange.back.and_then(|back| self.backs.table.get_mut(back)) else { return Step::Wait };
        if !back.is_established {
            return match net.receive(back.flow) {
                Received::Closed(_) => self.fault(net, key, Fault::ServerGone),
                _ => Step::Wait,
            };
        }
        exchange.head = Head::None;
        let ResponseState::Tunnel(tunnel) = &mut exchange.response else { return Step::Again };
        let was_half = tunnel.client_ended || tunnel.server_ended;
        let mut up = Direction { from: front.flow, inbox: &mut front.inbox, to: back.flow, outbox: &mut back.outbox };
        let to_server = up.run(net, &mut tunnel.client_ended);
        let mut down = Direction { from: back.flow, inbox: &mut back.inbox, to: front.flow, outbox: &mut front.outbox };
        let to_client = down.run(net, &mut tunnel.server_ended);
        if let (Some(entry), Ok(moved)) = (&mut front.entry, &to_client) {
            entry.add_bytes(*moved);
        }
        let is_over = tunnel.client_ended && tunnel.server_ended;
        let is_half = tunnel.client_ended || tunnel.server_ended;
        match (to_server, to_client) {
            (Err(Broken), _) | (_, Err(Broken)) => {
                self.mishap(key, Incident::TunnelBroken);
                self.drop_front(net, key, true)
            }
            _ if is_over => {
                self.take_back(net, key, false);
                self.drop_front(net, key, false)
            }
            (Ok(0), Ok(0)) if is_half == was_half => Step::Wait,
            _ => {
                let time = if is_half { self.times.half_closed } else { self.times.tunnel };
                front.timer.set(net, front.flow, net.now() + time);
                Step::Wait
            }
        }
    }
}

/// One of the two ends is gone.
struct Broken;

/// One direction of a tunnel.
struct Direction<'t> {
    from: FlowId,
    /// What was read before the tunnel began.
    inbox: &'t mut Inbox,
    to: FlowId,
    outbox: &'t mut Outbox,
}

impl Direction<'_> {
    /// Moves what is there; how much it was.
    fn run(&mut self, net: &mut impl Sockets, has_ended: &mut bool) -> Result<usize, Broken> {
        let mut moved = 0;
        if let Some(chunk) = self.inbox.rest.take() {
            moved += chunk.len();
            self.outbox.send(net, self.to, chunk).map_err(|_| Broken)?;
        }
        if !self.outbox.flush(net, self.to).map_err(|_| Broken)? || *has_ended {
            return Ok(moved);
        }
        let spliced = net.splice(self.from, self.to, usize::MAX);
        moved += spliced.moved;
        match spliced.stop {
            SpliceStop::Nothing | SpliceStop::Full | SpliceStop::Limit(_) => Ok(moved),
            SpliceStop::End => {
                *has_ended = true;
                net.shutdown(self.to);
                Ok(moved)
            }
            SpliceStop::SourceClosed(_) | SpliceStop::TargetClosed(_) => Err(Broken),
        }
    }
}
