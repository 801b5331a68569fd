//! What a network device's configuration says (virtio 1.2, 5.1.4), and what follows from it.

use super::{Options, Spread, feature};
use crate::DeviceError;
use crate::virtio::{Features, Transport};

/// Fields of the device configuration, by offset in bytes.
const CONFIG_MAC: usize = 0;
pub(super) const CONFIG_STATUS: usize = 6;
const CONFIG_MAX_PAIRS: usize = 8;
const CONFIG_MTU: usize = 10;

const MTU_MIN: u16 = 68;
/// What a link carries that does not say otherwise.
const MTU_DEFAULT: u16 = 1500;
/// Largest IP packet that fits into a single buffer with its headers.
pub(super) const MTU_SINGLE_BUFFER: u16 = (weir_packet::BUFFER_BYTES - super::header::BYTES - 18) as u16;

/// The control queue behind them still has a number of 16 bits.
const PAIRS_MAX: u16 = 0x7fff;
/// A configuration that changes while it is read is read again so often.
const READS_MAX: usize = 16;

/// A device's configuration, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub mac: [u8; 6],
    pub mtu: u16,
    /// Queue pairs that the device has.
    pub pairs_of_device: u16,
    /// Queue pairs that are used.
    pub pairs: usize,
    /// How the device spreads received frames, if it lets us say.
    pub spread: Option<Spread>,
    pub options: Options,
}

impl Config {
    /// Reads what the negotiated features promise.
    ///
    /// # Errors
    /// The configuration is too short, does not come to rest, or says what cannot be.
    pub(super) fn read<T: Transport>(transport: &T, features: Features, options: Options) -> Result<Self, DeviceError> {
        for _ in 0..READS_MAX {
            let before = transport.config_generation();
            let config = Self::read_once(transport, features, options)?;
            if transport.config_generation() == before {
                return config.check();
            }
        }
        Err(DeviceError::ConfigUnstable)
    }

    fn read_once<T: Transport>(transport: &T, features: Features, options: Options) -> Result<Self, DeviceError> {
        let mut mac = options.fallback_mac;
        if features.has(feature::MAC) {
            for (offset, byte) in mac.iter_mut().enumerate() {
                *byte = transport.config8(CONFIG_MAC + offset)?;
            }
        }
        let mtu = if features.has(feature::MTU) { transport.config16(CONFIG_MTU)? } else { MTU_DEFAULT };
        let pairs_of_device = if features.has(feature::MQ) { transport.config16(CONFIG_MAX_PAIRS)? } else { 1 };
        let pairs = usize::from(pairs_of_device).min(options.pairs_max.max(1));
        let spread = Spread::read(transport, features, &options, pairs)?;
        Ok(Self { mac, mtu, pairs_of_device, pairs, spread, options })
    }

    fn check(self) -> Result<Self, DeviceError> {
        if self.mtu < MTU_MIN {
            return Err(DeviceError::BadMtu(self.mtu));
        }
        if self.pairs_of_device == 0 || self.pairs_of_device > PAIRS_MAX {
            return Err(DeviceError::BadPairCount(self.pairs_of_device));
        }
        Ok(self)
    }

    /// Number of the control queue: behind all pairs that the *device* has, used or not (5.1.2).
    pub(super) const fn control_queue(&self, features: Features) -> u16 {
        if features.has(feature::MQ) { 2 * self.pairs_of_device } else { 2 }
    }
}

/// Drops the MTU feature where we could not receive frames of that size: who accepts it promises to (5.1.4.2).
pub(super) fn limit_mtu<T: Transport>(transport: &T, chosen: Features) -> Result<Features, DeviceError> {
    let needs_merging = chosen.has(feature::MTU) && !chosen.has(feature::MRG_RXBUF);
    if needs_merging && transport.config16(CONFIG_MTU)? > MTU_SINGLE_BUFFER {
        return Ok(chosen.without(feature::MTU));
    }
    Ok(chosen)
}
