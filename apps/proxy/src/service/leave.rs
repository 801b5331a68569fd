//! Leaving: nothing new is taken, and what is under way comes to its end.

use weir_socket::Sockets;

use super::Service;
use crate::front::FrontState;
use crate::metrics::MetricsSource;

impl<M: MetricsSource> Service<M> {
    /// Takes no more connections, answers no request but as the last one of its connection, and ends the connections that wait for
    /// another one. A listener with a notice goes on until that is over; its health page fails at once. A connection that has not brought its first request yet may still do so.
    ///
    /// To be called again now and then: it ends what has come to wait since.
    pub fn leave(&mut self, net: &mut impl Sockets) {
        let now = net.now();
        let left_at = *self.left_at.get_or_insert(now);
        for listener in &mut self.listeners {
            if listener.health.as_ref().is_some_and(|own| now < left_at + own.notice) {
                continue;
            }
            listener.keep_alive = false;
            listener.ids.drain(..).for_each(|id| net.unlisten(id));
        }
        for index in 0..self.fronts.capacity() as u32 {
            let Some(key) = self.fronts.key_at(index) else { return };
            let Some(front) = self.fronts.get_mut(key) else { continue };
            let is_between = matches!(front.state, FrontState::Head) && front.has_served;
            let is_left =
                self.listeners.get(usize::from(front.listener)).is_some_and(|listener| listener.ids.is_empty());
            if is_left && is_between && front.inbox.is_empty() && front.outbox.is_empty() {
                self.drop_front(net, key, false);
            }
        }
    }
}
