//! Where servers are: those with names have no address until it is told, and others later.

use core::net::SocketAddr;

use weir_config::ServerState;
use weir_socket::Instant;

use super::Upstream;
use super::server::Health;

impl Upstream {
    /// The server is at another address than before, or at its first: what was known of it is not true any more, but for the
    /// verdict of its checks. The number of its counter, and whether it gets requests. None: it was there already.
    #[cold]
    pub(crate) fn set_address(&mut self, index: u16, address: SocketAddr, now: Instant) -> Option<(usize, bool)> {
        let server = self.server_mut(index).filter(|server| server.address != Some(address))?;
        server.address = Some(address);
        server.moves = server.moves.wrapping_add(1);
        (server.errors, server.ejections) = (0, 0);
        if !server.is_checked {
            server.health = Health::Up;
        }
        let is_up = server.health == Health::Up;
        if is_up && server.state != ServerState::Maintenance {
            server.down_until = now;
        }
        let counter = server.counter;
        self.begin_slow_start(index);
        self.reseed(index, now);
        Some((counter, is_up))
    }

    /// How often the server has moved.
    #[inline]
    pub(crate) fn moves(&self, index: u16) -> u32 {
        self.servers.get(usize::from(index)).map_or(0, |server| server.moves)
    }
}
