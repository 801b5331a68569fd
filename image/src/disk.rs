//! Disks and CDs: an image that boots from any medium, by BIOS and by UEFI, with GRUB in front of the ELF.
//!
//! One layout serves all: an ISO 9660 file system that is at the same time a disk with a partition table and an EFI system
//! partition, as `grub-mkrescue` makes it. GRUB starts the ELF by Multiboot2, and the medium is not needed any more.
//!
//! The same ELF gives the same bytes with the same tools: dates are fixed, and the one number that `mformat` draws by chance,
//! the serial number of the EFI system partition, is set afterwards.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Forms of medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes as they are on a disk.
    Raw,
    /// A disk in QEMU's own format, compressed.
    Qcow2,
    /// A CD. Its bytes are those of the raw disk.
    Iso,
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A program is not installed.
    #[error("{program} not found")]
    ToolMissing {
        /// Which one.
        program: &'static str,
        /// The Debian packages that have it.
        packages: &'static str,
    },
    /// A program failed.
    #[error("{program} failed: {said}")]
    ToolFailed {
        /// Which one.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// GRUB is installed for one kind of firmware only.
    #[error("the disk would not boot from {firmware}: GRUB's part for it is not installed")]
    FirmwareMissing {
        /// Which kind.
        firmware: &'static str,
        /// The Debian package of that part.
        packages: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What GRUB does: no menu, no waiting.
const GRUB_CONFIG: &str = "set timeout=0\nset gfxpayload=text\nmultiboot2 /boot/weir.elf\nboot\n";
/// What it needs for that.
const GRUB_MODULES: &str = "multiboot2 normal iso9660 part_gpt part_msdos fat search search_fs_uuid";

/// The one date of everything on the medium: the beginning of the year 2000.
pub(crate) const DATE_SECONDS: &str = "946684800";
pub(crate) const DATE_DIGITS: &str = "2000010100000000";

/// Makes a medium of `form` with `elf` on it, as long as it must be.
///
/// # Errors
/// A program that is needed is missing or fails, or the result cannot be written.
pub fn build(elf: &[u8], form: Form, output: &Path) -> Result<(), DiskError> {
    let bytes = hybrid(elf)?;
    write(&bytes, bytes.len() as u64, form, output)
}

/// Writes the bytes of a medium in a form. It gets this length if that is more than there are bytes.
///
/// # Errors
/// A program that is needed is missing or fails, or the result cannot be written.
pub fn write(bytes: &[u8], len: u64, form: Form, output: &Path) -> Result<(), DiskError> {
    let raw = |path: &Path| {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.set_len(len.max(bytes.len() as u64))
    };
    if form != Form::Qcow2 {
        return raw(output).map_err(file_error(output));
    }
    let folder = tempfile::tempdir().map_err(file_error(&env::temp_dir()))?;
    let path = folder.path().join("raw");
    raw(&path).map_err(file_error(&path))?;
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "qcow2", "-c"]).arg(&path).arg(output);
    run(convert, "qemu-img", "qemu-utils")
}

/// The bytes of the medium with `elf` on it.
///
/// # Errors
/// A program that is needed is missing or fails.
pub fn hybrid(elf: &[u8]) -> Result<Vec<u8>, DiskError> {
    let folder = tempfile::tempdir().map_err(file_error(&env::temp_dir()))?;
    let tree = folder.path().join("tree");
    let grub = tree.join("boot/grub");
    fs::create_dir_all(&grub).map_err(file_error(&grub))?;
    for (name, bytes) in [("boot/weir.elf", elf), ("boot/grub/grub.cfg", GRUB_CONFIG.as_bytes())] {
        let path = tree.join(name);
        fs::write(&path, bytes).map_err(file_error(&path))?;
    }
    // `grub-mkrescue` says little of the programs that it calls in turn.
    for (program, packages) in [("xorriso", "xorriso"), ("mformat", "mtools")] {
        if !is_installed(program) {
            return Err(DiskError::ToolMissing { program, packages });
        }
    }
    let path = folder.path().join("hybrid");
    let mut mkrescue = Command::new("grub-mkrescue");
    mkrescue.env("SOURCE_DATE_EPOCH", DATE_SECONDS).env("LC_ALL", "C").env("TMPDIR", folder.path());
    mkrescue.args(["--fonts=", "--locales=", "--themes="]);
    mkrescue.arg(format!("--install-modules={GRUB_MODULES}")).arg(format!("--modification-date={DATE_DIGITS}"));
    mkrescue.arg("-o").arg(&path).arg(&tree);
    let date = format!("={DATE_SECONDS}");
    mkrescue.args(["--", "-volid", "WEIR", "-alter_date_r", "b", &date, "/", "--"]);
    run(mkrescue, "grub-mkrescue", "grub-common grub-pc-bin grub-efi-amd64-bin")?;
    let mut bytes = fs::read(&path).map_err(file_error(&path))?;
    settle(&mut bytes)?;
    Ok(bytes)
}

const SECTOR: usize = 512;
/// Type of an EFI system partition (UEFI 2.10, 5.3.3), as its bytes stand in the table.
const ESP_TYPE: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// Offset of the signature that says a serial number follows, and the number, in the boot sector of a FAT file system.
const FAT_SIGNATURE: usize = 38;
const FAT_SERIAL: std::ops::Range<usize> = 39..43;

/// Checks that both kinds of firmware can boot it, and gives the EFI system partition a serial number.
fn settle(disk: &mut [u8]) -> Result<(), DiskError> {
    let boot_code = disk.get(..440).unwrap_or_default();
    if boot_code.iter().all(|byte| *byte == 0) {
        return Err(DiskError::FirmwareMissing { firmware: "BIOS", packages: "grub-pc-bin" });
    }
    let missing = DiskError::FirmwareMissing { firmware: "UEFI", packages: "grub-efi-amd64-bin" };
    let Some(partition) = efi_partition(disk) else { return Err(missing) };
    match disk.get_mut(partition..partition + SECTOR) {
        Some(sector) if sector[FAT_SIGNATURE] == 0x29 => {
            sector[FAT_SERIAL].copy_from_slice(b"WEIR");
            Ok(())
        }
        _ => Err(missing),
    }
}

/// Where the EFI system partition begins, by the partition table (UEFI 2.10, 5.3).
fn efi_partition(disk: &[u8]) -> Option<usize> {
    let header = disk.get(SECTOR..2 * SECTOR)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let word = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?) as usize);
    let (table, count, len) = (word(72)?, word(80)?, word(84)?);
    if len < 128 {
        return None;
    }
    let entries = disk.get(table.checked_mul(SECTOR)?..)?.chunks_exact(len).take(count);
    let entry = entries.into_iter().find(|entry| entry.starts_with(&ESP_TYPE))?;
    let first = u64::from_le_bytes(*entry.get(32..)?.first_chunk()?);
    usize::try_from(first).ok()?.checked_mul(SECTOR)
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

pub(crate) fn run(mut command: Command, program: &'static str, packages: &'static str) -> Result<(), DiskError> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DiskError::ToolMissing { program, packages });
        }
        Err(error) => return Err(DiskError::ToolFailed { program, said: error.to_string() }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(DiskError::ToolFailed { program, said: last[last.len().saturating_sub(3)..].join("; ") })
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with boot code, a partition table with two entries, and a FAT boot sector.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 16 * SECTOR];
        disk[0] = 0xeb;
        disk[SECTOR..SECTOR + 8].copy_from_slice(b"EFI PART");
        for (at, value) in [(72, 3_u32), (80, 4), (84, 128)] {
            disk[SECTOR + at..SECTOR + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let entry = 3 * SECTOR + 128;
        disk[entry..entry + 16].copy_from_slice(&ESP_TYPE);
        disk[entry + 32] = 8;
        disk[8 * SECTOR + FAT_SIGNATURE] = 0x29;
        disk[8 * SECTOR + 39] = 0x77;
        disk
    }

    #[test]
    fn the_serial_number_is_always_the_same() {
        let mut settled = disk();
        settle(&mut settled).unwrap();
        assert_eq!(settled[8 * SECTOR..][FAT_SERIAL], *b"WEIR");
        let mut other = disk();
        other[8 * SECTOR + 39] = 0x78;
        settle(&mut other).unwrap();
        assert_eq!(settled, other);
    }

    #[test]
    fn a_disk_that_one_firmware_cannot_boot_is_refused() {
        let mut no_code = disk();
        no_code[0] = 0;
        let error = settle(&mut no_code).unwrap_err().to_string();
        assert!(error.contains("BIOS"), "{error}");
        for (at, value) in [(SECTOR, 0), (SECTOR + 84, 1), (3 * SECTOR + 128, 0), (3 * SECTOR + 128 + 33, 9)] {
            let mut broken = disk();
            broken[at] = value;
            let error = settle(&mut broken).unwrap_err().to_string();
            assert!(error.contains("UEFI"), "{at}: {error}");
        }
        for len in 0..8 * SECTOR + SECTOR {
            assert!(settle(&mut disk()[..len]).is_err(), "{len}");
        }
    }
}
