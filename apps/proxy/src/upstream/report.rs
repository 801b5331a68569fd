//! What cores tell each other of their load: how many exchanges each has under way with each server.
//!
//! Every core tells every other one, at most once in a period and only what has changed, by how much. Nothing that was told is
//! lost, so that a server's load elsewhere is one number, to which changes are added.
//!
//! ```text
//!   core A: 3 under way, 1 told -> told 1 1/4, Loads { server, +1/4 } to every other core
//!   core B: Loads arrive        -> elsewhere + 1/4
//! ```
//!
//! An eighth of the difference is told in each period: the load of some 80 ms. A moment's load would be worse than none where
//! requests take less than a period: it has passed when it is told, and all cores run to where one saw room
//! (`docs/decisions/load.md`).

use weir_socket::Instant;

use super::{Picker, Upstream};

/// Parts of an exchange, in which load is told.
pub(super) const PARTS: u32 = 64;

/// What part of a difference is told at once: one of so many.
const SMOOTHING: u32 = 8;

/// Servers in one message: as many as fit beside the largest of the other messages between cores.
const CHANGES_MAX: usize = 7;

/// What one core has to say to all others about the servers of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loads {
    /// Number of the pool.
    pub(crate) pool: u16,
    changes: [Change; CHANGES_MAX],
}

/// So many more parts of exchanges with a server; 0 says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Change {
    server: u16,
    by: i16,
}

impl Upstream {
    /// From now on, [`next_loads`](Self::next_loads) tells of all servers again, if that is of use.
    pub(crate) fn begin_report(&mut self) {
        self.untold = if self.is_by_load() { self.servers.len() } else { 0 };
    }

    /// Whether there is something to choose, and load decides.
    pub(crate) fn is_by_load(&self) -> bool {
        matches!(self.picker, Picker::Random | Picker::Gradual { is_random: true } | Picker::Least(_))
            && self.servers.len() > 1
    }

    /// The next servers whose load the other cores do not know; this is pool number `pool`. None: that was all.
    pub(crate) fn next_loads(&mut self, pool: u16) -> Option<Loads> {
        let mut loads = Loads { pool, changes: Default::default() };
        let mut changes = loads.changes.iter_mut();
        while changes.len() > 0 && self.untold > 0 {
            self.untold -= 1;
            let Some(server) = self.servers.get_mut(self.untold) else { continue };
            let by = step(server.active.saturating_mul(PARTS), server.told);
            if by != 0
                && let Some(change) = changes.next()
            {
                server.told = server.told.saturating_add_signed(by.into());
                *change = Change { server: self.untold as u16, by };
            }
        }
        (changes.len() < CHANGES_MAX).then_some(loads)
    }

    /// Another core told its load.
    pub(crate) fn hear_loads(&mut self, loads: &Loads, now: Instant) {
        for change in loads.changes.iter().filter(|change| change.by != 0) {
            if let Some(server) = self.server_mut(change.server) {
                server.elsewhere = server.elsewhere.saturating_add_signed(change.by.into());
                self.reseed(change.server, now);
            }
        }
    }
}

/// What is told next by a core that has `active` parts under way and has told of `told`; 0 only if they are the same.
fn step(active: u32, told: u32) -> i16 {
    let part = active.abs_diff(told).div_ceil(SMOOTHING).min(i16::MAX as u32) as i16;
    if active < told { -part } else { part }
}
