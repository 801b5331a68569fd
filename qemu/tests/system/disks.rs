//! The boot matrix: the same image, put into memory by QEMU or from each medium by each firmware, answers a request.

use std::path::{Path, PathBuf};

use weir_host::machine::{MachineType, Medium};
use weir_image::disk::{self, Form};
use weir_image::{elf, payload};

use crate::guest::{Guest, MEMORY_MIB_MIN, Spec};
use crate::lab::lab;
use crate::tap::Tap;
use crate::{CannotTest, Failed, Tested, Tests, ensure, http};

pub const TESTS: Tests = &[
    ("disks::pvh_boots", || boots_directly(MachineType::Q35)),
    ("disks::microvm_boots", || boots_directly(MachineType::Microvm)),
    ("disks::the_older_chipset_boots", the_older_chipset_boots),
    ("disks::the_older_chipset_boots_a_disk", the_older_chipset_boots_a_disk),
    ("disks::bios_boots_a_disk", || boots(Form::Raw, Medium::VirtioDisk("raw"), Firmware::Bios)),
    ("disks::bios_boots_a_sata_disk", || boots(Form::Raw, Medium::SataDisk("raw"), Firmware::Bios)),
    ("disks::bios_boots_a_compressed_disk", || boots(Form::Qcow2, Medium::VirtioDisk("qcow2"), Firmware::Bios)),
    ("disks::bios_boots_a_cd", || boots(Form::Iso, Medium::Cd, Firmware::Bios)),
    ("disks::uefi_boots_a_disk", || boots(Form::Raw, Medium::VirtioDisk("raw"), Firmware::Uefi)),
    ("disks::uefi_boots_a_sata_disk", || boots(Form::Qcow2, Medium::SataDisk("qcow2"), Firmware::Uefi)),
    ("disks::uefi_boots_a_cd", || boots(Form::Iso, Medium::Cd, Firmware::Uefi)),
    ("disks::bios_boots_a_disk_with_room", || boots_with(Form::Raw, Medium::VirtioDisk("raw"), Firmware::Bios, ROOM)),
    ("disks::uefi_boots_a_disk_with_room", || {
        boots_with(Form::Qcow2, Medium::VirtioDisk("qcow2"), Firmware::Uefi, ROOM)
    }),
    ("disks::the_same_image_gives_the_same_bytes", the_same_image_gives_the_same_bytes),
];

/// Where distributions put the firmware of edk2 that needs no variables.
const UEFI: [&str; 3] = ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd"];

/// A disk's length when clouds ask for a certain one, as `weir build --size 1G` makes it.
const ROOM: u64 = 1 << 30;

/// The later type of machine holds.
const OLDER_CHIPSET: [&str; 2] = ["-machine", "pc"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmware {
    Bios,
    Uefi,
}

fn image(config: &str) -> Result<Vec<u8>, Failed> {
    Ok(elf::attach(&lab()?.base, &payload::pack(config, None)?)?)
}

fn boots(form: Form, medium: Medium, firmware: Firmware) -> Tested {
    boots_with(form, medium, firmware, 0)
}

/// Boots a medium of at least `len` bytes.
fn boots_with(form: Form, medium: Medium, firmware: Firmware, len: u64) -> Tested {
    let firmware = match firmware {
        Firmware::Bios => None,
        Firmware::Uefi => {
            let found = UEFI.iter().find(|path| Path::new(path).exists());
            Some(PathBuf::from(found.ok_or(CannotTest("there is no UEFI firmware for QEMU"))?))
        }
    };
    boots_from(form, medium, firmware, len, &[])
}

/// The same with arguments for QEMU.
fn boots_from(form: Form, medium: Medium, firmware: Option<PathBuf>, len: u64, arguments: &[&str]) -> Tested {
    let tap = Tap::new(1)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("medium");
    disk::write(&disk::hybrid(&image(&config(&tap))?)?, len, form, &path)?;
    answers(Guest::boot_medium(&path, medium, firmware, tap.nic(), arguments)?, &tap)
}

fn boots_directly(machine_type: MachineType) -> Tested {
    let tap = Tap::new(1)?;
    answers(Guest::boot(Spec { machine_type, ..least(&tap) })?, &tap)
}

/// A machine with the least memory.
fn least(tap: &Tap) -> Spec {
    Spec { config: config(tap), memory_mib: MEMORY_MIB_MIN, nic: tap.nic(), ..Spec::default() }
}

/// QEMU's `pc`: PCI without Express.
fn the_older_chipset_boots() -> Tested {
    let tap = Tap::new(1)?;
    let extra = OLDER_CHIPSET.map(Into::into).into();
    answers(Guest::boot(Spec { extra, ..least(&tap) })?, &tap)
}

/// Its disk is IDE.
fn the_older_chipset_boots_a_disk() -> Tested {
    boots_from(Form::Raw, Medium::SataDisk("raw"), None, 0, &OLDER_CHIPSET)
}

fn config(tap: &Tap) -> String {
    let listener = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n\n[[listener.route]]\n";
    format!("{}{listener}respond = {{ body = \"it boots\\n\" }}\n", tap.config())
}

fn answers(mut guest: Guest, tap: &Tap) -> Tested {
    let answer = http::get(tap.at(80), "/").map_err(|error| guest.report(&error.to_string()))?;
    ensure(answer.status == 200 && answer.text() == "it boots\n", || answer.head)
}

/// File systems and partition tables have dates and serial numbers, which must not depend on the day.
fn the_same_image_gives_the_same_bytes() -> Tested {
    let elf = image(weir_config::DEMO)?;
    let folder = tempfile::tempdir()?;
    for form in [Form::Raw, Form::Qcow2, Form::Iso] {
        let build = |name: &str| -> Result<Vec<u8>, Failed> {
            let path = folder.path().join(name);
            disk::build(&elf, form, &path)?;
            Ok(std::fs::read(path)?)
        };
        let (first, second) = (build("first")?, build("second")?);
        ensure(first == second, || format!("{form:?}: {} and {} bytes differ", first.len(), second.len()))?;
        ensure(first.len() < 16 << 20, || format!("{form:?}: {} bytes", first.len()))?;
    }
    Ok(())
}
