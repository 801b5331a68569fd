//! Router discovery (RFC 4861 6.3) and address autoconfiguration (RFC 4862): one prefix, and one router at a time, which
//! another one follows when it does not answer. Core 0 asks and decides, and tells the others.
//!
//! Whether somebody else has an address is asked when it is there, and it is in use meanwhile (RFC 4429). An answer is reported as a
//! conflict; the address stays, as one that was configured does, for nothing authenticates the answer.

mod dns;

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use smoltcp::wire::{NdiscPrefixInfoFlags, NdiscPrefixInformation};
use weir_socket::Instant;

use crate::address::Ipv6Configuration;
use dns::NameServers;

/// Solicitations, and the time between them (RFC 4861 10: MAX_RTR_SOLICITATIONS, RTR_SOLICITATION_INTERVAL).
const SOLICITATIONS_MAX: u8 = 3;
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Routers that are remembered (RFC 4861 6.3.4 wants two at least).
const ROUTERS_MAX: usize = 4;
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
    /// The one in use first.
    routers: Vec<Router>,
    name_servers: NameServers,
}

/// A router that has advertised itself.
#[derive(Debug, Clone, Copy)]
struct Router {
    address: Ipv6Addr,
    end: Instant,
    /// It did not answer when it was asked, and has not advertised itself since.
    is_silent: bool,
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
            routers: Vec::with_capacity(ROUTERS_MAX),
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
        self.take_router(router, now + router_lifetime);
        self.routers.retain(|router| now < router.end);
        self.prefer_one_that_speaks();
        if let Some(prefix) = prefix {
            self.take_prefix(&prefix, now);
        }
    }

    /// The first router stays until it says goodbye or falls silent.
    fn take_router(&mut self, address: Ipv6Addr, end: Instant) {
        let heard = Router { address, end, is_silent: false };
        if let Some(known) = self.routers.iter_mut().find(|known| known.address == address) {
            *known = heard;
        } else if self.routers.len() < ROUTERS_MAX {
            self.routers.push(heard);
        }
    }

    /// A router did not answer (RFC 4861 6.3.6): another one is used if there is one that does, or asked for.
    pub(crate) fn miss(&mut self, address: Ipv6Addr, now: Instant) {
        let Some(router) = self.routers.iter_mut().find(|router| router.address == address) else { return };
        router.is_silent = true;
        self.prefer_one_that_speaks();
        if self.routers.iter().all(|router| router.is_silent) {
            self.solicit(now);
        }
    }

    fn prefer_one_that_speaks(&mut self) {
        if self.routers.first().is_some_and(|router| router.is_silent)
            && let Some(index) = self.routers.iter().position(|router| !router.is_silent)
        {
            self.routers.swap(0, index);
        }
    }

    /// Asks for routers as at the beginning, unless that is under way.
    pub(crate) fn solicit(&mut self, now: Instant) {
        if self.solicit_at.is_none() {
            self.solicitations = 0;
            self.solicit_at = Some(now);
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
        let gateway = self.routers.first().map(|router| router.address);
        self.address.map(|address| Ipv6Configuration { address: address.value, prefix_len: PREFIX_LEN, gateway })
    }

    /// When [`poll`](Self::poll) has to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let ends = self.routers.iter().map(|router| router.end);
        ends.chain(self.address.map(|address| address.end)).chain(self.solicit_at).min()
    }

    /// Forgets what has ended; answers whether a solicitation is to be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        self.address = self.address.filter(|address| now < address.end);
        self.routers.retain(|router| now < router.end);
        self.prefer_one_that_speaks();
        if self.solicit_at.is_none_or(|at| now < at) {
            return false;
        }
        self.solicitations += 1;
        let more = self.solicitations < SOLICITATIONS_MAX;
        self.solicit_at = more.then(|| now + SOLICITATION_INTERVAL);
        true
    }
}
