//! Moving bytes between a client and a server: what is moved when. How a response is written is in [`super::response`].

use weir_http1::{Body, Reject};
use weir_packet::Chunk;
use weir_socket::{Received, Sockets};

use super::forward::Fault;
use super::response::{Client, HeadContext};
use super::serve::Reply;
use super::{Service, Step};
use crate::back::{Back, Backs};
use crate::counters::Incident;
use crate::exchange::{ResponseState, follow};
use crate::front::{Front, FrontState};
use crate::metrics::MetricsSource;
use crate::slab::{Key, Slab};
use crate::way::Edited;

/// What a direction can do next.
#[derive(PartialEq, Eq)]
enum Flowing {
    /// It waits for an event.
    Waits,
    /// The response is complete.
    Complete,
    /// What follows is another protocol.
    Switches,
}

impl<M: MetricsSource> Service<M> {
    /// [`FrontState::Exchange`]: moves what can be moved, in both directions.
    pub(super) fn relay(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        match self.relay_both(net, key) {
            Ok(Flowing::Waits) => Step::Wait,
            Ok(Flowing::Switches) => self.switch_protocols(net, key),
            Ok(Flowing::Complete) => self.complete(net, key),
            Err(fault) => self.fault(net, key, fault),
        }
    }

    /// Client to server, until one of them has or takes no more.
    #[inline(never)]
    fn relay_request(&mut self, net: &mut impl Sockets, key: Key) -> Result<(), Fault> {
        let Some((front, back)) = both(&mut self.fronts, &mut self.backs, key) else { return Ok(()) };
        let FrontState::Exchange(exchange) = &mut front.state else { return Ok(()) };
        // Before the server accepted the connection, nothing is taken from the client: another server may have to get it.
        if exchange.is_request_cut || !back.is_established {
            return Ok(());
        }
        let (mut content, mut is_moved, mut is_blocked) = (0, false, false);
        loop {
            match back.outbox.flush(net, back.flow) {
                Ok(true) => {}
                Ok(false) => {
                    is_blocked = true;
                    break;
                }
                // What the server said before it went is still to be read.
                Err(_) => {
                    exchange.is_request_cut = true;
                    break;
                }
            }
            if exchange.request.is_complete() {
                break;
            }
            let chunk = match front.inbox.next(net, front.flow) {
                Received::Data(chunk) => chunk,
                Received::Nothing => break,
                Received::End | Received::Closed(_) => return Err(Fault::ClientGone),
            };
            let followed = follow(&mut exchange.request, &chunk).map_err(Fault::BadRequest)?;
            let left = exchange.request_left.checked_sub(followed.content);
            exchange.request_left = left.ok_or(Fault::BadRequest(Reject::BodyTooLarge))?;
            let (part, rest) = split(chunk, followed.used);
            front.inbox.keep(rest);
            is_moved = true;
            content += followed.content;
            if back.outbox.send(net, back.flow, part).is_err() {
                exchange.is_request_cut = true;
                break;
            }
        }
        if is_moved {
            let now = net.now();
            let deadline = match exchange.request.is_complete() {
                true => now + self.times.first_byte,
                false if is_blocked => exchange.pace.block(now + self.times.inactivity),
                false => exchange.pace.advance(now, content, self.body_rate, self.times.body),
            };
            front.timer.set(net, front.flow, deadline);
        }
        Ok(())
    }

    /// Client to server, if that is not done, and server to client, until one of them has or takes no more.
    fn relay_both(&mut self, net: &mut impl Sockets, key: Key) -> Result<Flowing, Fault> {
        let Some((mut front, mut back)) = both(&mut self.fronts, &mut self.backs, key) else {
            return Ok(Flowing::Waits);
        };
        // Most requests were sent when they came.
        if !matches!(&front.state, FrontState::Exchange(exchange) if exchange.request.is_complete())
            || !back.outbox.is_empty()
        {
            self.relay_request(net, key)?;
            let Some(same) = both(&mut self.fronts, &mut self.backs, key) else { return Ok(Flowing::Waits) };
            (front, back) = same;
        }
        let FrontState::Exchange(exchange) = &mut front.state else { return Ok(Flowing::Waits) };
        let entry = front.entry.as_deref_mut();
        let (scratch, date) = (&mut self.scratch, &mut self.local.date);
        let mut to = Client { flow: front.flow, outbox: &mut front.outbox, scratch, date, entry };
        loop {
            if !to.flush(net)? {
                return Ok(Flowing::Waits);
            }
            if let ResponseState::Body { reader, .. } = &exchange.response
                && reader.is_complete()
            {
                return Ok(Flowing::Complete);
            }
            let chunk = match back.inbox.next(net, back.flow) {
                Received::Data(chunk) => chunk,
                Received::Nothing => return Ok(Flowing::Waits),
                Received::End if to.end_body(net, exchange)? => return Ok(Flowing::Complete),
                Received::End | Received::Closed(_) => return Err(Fault::ServerGone),
            };
            if let ResponseState::Body { reader, framing, .. } = &mut exchange.response {
                let rest = to.relay_body(net, reader, framing, chunk)?;
                back.inbox.keep(rest);
            } else {
                let way = if exchange.way == 0 { None } else { self.ways.get(usize::from(exchange.way)) };
                let edited = way.map(|way| Edited::new(way, self.upstreams.get(usize::from(exchange.pool)), exchange));
                let limits = HeadContext { limits: &self.limits, edits: edited.as_ref() };
                let status = to.take_head(net, exchange, &mut back.inbox, chunk, &limits)?;
                let Some(status) = status else { continue };
                self.counters.response(status);
                self.counters.wait(exchange.pool, net.now().nanos_since(exchange.began));
                if let Some(entry) = &mut to.entry {
                    entry.answer(status, net.now());
                }
                if status == 101 {
                    return Ok(Flowing::Switches);
                }
            }
            front.timer.set(net, to.flow, net.now() + self.times.inactivity);
        }
    }

    /// The response is queued for the client: the connections go their ways.
    #[inline]
    fn complete(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let FrontState::Exchange(exchange) = &mut front.state else { return Step::Again };
        let is_request_complete = exchange.request.is_complete() && !exchange.is_request_cut;
        let reply = Reply {
            version: exchange.version,
            is_persistent: exchange.is_persistent && is_request_complete,
            head_only: false,
            body: if is_request_complete { Body::None } else { Body::UntilClose },
        };
        let is_back_persistent =
            matches!(exchange.response, ResponseState::Body { is_back_persistent: true, .. }) && is_request_complete;
        let (back, pool) = (exchange.back.take(), exchange.pool);
        if let Some(back) = back {
            self.release_back(net, back, pool, is_back_persistent);
        }
        self.after_response(net, key, reply);
        Step::Again
    }

    /// Keeps a server's connection for reuse, if nothing speaks against it.
    fn release_back(&mut self, net: &mut impl Sockets, key: Key, pool: u16, is_persistent: bool) {
        let Some(back) = self.backs.table.get_mut(key) else { return };
        if !back.inbox.is_empty() {
            self.counters.incident(Incident::ExcessBytes);
        }
        let is_clean = back.inbox.is_empty() && back.outbox.is_empty();
        let has_room = self.counters.idle_backs < self.idle_max;
        let mut upstream = self.upstreams.get_mut(usize::from(pool));
        let is_shared = upstream.as_mut().is_some_and(|upstream| upstream.mark_good(back.server));
        match upstream {
            Some(upstream)
                if is_persistent && is_clean && has_room && is_shared && back.moves == upstream.moves(back.server) =>
            {
                back.timer.set(net, back.flow, net.now() + self.times.backend_idle);
                self.backs.put_idle(&mut self.counters, upstream, key, net.now());
            }
            _ => {
                if is_persistent && is_clean && !has_room {
                    self.counters.incident(Incident::IdleLimit);
                }
                self.backs.close(net, &mut self.counters, &mut self.upstreams, key, !is_clean);
            }
        }
    }
}

/// The two connections of an exchange.
#[inline]
fn both<'s>(fronts: &'s mut Slab<Front>, backs: &'s mut Backs, key: Key) -> Option<(&'s mut Front, &'s mut Back)> {
    let front = fronts.get_mut(key)?;
    let FrontState::Exchange(exchange) = &front.state else { return None };
    let back = backs.table.get_mut(exchange.back?)?;
    Some((front, back))
}

/// The first `len` bytes of a chunk, and the rest.
#[inline]
pub(super) fn split(mut chunk: Chunk, len: usize) -> (Chunk, Chunk) {
    if len == chunk.len() {
        return (chunk, Chunk::from_static(b""));
    }
    let part = chunk.split_to(len);
    (part, chunk)
}
