//! Exchanges with servers: how they begin, how they are tried again, and how they fail.

use weir_http1::{Body, BodyReader, Method, Reject, Request};
use weir_socket::{ConnectError, Instant, Sockets};

use super::serve::Reply;
use super::{Service, Step};
use crate::affinity;
use crate::counters::{Counters, Incident};
use crate::exchange::{ATTEMPTS_MAX, Aim, Exchange, Framing, Head, RETRIES_MAX, ResponseState};
use crate::front::FrontState;
use crate::heads::{self, RequestHead};
use crate::metrics::MetricsSource;
use crate::proxy_header;
use crate::slab::Key;
use crate::upstream::{Choice, Upstream};
use crate::way::{Changes, REQUEST_ID, counts_forwards, max_forwards};

/// Why an exchange cannot go on as it was.
pub(super) enum Fault {
    /// The client ended or reset its connection.
    ClientGone,
    /// The request's body is not what its head promised.
    BadRequest(Reject),
    /// The server ended or reset its connection, or never accepted it.
    ServerGone,
    /// The server sent something that is no response.
    BadResponse,
    /// No buffer, or no memory.
    NoBuffer,
}

impl<M: MetricsSource> Service<M> {
    /// Sends a request to a server of a pool.
    pub(super) fn begin_exchange(
        &mut self,
        net: &mut impl Sockets,
        key: Key,
        request: &Request<'_>,
        (pool, way): (u16, u16),
        reply: Reply,
    ) {
        let is_counted = counts_forwards(request);
        if is_counted && max_forwards(request) == Some(0) {
            return self.answer_at_last_hop(net, key, request, reply);
        }
        let Some(front) = self.fronts.get_mut(key) else { return };
        // The configuration is checked: the pool exists and has a server.
        let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
        let Some(listener) = self.listeners.get(usize::from(front.listener)) else { return };
        upstream.earn_retry();
        let hash = match &upstream.hash_on {
            None => 0,
            Some(on) => affinity::hash(on, request, front.peer_address(net)),
        };
        let (choice, is_cookie_due) = match way {
            0 => (upstream.place(net.now(), hash), false),
            // A route to a pool with a sticky cookie changes heads.
            _ => place_by_cookie(upstream, &mut self.counters, request, hash, net.now()),
        };
        let (server, is_queued) = match choice {
            Choice::Server(server) => (server, false),
            Choice::Full => (0, true),
            Choice::Down => {
                self.mishap(key, Incident::NoServer);
                return self.answer_error(net, key, 503, reply);
            }
        };
        let server_host = upstream.host(server);
        let upgrade = request.upgrade().filter(|protocols| is_forwardable(protocols));
        let is_changed = way != 0 || upgrade.is_some() || front.is_trusted || listener.is_adding || is_counted;
        let request_id = is_changed.then(|| self.request_ids.next());
        let changes = self.ways.get(usize::from(way)).filter(|_| is_changed).map(|way| {
            let is_named = front.is_trusted && request.fields.get_bytes(REQUEST_ID).is_some();
            let request_id = request_id.as_ref().filter(|_| listener.request_id && !is_named);
            Changes {
                way,
                cookie: upstream.sticky.as_ref().map(|sticky| &*sticky.name),
                is_trusted: front.is_trusted,
                upgrade,
                request_id: request_id.map(|id| &id[..]),
                via: listener.via.as_deref(),
                forwards: max_forwards(request).filter(|_| is_counted).map(|count| count.saturating_sub(1)),
            }
        });
        let forwarding = front.client_text(net);
        let head = RequestHead { request, server_host, forwarding, changes: changes.as_ref() };
        let head = heads::write(net, &mut self.scratch, &head);
        let Some(head) = head else { return self.no_buffer(net, key) };
        let aim = Aim { pool, server, hash, way };
        let mut exchange = Exchange::new(aim, request, head, self.body_bytes_max, net.now());
        exchange.is_persistent &= listener.keep_alive;
        exchange.is_upgrade = upgrade.is_some();
        exchange.is_cookie_due = is_cookie_due;
        // A client's first request is not risked on a connection that may have died, unless it can be sent again.
        let may_reuse = exchange.is_replayable || front.has_served;
        front.has_served = true;
        front.state = FrontState::Exchange(exchange);
        if is_queued {
            return self.enqueue(net, key, pool);
        }
        self.attempt(net, key, may_reuse);
    }

    /// Gives the request to the exchange's server, or to others while none can be connected to.
    pub(super) fn attempt(&mut self, net: &mut impl Sockets, key: Key, may_reuse: bool) {
        loop {
            let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
            let (pool, server) = (exchange.pool, exchange.server);
            let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
            let idle =
                may_reuse.then(|| self.backs.take_idle(net, &mut self.counters, upstream, server, key)).flatten();
            let is_reused = idle.is_some();
            exchange.is_reused = is_reused;
            let opened = match idle {
                Some(back) => Ok(back),
                None => {
                    exchange.attempts += 1;
                    self.backs.connect(net, &mut self.counters, upstream, (pool, server), key)
                }
            };
            match opened {
                Ok(back) => {
                    exchange.back = Some(back);
                    if (is_reused || self.introduce(net, key, back)) && self.send_head(net, key, back) {
                        return;
                    }
                    self.take_back(net, key, true);
                }
                Err(error) => self.not_connected(net.now(), key, (pool, server), error),
            }
            if !self.choose_another(net, key) {
                return self.fail(net, key, 502);
            }
        }
    }

    /// Begins a new connection to a server that wants to know for whom it is. False: it is gone already, or no buffer is free.
    fn introduce(&mut self, net: &mut impl Sockets, key: Key, back: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let Some(back) = self.backs.table.get_mut(back) else { return false };
        let upstream = self.upstreams.get_mut(usize::from(back.pool));
        match upstream.and_then(|upstream| upstream.server_mut(back.server)?.proxy_protocol) {
            None => true,
            Some(version) => {
                let ends = front.ends(net);
                proxy_header::send(net, back.flow, version, ends)
            }
        }
    }

    /// Queues the request's head. False: the connection is gone already.
    #[inline]
    fn send_head(&mut self, net: &mut impl Sockets, key: Key, back: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let FrontState::Exchange(exchange) = &mut front.state else { return false };
        let Some(back) = self.backs.table.get_mut(back) else { return false };
        for chunk in exchange.head.chunks() {
            if back.outbox.send(net, back.flow, chunk).is_err() {
                return false;
            }
        }
        if let Some(server) =
            self.upstreams.get_mut(usize::from(exchange.pool)).and_then(|u| u.server_mut(exchange.server))
        {
            self.counters.exchange(server.counter);
        }
        let server = (exchange.pool, exchange.server);
        let time = match (back.is_established, exchange.request.is_complete()) {
            (false, _) => self.times.connect,
            (true, true) => self.times.first_byte,
            (true, false) => exchange.pace.begin(net.now(), self.times.inactivity),
        };
        front.note_dispatch(server, back.is_established, net.now());
        front.timer.set(net, front.flow, net.now() + time);
        true
    }

    fn not_connected(&mut self, now: Instant, key: Key, (pool, server): (u16, u16), error: ConnectError) {
        match error {
            ConnectError::NoSourcePort => self.mishap(key, Incident::NoSourcePort),
            ConnectError::TableFull => self.mishap(key, Incident::NoConnection),
            ConnectError::NoRoute | ConnectError::InvalidAddress => {
                self.mishap(key, Incident::ConnectFailed);
                self.server_refused(now, pool, server);
            }
        }
    }

    /// Chooses a server for another attempt. False: there is none, or there were enough attempts.
    fn choose_another(&mut self, net: &impl Sockets, key: Key) -> bool {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return false };
        if exchange.attempts >= ATTEMPTS_MAX {
            return false;
        }
        let upstream = self.upstreams.get_mut(usize::from(exchange.pool));
        let choice = upstream.map(|upstream| upstream.choose(net.now(), exchange.hash));
        let Some(Choice::Server(server)) = choice else { return false };
        exchange.server = server;
        exchange.is_cookie_due = true;
        self.counters.incident(Incident::Redispatch);
        true
    }

    /// The server accepted the connection: from now on it is the server's time that runs.
    pub(super) fn established(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let FrontState::Exchange(exchange) = &mut front.state else { return };
        let time = match exchange.response {
            ResponseState::Tunnel(_) => self.times.tunnel,
            _ if exchange.request.is_complete() => self.times.first_byte,
            _ => exchange.pace.begin(net.now(), self.times.inactivity),
        };
        front.note_connection(net.now());
        front.timer.set(net, front.flow, net.now() + time);
    }

    /// Ends the exchange's connection to its server.
    pub(super) fn take_back(&mut self, net: &mut impl Sockets, key: Key, abort: bool) {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
        if let Some(back) = exchange.back.take() {
            self.backs.close(net, &mut self.counters, &mut self.upstreams, back, abort);
        }
        if exchange.is_queued {
            self.dequeue(key);
        }
    }

    /// Something went wrong while the exchange was under way.
    #[cold]
    pub(super) fn fault(&mut self, net: &mut impl Sockets, key: Key, fault: Fault) -> Step {
        match fault {
            Fault::ClientGone => self.client_gone(net, key),
            Fault::ServerGone => self.server_gone(net, key),
            Fault::BadResponse => {
                self.mishap(key, Incident::BadResponse);
                self.server_failed(net, key);
                self.fail(net, key, 502);
            }
            Fault::NoBuffer => {
                self.take_back(net, key, true);
                self.no_buffer(net, key);
            }
            Fault::BadRequest(reject) => {
                self.counters.reject(reject);
                self.refused(key);
                self.fail(net, key, reject.status());
            }
        }
        Step::Again
    }

    /// The server's connection ended before the response did: once more, elsewhere, or not at all.
    fn server_gone(&mut self, net: &mut impl Sockets, key: Key) {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
        let back = exchange.back.and_then(|back| self.backs.table.get_mut(back));
        let is_established = back.as_ref().is_some_and(|back| back.is_established);
        let is_silent = back.is_some_and(|back| back.inbox.is_empty());
        let is_unanswered = matches!(exchange.response, ResponseState::Head) && is_silent;
        if !is_established {
            self.mishap(key, Incident::ConnectFailed);
            return self.connect_failed(net, key, 502);
        }
        // An idle connection may end at any time, which says nothing of the server; a new one should not.
        let (is_reused, pool, server) = (exchange.is_reused, exchange.pool, exchange.server);
        let may_retry = exchange.is_replayable && exchange.retries < RETRIES_MAX && is_unanswered;
        exchange.retries += 1;
        if !is_reused || !may_retry {
            self.mishap(key, Incident::ServerGone);
            self.server_failed(net, key);
        }
        if !may_retry || !self.may_retry(pool) {
            return self.fail(net, key, 502);
        }
        self.take_back(net, key, true);
        if !is_reused {
            let upstream = self.upstreams.get_mut(usize::from(pool));
            let another = upstream.and_then(|upstream| upstream.choose_another(net.now(), server));
            let exchange = self.fronts.get_mut(key).and_then(|front| front.exchange_mut());
            let (Some(exchange), Some(another)) = (exchange, another) else { return self.fail(net, key, 502) };
            exchange.server = another;
            exchange.is_cookie_due = true;
            self.counters.incident(Incident::Redispatch);
        }
        self.counters.incident(Incident::Retry);
        self.attempt(net, key, false);
    }

    fn may_retry(&mut self, pool: u16) -> bool {
        let is_within = self.upstreams.get_mut(usize::from(pool)).is_some_and(Upstream::spend_retry);
        if !is_within {
            self.counters.incident(Incident::RetryBudget);
        }
        is_within
    }

    /// The server could not be connected to: nothing of the request is lost, so another one gets it.
    pub(super) fn connect_failed(&mut self, net: &mut impl Sockets, key: Key, status: u16) {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
        let (pool, server) = (exchange.pool, exchange.server);
        self.server_refused(net.now(), pool, server);
        self.take_back(net, key, true);
        if self.choose_another(net, key) {
            self.attempt(net, key, true);
        } else {
            self.fail(net, key, status);
        }
    }

    /// Ends the exchange: with an error response if nothing was forwarded, otherwise by cutting the response off.
    pub(super) fn fail(&mut self, net: &mut impl Sockets, key: Key, status: u16) {
        self.take_back(net, key, true);
        let Some(front) = self.fronts.get_mut(key) else { return };
        let FrontState::Exchange(exchange) = &mut front.state else { return };
        match &exchange.response {
            ResponseState::Head => {
                let is_complete = exchange.request.is_complete();
                let reply = Reply {
                    version: exchange.version,
                    is_persistent: exchange.is_persistent && is_complete,
                    head_only: exchange.method == Method::Head,
                    body: if is_complete { Body::None } else { Body::UntilClose },
                };
                exchange.head = Head::None;
                self.answer_error(net, key, status, reply);
            }
            // The client can tell a short body from a whole one, unless the end of the connection is what ends it. It gets what came:
            // a reset would take that along.
            ResponseState::Body { reader, framing, .. } if !ends_with_connection(reader, framing) => {
                front.state = FrontState::Flush { linger: !exchange.request.is_complete() };
                front.timer.set(net, front.flow, net.now() + self.times.inactivity);
                self.close_entry(key, net.now());
            }
            ResponseState::Body { .. } | ResponseState::Tunnel(_) => {
                self.drop_front(net, key, true);
            }
        }
    }
}

/// Where a request goes whose pool may have a sticky cookie, and whether its client gets another one.
#[cold]
fn place_by_cookie(
    upstream: &mut Upstream,
    counters: &mut Counters,
    request: &Request<'_>,
    hash: u64,
    now: Instant,
) -> (Choice, bool) {
    let Some(sticky) = &upstream.sticky else { return (upstream.place(now, hash), false) };
    let value = affinity::cookie(request, &sticky.name);
    let placed = upstream.place_by_cookie(now, hash, value);
    if let Some(incident) = placed.incident {
        counters.incident(incident);
    }
    (placed.choice, placed.is_new)
}

/// Whether nothing but the end of the client's connection says where a body ends.
fn ends_with_connection(reader: &BodyReader, framing: &Framing) -> bool {
    match framing {
        Framing::Keep => matches!(reader, BodyReader::UntilClose),
        Framing::Strip => true,
        Framing::Chunk { .. } => false,
    }
}

/// Whether a server may be asked to switch to one of these protocols. HTTP/2 in clear text would let a client send requests
/// that nobody here has seen (RFC 9113 3.1 took it back for reasons), and TLS belongs to whom the client is connected to.
fn is_forwardable(protocols: &[u8]) -> bool {
    let mut names = protocols.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    names.all(|name| {
        !name.eq_ignore_ascii_case(b"h2c") && !name.get(..3).is_some_and(|s| s.eq_ignore_ascii_case(b"tls"))
    })
}
