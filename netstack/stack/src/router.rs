//! Router discovery (RFC 4861 6.3) and address autoconfiguration (RFC 4862): one router, one prefix. Core 0 asks and
//! decides, and tells the others.
//!
//! Whether somebody else has an address is asked when it is there, and it is in use meanwhile (RFC 4429). An answer is reported as a
//! conflict; the address stays, as one that was configured does, for nothing authenticates the answer.

mod dns;

use core::net::Ipv6Addr;
use core::time::Duration;

use smoltcp::wire::{NdiscPrefixInfoFlags, NdiscPrefixInformation};
use weir_socket::Instant;

use crate::address::Ipv6Configuration;
use dns::NameServers;

/// Solicitations, and the time between them (RFC 4861 10: MAX_RTR_SOLICITATIONS, RTR_SOLICITATION_INTERVAL).
const SOLICITATIONS_MAX: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// The bits of a prefix that an Ethernet interface identifier completes (RFC 4291 2.5.1).
const PREFIX_LEN: u8 = 64;
/// An advertisement, which nothing authenticates, cannot shorten an address' life below this (RFC 4862 5.5.3 e).
const LIFETIME_MIN: Duration = Duration::from_secs(2 * 60 * 60);

/// What router advertisements have told.
#[derive(Debug)]
pub(crate) struct RouterDiscovery {
    link_local: Ipv6Addr,
    solicitations: u8,
    solicit_at: Option<Instant>,
    address: Option<Until<Ipv6Addr>>,
    router: Option<Until<Ipv6Addr>>,
    name_servers: NameServers,
}

/// Something that holds until a point in time.
#[derive(Debug, Clone, Copy)]
struct Until<T> {
    value: T,
    end: Instant,
}

impl RouterDiscovery {
    /// A host that has its link-local address and asks for routers from `now` on.
    pub(crate) fn new(link_local: Ipv6Addr, now: Instant) -> Self {
        Self {
            link_local,
            solicitations: 0,
            solicit_at: Some(now),
            address: None,
            router: None,
            name_servers: NameServers::default(),
        }
    }

    /// Takes an advertisement of `router` that has passed the checks of RFC 4861 6.1.2.
    pub(crate) fn advertised(
        &mut self,
        router: Ipv6Addr,
        router_lifetime: Duration,
        prefix: Option<NdiscPrefixInformation>,
        now: Instant,
    ) {
        self.solicit_at = None;
        if !router_lifetime.is_zero() {
            // The first router stays until it says goodbye or falls silent.
            if self.router.is_none_or(|known| known.value == router) {
                self.router = Some(Until { value: router, end: now + router_lifetime });
            }
        } else if self.router.is_some_and(|known| known.value == router) {
            self.router = None;
        }
        if let Some(prefix) = prefix {
            self.take_prefix(&prefix, now);
        }
    }

    /// RFC 4862 5.5.3.
    fn take_prefix(&mut self, prefix: &NdiscPrefixInformation, now: Instant) {
        let is_usable = prefix.flags.contains(NdiscPrefixInfoFlags::ADDRCONF)
            && prefix.prefix_len == PREFIX_LEN
            && !prefix.prefix.is_unicast_link_local()
            && !prefix.prefix.is_multicast()
            && prefix.preferred_lifetime <= prefix.valid_lifetime;
        let valid = Duration::from_micros(prefix.valid_lifetime.total_micros());
        if !is_usable {
            return;
        }
        let identifier = self.link_local.to_bits() & u128::from(u64::MAX);
        let address = Ipv6Addr::from_bits(prefix.prefix.to_bits() & !u128::from(u64::MAX) | identifier);
        match &mut self.address {
            Some(known) if known.value == address => {
                let least = known.end.min(now + LIFETIME_MIN);
                known.end = (now + valid).max(least);
            }
            // The first prefix stays while it is valid.
            Some(_) => {}
            None if valid.is_zero() => {}
            None => self.address = Some(Until { value: address, end: now + valid }),
        }
    }

    /// Takes the options of the same advertisement.
    pub(crate) fn advertised_options(&mut self, options: &[u8], now: Instant) {
        self.name_servers.take(options, now);
    }

    /// Name servers that were advertised and still hold.
    pub(crate) fn name_servers(&self, now: Instant) -> impl Iterator<Item = Ipv6Addr> {
        self.name_servers.iter(now)
    }

    /// What the host should be configured with.
    pub(crate) fn configuration(&self) -> Option<Ipv6Configuration> {
        let gateway = self.router.map(|router| router.value);
        self.address.map(|address| Ipv6Configuration { address: address.value, prefix_len: PREFIX_LEN, gateway })
    }

    /// When [`poll`](Self::poll) has to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let ends = [self.address.map(|address| address.end), self.router.map(|router| router.end)];
        ends.into_iter().chain([self.solicit_at]).flatten().min()
    }

    /// Forgets what has ended; answers whether a solicitation is to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        self.address = self.address.filter(|address| now < address.end);
        self.router = self.router.filter(|router| now < router.end);
        if self.solicit_at.is_none_or(|at| now < at) {
            return false;
        }
        self.solicitations += 1;
        let more = self.solicitations < SOLICITATIONS_MAX;
        self.solicit_at = more.then(|| now + SOLICITATION_INTERVAL);
        true
    }
}
