//! The choice between KVM and TCG.

use std::fs::File;
use std::io;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::probe::{self, ProbeError};
use crate::qemu::Qemu;

/// What executes guest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator: works everywhere, some ten times slower.
    Tcg,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Request {
    /// KVM if a probe guest shows that it works, else TCG.
    #[default]
    Auto,
    /// KVM, or an error.
    Kvm,
    /// TCG.
    Tcg,
}

/// A decision and what is to be said about it.
#[derive(Debug)]
pub struct Choice {
    /// What to use.
    pub accelerator: Accelerator,
    /// One line for the user, when the choice may surprise.
    pub remark: Option<String>,
}

/// Why KVM cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// No device file: no KVM in this kernel, or none passed into this container or VM.
    #[error("there is no /dev/kvm")]
    Missing,
    /// The device file may not be opened.
    #[error("/dev/kvm may not be opened by this user")]
    Denied,
    /// The device file cannot be opened for another reason.
    #[error("/dev/kvm cannot be opened: {0}")]
    Broken(io::Error),
    /// The probe guest failed.
    #[error("KVM opens, but {0}")]
    Unusable(ProbeError),
}

/// Decides what a machine runs on.
///
/// # Errors
/// When KVM is demanded and cannot work.
pub fn choose(request: Request, qemu: &Qemu) -> Result<Choice, Failure> {
    let (accelerator, remark) = match (request, check_kvm(request, qemu)) {
        (Request::Tcg, _) => (Accelerator::Tcg, None),
        (_, Ok(())) => (Accelerator::Kvm, None),
        (Request::Auto, Err(error)) => (Accelerator::Tcg, Some(format!("{error}; using TCG"))),
        // Slow is the user's own choice.
        (Request::Kvm, Err(error @ KvmError::Unusable(ProbeError::TooSlow))) => {
            (Accelerator::Kvm, Some(format!("{error}; going on, as asked for")))
        }
        (Request::Kvm, Err(error)) => {
            let remedy = match error {
                KvmError::Denied => {
                    "join the group that owns it ('sudo usermod -aG kvm $USER', then log in again), or use --accel tcg"
                }
                _ => "use --accel tcg, or auto",
            };
            return Err(Failure::new(error.to_string()).help(remedy));
        }
    };
    Ok(Choice { accelerator, remark })
}

fn check_kvm(request: Request, qemu: &Qemu) -> Result<(), KvmError> {
    if request == Request::Tcg {
        return Ok(());
    }
    File::options().read(true).write(true).open("/dev/kvm").map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KvmError::Missing,
        io::ErrorKind::PermissionDenied => KvmError::Denied,
        _ => KvmError::Broken(error),
    })?;
    probe::kvm(qemu).map_err(KvmError::Unusable)
}
