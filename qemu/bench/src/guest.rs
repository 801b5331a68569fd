//! A guest of either kind: the same machine around both.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use weir_host::accel::Accelerator;
use weir_host::machine::{Machine, Nic};
use weir_host::memfile::MemFile;
use weir_host::qemu::Qemu;
use weir_host::vm::{READY, Vm};
use weir_meter::lab::Failed;
use weir_meter::meter::Meter;
use weir_meter::plugin::{self, Options};

use crate::baseline::Baseline;
use crate::matrix::System;

/// Memory of each guest.
pub const MEMORY_MIB: u32 = 512;

/// What the Linux guest says when it serves.
const LINUX_READY: &str = "baseline: ready";

/// The Linux guest's command line: nothing that slows it down, nothing that talks.
pub const LINUX_APPEND: &str = "console=ttyS0 quiet loglevel=1 mitigations=off audit=0 no5lvl panic=-1";

/// Time for a guest to become ready; with cache lines followed, everything takes ten times as long.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// What is needed to boot either.
#[derive(Debug)]
pub struct Images {
    /// QEMU.
    pub qemu: Qemu,
    /// Weir, with its configuration.
    pub weir: MemFile,
    /// Linux.
    pub linux: Baseline,
    /// The plugin that counts.
    pub plugin: PathBuf,
    /// What executes guest code when nothing is counted.
    pub accelerator: Accelerator,
}

/// What is counted while a guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nothing: full speed.
    Nothing,
    /// Instructions and device accesses.
    Instructions,
    /// Instructions and shared cache lines.
    Lines,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    /// The machine.
    pub vm: Vm,
    /// What counts, if something does.
    pub meter: Option<Meter>,
    _folder: Option<TempDir>,
}

impl Guest {
    /// Starts one and does not wait for it.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(images: &Images, system: System, cores: u32, nic: Nic, watch: Watch) -> Result<(Vm, Socket), Failed> {
        let socket = Socket::new(watch)?;
        let accelerator = if watch == Watch::Nothing { images.accelerator } else { Accelerator::Tcg };
        let image = match system {
            System::Weir => images.weir.path().to_owned(),
            System::Linux => images.linux.kernel.clone(),
        };
        let mut machine = Machine { cores, memory_mib: MEMORY_MIB, nic, ..Machine::new(image, accelerator) };
        if system == System::Linux {
            machine.append = Some(LINUX_APPEND.into());
            machine.extra = vec!["-initrd".into(), images.linux.initramfs.clone().into()];
        }
        if let Some(folder) = &socket.folder {
            // Addresses below are plain memory in Weir; Linux has no program there.
            let identity_len = u64::from(MEMORY_MIB) << 20;
            let lines = watch == Watch::Lines;
            let options = Options { devices: !lines, lines, identity_len };
            machine.extra.extend(plugin::arguments(&images.plugin, &socket_path(folder.path()), options));
        }
        Ok((Vm::start(&images.qemu, &machine)?, socket))
    }

    /// Boots one and waits until it serves.
    ///
    /// # Errors
    /// When it does not become ready; with what it and QEMU said.
    pub fn boot(images: &Images, system: System, cores: u32, nic: Nic, watch: Watch) -> Result<Self, Failed> {
        let (mut vm, socket) = Self::start(images, system, cores, nic, watch)?;
        let ready = match system {
            System::Weir => READY,
            System::Linux => LINUX_READY,
        };
        if let Err(error) = vm.wait_for(|line| line.starts_with(ready), READY_LIMIT) {
            return Err(format!("{} did not boot: {error}: {}", system.name(), vm.last_words()).into());
        }
        let meter = socket.folder.as_ref().map(|folder| Meter::connect(&socket_path(folder.path()))).transpose()?;
        Ok(Self { vm, meter, _folder: socket.folder })
    }
}

/// Where the plugin listens, if there is one.
#[derive(Debug)]
pub struct Socket {
    folder: Option<TempDir>,
}

impl Socket {
    fn new(watch: Watch) -> Result<Self, Failed> {
        Ok(Self { folder: if watch == Watch::Nothing { None } else { Some(tempfile::tempdir()?) } })
    }
}

fn socket_path(folder: &Path) -> PathBuf {
    folder.join("meter")
}
