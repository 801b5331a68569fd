//! Servers that move, because their names lead elsewhere.

use weir_socket::Sockets;

use super::Service;
use crate::health::Moved;
use crate::metrics::MetricsSource;

impl<M: MetricsSource> Service<M> {
    /// A server is at another address, or at its first one. Connections to the old one that are in use stay until their
    /// exchange ends; idle ones are closed; checks ask at the new one.
    #[cold]
    pub fn apply_address(&mut self, net: &mut impl Sockets, moved: Moved) {
        let Moved { pool, server, address } = moved;
        let Some(upstream) = self.upstreams.get_mut(usize::from(pool)) else { return };
        let Some((counter, is_up)) = upstream.set_address(server, address, net.now()) else { return };
        self.counters.server_up(counter, is_up);
        while let Some(index) = upstream.server_mut(server).and_then(|server| server.newest_idle) {
            let Some(key) = self.backs.table.key_at(index) else { break };
            self.backs.unlink(&mut self.counters, upstream, key);
            self.backs.close_idle(net, &mut self.counters, key);
        }
        self.checker.set_address(net, moved);
        self.backs.freed.push(pool);
    }
}
