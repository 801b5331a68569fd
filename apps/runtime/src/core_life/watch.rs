//! What the control core does for the servers of all cores: it checks them, resolves their names, and tells the others.

use alloc::format;

use weir_kernel::{info, warn};
use weir_proxy::Verdict;
use weir_socket::Sockets;

use super::Core;
use crate::mail::Word;
use crate::names::Change;
use crate::syslog;

impl Core {
    /// Whether there was something to do, which may have left something to send.
    pub(super) fn watch_servers(&mut self) -> bool {
        let now = self.shard.now();
        let has_checked = self.service.next_check().is_some_and(|due| due <= now);
        if has_checked {
            self.service.check_servers(&mut self.shard);
        }
        while let Some(verdict) = self.service.poll_verdict() {
            self.has_news();
            self.say(verdict);
            self.news.add(Word::Verdict(verdict));
        }
        let has_spoken = self.resolve_names();
        if self.news.is_empty() {
            return has_checked || has_spoken;
        }
        self.news.send(self.id.index(), &mut self.links, &mut self.calls);
        true
    }

    /// Whether there is something to send.
    #[inline]
    fn resolve_names(&mut self) -> bool {
        let is_ready = self.is_ready();
        let Some(names) = self.names.as_mut().filter(|names| is_ready && names.is_due(self.shard.now())) else {
            return false;
        };
        let has_spoken = names.poll(&mut self.shard);
        self.take_changes();
        has_spoken
    }

    #[cold]
    fn take_changes(&mut self) {
        while let Some(change) = self.names.as_mut().and_then(|names| names.poll_change()) {
            self.has_news();
            match change {
                Change::Moved(moved) => {
                    self.service.apply_address(&mut self.shard, moved);
                    self.news.add(Word::Moved(moved));
                }
                Change::Said { is_good, text } => self.tell(is_good, &text),
            }
        }
    }

    #[cold]
    fn say(&mut self, verdict: Verdict) {
        let Some(pool) = self.common.config.pools.get(usize::from(verdict.pool)) else { return };
        let Some(server) = pool.servers.get(usize::from(verdict.server)) else { return };
        let state = if verdict.is_up { "up" } else { "down" };
        let text = format!("health: server {}/{} at {} is {state}", pool.name, server.name, server.address);
        self.tell(verdict.is_up, &text);
    }

    /// Says something on the console and to the log server.
    fn tell(&mut self, is_good: bool, text: &str) {
        if is_good {
            info!("{text}")
        } else {
            warn!("{text}")
        }
        let severity = if is_good { syslog::INFO } else { syslog::WARNING };
        self.syslog.send(&mut self.shard, severity, text.as_bytes());
    }
}
