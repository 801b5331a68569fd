//! The entropy device (virtio 1.2, 5.4): asked once at boot.

#[cfg(test)]
mod tests;

use weir_hal::Machine;

use crate::DeviceError;
use crate::virtio::features::Features;
use crate::virtio::ring::{Access, Buffer, DescIndex, SharedBytes, SplitRing};
use crate::virtio::{DeviceType, Status, Transport, negotiate};

/// Bytes that one [`fill`] yields at most.
pub const FILL_BYTES_MAX: usize = 256;

/// How often the used ring is looked at until the device counts as silent: of the order of a tenth of a second.
const ANSWER_LOOKS_MAX: u32 = 2_000_000;

const QUEUE: u16 = 0;
const RING_LEN_MAX: u16 = 4;

/// Starts the device, lets it fill `out`, and stops it for good. Returns how many bytes it gave, from the front: a host
/// that is short of entropy gives fewer than asked for, and one that has none gives 0.
///
/// The bytes are the host's; mix them with others.
///
/// # Errors
/// The device is none for entropy, or misbehaves.
pub fn fill<T: Transport, M: Machine>(transport: &mut T, machine: &M, out: &mut [u8]) -> Result<usize, DeviceError> {
    let device_type = transport.device_type();
    if device_type != DeviceType::Entropy {
        return Err(DeviceError::WrongType(device_type.number()));
    }
    negotiate(transport, |_, _| Ok(Features::NONE))?;
    let result = ask(transport, machine, out);
    // A device in reset writes to no memory any more, whatever became of the question.
    crate::virtio::reset(transport)?;
    result
}

fn ask<T: Transport, M: Machine>(transport: &mut T, machine: &M, out: &mut [u8]) -> Result<usize, DeviceError> {
    let len = transport.queue_len_max(QUEUE)?.min(RING_LEN_MAX);
    let doorbell = transport.doorbell(QUEUE)?;
    let mut ring = SplitRing::new(machine, len, doorbell, false)?;
    ring.disarm();
    let bytes = SharedBytes::allocate(machine, FILL_BYTES_MAX)?;
    transport.enable_queue(QUEUE, ring.addresses(), None)?;
    let ready = Status::ACKNOWLEDGE.and(Status::DRIVER).and(Status::FEATURES_OK).and(Status::DRIVER_OK);
    transport.set_status(ready);
    let wanted = out.len().min(FILL_BYTES_MAX);
    let buffer = Buffer { address: bytes.address(0), len: wanted as u32 };
    ring.describe(DescIndex(0), buffer, Access::DeviceWrites, None);
    ring.offer(DescIndex(0));
    ring.flush();
    for _ in 0..ANSWER_LOOKS_MAX {
        if let Some(used) = ring.next_used() {
            return take(&bytes, used.id, used.len, out.get_mut(..wanted).unwrap_or_default());
        }
        if let Some(lie) = ring.lie() {
            return Err(lie);
        }
        core::hint::spin_loop();
    }
    Ok(0)
}

/// Copies what the device wrote, after checking what it says about it.
fn take(bytes: &SharedBytes, id: u32, len: u32, out: &mut [u8]) -> Result<usize, DeviceError> {
    if id != 0 {
        return Err(DeviceError::DescriptorIdOutOfRange(id));
    }
    let Some(out) = out.get_mut(..len as usize) else { return Err(DeviceError::LengthTooLong(len)) };
    for (offset, byte) in out.iter_mut().enumerate() {
        *byte = bytes.read(offset);
    }
    Ok(out.len())
}
