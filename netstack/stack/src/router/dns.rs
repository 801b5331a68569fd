//! Name servers that routers advertise (RFC 8106 5.1).

use core::net::Ipv6Addr;
use core::time::Duration;

use smoltcp::wire::{NdiscOption, NdiscOptionType};
use weir_socket::Instant;

use super::Until;
use crate::address::DNS_SERVERS_MAX;

/// The type of the Recursive DNS Server option.
const RECURSIVE_SERVERS: NdiscOptionType = NdiscOptionType::Unknown(25);

/// What was advertised and still holds.
#[derive(Debug, Default)]
pub(super) struct NameServers([Option<Until<Ipv6Addr>>; DNS_SERVERS_MAX]);

impl NameServers {
    /// Takes the options of an advertisement: those that smoltcp does not know are among them.
    pub(super) fn take(&mut self, mut options: &[u8], now: Instant) {
        while let Ok(option) = NdiscOption::new_checked(options) {
            if option.option_type() == RECURSIVE_SERVERS {
                self.take_option(option.data(), now);
            }
            options = options.get(usize::from(option.data_len()) * 8..).unwrap_or_default();
        }
    }

    /// Two bytes that mean nothing, a lifetime in seconds, addresses.
    fn take_option(&mut self, data: &[u8], now: Instant) {
        let Some((&[_, _, l0, l1, l2, l3], addresses)) = data.split_first_chunk() else { return };
        let lifetime = Duration::from_secs(u32::from_be_bytes([l0, l1, l2, l3]).into());
        for address in addresses.as_chunks::<16>().0 {
            self.hear(Ipv6Addr::from(*address), lifetime, now);
        }
    }

    fn hear(&mut self, server: Ipv6Addr, lifetime: Duration, now: Instant) {
        if server.is_multicast() || server.is_unspecified() || server.is_loopback() {
            return;
        }
        let known = |place: &Option<Until<Ipv6Addr>>| place.is_some_and(|known| known.value == server);
        let free = |place: &Option<Until<Ipv6Addr>>| place.is_none_or(|known| known.end <= now);
        let index = self.0.iter().position(known).or_else(|| self.0.iter().position(free));
        if let Some(place) = index.and_then(|index| self.0.get_mut(index)) {
            *place = (!lifetime.is_zero()).then(|| Until { value: server, end: now + lifetime });
        }
    }

    /// Those that hold now.
    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = Ipv6Addr> {
        self.0.iter().flatten().filter(move |known| now < known.end).map(|known| known.value)
    }
}
