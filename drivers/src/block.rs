//! The block device (virtio 1.2, 5.2), read only and one request at a time: for what is read once at boot.
//!
//! [`Disk::open`] starts the device, [`Disk::read`] asks and looks until the answer is there, and the end of the [`Disk`]
//! puts the device into reset, after which it touches no memory. No interrupt is used.

#[cfg(test)]
mod tests;

use core::fmt;

use weir_hal::Machine;

use crate::DeviceError;
use crate::virtio::features::Features;
use crate::virtio::ring::{Access, Buffer, DescIndex, SharedBytes, SplitRing};
use crate::virtio::{DeviceType, Status, Transport, negotiate};

/// The unit of addresses, whatever the device's own blocks are.
pub const SECTOR_BYTES: usize = 512;

/// Sectors of one request. One buffer of a page is within the limits of any device.
const REQUEST_SECTORS_MAX: usize = 8;

/// How often the used ring is looked at until the device counts as silent: seconds, because a host may have to wake its
/// storage first.
const ANSWER_LOOKS_MAX: u32 = if cfg!(test) { 1_000 } else { 20_000_000 };

const QUEUE: u16 = 0;
/// A request is a chain of three.
const RING_LEN: u16 = 4;
const HEADER: DescIndex = DescIndex(0);
const DATA: DescIndex = DescIndex(1);
const STATUS: DescIndex = DescIndex(2);

/// `VIRTIO_BLK_T_IN`: from the device.
const REQUEST_READ: u32 = 0;
const HEADER_BYTES: usize = 16;
/// `VIRTIO_BLK_S_OK`.
const STATUS_OK: u8 = 0;
/// What no device answers.
const STATUS_NONE: u8 = 0xff;

/// A configuration that changes while it is read is read again so often.
const CONFIG_READS_MAX: usize = 16;

/// Why sectors were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The device lied.
    Device(DeviceError),
    /// The request reaches beyond the disk's end.
    BeyondEnd {
        /// The first sector that was asked for.
        first: u64,
        /// Sectors of the disk.
        sectors: u64,
    },
    /// The length is no multiple of a sector.
    OddLength(usize),
    /// The device says no, with this status: 1 is a failure of what it reads from.
    Refused(u8),
    /// There was no answer.
    Silent,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::BeyondEnd { first, sectors } => write!(f, "sector {first} is not within the {sectors} of the disk"),
            Self::OddLength(bytes) => write!(f, "{bytes} bytes are no whole sectors"),
            Self::Refused(1) => f.write_str("the device reports a failure of input (status 1)"),
            Self::Refused(status) => write!(f, "the device refuses with status {status}"),
            Self::Silent => f.write_str("the device does not answer"),
        }
    }
}

impl core::error::Error for ReadError {}

impl From<DeviceError> for ReadError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

/// A disk that can be read.
#[derive(Debug)]
pub struct Disk<T: Transport> {
    transport: T,
    ring: SplitRing<T::Doorbell>,
    header: SharedBytes,
    data: SharedBytes,
    status: SharedBytes,
    sectors: u64,
    /// The device owns the buffers of a request that it never answered: there is no other one.
    is_stuck: bool,
}

impl<T: Transport> Disk<T> {
    /// Starts the device.
    ///
    /// # Errors
    /// The device is no disk, or misbehaves.
    pub fn open<M: Machine>(mut transport: T, machine: &M) -> Result<Self, DeviceError> {
        let device_type = transport.device_type();
        if device_type != DeviceType::Block {
            return Err(DeviceError::WrongType(device_type.number()));
        }
        negotiate(&mut transport, |_, _| Ok(Features::NONE))?;
        let sectors = capacity(&transport)?;
        let len = transport.queue_len_max(QUEUE)?;
        if len < RING_LEN {
            return Err(DeviceError::QueueLenInvalid(len));
        }
        let doorbell = transport.doorbell(QUEUE)?;
        let mut ring = SplitRing::new(machine, RING_LEN, doorbell, false)?;
        ring.disarm();
        let header = SharedBytes::allocate(machine, HEADER_BYTES)?;
        let data = SharedBytes::allocate(machine, REQUEST_SECTORS_MAX * SECTOR_BYTES)?;
        let status = SharedBytes::allocate(machine, 1)?;
        transport.enable_queue(QUEUE, ring.addresses(), None)?;
        transport.set_status(Status::ACKNOWLEDGE.and(Status::DRIVER).and(Status::FEATURES_OK).and(Status::DRIVER_OK));
        Ok(Self { transport, ring, header, data, status, sectors, is_stuck: false })
    }

    /// Length of the disk in sectors.
    pub const fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Reads whole sectors, from `first` on.
    ///
    /// # Errors
    /// They are not all there, or the device does not give them. `into` holds anything then.
    pub fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), ReadError> {
        if !into.len().is_multiple_of(SECTOR_BYTES) {
            return Err(ReadError::OddLength(into.len()));
        }
        let count = (into.len() / SECTOR_BYTES) as u64;
        if first.checked_add(count).is_none_or(|end| end > self.sectors) {
            return Err(ReadError::BeyondEnd { first, sectors: self.sectors });
        }
        let parts = into.chunks_mut(REQUEST_SECTORS_MAX * SECTOR_BYTES);
        for (sector, part) in (first..).step_by(REQUEST_SECTORS_MAX).zip(parts) {
            self.request(sector, part)?;
        }
        Ok(())
    }

    /// One request (5.2.6): header, data, status.
    fn request(&mut self, sector: u64, into: &mut [u8]) -> Result<(), ReadError> {
        if self.is_stuck {
            return Err(self.ring.lie().map_or(ReadError::Silent, ReadError::Device));
        }
        self.header.write(0, &REQUEST_READ.to_le_bytes());
        self.header.write(8, &sector.to_le_bytes());
        self.status.write(0, &[STATUS_NONE]);
        let buffer = |bytes: &SharedBytes, len: usize| Buffer { address: bytes.address(0), len: len as u32 };
        let (header, data) = (buffer(&self.header, HEADER_BYTES), buffer(&self.data, into.len()));
        let status = buffer(&self.status, 1);
        self.ring.describe(HEADER, header, Access::DeviceReads, Some(DATA));
        self.ring.describe(DATA, data, Access::DeviceWrites, Some(STATUS));
        self.ring.describe(STATUS, status, Access::DeviceWrites, None);
        self.ring.offer(HEADER);
        self.ring.flush();
        self.is_stuck = true;
        self.answer(into.len())?;
        self.is_stuck = false;
        match self.status.read(0) {
            STATUS_OK => {}
            status => return Err(ReadError::Refused(status)),
        }
        for (offset, byte) in into.iter_mut().enumerate() {
            *byte = self.data.read(offset);
        }
        Ok(())
    }

    /// Waits until the request is used, and checks what the device says of it.
    fn answer(&mut self, bytes: usize) -> Result<(), ReadError> {
        for _ in 0..ANSWER_LOOKS_MAX {
            if let Some(used) = self.ring.next_used() {
                let id = used.id;
                if id != u32::from(HEADER.0) {
                    return Err(self.accuse(DeviceError::DescriptorIdOutOfRange(id)));
                }
                // Some devices report nothing written: the status decides.
                if used.len as usize > bytes + 1 {
                    return Err(self.accuse(DeviceError::LengthTooLong(used.len)));
                }
                return Ok(());
            }
            if let Some(lie) = self.ring.lie() {
                return Err(lie.into());
            }
            core::hint::spin_loop();
        }
        Err(ReadError::Silent)
    }

    fn accuse(&mut self, error: DeviceError) -> ReadError {
        self.ring.accuse(error);
        error.into()
    }
}

impl<T: Transport> Drop for Disk<T> {
    fn drop(&mut self) {
        // One that does not end its reset keeps its memory, which is never given to anybody else.
        let _ = crate::virtio::reset(&mut self.transport);
    }
}

/// The first field of the configuration (5.2.4): the length in sectors.
fn capacity<T: Transport>(transport: &T) -> Result<u64, DeviceError> {
    for _ in 0..CONFIG_READS_MAX {
        let before = transport.config_generation();
        let mut sectors = 0;
        for word in (0..4).rev() {
            sectors = sectors << 16 | u64::from(transport.config16(2 * word)?);
        }
        if transport.config_generation() == before {
            return Ok(sectors);
        }
    }
    Err(DeviceError::ConfigUnstable)
}
