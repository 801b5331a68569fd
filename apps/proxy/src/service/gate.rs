//! Who may come to a listener, and how many at once.

use alloc::boxed::Box;
use core::net::SocketAddr;

use weir_config::{Prefix, contains_address};
use weir_socket::Sockets;

use super::Service;
use crate::counters::Incident;
use crate::metrics::MetricsSource;
use crate::slab::Key;

/// The limits of one listener.
pub(super) struct Gate {
    places: Option<Places>,
    allow: Box<[Prefix]>,
    deny: Box<[Prefix]>,
}

/// This core's share of a listener's connections.
struct Places {
    taken: u32,
    max: u32,
}

impl Gate {
    /// None: everybody may come. This core is one of `cores`.
    pub(super) fn new(listener: &weir_config::Listener, cores: usize) -> Option<Self> {
        let max = listener.connections;
        if max.is_none() && listener.allow.is_empty() && listener.deny.is_empty() {
            return None;
        }
        Some(Self {
            places: max.map(|max| Places { taken: 0, max: max.div_ceil(cores.max(1) as u32) }),
            allow: listener.allow.as_slice().into(),
            deny: listener.deny.as_slice().into(),
        })
    }

    fn is_open_for(&self, client: Option<SocketAddr>) -> bool {
        let has = |prefixes: &[Prefix]| client.is_some_and(|client| contains_address(prefixes, client.ip()));
        !has(&self.deny) && (self.allow.is_empty() || has(&self.allow))
    }
}

impl<M: MetricsSource> Service<M> {
    /// Whether a new connection finds room at its listener. False: it was reset.
    pub(super) fn count_in(&mut self, net: &mut impl Sockets, key: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let listener = self.listeners.get_mut(usize::from(front.listener));
        let Some(places) = listener.and_then(|listener| listener.gate.as_mut()?.places.as_mut()) else { return true };
        if places.taken < places.max {
            places.taken += 1;
            front.is_counted = true;
            return true;
        }
        self.counters.incident(Incident::ListenerConnections);
        self.drop_front(net, key, true);
        false
    }

    /// Whether a client may come to its listener, now that it is known who it is. False: it was reset.
    pub(super) fn let_in(&mut self, net: &mut impl Sockets, key: Key) -> bool {
        let Some(front) = self.fronts.get_mut(key) else { return false };
        let listener = self.listeners.get(usize::from(front.listener));
        let Some(gate) = listener.and_then(|listener| listener.gate.as_ref()) else { return true };
        if gate.is_open_for(front.peer_address(net)) {
            return true;
        }
        self.counters.incident(Incident::ClientDenied);
        self.drop_front(net, key, true);
        false
    }

    /// A connection that was counted has ended.
    pub(super) fn count_out(&mut self, key: Key) {
        let Some(front) = self.fronts.get_mut(key).filter(|front| front.is_counted) else { return };
        front.is_counted = false;
        let listener = self.listeners.get_mut(usize::from(front.listener));
        if let Some(places) = listener.and_then(|listener| listener.gate.as_mut()?.places.as_mut()) {
            places.taken = places.taken.saturating_sub(1);
        }
    }
}
