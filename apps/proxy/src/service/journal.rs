//! What becomes of each exchange, for the access log. Without one, all of this is a look at an empty place.

use weir_http1::Request;
use weir_socket::{Instant, Sockets};

use super::Service;
use crate::counters::Incident;
use crate::front::Front;
use crate::log::{Ender, Log, Phase};
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// Whether there are lines for [`drain_log`](Self::drain_log).
    #[inline]
    pub fn has_log_lines(&self) -> bool {
        self.log.as_ref().is_some_and(|log| !log.is_empty())
    }

    /// Hands over the lines of the access log, without their ends; to be called in every turn.
    pub fn drain_log(&mut self, give: impl FnMut(&[u8])) {
        if let Some(log) = &mut self.log {
            log.drain(give);
        }
    }

    /// Lines that found no room.
    pub fn lost_log_lines(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.lost())
    }

    /// A request's head is complete, or with none, a tunnel begins.
    #[cold]
    pub(super) fn open_entry(&mut self, net: &impl Sockets, key: Key, request: Option<&Request<'_>>) {
        if let (Some(log), Some(front)) = (&mut self.log, self.fronts.get_mut(key)) {
            front.open_entry(net, log, request);
        }
    }

    /// The exchange is over.
    #[cold]
    pub(super) fn close_entry(&mut self, key: Key, now: Instant) {
        let entry = self.fronts.get_mut(key).and_then(|front| front.entry.take());
        if let (Some(log), Some(entry)) = (&mut self.log, entry) {
            log.finish(entry, now);
        }
    }

    /// Counts what happened to an exchange, and remembers it as the reason of its end.
    #[cold]
    pub(super) fn mishap(&mut self, key: Key, incident: Incident) {
        self.counters.incident(incident);
        if let Some(entry) = self.fronts.get_mut(key).and_then(|front| front.entry.as_mut()) {
            entry.end(ender(incident), entry.phase());
        }
    }

    /// The request is refused for what it is.
    #[cold]
    pub(super) fn refused(&mut self, key: Key) {
        if let Some(entry) = self.fronts.get_mut(key).and_then(|front| front.entry.as_mut()) {
            entry.end(Ender::Proxy, Phase::Request);
        }
    }
}

impl Front {
    /// A request's head is complete, or with none, a tunnel begins.
    #[inline(always)]
    pub(super) fn open_entry(&mut self, net: &impl Sockets, log: &mut Log, request: Option<&Request<'_>>) {
        let now = net.now();
        let began = self.head_began.take().unwrap_or(now);
        let mut entry = log.begin(self.listener, began, now);
        entry.ask(self.logged_client(net), request);
        self.entry = Some(entry);
    }

    /// The exchange is given to a server.
    #[inline]
    pub(super) fn note_dispatch(&mut self, server: (u16, u16), is_connected: bool, now: Instant) {
        if let Some(entry) = &mut self.entry {
            entry.dispatch(server, now);
            if is_connected {
                entry.connect(now);
            }
        }
    }

    /// The server accepted the connection.
    #[inline]
    pub(super) fn note_connection(&mut self, now: Instant) {
        if let Some(entry) = &mut self.entry {
            entry.connect(now);
        }
    }

    /// A response with this status and, if it is ours, so many bytes of body.
    #[inline]
    pub(super) fn note_answer(&mut self, status: u16, bytes: usize, now: Instant) {
        if let Some(entry) = &mut self.entry {
            entry.answer(status, now);
            entry.add_bytes(bytes);
        }
    }
}

/// Who ends an exchange to which this happens.
const fn ender(incident: Incident) -> Ender {
    match incident {
        Incident::ClientGone => Ender::Client,
        Incident::ClientTimeout | Incident::HeadTimeout | Incident::TunnelTimeout => Ender::ClientTimeout,
        Incident::ConnectFailed
        | Incident::ServerGone
        | Incident::BadResponse
        | Incident::NoServer
        | Incident::TunnelBroken => Ender::Server,
        Incident::ConnectTimeout | Incident::FirstByteTimeout | Incident::ServerTimeout | Incident::QueueTimeout => {
            Ender::ServerTimeout
        }
        Incident::NoSourcePort | Incident::NoConnection | Incident::NoBuffer => Ender::Resource,
        _ => Ender::Proxy,
    }
}
