//! One server.

use alloc::boxed::Box;
use alloc::format;
use core::net::SocketAddr;

use weir_config::{ProxyVersion, ServerState};
use weir_socket::Instant;

use super::report::PARTS;

/// The end of time: a server that health checks found down waits for their next verdict.
pub(super) const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// A server as one core sees it.
pub(crate) struct Server {
    /// Where it is; nowhere until its name is resolved.
    pub address: Option<SocketAddr>,
    /// How often that has changed.
    pub(super) moves: u32,
    /// The value of Host for a request without one.
    pub host: Box<[u8]>,
    /// Number of its counter.
    pub counter: usize,
    /// Not before then it gets requests while another server can: the one place that choosing looks at.
    pub(super) down_until: Instant,
    /// Exchanges of this core under way there.
    pub(super) active: u32,
    /// How many the other cores have, as far as they told, in parts.
    pub(super) elsewhere: u32,
    /// How many they were told that this core has, in parts.
    pub(super) told: u32,
    /// How many this core may have.
    pub(super) active_max: u32,
    /// A share was asked for and has not come.
    pub(super) is_wished_for: bool,
    /// The cores that wish for a share, one bit each.
    pub(super) wishes: u64,
    /// 0 also for one that drains.
    pub(super) weight: u16,
    pub(super) is_backup: bool,
    pub(super) state: ServerState,
    pub(super) is_checked: bool,
    pub(super) health: Health,
    /// How often in a row it was left alone.
    pub(super) ejections: u8,
    /// Failed exchanges in a row.
    pub(super) errors: u8,
    /// The connection that became idle last: an index into the table of backend connections, which links the others.
    pub newest_idle: Option<u32>,
    /// How its connections begin. Such a connection is of one client, and not used for another's requests.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// What health checks say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Nothing yet: no requests before the first verdict, or before there is an address.
    Unknown,
    /// It is up, or is not checked.
    Up,
    Down,
}

impl Server {
    /// Counted by number `counter`; without checks it is up.
    pub(super) fn new(server: &weir_config::Server, counter: usize, is_checked: bool, active_max: u32) -> Self {
        let address = server.address.ip();
        let is_unknown = is_checked || address.is_none();
        let is_kept_out = is_unknown || server.state == ServerState::Maintenance;
        Self {
            address,
            moves: 0,
            host: format!("{}", server.address).into_bytes().into(),
            counter,
            down_until: if is_kept_out { NEVER } else { Instant::default() },
            active: 0,
            elsewhere: 0,
            told: 0,
            active_max,
            is_wished_for: false,
            wishes: 0,
            weight: if server.state == ServerState::Up { server.weight } else { 0 },
            is_backup: server.backup,
            state: server.state,
            is_checked,
            health: if is_unknown { Health::Unknown } else { Health::Up },
            ejections: 0,
            errors: 0,
            newest_idle: None,
            proxy_protocol: server.proxy_protocol,
        }
    }

    /// Its share of the requests as long as no backup is needed.
    #[inline]
    pub(super) fn primary_weight(&self) -> u16 {
        if self.is_backup { 0 } else { self.weight }
    }

    #[inline]
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        self.down_until <= now && self.active < self.active_max
    }

    /// Exchanges under way, of all cores as far as is known, in proportion to the weight.
    #[inline]
    pub(super) fn load(&self) -> u64 {
        let parts = u64::from(self.active) * u64::from(PARTS) + u64::from(self.elsewhere);
        (parts << 10) / u64::from(self.weight.max(1))
    }
}
