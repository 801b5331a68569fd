//! What each client may have: connections and requests beyond that are refused, or only counted.

use weir_socket::Sockets;

use super::Service;
use super::serve::Reply;
use crate::clients::Admission;
use crate::counters::Incident;
use crate::metrics::MetricsSource;
use crate::slab::Key;

impl<M: MetricsSource> Service<M> {
    /// Whether the client of a new connection may have it. False: it was reset.
    pub(super) fn admit_connection(&mut self, net: &mut impl Sockets, key: Key) -> bool {
        let (Some(clients), Some(front)) = (&mut self.clients, self.fronts.get_mut(key)) else { return true };
        let admission = clients.connect(front.peer_address(net), net.now());
        front.is_admitted = admission == Admission::Granted;
        let incident = match admission {
            Admission::Granted => return true,
            Admission::Untracked => {
                self.counters.incident(Incident::ClientUntracked);
                return true;
            }
            Admission::TooMany => Incident::ClientConnections,
            Admission::TooOften => Incident::ClientConnectionRate,
        };
        self.counters.incident(incident);
        if !self.is_dry_run {
            self.drop_front(net, key, true);
        }
        self.is_dry_run
    }

    /// Whether a client may send a request now. False: it was answered.
    pub(super) fn admit_request(&mut self, net: &mut impl Sockets, key: Key, reply: Reply) -> bool {
        let (Some(clients), Some(front)) = (&mut self.clients, self.fronts.get_mut(key)) else { return true };
        match clients.request(front.peer_address(net), net.now()) {
            Admission::Granted => return true,
            Admission::Untracked => {
                self.counters.incident(Incident::ClientUntracked);
                return true;
            }
            Admission::TooMany | Admission::TooOften => {}
        }
        self.mishap(key, Incident::ClientRequestRate);
        if !self.is_dry_run {
            self.answer_error(net, key, 429, reply);
        }
        self.is_dry_run
    }

    /// A connection has ended.
    #[inline]
    pub(super) fn dismiss(&mut self, net: &impl Sockets, key: Key) {
        self.count_out(key);
        let (Some(clients), Some(front)) = (&mut self.clients, self.fronts.get_mut(key)) else { return };
        if core::mem::take(&mut front.is_admitted) {
            clients.disconnect(front.peer_address(net), net.now());
        }
    }
}
