//! Servers that fail are left alone for a time.

use weir_socket::{Instant, Sockets};

use super::Service;
use crate::counters::Incident;
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// The server could not be connected to.
    pub(super) fn server_refused(&mut self, now: Instant, pool: u16, server: u16) {
        let upstream = self.upstreams.get_mut(usize::from(pool));
        if upstream.is_some_and(|upstream| upstream.mark_down(server, now)) {
            self.counters.incident(Incident::Ejected);
        }
    }

    /// The server accepted a connection, and did not answer as it should.
    pub(super) fn server_failed(&mut self, net: &impl Sockets, key: Key) {
        let Some(exchange) = self.fronts.get_mut(key).and_then(|front| front.exchange_mut()) else { return };
        let upstream = self.upstreams.get_mut(usize::from(exchange.pool));
        if upstream.is_some_and(|upstream| upstream.mark_error(exchange.server, net.now())) {
            self.counters.incident(Incident::Ejected);
        }
    }
}
