//! The base ELF: found, or built from the sources with cargo.
//!
//! The guest is a program for the host's own target, linked without the C library at a fixed address. It is built alone and
//! into its own target folder, so that no feature or flag of a host program reaches it, and with the paths of this machine
//! taken out, so that it comes out the same elsewhere.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The package that is the guest.
pub const PACKAGE: &str = "weir-runtime";

/// The target the guest is built for: the host's own, so that stock Rust has everything.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Flags of the guest's compiler. What concerns linking alone is in the build script of the guest's package.
const GUEST_FLAGS: [&str; 4] = ["-C", "relocation-model=static", "-C", "force-frame-pointers=yes"];

/// Why there is no base ELF.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The file given cannot be read.
    #[error("cannot read the base image {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No source tree to build from.
    #[error("no Weir source tree here or above: run this inside of one, or give a ready base with --base FILE")]
    NoSourceTree,
    /// Cargo could not be started.
    #[error("cannot start cargo: {0}; install Rust, or give a ready base with --base FILE")]
    NoCargo(io::Error),
    /// Cargo failed; it has said why on the standard error.
    #[error("building the guest failed ({0}); the lines above say why")]
    BuildFailed(ExitStatus),
}

/// Reads the base from a file.
///
/// # Errors
/// When the file cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, BaseError> {
    fs::read(path).map_err(|source| BaseError::Unreadable { path: path.to_owned(), source })
}

/// Builds the guest and returns where it is. Cargo tells its progress on the standard error.
///
/// # Errors
/// When there is no source tree, no cargo, or the build fails.
pub fn build() -> Result<PathBuf, BaseError> {
    build_in("image", &[])
}

/// Builds the same program, with tables that lead from its addresses to functions and lines of the source. They are for
/// tools on the host, and too large for an image.
///
/// # Errors
/// As [`build`].
pub fn build_with_lines() -> Result<PathBuf, BaseError> {
    build_in("image-lines", &[("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")])
}

/// Builds into a folder of its own below the target folder.
fn build_in(folder: &str, settings: &[(&str, &str)]) -> Result<PathBuf, BaseError> {
    let workspace = find_workspace().ok_or(BaseError::NoSourceTree)?;
    let target_dir =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from).join(folder);
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .current_dir(&workspace)
        .args(["build", "--release", "--package", PACKAGE, "--features", "bare", "--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        // The encoded form wins over every other place that flags may come from.
        .env("CARGO_ENCODED_RUSTFLAGS", guest_flags(&workspace))
        .envs(settings.iter().copied())
        .status()
        .map_err(BaseError::NoCargo)?;
    if !status.success() {
        return Err(BaseError::BuildFailed(status));
    }
    Ok(target_dir.join(TARGET).join("release").join(PACKAGE))
}

/// Finds the source tree: from the current folder upwards, else where this program was built.
#[must_use]
pub fn find_workspace() -> Option<PathBuf> {
    let is_ours = |folder: &&Path| folder.join("apps/runtime/Cargo.toml").is_file();
    let current = env::current_dir().ok();
    let here = current.iter().flat_map(|folder| folder.ancestors());
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    here.chain(built).find(is_ours).map(Path::to_owned)
}

fn guest_flags(workspace: &Path) -> OsString {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let mut flags = OsString::from(GUEST_FLAGS.join("\u{1f}"));
    for (path, stand_in) in [(cargo_home.as_path(), "cargo"), (workspace, "weir")] {
        if !path.as_os_str().is_empty() {
            flags.push("\u{1f}--remap-path-prefix=");
            flags.push(path);
            flags.push("=");
            flags.push(stand_in);
        }
    }
    flags
}
