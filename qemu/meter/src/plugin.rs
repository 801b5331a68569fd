//! The file that QEMU loads.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use weir_image::base;

/// The package that is the plugin.
pub const PACKAGE: &str = "weir-meter-plugin";

/// Name of the file that cargo makes of it.
const FILE_NAME: &str = "libweir_meter_plugin.so";

/// Why there is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No source tree to build from.
    #[error("no Weir source tree here or above: run this inside of one, or give a ready plugin")]
    NoSourceTree,
    /// Cargo could not be started.
    #[error("cannot start cargo: {0}")]
    NoCargo(io::Error),
    /// Cargo failed; it has said why on the standard error.
    #[error("building the plugin failed ({0}); the lines above say why")]
    BuildFailed(ExitStatus),
}

/// Builds the plugin and returns where it is. Optimised: it runs inside of every memory access.
///
/// # Errors
/// When there is no source tree, no cargo, or the build fails.
pub fn build() -> Result<PathBuf, PluginError> {
    let workspace = base::find_workspace().ok_or(PluginError::NoSourceTree)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .current_dir(&workspace)
        .args(["build", "--quiet", "--release", "--package", PACKAGE, "--target-dir"])
        .arg(&target)
        .status()
        .map_err(PluginError::NoCargo)?;
    if !status.success() {
        return Err(PluginError::BuildFailed(status));
    }
    Ok(target.join("release").join(FILE_NAME))
}

/// What the plugin is to count besides instructions and halts. Each makes the guest slower, and a slower guest finds larger
/// bursts in its queues: figures are comparable between runs that count the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Accesses to device memory.
    pub devices: bool,
    /// Which vCPUs write and read each cache line.
    pub lines: bool,
    /// Length of memory that the guest maps to equal virtual addresses, in bytes; 0 for a guest that does not.
    pub identity_len: u64,
}

/// The arguments for QEMU. The plugin will listen at `socket`.
#[must_use]
pub fn arguments(plugin: &Path, socket: &Path, options: Options) -> [OsString; 2] {
    let on_or_off = |is_on| if is_on { "on" } else { "off" };
    let mut value = escaped(plugin);
    value.push(",socket=");
    value.push(escaped(socket));
    value.push(format!(
        ",devices={},lines={},ram={}",
        on_or_off(options.devices),
        on_or_off(options.lines),
        options.identity_len
    ));
    ["-plugin".into(), value]
}

/// A comma in QEMU's options is written twice.
fn escaped(path: &Path) -> OsString {
    path.to_string_lossy().replace(',', ",,").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_what_the_plugin_reads() {
        let options = Options { devices: true, lines: false, identity_len: 4096 };
        let [flag, value] = arguments(Path::new("/a,b.so"), Path::new("/s"), options);
        assert_eq!(flag, "-plugin");
        assert_eq!(value, "/a,,b.so,socket=/s,devices=on,lines=off,ram=4096");
    }
}
