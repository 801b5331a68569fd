//! What was found and settled when the device was opened, for the console.

use core::fmt;

use super::control::Ring;
use super::setup::Config;
use super::{Spread, feature};
use crate::virtio::Features;

/// The outcome of the negotiation. Printed as `virtio-net 2 of 4 pairs, rings 256/256, ...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The station's address.
    pub mac: [u8; 6],
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Features that the device offered.
    pub offered: Features,
    /// Features in use.
    pub features: Features,
    /// Queue pairs in use.
    pub pairs: usize,
    /// Queue pairs that the device has.
    pub pairs_of_device: usize,
    /// Descriptors of the first receiving ring.
    pub receive_len: u16,
    /// Descriptors of the first sending ring.
    pub transmit_len: u16,
    /// Interrupts in use; fewer than pairs means that pairs share them, 0 that the cores must poll.
    pub vectors: usize,
    /// How the device spreads received frames over the pairs, if it lets us say.
    pub spread: Option<Spread>,
}

impl Report {
    pub(super) fn new(offered: Features, features: Features, config: &Config, rings: &[Ring], vectors: u16) -> Self {
        let len = |number: usize| rings.get(number).map_or(0, |ring| ring.addresses.len);
        Self {
            mac: config.mac,
            mtu: config.mtu,
            offered,
            features,
            pairs: config.pairs,
            pairs_of_device: config.pairs_of_device.into(),
            receive_len: len(0),
            transmit_len: len(1),
            vectors: vectors.into(),
            spread: config.spread,
        }
    }

    /// The pair whose message the device writes for `pair`: itself, or another if vectors are shared. None if the
    /// device cannot interrupt. The receiver of a shared message wakes all cores whose pairs it is for.
    pub const fn message_of(&self, pair: usize) -> Option<usize> {
        pair.checked_rem(self.vectors)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "virtio-net {} of {} pairs, ", self.pairs, self.pairs_of_device)?;
        write!(f, "rings {}/{}, ", self.receive_len, self.transmit_len)?;
        match self.vectors {
            0 => f.write_str("no interrupts (polling), ")?,
            vectors if vectors < self.pairs => write!(f, "{vectors} interrupts (shared), ")?,
            vectors => write!(f, "{vectors} interrupts, ")?,
        }
        write!(f, "mtu {}, features {}", self.mtu, feature::named(self.features))
    }
}
