//! The places where a configuration can stand.

use alloc::borrow::Cow;
use alloc::format;

use weir_drivers::block::{Disk, ReadError};
use weir_drivers::virtio::AnyTransport;
use weir_httpd::Archive;
use weir_kernel::boot::CommandLine;
use weir_kernel::fw_cfg::{self, FileError};
use weir_kernel::{info, warn};
use weir_seed::{SECTOR_BYTES, Sectors};

use super::{Offer, base64};
use crate::devices::{self, Devices};

/// The option of the kernel command line: the file in base64 (`weir.config=$(base64 -w0 lb.toml)`).
const OPTION: &str = "weir.config";
/// The name as a file of QEMU's (`-fw_cfg name=opt/weir/config,file=...`).
const FW_CFG_NAME: &str = "opt/weir/config";
/// The name in the image's archive.
const EMBEDDED_NAME: &str = "weir.toml";

// Sectors are counted alike.
const _: () = assert!(SECTOR_BYTES == weir_drivers::block::SECTOR_BYTES);

pub(super) fn command_line(line: CommandLine<'_>) -> Offer<'static> {
    match line.get(OPTION) {
        None => Offer::Absent,
        Some(value) => match base64::decode(value) {
            Some(text) => Offer::Text(Cow::Owned(text)),
            None => Offer::Unreadable(format!("{OPTION}= is no base64: make it with 'base64 -w0 FILE'")),
        },
    }
}

pub(super) fn fw_cfg() -> Offer<'static> {
    match fw_cfg::read(FW_CFG_NAME) {
        Ok(text) => Offer::Text(Cow::Owned(text)),
        Err(FileError::NoDevice | FileError::NoFile) => Offer::Absent,
        Err(error) => Offer::Unreadable(format!("{FW_CFG_NAME}: {error}")),
    }
}

pub(super) fn image(archive: &Archive) -> Offer<'static> {
    archive.find(EMBEDDED_NAME.as_bytes()).map_or(Offer::Absent, |file| Offer::Text(Cow::Borrowed(file.content)))
}

/// The first disk with the label `cidata` that can be read; of the other disks the console says what they are.
pub(super) fn disks(found: &Devices) -> Offer<'static> {
    let mut offer = Offer::Absent;
    for (number, disk) in (1..).zip(devices::disks(found)) {
        let seed = match disk {
            Ok(disk) => weir_seed::read(&mut Medium(disk)),
            Err(error) => {
                warn!("configuration: disk {number} cannot be used: {error}");
                continue;
            }
        };
        match (seed, &offer) {
            (Ok(_), Offer::Text(_)) => warn!("configuration: disk {number}: a second cidata disk, ignored"),
            (Ok(seed), _) => {
                info!("configuration: disk {number}: cidata, {}", seed.kind);
                offer = Offer::Text(Cow::Owned(seed.user_data));
            }
            (Err(error), _) if error.is_another_disk() => info!("configuration: disk {number}: {error}"),
            (Err(error), Offer::Absent) => offer = Offer::Unreadable(format!("disk {number}: {error}")),
            (Err(error), _) => warn!("configuration: disk {number}: {error}"),
        }
    }
    offer
}

/// A disk as the reader of seeds sees it.
struct Medium(Disk<AnyTransport>);

impl Sectors for Medium {
    type Error = ReadError;

    fn count(&self) -> u64 {
        self.0.sectors()
    }

    fn read(&mut self, first: u64, into: &mut [u8]) -> Result<(), ReadError> {
        self.0.read(first, into)
    }
}
