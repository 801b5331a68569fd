//! Leaving: nothing new is taken, and what is under way comes to its end.

use weir_socket::Sockets;

use super::Service;
use crate::front::FrontState;
use crate::metrics::MetricsSource;

impl<M: MetricsSource> Service<M> {
    /// Takes no more connections, answers no request but as the last one of its connection, and ends the connections that wait for
    /// another one. A connection that has not brought its first request yet may still do so.
    ///
    /// To be called again now and then: it ends what has come to wait since.
    pub fn leave(&mut self, net: &mut impl Sockets) {
        for listener in &mut self.listeners {
            listener.keep_alive = false;
            listener.ids.drain(..).for_each(|id| net.unlisten(id));
        }
        for index in 0..self.fronts.capacity() as u32 {
            let Some(key) = self.fronts.key_at(index) else { return };
            let Some(front) = self.fronts.get_mut(key) else { continue };
            let is_between = matches!(front.state, FrontState::Head) && front.has_served;
            if is_between && front.inbox.is_empty() && front.outbox.is_empty() {
                self.drop_front(net, key, false);
            }
        }
    }
}
