//! The guest with the plugin.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use weir_host::accel::Accelerator;
use weir_host::machine::{Machine, Nic};
use weir_host::memfile::MemFile;
use weir_host::qemu::Qemu;
use weir_host::vm::Vm;

use super::Failed;
use crate::meter::Meter;
use crate::plugin::{self, Options};

/// Time for the guest to become ready; with cache lines followed, everything takes ten times as long.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Memory of the guest in MiB.
const MEMORY_MIB: u32 = 256;

/// A running guest and its meter.
#[derive(Debug)]
pub struct Guest {
    /// The machine.
    pub vm: Vm,
    /// What counts.
    pub meter: Meter,
    /// The line with which it said that it serves.
    pub ready: String,
    _image: MemFile,
    _folder: TempDir,
}

/// What is to be counted besides instructions and halts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Detail {
    /// Accesses to devices.
    pub devices: bool,
    /// Shared cache lines.
    pub lines: bool,
}

/// What is to be booted.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The image.
    pub image: &'a [u8],
    /// The plugin's file.
    pub plugin: &'a Path,
    /// Virtual processors.
    pub cores: u32,
    /// The network.
    pub nic: Nic,
    /// Properties added to the network device.
    pub nic_properties: Vec<String>,
    /// What to count.
    pub detail: Detail,
}

impl Guest {
    /// Boots an image of Weir under TCG and waits until it serves.
    ///
    /// # Errors
    /// When there is no QEMU that can load the plugin, or the guest does not become ready; with what both said.
    pub fn boot(plan: Plan<'_>) -> Result<Self, Failed> {
        let qemu = Qemu::find().map_err(|error| error.to_string())?;
        let image = MemFile::new(plan.image)?;
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("meter");
        // Weir maps its memory to equal virtual addresses.
        let options = Options {
            devices: plan.detail.devices,
            lines: plan.detail.lines,
            identity_len: u64::from(MEMORY_MIB) << 20,
        };
        let machine = Machine {
            cores: plan.cores,
            memory_mib: MEMORY_MIB,
            nic: plan.nic,
            nic_properties: plan.nic_properties,
            extra: plugin::arguments(plan.plugin, &socket, options).into(),
            ..Machine::new(image.path().to_owned(), Accelerator::Tcg)
        };
        let mut vm = Vm::start(&qemu, &machine)?;
        match vm.wait_ready(READY_LIMIT) {
            Ok(ready) => Ok(Self { meter: Meter::connect(&socket)?, vm, ready, _image: image, _folder: folder }),
            Err(error) => Err(format!("{error}\n{}\n{}", vm.lines().join("\n"), vm.complaints()).into()),
        }
    }
}
