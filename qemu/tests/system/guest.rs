//! A booted Weir.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_host::machine::{Machine, MachineType, Medium, Nic};
use weir_host::memfile::MemFile;
use weir_host::vm::Vm;
use weir_image::{elf, payload};

use crate::lab::{READY_LIMIT, lab};
use crate::{Failed, Tested};

/// Time for firmware and boot loader, which are slow under TCG, and then the guest.
const FIRMWARE_LIMIT: Duration = Duration::from_secs(120);

/// The least memory that is promised, in MiB.
pub const MEMORY_MIB_MIN: u32 = 64;

/// What to boot.
pub struct Spec {
    /// The type of machine.
    pub machine_type: MachineType,
    /// The configuration.
    pub config: String,
    /// The files it serves.
    pub files: Option<PathBuf>,
    /// Virtual processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The network.
    pub nic: Nic,
    /// Properties of the network device, such as `rss=on`.
    pub nic_properties: Vec<String>,
    /// Arguments handed to QEMU as they are.
    pub extra: Vec<OsString>,
    /// Kernel command line.
    pub append: &'static str,
}

impl Default for Spec {
    fn default() -> Self {
        let config = weir_config::DEMO.to_owned();
        Self {
            machine_type: MachineType::default(),
            config,
            files: None,
            cores: 1,
            memory_mib: 256,
            nic: Nic::None,
            nic_properties: Vec::new(),
            extra: Vec::new(),
            append: "",
        }
    }
}

/// A running guest.
pub struct Guest {
    /// Its machine.
    pub vm: Vm,
    /// The line that said it was ready; empty if nobody has waited for it.
    pub ready: String,
    _image: Option<MemFile>,
}

impl Guest {
    /// Starts a guest. A panic of the guest ends QEMU.
    pub fn start(spec: Spec) -> Result<Self, Failed> {
        Self::start_with(spec, &[])
    }

    /// The same with arguments for QEMU, which come last.
    pub fn start_with(spec: Spec, arguments: &[&str]) -> Result<Self, Failed> {
        let lab = lab()?;
        let payload = payload::pack(&spec.config, spec.files.as_deref())?;
        let image = MemFile::new(&elf::attach(&lab.base, &payload)?)?;
        let machine = Machine {
            machine_type: spec.machine_type,
            append: Some(format!("weir.panic=exit {}", spec.append)),
            cores: spec.cores,
            memory_mib: spec.memory_mib,
            nic: spec.nic,
            nic_properties: spec.nic_properties,
            extra: spec.extra.into_iter().chain(arguments.iter().map(Into::into)).collect(),
            ..Machine::new(image.path().to_owned(), lab.accelerator)
        };
        Ok(Self { vm: Vm::start(&lab.qemu, &machine)?, ready: String::new(), _image: Some(image) })
    }

    /// Boots what stands in a file, with one core and the least memory, and with more arguments for QEMU.
    pub fn boot_medium(
        image: &Path,
        medium: Medium,
        firmware: Option<PathBuf>,
        nic: Nic,
        arguments: &[&str],
    ) -> Result<Self, Failed> {
        let lab = lab()?;
        let extra = arguments.iter().map(Into::into).collect();
        let machine = Machine::new(image.to_owned(), lab.accelerator);
        let machine = Machine { medium, firmware, nic, memory_mib: MEMORY_MIB_MIN, extra, ..machine };
        let mut guest = Self { vm: Vm::start(&lab.qemu, &machine)?, ready: String::new(), _image: None };
        let ready = guest.vm.wait_ready(FIRMWARE_LIMIT);
        guest.ready = ready.map_err(|error| guest.report(&format!("not ready: {error}")))?;
        Ok(guest)
    }

    /// Starts a guest and waits until it serves.
    pub fn boot(spec: Spec) -> Result<Self, Failed> {
        let mut guest = Self::start(spec)?;
        let ready = guest.vm.wait_ready(READY_LIMIT);
        guest.ready = ready.map_err(|error| guest.report(&format!("not ready: {error}")))?;
        Ok(guest)
    }

    /// Waits for a console line with all of these texts in it.
    pub fn wait_for(&mut self, texts: &[&str], limit: Duration) -> Result<String, Failed> {
        let line = self.vm.wait_for(|line| texts.iter().all(|text| line.contains(text)), limit);
        line.map_err(|error| self.report(&format!("waited for a line with {texts:?}: {error}")))
    }

    /// Fails with the console unless the guest is still running.
    pub fn still_runs(&mut self) -> Tested {
        match self.vm.wait_end(Duration::ZERO) {
            None => Ok(()),
            Some(status) => Err(self.report(&format!("the guest has ended ({status})"))),
        }
    }

    /// A failure with the last lines of the console.
    pub fn report(&mut self, what: &str) -> Failed {
        let complaints = self.vm.complaints();
        let lines = self.vm.lines();
        let last = &lines[lines.len().saturating_sub(40)..];
        format!("{what}\nconsole:\n  {}\n{complaints}", last.join("\n  ")).into()
    }
}
