//! The network device (virtio 1.2, 5.1).
//!
//! [`NetDevice::open`] negotiates, sets up one queue pair per core as far as the device has them, and returns the
//! pairs, which move to their cores and [start](ParkedPair::start) there, and a [`NetControl`] for the control core.
//! Each [`QueuePair`] belongs to one core alone: rings, buffers, interrupt, counters. No lock and no locked instruction
//! is anywhere on the way of a frame.
//!
//! Every feature may be absent. Without `MQ` there is one pair; without `EVENT_IDX` the flags of the rings do; without
//! `INDIRECT_DESC` every piece of a frame takes a descriptor of the ring; without `CTRL_VQ` there is nothing to command;
//! without `MAC` the caller's address is used; with too few interrupt vectors pairs share them, and with none the cores
//! must poll. The [`Report`] says what was found.

mod control;
mod counters;
pub mod feature;
mod header;
mod indirect;
mod link;
mod pair;
mod receive;
mod report;
mod rss;
mod setup;
#[cfg(test)]
mod tests;
mod transmit;

use alloc::sync::Arc;
use alloc::vec::Vec;

use weir_hal::{Machine, MsiMessage};
use weir_packet::frame::Capabilities;

use self::control::Ring;
use self::indirect::Indirect;
use self::link::Link;
use self::setup::Config;
use crate::DeviceError;
use crate::virtio::features::{EVENT_IDX, INDIRECT_DESC};
use crate::virtio::ring::{IndirectTables, SplitRing};
use crate::virtio::{AnyTransport, DeviceType, Doorbell, Features, Status, Transport, negotiate};

pub use control::{ControlEvent, LinkState, NetControl};
pub use counters::{Counters, Gauges};
pub use pair::{ParkedPair, QueuePair};
pub use report::Report;
pub use rss::{KEY_BYTES, Spread};

/// Shortest ring that is of any use: a frame takes a handful of descriptors.
const RING_LEN_MIN: u16 = 8;

/// What the caller wants of the device.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Queue pairs at most; the number of cores.
    pub pairs_max: usize,
    /// Descriptors of a receiving ring at most, each with a buffer of the pool (rounded down to a power of two).
    pub receive_len_max: u16,
    /// Descriptors of a sending ring at most (rounded down to a power of two).
    pub transmit_len_max: u16,
    /// Let the device cut large TCP frames (`HOST_TSO4/6`).
    pub segmentation: bool,
    /// Accept TCP frames of up to 64 KiB, as chains of buffers (`GUEST_TSO4/6`).
    pub large_receive: bool,
    /// The key of the hash by which the device shall spread received frames over the pairs (`RSS`). Secret, so that no client
    /// chooses its queue. Without one, and without the feature, the device or its host spreads them as it likes.
    pub spread_key: Option<[u8; KEY_BYTES]>,
    /// Features that are not to be used although they are offered: for tests and comparisons.
    pub refuse: Features,
    /// The address to use when the device has none.
    pub fallback_mac: [u8; 6],
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pairs_max: 1,
            receive_len_max: 256,
            transmit_len_max: 256,
            segmentation: false,
            large_receive: false,
            spread_key: None,
            refuse: Features::NONE,
            fallback_mac: [0x02, 0x57, 0x65, 0x69, 0x72, 0x01],
        }
    }
}

/// A device that works: its pairs wait for their cores.
pub struct NetDevice<T: Transport = AnyTransport> {
    /// One per core, in order; at least one.
    pub pairs: Vec<ParkedPair<T::Doorbell>>,
    /// For the control core.
    pub control: NetControl<T>,
    /// What was found and settled.
    pub report: Report,
}

impl<T: Transport> NetDevice<T> {
    /// Negotiates with the device and starts it.
    ///
    /// `interrupt` is asked for the message of pair 0, 1, and so on, as long as the device has vectors for them; none
    /// means that the caller has no more, and the pair shares one of the earlier messages ([`Report::message_of`]).
    ///
    /// # Errors
    /// The device is no network device, does not reset, describes itself wrongly, or memory is exhausted. It is left in
    /// the failed state, in which it touches no memory.
    pub fn open<M: Machine>(
        mut transport: T,
        machine: &M,
        options: Options,
        interrupt: &mut dyn FnMut(usize) -> Option<MsiMessage>,
    ) -> Result<Self, DeviceError> {
        let device_type = transport.device_type();
        if device_type != DeviceType::Network {
            return Err(DeviceError::WrongType(device_type.number()));
        }
        let mut offered = Features::NONE;
        let features = negotiate(&mut transport, |transport, offer| {
            offered = offer;
            let chosen = setup::limit_mtu(transport, feature::choose(offer, &options))?;
            rss::limit(transport, chosen)
        })?;
        let prepared = prepare(&mut transport, machine, features, options, interrupt);
        let Prepared { config, vectors, pairs, rings, link } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                transport.set_status(Status::FAILED);
                return Err(error);
            }
        };
        let report = Report::new(offered, features, &config, &rings, vectors);
        let control = NetControl::start(transport, machine, features, config, rings, link)?;
        Ok(Self { pairs, control, report })
    }
}

/// What a device needs between negotiation and start.
struct Prepared<D: Doorbell> {
    config: Config,
    vectors: u16,
    pairs: Vec<ParkedPair<D>>,
    rings: Vec<Ring>,
    link: Arc<Link>,
}

fn prepare<T: Transport, M: Machine>(
    transport: &mut T,
    machine: &M,
    features: Features,
    options: Options,
    interrupt: &mut dyn FnMut(usize) -> Option<MsiMessage>,
) -> Result<Prepared<T::Doorbell>, DeviceError> {
    let config = Config::read(transport, features, options)?;
    let mut setup = Setup { transport, machine, features, config };
    let vectors = setup.vectors(interrupt)?;
    let link = Arc::new(Link::default());
    let (pairs, rings) = setup.pairs(vectors, &link)?;
    Ok(Prepared { config, vectors, pairs, rings, link })
}

struct Setup<'a, T, M> {
    transport: &'a mut T,
    machine: &'a M,
    features: Features,
    config: Config,
}

type Pairs<D> = (Vec<ParkedPair<D>>, Vec<Ring>);

impl<T: Transport, M: Machine> Setup<'_, T, M> {
    /// Sets a message for each pair, as far as vectors and messages go, and returns how many there are.
    fn vectors(&mut self, interrupt: &mut dyn FnMut(usize) -> Option<MsiMessage>) -> Result<u16, DeviceError> {
        let wanted = self.transport.vectors().min(u16::try_from(self.config.pairs).unwrap_or(u16::MAX));
        for vector in 0..wanted {
            let Some(message) = interrupt(vector.into()) else { return Ok(vector) };
            self.transport.set_vector(vector, message)?;
        }
        Ok(wanted)
    }

    fn pairs(&mut self, vectors: u16, link: &Arc<Link>) -> Result<Pairs<T::Doorbell>, DeviceError> {
        let capabilities = Capabilities {
            mac: self.config.mac,
            mtu: self.config.mtu,
            transmit_checksum: self.features.has(feature::CSUM),
            tso4: self.features.has(feature::HOST_TSO4),
            tso6: self.features.has(feature::HOST_TSO6),
        };
        let (mut pairs, mut rings) = (Vec::new(), Vec::new());
        for index in 0..self.config.pairs {
            // At most 32767 pairs, so neither number overflows.
            let queue = 2 * index as u16;
            let vector = (index as u16).checked_rem(vectors);
            let options = self.config.options;
            let receive = self.ring(queue, options.receive_len_max)?;
            let transmit = self.ring(queue + 1, options.transmit_len_max)?;
            rings.push(Ring { queue, addresses: receive.addresses(), vector });
            rings.push(Ring { queue: queue + 1, addresses: transmit.addresses(), vector });
            pairs.push(ParkedPair {
                index,
                tables: self.tables(transmit.len())?,
                receive,
                transmit,
                capabilities,
                merge: self.features.has(feature::MRG_RXBUF),
                interrupts: vector.is_some(),
                link: Arc::clone(link),
            });
        }
        Ok((pairs, rings))
    }

    /// Tables beside a sending ring, if the device takes them.
    fn tables(&self, ring_len: u16) -> Result<Option<IndirectTables>, DeviceError> {
        self.features.has(INDIRECT_DESC).then(|| Indirect::tables(self.machine, ring_len)).transpose()
    }

    fn ring(&mut self, queue: u16, len_max: u16) -> Result<SplitRing<T::Doorbell>, DeviceError> {
        let offered = self.transport.queue_len_max(queue)?;
        let wanted = len_max.clamp(RING_LEN_MIN, 1 << 15);
        let len = offered.min(1 << wanted.ilog2());
        if len < RING_LEN_MIN {
            return Err(DeviceError::QueueLenInvalid(len));
        }
        let doorbell = self.transport.doorbell(queue)?;
        SplitRing::new(self.machine, len, doorbell, self.features.has(EVENT_IDX))
    }
}
