//! That we are on the link: our addresses announced and defended (RFC 5227, RFC 4861 7.2.6), and routers that fall silent.
//!
//! Core 0 speaks and reports; what another core meets comes to it as a [`Message`].

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use weir_socket::Instant;

use crate::ethernet::Mac;
use crate::message::Message;
use crate::shard::{Shard, ShardEvent};
use crate::time::{NEVER, RateLimit};

/// Between two announcements of an address that somebody else claims (RFC 5227 1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// Between the two announcements of an address (RFC 5227 2.3, ANNOUNCE_NUM and ANNOUNCE_INTERVAL; RFC 4861 7.2.6 allows three, a
/// second apart at least): one frame may be lost, and with it what switches and neighbours were to learn.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// What a core remembers of rivals and routers.
#[derive(Debug)]
pub(crate) struct Presence {
    /// Conflicts that are told, to core 0 and by it.
    words: RateLimit,
    /// Until then no address is defended: it was announced a moment ago, or has been defended.
    defend_at: Instant,
    /// When addresses are announced for the second time.
    pub(crate) announce_at: Instant,
    /// Routers that did not answer when they were asked last: of IPv4 and of IPv6.
    silent: [Option<IpAddr>; 2],
}

impl Presence {
    pub(crate) fn new() -> Self {
        let (defend_at, announce_at) = (Instant::default(), NEVER);
        Self { words: RateLimit::new(1, 1), defend_at, announce_at, silent: [None; 2] }
    }
}

impl Shard {
    /// Tells everybody on the link our addresses, and asks whether somebody else has one. To be called on core 0: after a
    /// migration or a reset of the device, for switches and neighbours may remember another place.
    pub fn announce(&mut self) {
        self.announce_v4();
        self.announce_v6();
    }

    /// The link is there again, and may be another one: our addresses are announced, routers are asked where they are (RFC 4436
    /// 4), and what came from servers and routers is asked for again (RFC 2131 3.7, RFC 4861 6.3.7). To be called on core 0.
    pub fn handle_link_up(&mut self) {
        self.announce();
        self.ask_routers();
        let now = self.network.now;
        if let Some(control) = &mut self.control {
            control.handle_link_up(now);
        }
        if let Some(routers) = &mut self.routers {
            routers.solicit(now);
        }
        self.control_at = now;
    }

    /// The answers count for all cores.
    fn ask_routers(&mut self) {
        if let Some(router) = self.network.addresses.v4().and_then(|v4| v4.gateway) {
            self.network.ask_arp(router, None);
        }
        if let Some(router) = self.network.addresses.v6().and_then(|v6| v6.gateway) {
            self.network.ask_neighbour_v6(router, None);
        }
    }

    pub(crate) fn announce_v4(&mut self) {
        self.network.announce_arp();
        self.presence.defend_at = self.network.now + DEFEND_INTERVAL;
        self.announce_later();
    }

    pub(crate) fn announce_v6(&mut self) {
        self.network.announce_v6();
        self.announce_later();
    }

    fn announce_later(&mut self) {
        self.presence.announce_at = self.network.now + ANNOUNCE_INTERVAL;
        self.control_at = self.control_at.min(self.presence.announce_at);
    }

    /// Announces all addresses for the second time.
    pub(crate) fn announce_again(&mut self) {
        self.presence.announce_at = NEVER;
        self.network.advertise_all();
        let addresses: Vec<Ipv4Addr> = self.network.addresses.all_v4().collect();
        for address in addresses {
            self.network.announce_address(address);
        }
    }

    /// Another station claims an address of ours. We keep it, as RFC 5227 2.4 (c) allows a host with a well-known address, and
    /// say so on the link, unless we are the one who has just come: then a lease is given back.
    #[cold]
    pub(crate) fn meet_rival(&mut self, address: IpAddr, mac: Mac) {
        let now = self.network.now;
        if !self.presence.words.allow(now) {
            return;
        }
        if self.network.core != 0 {
            return self.network.tell(0, Message::Conflict { address, mac: mac.octets() });
        }
        self.report(ShardEvent::AddressConflict { address, mac: mac.octets() });
        // Whose the address is, the second announcement would not settle.
        self.presence.announce_at = NEVER;
        // Who wants an IPv6 address asks for it, and is answered (RFC 4862 5.4).
        let IpAddr::V4(address) = address else { return };
        if self.decline(address) {
            return;
        }
        if self.presence.defend_at <= now {
            self.presence.defend_at = now + DEFEND_INTERVAL;
            self.network.announce_address(address);
        }
    }

    /// Gives a lease back that has just been obtained, and whose address is another's. False if it is none.
    fn decline(&mut self, address: Ipv4Addr) -> bool {
        let Some(control) = &mut self.control else { return false };
        if !control.decline(address, &mut self.network) {
            return false;
        }
        self.control_at = self.network.now;
        self.replace_ipv4(None);
        self.report(ShardEvent::AddressDeclined(address));
        true
    }

    /// A neighbour did not answer. If it is a router, core 0 looks for another one, and says so.
    #[cold]
    pub(crate) fn miss_router(&mut self, address: IpAddr) {
        if !self.network.is_gateway(address) {
            return;
        }
        if self.network.core != 0 {
            return self.network.tell(0, Message::RouterSilent(address));
        }
        let now = self.network.now;
        self.network.neighbours.mistrust(address, now);
        let silent = &mut self.presence.silent[usize::from(address.is_ipv6())];
        if silent.replace(address) != Some(address) {
            self.report(ShardEvent::RouterSilent(address));
        }
        if let (Some(routers), IpAddr::V6(router)) = (&mut self.routers, address) {
            routers.miss(router, now);
            self.control_at = now;
            self.adopt_router();
        }
    }

    /// A neighbour has said something: a router that was missed may be back.
    pub(crate) fn look_for_routers(&mut self) {
        for family in 0..self.presence.silent.len() {
            let Some(address) = self.presence.silent[family] else { continue };
            let (is_ours, is_back) = (self.network.is_gateway(address), self.network.neighbours.knows(address));
            if !is_ours || is_back {
                self.presence.silent[family] = None;
            }
            if is_ours && is_back {
                self.report(ShardEvent::RouterBack(address));
            }
        }
    }
}
