//! The beginning of every device's life: reset and features (virtio 1.2, 3.1.1, steps 1 to 6).

use super::features::{ACCESS_PLATFORM, ORDER_PLATFORM, VERSION_1};
use super::{Features, Status, Transport};
use crate::DeviceError;

/// How often the status is read until a reset counts as failed. Each read leaves the virtual machine and takes a
/// microsecond or so, so this is about a tenth of a second.
const RESET_READS_MAX: usize = 100_000;

/// Features that cost the driver nothing and must be accepted where they are offered.
const ALWAYS: Features = Features::of(&[VERSION_1, ACCESS_PLATFORM, ORDER_PLATFORM]);

/// Resets the device and settles the features: of what is offered, those that `choose` returns, and the unavoidable
/// ones.
///
/// `choose` sees the offer and may read the device's configuration. Afterwards the queues are set up, and then the
/// caller sets [`Status::DRIVER_OK`].
///
/// # Errors
/// The device does not reset, is too old, or refuses the choice. It is marked as failed then.
pub fn negotiate<T: Transport>(
    transport: &mut T,
    choose: impl FnOnce(&T, Features) -> Result<Features, DeviceError>,
) -> Result<Features, DeviceError> {
    reset(transport)?;
    let result = settle(transport, choose);
    if result.is_err() {
        transport.set_status(Status::FAILED);
    }
    result
}

/// Resets the device: afterwards it touches no memory of the guest.
///
/// # Errors
/// The device does not finish.
pub(crate) fn reset<T: Transport>(transport: &mut T) -> Result<(), DeviceError> {
    transport.set_status(Status::RESET);
    for _ in 0..RESET_READS_MAX {
        if transport.status() == Status::RESET {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err(DeviceError::ResetTimeout)
}

fn settle<T: Transport>(
    transport: &mut T,
    choose: impl FnOnce(&T, Features) -> Result<Features, DeviceError>,
) -> Result<Features, DeviceError> {
    let known = Status::ACKNOWLEDGE.and(Status::DRIVER);
    transport.set_status(Status::ACKNOWLEDGE);
    transport.set_status(known);
    let offered = transport.offered();
    if !offered.has(VERSION_1) {
        return Err(DeviceError::VersionOneMissing);
    }
    let chosen = choose(transport, offered)? & offered | ALWAYS & offered;
    transport.choose(chosen);
    transport.set_status(known.and(Status::FEATURES_OK));
    if !transport.status().has(Status::FEATURES_OK) {
        return Err(DeviceError::FeaturesRefused);
    }
    Ok(chosen)
}
