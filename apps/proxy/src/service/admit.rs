//! What each client may have: connections and requests beyond that are refused, or only counted.

use weir_socket::Sockets;

use super::Service;
use super::serve::Reply;
use crate::clients::Refusal;
use crate::counters::Incident;
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// Whether the client of a new connection may have it. False: it was reset.
    pub(super) fn admit_connection(&mut self, net: &mut impl Sockets, key: Key) -> bool {
        let (Some(clients), Some(front)) = (&mut self.clients, self.fronts.get_mut(key)) else { return true };
        let refusal = match clients.connect(front.peer_address(net), net.now()) {
            Ok(place) => {
                front.place = Some(place);
                return true;
            }
            Err(refusal) => refusal,
        };
        let incident = match refusal {
            Refusal::Untracked => {
                self.counters.incident(Incident::ClientUntracked);
                return true;
            }
            Refusal::TooMany => Incident::ClientConnections,
            Refusal::TooOften => Incident::ClientConnectionRate,
        };
        self.counters.incident(incident);
        if !self.is_dry_run {
            self.drop_front(net, key, true);
        }
        self.is_dry_run
    }

    /// A client sent a request and may not, or nobody knows. False: it was answered.
    #[cold]
    pub(super) fn refuse_request(&mut self, net: &mut impl Sockets, key: Key, reply: Reply, refusal: Refusal) -> bool {
        if refusal == Refusal::Untracked {
            self.counters.incident(Incident::ClientUntracked);
            return true;
        }
        self.mishap(key, Incident::ClientRequestRate);
        if !self.is_dry_run {
            self.answer_error(net, key, 429, reply);
        }
        self.is_dry_run
    }

    /// A connection has ended.
    #[inline]
    pub(super) fn dismiss(&mut self, key: Key) {
        self.count_out(key);
        let (Some(clients), Some(front)) = (&mut self.clients, self.fronts.get_mut(key)) else { return };
        if let Some(place) = front.place.take() {
            clients.disconnect(place);
        }
    }
}
