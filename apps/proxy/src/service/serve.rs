//! Requests: reading their heads, choosing their routes, and answering those that need no server.

use weir_http1::{Body, BodyReader, Method, Reject, Request, Version};
use weir_httpd::{Answer, Manner, dynamic_head};
use weir_packet::Chunk;
use weir_socket::{Received, Sockets};

use super::{Service, Step, Target};
use crate::counters::Incident;
use crate::exchange::follow;
use crate::front::{Front, FrontState, connection};
use crate::metrics::{self, MetricsSource};
use crate::slab::Key;
use crate::stream::HeadBytes;

/// What is known of a request when its response is written.
#[derive(Clone, Copy)]
pub(super) struct Reply {
    pub version: Version,
    pub is_persistent: bool,
    pub head_only: bool,
    /// What of the request is still to come.
    pub body: Body,
}

impl Reply {
    /// To a request that was not understood: the connection ends.
    pub(super) const LAST: Self =
        Self { version: Version::Http11, is_persistent: false, head_only: false, body: Body::UntilClose };

    fn to(request: &Request<'_>, keep_alive: bool) -> Self {
        Self {
            version: request.version,
            // A client that waits for 100 Continue need not send its body after another response (RFC 9110 10.1.1), so
            // nobody could tell where the next request begins.
            is_persistent: request.is_persistent && keep_alive && !request.expects_continue,
            head_only: request.method == Method::Head,
            body: request.body,
        }
    }

    fn manner(&self) -> Manner {
        Manner { connection: connection(self.is_persistent, self.version), head_only: self.head_only }
    }
}

impl Front {
    /// A request was taken: whether there may be more to do at once.
    #[inline]
    fn step_behind_request(&self) -> Step {
        match &self.state {
            // The server was sent all of it just now, and cannot have answered yet.
            FrontState::Exchange(exchange) if exchange.request.is_complete() => Step::Wait,
            _ => Step::Again,
        }
    }
}

impl<M: MetricsSource> Service<M> {
    /// [`FrontState::Head`]: takes received bytes and, when the head is complete, its request.
    #[inline]
    pub(super) fn read_head(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        match front.outbox.flush(net, front.flow) {
            Ok(true) => {}
            Ok(false) => return Step::Wait,
            Err(_) => return self.drop_front(net, key, true),
        }
        let chunk = match front.inbox.next(net, front.flow) {
            Received::Data(chunk) => chunk,
            Received::Nothing => return Step::Wait,
            Received::End | Received::Closed(_) => return self.drop_front(net, key, false),
        };
        if front.inbox.gathered.is_some() {
            return self.read_gathered_head(net, key, chunk);
        }
        match self.take_request(net, key, &chunk) {
            Ok(Some(head_len)) => {
                let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
                front.inbox.keep_behind(chunk, head_len);
                front.step_behind_request()
            }
            Ok(None) => self.wait_for_head(net, key, HeadBytes::whole(chunk)),
            Err(reject) => self.reject(net, key, reject, is_head(&chunk)),
        }
    }

    /// The same where a part of the head came before.
    #[cold]
    fn read_gathered_head(&mut self, net: &mut impl Sockets, key: Key, chunk: Chunk) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        let head = match HeadBytes::collect(&mut front.inbox, chunk, self.limits.head_bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Step::Again,
            Err(_) => return self.drop_front(net, key, true),
        };
        match self.take_request(net, key, head.bytes()) {
            Ok(Some(head_len)) => {
                let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
                head.used(&mut front.inbox, head_len);
                front.step_behind_request()
            }
            Ok(None) => self.wait_for_head(net, key, head),
            Err(reject) => self.reject(net, key, reject, is_head(head.bytes())),
        }
    }

    /// Does what the request at the front of `bytes` asks for; the length of its head. None: it is not complete.
    #[inline(never)]
    fn take_request(&mut self, net: &mut impl Sockets, key: Key, bytes: &[u8]) -> Result<Option<usize>, Reject> {
        // By reference: a parsed head is larger than what becomes of it.
        match &Request::parse(bytes, &self.limits) {
            Ok(Some(request)) => {
                self.dispatch(net, key, request);
                Ok(Some(request.head_len))
            }
            Ok(None) => Ok(None),
            Err(reject) => Err(*reject),
        }
    }

    #[cold]
    fn wait_for_head(&mut self, net: &mut impl Sockets, key: Key, head: HeadBytes) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        // The time for a head runs from the connection's start or from the first byte, and is not prolonged.
        if !head.is_continued() {
            front.head_began = Some(net.now());
            if front.has_served {
                front.timer.set(net, front.flow, net.now() + self.times.head);
            }
        }
        match head.incomplete(&mut front.inbox) {
            Ok(()) => Step::Again,
            Err(_) => self.drop_front(net, key, true),
        }
    }

    #[inline]
    fn dispatch(&mut self, net: &mut impl Sockets, key: Key, request: &Request<'_>) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        let index = usize::from(front.listener);
        let Some(listener) = self.listeners.get(index) else { return };
        let reply = Reply::to(request, listener.keep_alive);
        self.counters.request(index);
        if self.is_watchful && !self.watch_request(net, key, request, reply) {
            return;
        }
        if let Some(reject) = self.refusal(request) {
            self.reject(net, key, reject, reply.head_only);
            return;
        }
        let Some(listener) = self.listeners.get(index) else { return };
        let find = |path| listener.router.find(path, || request.host_name());
        // `OPTIONS *` asks about the server as a whole (RFC 9110 9.3.7): its host's default route answers. That takes any other
        // path by itself.
        match find(request.path()).or_else(|| find(b"/")) {
            Some(Target::Pool { pool, way }) => self.begin_exchange(net, key, request, (pool, way), reply),
            Some(target) => self.answer(net, key, request, target, reply),
            None => self.answer_error(net, key, 404, reply),
        }
    }

    /// Where requests are logged or counted by client. False: it was answered.
    #[inline(never)]
    fn watch_request(&mut self, net: &mut impl Sockets, key: Key, request: &Request<'_>, reply: Reply) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        if let Some(log) = &mut self.log {
            front.open_entry(net, log, Some(request));
        }
        let Some(clients) = &mut self.clients else { return true };
        match clients.request(front.place, || front.peer_address(net), net.now()) {
            Ok(()) => true,
            Err(refusal) => self.refuse_request(net, key, reply, refusal),
        }
    }

    /// What is wrong with a request that is well-formed.
    #[inline]
    fn refusal(&self, request: &Request<'_>) -> Option<Reject> {
        match request.body {
            Body::Length(length) if length > self.body_bytes_max => Some(Reject::BodyTooLarge),
            _ if request.method == Method::Connect => Some(Reject::Connect),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn answer(
        &mut self,
        net: &mut impl Sockets,
        key: Key,
        request: &Request<'_>,
        target: Target,
        reply: Reply,
    ) {
        if request.method == Method::Other {
            self.reject(net, key, Reject::MethodUnknown, false);
            return;
        }
        let is_read = matches!(request.method, Method::Get | Method::Head);
        let (local, manner) = (&mut self.local, reply.manner());
        let answer = match target {
            Target::Fixed(index) => match local.fixed.get_mut(usize::from(index)) {
                Some(prepared) => Ok(prepared.answer(net, &mut local.date, manner)),
                None => Err(404),
            },
            _ if !is_read => Err(405),
            Target::Page(index) => match local.pages.get_mut(usize::from(index)) {
                Some((path, page)) if path.as_bytes() == request.path() => {
                    Ok(page.answer(net, &mut local.date, manner))
                }
                _ => Err(404),
            },
            Target::Files(index) => {
                let root = local.files.get(usize::from(index));
                root.and_then(|root| root.answer(&local.archive, request, net, &mut local.date, manner)).ok_or(404)
            }
            Target::Health => return self.answer_health(net, key, request, reply),
            Target::Metrics => return self.answer_metrics(net, key, reply),
            Target::Pool { .. } => Err(404),
        };
        match answer {
            Ok(Some(answer)) => self.send_answer(net, key, answer, reply),
            Ok(None) => self.no_buffer(net, key),
            Err(status) => self.answer_error(net, key, status, reply),
        }
    }

    #[cold]
    fn answer_metrics(&mut self, net: &mut impl Sockets, key: Key, reply: Reply) {
        let Some((mut chunks, len)) = metrics::page(net, &mut self.metrics) else {
            self.counters.incident(Incident::NoBuffer);
            return self.answer_error(net, key, 503, reply);
        };
        if reply.head_only {
            chunks.clear();
        }
        let fields: [(&str, &[u8]); 1] = [("Content-Type", b"text/plain; version=0.0.4; charset=utf-8")];
        let Some(head) = dynamic_head(200, &fields, len, net, &mut self.local.date, reply.manner()) else {
            return self.no_buffer(net, key);
        };
        let Some(front) = self.fronts.get_mut(key) else { return };
        for chunk in core::iter::once(head).chain(chunks) {
            if front.outbox.send(net, front.flow, chunk).is_err() {
                self.drop_front(net, key, true);
                return;
            }
        }
        front.note_answer(200, len, net.now());
        self.counters.response(200);
        self.after_response(net, key, reply);
    }

    /// Answers a request that is not to be forwarded any further, in the servers' place (RFC 9110 7.6.2). What they can do is
    /// not known here, and what a client sent is not sent back to it: a page could read its cookies there.
    #[cold]
    pub(super) fn answer_at_last_hop(&mut self, net: &mut impl Sockets, key: Key, request: &Request<'_>, reply: Reply) {
        if request.method != Method::Options {
            return self.answer_error(net, key, 501, reply);
        }
        match dynamic_head(200, &[], 0, net, &mut self.local.date, reply.manner()) {
            Some(head) => self.send_answer(net, key, Answer { status: 200, head, body: None, body_bytes: 0 }, reply),
            None => self.no_buffer(net, key),
        }
    }

    /// Answers with an error that is no fault of the request's form.
    pub(super) fn answer_error(&mut self, net: &mut impl Sockets, key: Key, status: u16, reply: Reply) {
        match self.local.error(net, status, reply.manner()) {
            Some(answer) => self.send_answer(net, key, answer, reply),
            None => self.no_buffer(net, key),
        }
    }

    /// Refuses a request: nobody knows where the next one would begin, so the connection ends.
    #[cold]
    pub(super) fn reject(&mut self, net: &mut impl Sockets, key: Key, reject: Reject, head_only: bool) -> Step {
        self.counters.reject(reject);
        if self.fronts.get_mut(key).is_some_and(|front| front.entry.is_none()) {
            self.open_entry(net, key, None);
        }
        self.refused(key);
        if let Some(front) = self.fronts.get_mut(key) {
            front.inbox = Default::default();
        }
        self.answer_error(net, key, reject.status(), Reply { head_only, ..Reply::LAST });
        Step::Again
    }

    #[cold]
    pub(super) fn no_buffer(&mut self, net: &mut impl Sockets, key: Key) {
        self.mishap(key, Incident::NoBuffer);
        self.drop_front(net, key, true);
    }

    #[inline]
    fn send_answer(&mut self, net: &mut impl Sockets, key: Key, answer: Answer, reply: Reply) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        front.note_answer(answer.status, answer.body_bytes, net.now());
        let mut sent = front.outbox.send(net, front.flow, answer.head);
        if let (Ok(()), Some(body)) = (sent, answer.body) {
            sent = front.outbox.send(net, front.flow, body);
        }
        if sent.is_err() {
            self.drop_front(net, key, true);
            return;
        }
        self.counters.response(answer.status);
        self.after_response(net, key, reply);
    }

    /// The response is queued: what is next on this connection?
    #[inline]
    pub(super) fn after_response(&mut self, net: &mut impl Sockets, key: Key, reply: Reply) {
        let Some(front) = self.fronts.get_mut(key) else { return };
        if let Some(log) = &mut self.log
            && let Some(entry) = front.entry.take()
        {
            log.finish(entry, net.now());
        }
        front.has_served = true;
        if reply.is_persistent && reply.body == Body::None {
            front.state = FrontState::Head;
            return front.timer.set(net, front.flow, net.now() + self.times.keep_alive);
        }
        front.state = match (reply.is_persistent, reply.body) {
            (true, body) => FrontState::Drain { reader: BodyReader::new(body), left: self.body_bytes_max },
            (false, body) => FrontState::Flush { linger: body != Body::None },
        };
        front.timer.set(net, front.flow, net.now() + self.times.inactivity);
    }

    /// [`FrontState::Drain`]: passes over the rest of a body.
    #[inline(never)]
    pub(super) fn drain(&mut self, net: &mut impl Sockets, key: Key) -> Step {
        let Some(front) = self.fronts.get_mut(key) else { return Step::Wait };
        if front.outbox.flush(net, front.flow).is_err() {
            return self.drop_front(net, key, true);
        }
        let FrontState::Drain { reader, left } = &mut front.state else { return Step::Again };
        if reader.is_complete() {
            front.state = FrontState::Head;
            front.timer.set(net, front.flow, net.now() + self.times.keep_alive);
            return Step::Again;
        }
        let mut chunk = match front.inbox.next(net, front.flow) {
            Received::Data(chunk) => chunk,
            Received::Nothing => return Step::Wait,
            Received::End | Received::Closed(_) => return self.drop_front(net, key, false),
        };
        let followed = follow(reader, &chunk);
        match followed.map(|followed| (followed.used, left.checked_sub(followed.content))) {
            Ok((used, Some(rest))) => {
                *left = rest;
                chunk.advance(used);
                front.inbox.keep(chunk);
                front.timer.set(net, front.flow, net.now() + self.times.inactivity);
            }
            Ok((_, None)) => {
                self.counters.reject(Reject::BodyTooLarge);
                front.state = FrontState::Flush { linger: true };
            }
            Err(reject) => {
                self.counters.reject(reject);
                front.state = FrontState::Flush { linger: true };
            }
        }
        Step::Again
    }
}

/// Whether a request asks for a head alone, also if it was not understood: then nothing else may be sent (RFC 9110 9.3.2).
#[cold]
fn is_head(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HEAD ")
}
