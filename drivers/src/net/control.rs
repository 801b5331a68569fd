//! The control core's handle on a network device: commands, the state of the link, and resets.

use alloc::sync::Arc;
use alloc::vec::Vec;

use weir_hal::Machine;

use super::link::Link;
use super::setup::{self, Config};
use super::{Options, feature, rss};
use crate::DeviceError;
use crate::virtio::features::EVENT_IDX;
use crate::virtio::ring::{Access, Buffer, DescIndex, SharedBytes, SplitRing};
use crate::virtio::{AnyTransport, Doorbell, Features, RingAddresses, Status, Transport};

/// Command classes and commands of the control queue (5.1.6.5).
const CLASS_ANNOUNCE: u8 = 3;
const ANNOUNCE_ACK: u8 = 0;
const CLASS_MQ: u8 = 4;
const MQ_PAIRS_SET: u8 = 0;
const MQ_RSS_CONFIG: u8 = 1;

/// The answer of a command that was carried out.
const ACK_OK: u8 = 0;
/// What stands in the answer before the device writes it.
const ACK_NONE: u8 = 0xff;

/// How often the used ring is looked at until a command counts as lost: of the order of a second.
const ANSWER_LOOKS_MAX: u32 = if cfg!(test) { 1000 } else { 20_000_000 };

/// Longest command: class, command and data.
const COMMAND_BYTES: usize = 2 + rss::CONFIG_BYTES_MAX;

/// Bits of the configuration's `status` (5.1.4).
const STATUS_LINK_UP: u16 = 1;
const STATUS_ANNOUNCE: u16 = 2;

/// What [`NetControl::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// All is well, or a reset is under way and waits for the pairs.
    Quiet,
    /// The device was reset because it misbehaved. Wake every core that owns a pair: each empties its rings in its next
    /// [`refill`](super::QueuePair::refill).
    ResetBegun,
    /// The device works again. Wake every core that owns a pair, and announce our addresses.
    ResetDone,
    /// The device cannot be brought back. It stays stopped.
    Dead(DeviceError),
}

/// What the device says about the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// The cable is plugged in, so to speak.
    pub up: bool,
    /// The device asks us to announce our addresses (after a migration): call [`NetControl::announced`] when it is
    /// done.
    pub announce: bool,
}

/// A network device as the control core sees it. The data path needs it for nothing.
pub struct NetControl<T: Transport = AnyTransport> {
    transport: T,
    features: Features,
    queue: Option<CommandQueue<T::Doorbell>>,
    config: Config,
    /// Every queue but the control queue, as it was set up: to be set up again after a reset.
    rings: Vec<Ring>,
    link: Arc<Link>,
    dead: Option<DeviceError>,
}

/// A queue of the device, with its ring and its interrupt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ring {
    pub queue: u16,
    pub addresses: RingAddresses,
    pub vector: Option<u16>,
}

impl<T: Transport> NetControl<T> {
    /// Sets up all queues, starts the device, and switches its pairs on.
    pub(super) fn start<M: Machine>(
        mut transport: T,
        machine: &M,
        features: Features,
        config: Config,
        rings: Vec<Ring>,
        link: Arc<Link>,
    ) -> Result<Self, DeviceError> {
        let number = features.has(feature::CTRL_VQ).then(|| config.control_queue(features));
        let queue = match number.map(|number| CommandQueue::new(&mut transport, machine, number, features)).transpose()
        {
            Ok(queue) => queue,
            Err(error) => {
                transport.set_status(Status::FAILED);
                return Err(error);
            }
        };
        let mut control = Self { transport, features, queue, config, rings, link, dead: None };
        if let Err(error) = control.bring_up() {
            // It may be running already: only a reset keeps it off our memory.
            let _ = crate::virtio::reset(&mut control.transport);
            control.transport.set_status(Status::FAILED);
            return Err(error);
        }
        Ok(control)
    }

    /// Takes care of resets. Cheap; to be called in every turn of the control core.
    ///
    /// # Panics
    /// Never; a device that does not come back is reported as [`ControlEvent::Dead`].
    pub fn poll(&mut self) -> ControlEvent {
        if let Some(error) = self.dead {
            return ControlEvent::Dead(error);
        }
        let result = if !self.link.phase().is_running() {
            self.finish_reset()
        } else if self.link.is_reset_wanted() {
            self.begin_reset()
        } else {
            return ControlEvent::Quiet;
        };
        result.unwrap_or_else(|error| {
            self.dead = Some(error);
            self.link.bury();
            let _ = crate::virtio::reset(&mut self.transport);
            self.transport.set_status(Status::FAILED);
            ControlEvent::Dead(error)
        })
    }

    /// Asks the device how it is, by reading registers (each read leaves the virtual machine: about once a second is
    /// enough). A device that reports an internal error is reset with the next [`poll`](Self::poll).
    ///
    /// # Errors
    /// The configuration is too short for the link's state.
    pub fn check(&mut self) -> Result<LinkState, DeviceError> {
        let up = LinkState { up: true, announce: false };
        if !self.link.phase().is_running() {
            return Ok(LinkState { up: false, announce: false });
        }
        if self.transport.status().has(Status::NEEDS_RESET) {
            self.link.want_reset();
        }
        if !self.features.has(feature::STATUS) {
            return Ok(up);
        }
        let status = self.transport.config16(setup::CONFIG_STATUS)?;
        let announce = self.features.has(feature::GUEST_ANNOUNCE) && status & STATUS_ANNOUNCE != 0;
        Ok(LinkState { up: status & STATUS_LINK_UP != 0, announce })
    }

    /// Tells the device that our addresses were announced.
    ///
    /// # Errors
    /// The device refuses or does not answer.
    pub fn announced(&mut self) -> Result<(), DeviceError> {
        self.command(CLASS_ANNOUNCE, ANNOUNCE_ACK, &[])
    }

    /// Asks for a reset of the device, as if it had misbehaved. It begins with the next [`poll`](Self::poll).
    pub fn want_reset(&self) {
        self.link.want_reset();
    }

    fn begin_reset(&mut self) -> Result<ControlEvent, DeviceError> {
        crate::virtio::reset(&mut self.transport)?;
        self.link.advance();
        Ok(ControlEvent::ResetBegun)
    }

    /// Starts the device again once all pairs have emptied their rings.
    fn finish_reset(&mut self) -> Result<ControlEvent, DeviceError> {
        if self.link.parked() < self.config.pairs {
            return Ok(ControlEvent::Quiet);
        }
        let before = self.features;
        let options = Options { refuse: !before, ..self.config.options };
        let features =
            crate::virtio::negotiate(&mut self.transport, |_, offered| Ok(feature::choose(offered, &options)))?;
        // The capabilities are already in the cores' hands: they must still be true.
        if features != before {
            return Err(DeviceError::FeaturesRefused);
        }
        if let Some(queue) = &mut self.queue {
            queue.restart();
        }
        self.bring_up()?;
        self.link.advance();
        Ok(ControlEvent::ResetDone)
    }

    /// From negotiated features to a working device (3.1.1, steps 7 and 8).
    fn bring_up(&mut self) -> Result<(), DeviceError> {
        for ring in &self.rings {
            self.transport.enable_queue(ring.queue, ring.addresses, ring.vector)?;
        }
        if let Some(queue) = &self.queue {
            self.transport.enable_queue(queue.number, queue.ring.addresses(), None)?;
        }
        let ready = Status::ACKNOWLEDGE.and(Status::DRIVER).and(Status::FEATURES_OK).and(Status::DRIVER_OK);
        self.transport.set_status(ready);
        if let Some(spread) = &self.config.spread {
            // Sets the number of pairs too (5.1.6.5.6.1).
            let config = spread.encode();
            return self.command(CLASS_MQ, MQ_RSS_CONFIG, config.as_slice());
        }
        if self.features.has(feature::MQ) {
            let pairs = self.config.pairs as u16;
            self.command(CLASS_MQ, MQ_PAIRS_SET, &pairs.to_le_bytes())?;
        }
        Ok(())
    }

    fn command(&mut self, class: u8, command: u8, data: &[u8]) -> Result<(), DeviceError> {
        let refused = DeviceError::CommandRefused(class, command);
        self.queue.as_mut().ok_or(refused)?.run(class, command, data)
    }
}

/// The control queue: one command at a time, waited for.
struct CommandQueue<D> {
    number: u16,
    ring: SplitRing<D>,
    /// The command, and behind it the answer.
    bytes: SharedBytes,
}

impl<D: Doorbell> CommandQueue<D> {
    /// Descriptors: the command's and the answer's, rounded up to the ring's least useful length.
    const LEN: u16 = 4;

    fn new<T, M>(transport: &mut T, machine: &M, number: u16, features: Features) -> Result<Self, DeviceError>
    where
        T: Transport<Doorbell = D>,
        M: Machine,
    {
        let len = transport.queue_len_max(number)?.min(Self::LEN);
        if len < 2 {
            return Err(DeviceError::QueueLenInvalid(len));
        }
        let doorbell = transport.doorbell(number)?;
        let ring = SplitRing::new(machine, len, doorbell, features.has(EVENT_IDX))?;
        let mut queue = Self { number, ring, bytes: SharedBytes::allocate(machine, COMMAND_BYTES + 1)? };
        queue.restart();
        Ok(queue)
    }

    /// Empties the ring, and silences it: it is waited for.
    fn restart(&mut self) {
        self.ring.restart();
        self.ring.disarm();
    }

    fn run(&mut self, class: u8, command: u8, data: &[u8]) -> Result<(), DeviceError> {
        // The device still has a command that was given up: neither its bytes nor its descriptors are ours.
        if self.ring.outstanding() > 0 && self.ring.next_used().is_none() {
            return Err(DeviceError::CommandTimeout(class, command));
        }
        self.bytes.write(0, &[class, command]);
        self.bytes.write(2, data.get(..COMMAND_BYTES - 2).unwrap_or(data));
        self.bytes.write(COMMAND_BYTES, &[ACK_NONE]);
        let len = 2 + data.len().min(COMMAND_BYTES - 2);
        let request = Buffer { address: self.bytes.address(0), len: len as u32 };
        let answer = Buffer { address: self.bytes.address(COMMAND_BYTES), len: 1 };
        self.ring.describe(DescIndex(0), request, Access::DeviceReads, Some(DescIndex(1)));
        self.ring.describe(DescIndex(1), answer, Access::DeviceWrites, None);
        self.ring.offer(DescIndex(0));
        self.ring.flush();
        for _ in 0..ANSWER_LOOKS_MAX {
            if let Some(lie) = self.ring.lie() {
                return Err(lie);
            }
            if let Some(used) = self.ring.next_used() {
                return match (used.id, self.bytes.read(COMMAND_BYTES)) {
                    (0, ACK_OK) => Ok(()),
                    (0, _) => Err(DeviceError::CommandRefused(class, command)),
                    (id, _) => Err(DeviceError::DescriptorIdOutOfRange(id)),
                };
            }
            core::hint::spin_loop();
        }
        Err(DeviceError::CommandTimeout(class, command))
    }
}
