//! What all tests share: QEMU, the accelerator, the guest's program, and ways to run other programs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use weir_command::command::LONG_VARIABLE;
use weir_host::accel::{self, Accelerator};
use weir_host::qemu::Qemu;
use weir_host::tether;
use weir_image::base;

use crate::Failed;

/// The path of the base image, from outside of the namespace.
const BASE: &str = "WEIR_TEST_BASE";

/// Why there is no base image.
const BASE_ERROR: &str = "WEIR_TEST_BASE_ERROR";

/// Time for a guest to become ready. Under TCG on a busy machine a start takes seconds, not minutes.
pub const READY_LIMIT: Duration = Duration::from_secs(30);

/// What is needed to boot guests.
pub struct Lab {
    /// The program.
    pub qemu: Qemu,
    /// What it runs on.
    pub accelerator: Accelerator,
    /// The guest's program, without a payload.
    pub base: Vec<u8>,
    /// Where it came from.
    pub base_path: PathBuf,
}

/// Builds the guest, unless the environment names a ready one; returns what the program inside of the namespace needs to know.
pub fn build_base() -> [(&'static str, OsString); 1] {
    if let Some(path) = env::var_os(BASE) {
        return [(BASE, path)];
    }
    match base::build() {
        Ok(path) => [(BASE, path.into())],
        Err(error) => [(BASE_ERROR, error.to_string().into())],
    }
}

/// The lab, opened by the first test that needs it.
pub fn lab() -> Result<&'static Lab, Failed> {
    static LAB: OnceLock<Result<Lab, String>> = OnceLock::new();
    LAB.get_or_init(|| open().map_err(|error| error.to_string())).as_ref().map_err(|error| error.as_str().into())
}

fn open() -> Result<Lab, Failed> {
    if let Ok(error) = env::var(BASE_ERROR) {
        return Err(error.into());
    }
    let base_path = PathBuf::from(env::var_os(BASE).ok_or("no guest was built")?);
    let qemu = Qemu::find()?;
    let choice = accel::choose(accel::Request::Auto, &qemu)?;
    if let Some(remark) = choice.remark {
        eprintln!("weir: {remark}");
    }
    Ok(Lab { qemu, accelerator: choice.accelerator, base: fs::read(&base_path)?, base_path })
}

/// Whether the long variants are wanted.
pub fn long() -> bool {
    env::var_os(LONG_VARIABLE).is_some()
}

/// Runs a program to its end and returns what it printed on the standard output. `line` is split at its spaces.
pub fn command_line(line: &str) -> Result<String, Failed> {
    let mut words = line.split(' ');
    let output = tether::command(words.next().unwrap_or_default(), None).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("'{line}' failed ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

/// The `weir` command, which dies with us, as everything does.
pub fn weir() -> Command {
    tether::command(env!("CARGO_BIN_EXE_weir"), None)
}
