//! Shares of what a server may have under way, and how cores trade them.
//!
//! The shares of all cores are together what the configuration allows, always: a core that needs one more asks the others,
//! and one that has a share to spare gives it away. Nothing is counted in common.
//!
//! ```text
//!   core A: request finds all servers full -> Wish to every other core, once per server
//!   core B: a share is idle, or becomes so  -> gives it: its own is smaller by one from then on
//!   core A: Share arrives                   -> its own is larger by one; the request goes on
//! ```
//!
//! A core whose own requests wait gives every second share that becomes idle, so that no core waits for ever for one that is
//! always busy.

use super::Upstream;

/// Cores that can trade.
const CORES_MAX: usize = u64::BITS as usize;

/// What one core has to say to another about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trade {
    /// Number of the pool.
    pub pool: u16,
    /// Number of the server in its pool.
    pub server: u16,
    /// What it is.
    pub offer: Offer,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// The core of this number needs a share.
    Wish(u16),
    /// Here is one.
    Share,
}

/// The part of `max` that core number `core` has at the start: the parts of all cores are `max` together.
pub(super) fn first_share(max: u32, core: usize, cores: usize) -> u32 {
    let (core, cores) = (core as u32, cores.max(1) as u32);
    max / cores + u32::from(core < max % cores)
}

impl Upstream {
    /// The next server that shares of are traded and that was not wished for yet.
    #[cold]
    pub(crate) fn wish(&mut self) -> Option<u16> {
        let count = self.servers.len();
        let index = (0..count).map(|n| (self.next_wish + n) % count).find(|&index| {
            let server = self.servers.get(index);
            server.is_some_and(|server| server.active_max != u32::MAX && !server.is_wished_for)
        })?;
        self.next_wish = index + 1;
        self.servers.get_mut(index)?.is_wished_for = true;
        Some(index as u16)
    }

    /// Another core needs a share of a server.
    #[cold]
    pub(crate) fn hear_wish(&mut self, server: u16, core: u16) {
        if usize::from(core) < CORES_MAX
            && let Some(known) = self.server_mut(server)
        {
            if known.wishes == 0 {
                self.wished.push(server);
            }
            if let Some(known) = self.server_mut(server) {
                known.wishes |= 1 << core;
            }
        }
    }

    /// A share of a server arrived.
    #[cold]
    pub(crate) fn hear_share(&mut self, server: u16, now: weir_socket::Instant) {
        if let Some(known) = self.server_mut(server) {
            known.active_max = known.active_max.saturating_add(1).min(u32::MAX - 1);
            known.is_wished_for = false;
        }
        // Who asked for it has it first, whoever else wishes for one.
        self.is_our_turn = false;
        self.reseed(server, now);
    }

    /// Takes a share that is to spare for a core that wishes for it: the server, and the core.
    #[cold]
    pub(crate) fn give_share(&mut self, now: weir_socket::Instant) -> Option<(u16, u16)> {
        let is_idle = |index: &u16| self.servers.get(usize::from(*index)).is_some_and(|s| s.active < s.active_max);
        let place = self.wished.iter().position(is_idle)?;
        if self.queued > 0 {
            self.is_our_turn = !self.is_our_turn;
            if self.is_our_turn {
                return None;
            }
        }
        let server = *self.wished.get(place)?;
        // In turn: the next one behind the one that had the last.
        let after = self.last_given + 1;
        let known = self.server_mut(server)?;
        let core = ((known.wishes.rotate_right(after.into()).trailing_zeros() + u32::from(after)) % u64::BITS) as u16;
        known.wishes &= !(1 << core);
        known.active_max -= 1;
        if known.wishes == 0 {
            self.wished.swap_remove(place);
        }
        self.last_given = core;
        self.reseed(server, now);
        Some((server, core))
    }
}
