//! QEMU's `fw_cfg`: named files from the host (QEMU documentation, *QEMU Firmware Configuration Device*), e.g.
//! `-fw_cfg name=opt/weir/config,file=weir.toml`.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{Ordering, fence};

use spin::Mutex;
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

const ITEM_SIGNATURE: u16 = 0x0000;
const ITEM_FEATURES: u16 = 0x0001;
const ITEM_DIRECTORY: u16 = 0x0019;

const FEATURE_DMA: u32 = 2;
const DMA_ERROR: u32 = 1;
const DMA_READ: u32 = 2;
const DMA_SELECT: u32 = 8;
/// How often to look whether a transfer is done; QEMU finishes it inside the register write.
const DMA_POLLS_MAX: u32 = 100_000_000;

const ENTRY_BYTES: usize = 64;
const FILES_MAX: u32 = 4096;
/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 64 << 20;

/// Selector and data port are shared by all cores.
static DEVICE: Mutex<()> = Mutex::new(());

/// Why there are no contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// The machine has no such device.
    NoDevice,
    /// The device has no such file.
    NoFile,
    /// The file is longer than [`FILE_BYTES_MAX`].
    TooLong(u32),
    /// There is no memory for so many bytes.
    NoMemory(u32),
    /// The device did not transfer it.
    NotTransferred,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str("the machine has no fw_cfg device"),
            Self::NoFile => f.write_str("there is no such file"),
            Self::TooLong(bytes) => write!(f, "{bytes} bytes, {FILE_BYTES_MAX} at most are read"),
            Self::NoMemory(bytes) => write!(f, "no memory for {bytes} bytes"),
            Self::NotTransferred => f.write_str("the device did not transfer it"),
        }
    }
}

impl core::error::Error for FileError {}

/// The contents of the file `name`.
///
/// # Errors
/// There is no such file or no device, or the file cannot be read.
pub fn read(name: &str) -> Result<Vec<u8>, FileError> {
    let _device = DEVICE.lock();
    let dma = probe().ok_or(FileError::NoDevice)?;
    let entry = find(name, dma).ok_or(FileError::NoFile)?;
    let len = usize::try_from(entry.len).ok().filter(|len| *len <= FILE_BYTES_MAX);
    let mut bytes = zeroed(len.ok_or(FileError::TooLong(entry.len))?).ok_or(FileError::NoMemory(entry.len))?;
    read_item(entry.item, &mut bytes, dma).ok_or(FileError::NotTransferred)?;
    Ok(bytes)
}

/// So many bytes, unless memory ends before: a file is longer than a small machine has room for.
fn zeroed(len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).ok()?;
    bytes.resize(len, 0);
    Some(bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    len: u32,
    item: u16,
}

/// Whether the device is there, and whether it can transfer by itself.
fn probe() -> Option<bool> {
    let mut signature = [0; 4];
    read_item(ITEM_SIGNATURE, &mut signature, false)?;
    if &signature != b"QEMU" {
        return None;
    }
    let mut features = [0; 4];
    read_item(ITEM_FEATURES, &mut features, false)?;
    Some(u32::from_le_bytes(features) & FEATURE_DMA != 0)
}

fn find(name: &str, dma: bool) -> Option<Entry> {
    let mut count = [0; 4];
    read_item(ITEM_DIRECTORY, &mut count, dma)?;
    let count = u32::from_be_bytes(count);
    if count > FILES_MAX {
        return None;
    }
    let mut directory = zeroed(4 + count as usize * ENTRY_BYTES)?;
    read_item(ITEM_DIRECTORY, &mut directory, dma)?;
    find_in(directory.get(4..)?, name)
}

/// Directory entries: length, selector, two reserved bytes, name with a NUL; numbers are big-endian.
fn find_in(directory: &[u8], name: &str) -> Option<Entry> {
    directory.chunks_exact(ENTRY_BYTES).find_map(|entry| {
        let stored = entry.get(8..)?.split(|byte| *byte == 0).next()?;
        let len = u32::from_be_bytes(entry.get(..4)?.try_into().ok()?);
        let item = u16::from_be_bytes(entry.get(4..6)?.try_into().ok()?);
        (stored == name.as_bytes()).then_some(Entry { len, item })
    })
}

fn read_item(item: u16, into: &mut [u8], dma: bool) -> Option<()> {
    if dma {
        return read_by_dma(item, into);
    }
    // SAFETY: the device's selector and data ports, used under `DEVICE`; without the device the bus answers all ones.
    unsafe {
        Port::<u16>::new(SELECTOR).write(item);
        for byte in into {
            *byte = Port::new(DATA).read();
        }
    }
    Some(())
}

/// What the device reads: control, length, address; big-endian.
#[repr(C, align(16))]
struct Transfer {
    control: u32,
    len: u32,
    address: u64,
}

fn read_by_dma(item: u16, into: &mut [u8]) -> Option<()> {
    let mut transfer = Transfer {
        control: (u32::from(item) << 16 | DMA_SELECT | DMA_READ).to_be(),
        len: u32::try_from(into.len()).ok()?.to_be(),
        address: (into.as_mut_ptr() as u64).to_be(),
    };
    let at = &raw mut transfer;
    fence(Ordering::SeqCst);
    // SAFETY: the device's DMA registers, used under `DEVICE`. Memory is mapped one to one, so pointers are the device's
    // addresses; `into` is exclusively ours for the time of the transfer, which ends before this function does.
    let control = unsafe {
        Port::<u32>::new(DMA_HIGH).write(((at as u64 >> 32) as u32).to_be());
        Port::<u32>::new(DMA_LOW).write((at as u64 as u32).to_be());
        let mut polls = 0;
        loop {
            let control = u32::from_be((&raw const (*at).control).read_volatile());
            polls += 1;
            if control & !DMA_ERROR == 0 || polls == DMA_POLLS_MAX {
                break control;
            }
        }
    };
    fence(Ordering::SeqCst);
    (control == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(name: &str, len: u32, item: u16) -> Vec<u8> {
        let mut bytes = vec![0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        bytes[4..6].copy_from_slice(&item.to_be_bytes());
        bytes[8..8 + name.len()].copy_from_slice(name.as_bytes());
        bytes
    }

    #[test]
    fn a_file_is_found_by_its_whole_name() {
        let directory = [entry("etc/e820", 40, 0x20), entry("opt/weir/config", 1234, 0x2b)].concat();
        assert_eq!(find_in(&directory, "opt/weir/config"), Some(Entry { len: 1234, item: 0x2b }));
        assert_eq!(find_in(&directory, "opt/weir/conf"), None);
        assert_eq!(find_in(&directory, ""), None);
    }

    #[test]
    fn a_file_for_which_there_is_no_memory_is_none() {
        assert_eq!(zeroed(3), Some(vec![0; 3]));
        assert_eq!(zeroed(isize::MAX as usize), None);
    }

    #[test]
    fn a_name_without_end_and_a_directory_cut_short_do_no_harm() {
        let long = "x".repeat(ENTRY_BYTES - 8);
        let directory = entry(&long, 1, 2);
        assert_eq!(find_in(&directory, &long), Some(Entry { len: 1, item: 2 }));
        assert_eq!(find_in(&directory[..ENTRY_BYTES - 1], &long), None);
    }
}
