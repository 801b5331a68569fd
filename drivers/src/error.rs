//! What a device said or did that cannot be, and what it lacks.

use core::fmt;

use weir_hal::MapError;

use crate::pci::PciError;
use crate::virtio::Structure;

/// Why a device cannot be used, or cannot be used any longer.
///
/// The ring errors name the lie that was noticed first; after one the queue touches the ring no more, until the device
/// was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Its PCI function is wrong.
    Pci(PciError),
    /// The function is no virtio device (vendor and device number).
    NotVirtio(u16, u16),
    /// Registers in memory that were said to be a virtio device's, and are not.
    NotVirtioMmio,
    /// The device's interrupt line (a global system interrupt) cannot be passed on to the core.
    LineUnreachable(u32),
    /// A virtio device of another type than the driver's.
    WrongType(u16),
    /// A device of before virtio 1.0, or with its modern interface switched off (`disable-modern=on`).
    LegacyDevice,
    /// A structure of the modern interface is missing, or too short, or misaligned.
    BadStructure(Structure),
    /// `VIRTIO_F_VERSION_1` is not offered.
    VersionOneMissing,
    /// The device did not accept the features that the driver chose among the offered ones.
    FeaturesRefused,
    /// The device did not finish its reset within the driver's patience.
    ResetTimeout,
    /// The device asks to be reset (`DEVICE_NEEDS_RESET`): it lost its way.
    NeedsReset,
    /// The configuration space ends before a field that the negotiated features promise (offset in bytes).
    ConfigTooShort(usize),
    /// The configuration changed at each of many attempts to read it.
    ConfigUnstable,
    /// The device has no queue of this number.
    QueueMissing(u16),
    /// The queue's length is not a power of two, or zero, or beyond 32768.
    QueueLenInvalid(u16),
    /// The queue's doorbell lies outside the notification structure.
    DoorbellOutside(u16),
    /// The device has no resources for an interrupt of this queue.
    VectorRefused(u16),
    /// `max_virtqueue_pairs` is not within 1 to 32767.
    BadPairCount(u16),
    /// An MTU below the 68 bytes of the specification.
    BadMtu(u16),
    /// No DMA memory left for a ring, in bytes.
    OutOfMemory(usize),
    /// The kernel refused to map registers.
    Map(MapError),
    /// The control queue said no to a command (class, command).
    CommandRefused(u8, u8),
    /// The control queue did not answer within the driver's patience (class, command).
    CommandTimeout(u8, u8),
    /// The used index went further than descriptors are outstanding.
    UsedIndexJumped {
        /// How far it went.
        by: u16,
        /// How many chains the device had.
        outstanding: u16,
    },
    /// A used element names a descriptor beyond the ring.
    DescriptorIdOutOfRange(u32),
    /// A used element names a descriptor that the device does not have: it used it twice, or never got it.
    UsedTwice(u16),
    /// The device claims to have written more than the buffer holds, in bytes.
    LengthTooLong(u32),
    /// The device wrote less than its own header, in bytes.
    LengthTooShort(u32),
    /// A frame spread over no buffers, or over more than any frame can need.
    BufferCountInvalid(u16),
}

impl DeviceError {
    /// A short name for counters: one word per variant.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pci(_) => "pci",
            Self::NotVirtio(..) => "not_virtio",
            Self::NotVirtioMmio => "not_virtio_mmio",
            Self::LineUnreachable(_) => "line_unreachable",
            Self::WrongType(_) => "wrong_type",
            Self::LegacyDevice => "legacy_device",
            Self::BadStructure(_) => "bad_structure",
            Self::VersionOneMissing => "version_one_missing",
            Self::FeaturesRefused => "features_refused",
            Self::ResetTimeout => "reset_timeout",
            Self::NeedsReset => "needs_reset",
            Self::ConfigTooShort(_) => "config_too_short",
            Self::ConfigUnstable => "config_unstable",
            Self::QueueMissing(_) => "queue_missing",
            Self::QueueLenInvalid(_) => "queue_len_invalid",
            Self::DoorbellOutside(_) => "doorbell_outside",
            Self::VectorRefused(_) => "vector_refused",
            Self::BadPairCount(_) => "bad_pair_count",
            Self::BadMtu(_) => "bad_mtu",
            Self::OutOfMemory(_) => "out_of_memory",
            Self::Map(_) => "map",
            Self::CommandRefused(..) => "command_refused",
            Self::CommandTimeout(..) => "command_timeout",
            Self::UsedIndexJumped { .. } => "used_index_jumped",
            Self::DescriptorIdOutOfRange(_) => "descriptor_id_out_of_range",
            Self::UsedTwice(_) => "used_twice",
            Self::LengthTooLong(_) => "length_too_long",
            Self::LengthTooShort(_) => "length_too_short",
            Self::BufferCountInvalid(_) => "buffer_count_invalid",
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(error) => error.fmt(f),
            Self::NotVirtio(vendor, device) => write!(f, "{vendor:04x}:{device:04x} is not a virtio device"),
            Self::NotVirtioMmio => f.write_str("registers that are no virtio device's"),
            Self::LineUnreachable(line) => write!(f, "interrupt line {line} leads to no core"),
            Self::WrongType(kind) => write!(f, "a virtio device of type {kind}, which this driver is not for"),
            Self::LegacyDevice => f.write_str(
                "legacy virtio device: only virtio 1.0 and newer are supported \
                 (QEMU: disable-modern=off on PCI, -global virtio-mmio.force-legacy=false on microvm)",
            ),
            Self::BadStructure(structure) => write!(f, "the {structure} structure is missing or malformed"),
            Self::VersionOneMissing => f.write_str("VIRTIO_F_VERSION_1 is not offered"),
            Self::FeaturesRefused => f.write_str("the device refused a subset of the features that it offers"),
            Self::ResetTimeout => f.write_str("the device does not finish its reset"),
            Self::NeedsReset => f.write_str("the device reports an internal error and asks for a reset"),
            Self::ConfigTooShort(at) => write!(f, "the device configuration ends before offset {at}"),
            Self::ConfigUnstable => f.write_str("the device configuration does not stop to change"),
            Self::QueueMissing(queue) => write!(f, "queue {queue} does not exist"),
            Self::QueueLenInvalid(len) => write!(f, "a queue of {len} descriptors is impossible"),
            Self::DoorbellOutside(queue) => write!(f, "the doorbell of queue {queue} is out of range"),
            Self::VectorRefused(queue) => write!(f, "the device has no interrupt for queue {queue}"),
            Self::BadPairCount(pairs) => write!(f, "a device with {pairs} queue pairs is impossible"),
            Self::BadMtu(mtu) => write!(f, "an MTU of {mtu} bytes is below the minimum of 68"),
            Self::OutOfMemory(bytes) => write!(f, "no DMA memory left for {bytes} bytes"),
            Self::Map(error) => write!(f, "registers cannot be mapped: {error:?}"),
            Self::CommandRefused(class, command) => write!(f, "the device refused control command {class}/{command}"),
            Self::CommandTimeout(class, command) => write!(f, "no answer to control command {class}/{command}"),
            Self::UsedIndexJumped { by, outstanding } => {
                write!(f, "the used index went on by {by} with {outstanding} buffers outstanding")
            }
            Self::DescriptorIdOutOfRange(id) => write!(f, "used element names descriptor {id} beyond the ring"),
            Self::UsedTwice(id) => write!(f, "descriptor {id} was used, but the device does not have it"),
            Self::LengthTooLong(len) => write!(f, "the device claims {len} bytes, more than the buffer holds"),
            Self::LengthTooShort(len) => write!(f, "the device wrote {len} bytes, less than its header"),
            Self::BufferCountInvalid(count) => write!(f, "a frame over {count} buffers is impossible"),
        }
    }
}

impl core::error::Error for DeviceError {}

impl From<PciError> for DeviceError {
    fn from(error: PciError) -> Self {
        Self::Pci(error)
    }
}
