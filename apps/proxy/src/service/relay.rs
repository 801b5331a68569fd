//! Moving bytes between a client and a server.

use alloc::vec::Vec;

use weir_http1::{
    Body, BodyReader, CHUNK_HEAD_BYTES_MAX, HeadLimits, HeadWriter, LAST_CHUNK, Piece, Reject, Response, Version,
    write_chunk_head,
};
use weir_packet::Chunk;
use weir_socket::{FlowId, Received, Sockets};

use super::forward::Fault;
use super::serve::Reply;
use super::{Service, Step};
use crate::counters::Incident;
use crate::exchange::{Exchange, Framing, Head, ResponseState, follow};
use crate::front::{FrontState, connection};
use crate::heads::{self, ResponseHead};
use crate::log::Entry;
use crate::metrics::MetricsSource;
use crate::slab::Key;
use crate::stream::{HeadBytes, Inbox, Outbox};
use crate::way::Edits;

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
        if let Err(fault) = self.relay_request(net, key) {
            return self.fault(net, key, fault);
        }
        match self.relay_response(net, key) {
            Ok(Flowing::Waits) => Step::Wait,
            Ok(Flowing::Switches) => self.switch_protocols(net, key),
            Ok(Flowing::Complete) => self.complete(net, key),
            Err(fault) => self.fault(net, key, fault),
        }
    }

    /// Client to server, until one of them has or takes no more.
    #[inline]
    fn relay_request(&mut self, net: &mut impl Sockets, key: Key) -> Result<(), Fault> {
        let Some(front) = self.fronts.get_mut(key) else { return Ok(()) };
        let FrontState::Exchange(exchange) = &front.state else { return Ok(()) };
        let Some(back) = exchange.back.and_then(|back| self.backs.table.get_mut(back)) else { return Ok(()) };
        // Most requests were sent when they came.
        match exchange.request.is_complete() && back.outbox.is_empty() {
            true => Ok(()),
            false => self.relay_more(net, key),
        }
    }

    #[inline(never)]
    fn relay_more(&mut self, net: &mut impl Sockets, key: Key) -> Result<(), Fault> {
        let Some(front) = self.fronts.get_mut(key) else { return Ok(()) };
        let FrontState::Exchange(exchange) = &mut front.state else { return Ok(()) };
        let Some(back) = exchange.back.and_then(|back| self.backs.table.get_mut(back)) else { return Ok(()) };
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

    /// Server to client, until one of them has or takes no more.
    fn relay_response(&mut self, net: &mut impl Sockets, key: Key) -> Result<Flowing, Fault> {
        let Some(front) = self.fronts.get_mut(key) else { return Ok(Flowing::Waits) };
        let FrontState::Exchange(exchange) = &mut front.state else { return Ok(Flowing::Waits) };
        let Some(back) = exchange.back.and_then(|back| self.backs.table.get_mut(back)) else {
            return Ok(Flowing::Waits);
        };
        let entry = front.entry.as_deref_mut();
        let mut to = Client { flow: front.flow, outbox: &mut front.outbox, scratch: &mut self.scratch, entry };
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
                let edits = if exchange.way == 0 { None } else { self.ways.get(usize::from(exchange.way)) };
                let limits = HeadContext { limits: &self.limits, edits: edits.map(|way| &way.response) };
                let status = to.take_head(net, exchange, &mut back.inbox, chunk, &limits)?;
                let Some(status) = status else { continue };
                self.counters.response(status);
                self.counters.wait(exchange.pool, net.now().since(exchange.began));
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

/// The first `len` bytes of a chunk, and the rest.
#[inline]
fn split(mut chunk: Chunk, len: usize) -> (Chunk, Chunk) {
    if len == chunk.len() {
        return (chunk, Chunk::from_static(b""));
    }
    let part = chunk.split_to(len);
    (part, chunk)
}

/// What a response's head is read and written by.
struct HeadContext<'s> {
    limits: &'s HeadLimits,
    edits: Option<&'s Edits>,
}

/// What a head was that was forwarded.
struct Taken {
    /// Its bytes, and those of the body that went with it.
    used: usize,
    /// The status of a final response.
    status: Option<u16>,
}

/// Where a response goes.
struct Client<'f> {
    flow: FlowId,
    outbox: &'f mut Outbox,
    /// For heads that are longer than a buffer.
    scratch: &'f mut [u8],
    /// For the access log, if there is one.
    entry: Option<&'f mut Entry>,
}

impl Client<'_> {
    #[inline]
    fn send(&mut self, net: &mut impl Sockets, chunk: Chunk) -> Result<(), Fault> {
        self.outbox.send(net, self.flow, chunk).map_err(|_| Fault::ClientGone)
    }

    /// Whether nothing waits any more.
    #[inline]
    fn flush(&mut self, net: &mut impl Sockets) -> Result<bool, Fault> {
        self.outbox.flush(net, self.flow).map_err(|_| Fault::ClientGone)
    }

    /// Takes bytes of the response's head, and forwards it when it is complete; the status of a final one.
    #[inline]
    fn take_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        inbox: &mut Inbox,
        chunk: Chunk,
        context: &HeadContext<'_>,
    ) -> Result<Option<u16>, Fault> {
        if inbox.gathered.is_some() {
            return self.take_gathered_head(net, exchange, inbox, chunk, context);
        }
        match self.forward_head(net, exchange, &chunk, context)? {
            Some(Taken { used, status }) => {
                inbox.keep_behind(chunk, used);
                Ok(status)
            }
            None => HeadBytes::whole(chunk).incomplete(inbox).map(|()| None).map_err(|_| Fault::NoBuffer),
        }
    }

    /// The same where a part of the head came before.
    #[cold]
    fn take_gathered_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        inbox: &mut Inbox,
        chunk: Chunk,
        context: &HeadContext<'_>,
    ) -> Result<Option<u16>, Fault> {
        let collected = HeadBytes::collect(inbox, chunk, context.limits.head_bytes);
        let Some(head) = collected.map_err(|_| Fault::NoBuffer)? else { return Ok(None) };
        match self.forward_head(net, exchange, head.bytes(), context)? {
            Some(Taken { used, status }) => {
                head.used(inbox, used);
                Ok(status)
            }
            None => head.incomplete(inbox).map(|()| None).map_err(|_| Fault::NoBuffer),
        }
    }

    /// Forwards the head at the front of `bytes`, and a short body that came with it. None: it is not complete.
    #[inline(never)]
    fn forward_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        bytes: &[u8],
        context: &HeadContext<'_>,
    ) -> Result<Option<Taken>, Fault> {
        // By reference: a parsed head is larger than what becomes of it.
        let parsed = Response::parse(bytes, exchange.method, context.limits);
        let response = match &parsed {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(None),
            Err(_) => return Err(Fault::BadResponse),
        };
        if response.is_interim() {
            self.interim(net, exchange, response)?;
            return Ok(Some(Taken { used: response.head_len, status: None }));
        }
        let body = heads::small_body(response, bytes);
        self.final_head(net, exchange, response, body, context.edits)?;
        Ok(Some(Taken { used: response.head_len + body.len(), status: Some(response.status) }))
    }

    /// A 1xx goes to clients that know them.
    #[cold]
    fn interim(&mut self, net: &mut impl Sockets, exchange: &Exchange, response: &Response<'_>) -> Result<(), Fault> {
        if exchange.version == Version::Http10 {
            return Ok(());
        }
        let head = heads::write(net, self.scratch, &|writer: &mut HeadWriter<'_>| heads::interim(writer, response))
            .ok_or(Fault::NoBuffer)?;
        self.send_head(net, head)
    }

    /// The head of the final response: from here on, the client knows what to expect. With it goes `body`, which is all of
    /// its body or nothing.
    #[inline]
    fn final_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &mut Exchange,
        response: &Response<'_>,
        body: &[u8],
        edits: Option<&Edits>,
    ) -> Result<(), Fault> {
        if response.status == 101 {
            return self.switching_head(net, exchange, response);
        }
        let framing = heads::framing(response.body, exchange.version);
        let ends_with_connection =
            framing == Framing::Strip || (framing == Framing::Keep && response.body == Body::UntilClose);
        // An early response: what is left of the request may never come, and then the connection has no next request.
        exchange.is_persistent &= !ends_with_connection && exchange.request.is_complete();
        let connection = connection(exchange.is_persistent, exchange.version);
        let head = ResponseHead { response, framing, connection, edits, body };
        let head = heads::write(net, self.scratch, &head).ok_or(Fault::NoBuffer)?;
        exchange.head = Head::None;
        if let Some(entry) = &mut self.entry {
            entry.add_bytes(body.len());
        }
        exchange.response = ResponseState::Body {
            reader: BodyReader::new(if body.is_empty() { response.body } else { Body::None }),
            framing,
            is_back_persistent: response.is_persistent,
        };
        self.send_head(net, head)
    }

    /// A 101, if the client asked for one.
    #[cold]
    fn switching_head(
        &mut self,
        net: &mut impl Sockets,
        exchange: &Exchange,
        response: &Response<'_>,
    ) -> Result<(), Fault> {
        let protocol = response.upgrade().filter(|_| exchange.is_upgrade).ok_or(Fault::BadResponse)?;
        let head = heads::write(net, self.scratch, &|writer: &mut HeadWriter<'_>| {
            heads::switching(writer, response, protocol)
        });
        self.send_head(net, head.ok_or(Fault::NoBuffer)?)
    }

    #[inline]
    fn send_head(&mut self, net: &mut impl Sockets, head: Head) -> Result<(), Fault> {
        match head {
            Head::None => Ok(()),
            Head::One(chunk) => self.send(net, chunk),
            Head::Many(chunks) => self.send_all(net, chunks),
        }
    }

    #[cold]
    fn send_all(&mut self, net: &mut impl Sockets, chunks: Vec<Chunk>) -> Result<(), Fault> {
        chunks.into_iter().try_for_each(|chunk| self.send(net, chunk))
    }

    /// Forwards the part of a chunk that belongs to the body; the rest comes back.
    #[inline]
    fn relay_body(
        &mut self,
        net: &mut impl Sockets,
        reader: &mut BodyReader,
        framing: &mut Framing,
        chunk: Chunk,
    ) -> Result<Chunk, Fault> {
        if let Some(entry) = &mut self.entry {
            entry.add_bytes(chunk.len());
        }
        match framing {
            Framing::Keep => {
                let followed = follow(reader, &chunk).map_err(|_| Fault::BadResponse)?;
                let (part, rest) = split(chunk, followed.used);
                self.send(net, part)?;
                Ok(rest)
            }
            Framing::Strip => self.strip(net, reader, chunk),
            Framing::Chunk { is_first } => {
                let is_first = core::mem::replace(is_first, false);
                self.send_chunked(net, chunk, is_first)?;
                Ok(Chunk::from_static(b""))
            }
        }
    }

    /// Forwards the content of a chunked body without its coding.
    fn strip(&mut self, net: &mut impl Sockets, reader: &mut BodyReader, mut chunk: Chunk) -> Result<Chunk, Fault> {
        while !chunk.is_empty() {
            match reader.read(&chunk).map_err(|_| Fault::BadResponse)? {
                Piece::Data(len) => self.send(net, chunk.split_to(len))?,
                Piece::Framing(len) => chunk.advance(len),
                Piece::End => break,
            }
        }
        Ok(chunk)
    }

    /// Forwards content with the chunked coding put on.
    fn send_chunked(&mut self, net: &mut impl Sockets, chunk: Chunk, is_first: bool) -> Result<(), Fault> {
        let head = chunk_head(net, chunk.len(), is_first).ok_or(Fault::NoBuffer)?;
        self.send(net, head)?;
        self.send(net, chunk)
    }

    /// The server ended its connection. True: that is how the body ends.
    #[cold]
    fn end_body(&mut self, net: &mut impl Sockets, exchange: &Exchange) -> Result<bool, Fault> {
        let ResponseState::Body { reader: BodyReader::UntilClose, framing, .. } = &exchange.response else {
            return Ok(false);
        };
        if let Framing::Chunk { is_first } = framing {
            if !is_first {
                self.send(net, Chunk::from_static(b"\r\n"))?;
            }
            self.send(net, Chunk::from_static(LAST_CHUNK))?;
        }
        Ok(true)
    }
}

fn chunk_head(net: &mut impl Sockets, len: usize, is_first: bool) -> Option<Chunk> {
    let mut packet = net.allocate()?;
    let mut writer = HeadWriter::new(packet.extend(CHUNK_HEAD_BYTES_MAX).ok()?);
    write_chunk_head(&mut writer, len, is_first);
    let len = writer.finish()?;
    packet.truncate(len);
    Some(packet.freeze())
}
