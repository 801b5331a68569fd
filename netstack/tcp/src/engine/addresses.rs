//! The host's addresses change.

use core::net::IpAddr;

use weir_socket::CloseReason;

use super::Engine;
use crate::flow::{NotOpen, Outcome, State};

impl Engine {
    /// Ends the flows of addresses that are not the host's any more, as unreachable and without a RST: nothing that they could
    /// send would be answered to us. The one call whose work grows with the number of flows: addresses change rarely.
    pub fn abandon_flows(&mut self, is_ours: impl Fn(IpAddr) -> bool) {
        let mut index = 0;
        while let Some(slot) = self.flows.get(index) {
            let is_alive = matches!(slot.state, State::Open(_) | State::NotOpen(NotOpen::Opening(_)));
            if is_alive && !is_ours(slot.common.tuple.local.to_ip()) {
                self.finish(index, Outcome::Gone(CloseReason::Unreachable));
            }
            index += 1;
        }
    }
}
