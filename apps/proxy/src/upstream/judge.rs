//! Who is down: what went wrong on this core, and what health checks say.

use core::time::Duration;

use weir_config::ServerState;
use weir_socket::Instant;

use super::Upstream;
use super::server::{Health, NEVER};

/// How long a server is left alone after its first failure; twice as long after each further one.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(1);

/// How often that time doubles: at most 32 s.
const DOUBLINGS_MAX: u8 = 5;

/// Exchanges in a row that fail after the connection was accepted before the server is left alone.
pub(super) const ERRORS_MAX: u8 = 5;

impl Upstream {
    /// The server could not be connected to. True: from now on it is left alone.
    #[cold]
    pub(crate) fn mark_down(&mut self, index: u16, now: Instant) -> bool {
        let Some(server) = self.server_mut(index) else { return false };
        // Requests that were under way when it failed the first time say nothing new.
        if server.down_until > now {
            return false;
        }
        server.down_until = now + LEFT_ALONE * (1 << server.ejections.min(DOUBLINGS_MAX));
        server.ejections = server.ejections.saturating_add(1);
        server.errors = 0;
        self.begin_slow_start(index);
        self.reseed(index, now);
        true
    }

    /// The server accepted a connection, and did not answer as it should. True: from now on it is left alone.
    ///
    /// That is for at most half of a pool's servers: when more fail, what is wrong is likely not theirs.
    #[cold]
    pub(crate) fn mark_error(&mut self, index: u16, now: Instant) -> bool {
        let Some(server) = self.server_mut(index) else { return false };
        server.errors = server.errors.saturating_add(1);
        if server.errors < ERRORS_MAX {
            return false;
        }
        let down = self.servers.iter().filter(|server| server.down_until > now).count();
        (down + 1) * 2 <= self.servers.len() && self.mark_down(index, now)
    }

    /// The server answered. Whether its connection may be used for another client's request.
    #[inline]
    pub(crate) fn mark_good(&mut self, index: u16) -> bool {
        let Some(server) = self.server_mut(index) else { return false };
        if (server.errors | server.ejections) != 0 {
            (server.errors, server.ejections) = (0, 0);
        }
        server.proxy_protocol.is_none()
    }

    /// What health checks found; the number of the server's counter.
    #[cold]
    pub(crate) fn set_health(&mut self, index: u16, is_up: bool, now: Instant) -> Option<usize> {
        let server = self.server_mut(index)?;
        server.health = if is_up { Health::Up } else { Health::Down };
        server.down_until = if is_up && server.state != ServerState::Maintenance { now } else { NEVER };
        (server.errors, server.ejections) = (0, 0);
        let counter = server.counter;
        self.begin_slow_start(index);
        self.reseed(index, now);
        Some(counter)
    }
}
