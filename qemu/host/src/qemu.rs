//! The QEMU program: where it is, and whether it is new enough.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;

/// The program that is looked for in the path.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The oldest major version that is known to work.
pub const MAJOR_MIN: u32 = 8;

/// A QEMU that can be used.
#[derive(Debug, Clone)]
pub struct Qemu {
    /// What to execute.
    pub path: PathBuf,
    /// Version as QEMU writes it, such as `10.0.2`.
    pub version: String,
}

/// Why there is no QEMU to use.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// Not in the path.
    #[error("{PROGRAM} not found in the path")]
    Missing,
    /// Found, and cannot be executed.
    #[error("{} cannot be started: {source}", path.display())]
    Broken {
        /// The file found.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Says something else than a version.
    #[error("{} --version says {answer:?}, which is no version of QEMU", path.display())]
    Unintelligible {
        /// The file found.
        path: PathBuf,
        /// The first line it printed.
        answer: String,
    },
    /// Older than [`MAJOR_MIN`].
    #[error("{} is version {version}, and {MAJOR_MIN}.0 or newer is needed", path.display())]
    TooOld {
        /// The file found.
        path: PathBuf,
        /// The version it has.
        version: String,
    },
}

impl From<QemuError> for Failure {
    fn from(error: QemuError) -> Self {
        let package =
            "run './setup run' in the source tree, or install QEMU for x86_64 (Debian and Ubuntu: qemu-system-x86)";
        let remedy = match error {
            QemuError::Missing | QemuError::TooOld { .. } => package,
            QemuError::Broken { .. } | QemuError::Unintelligible { .. } => {
                "see what is first in the path under that name"
            }
        };
        Self::new(error.to_string()).help(remedy)
    }
}

impl Qemu {
    /// Looks for QEMU in the path and asks for its version.
    ///
    /// # Errors
    /// When there is none, or none that can be used.
    pub fn find() -> Result<Self, QemuError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|file| file.is_file());
        let path = path.ok_or(QemuError::Missing)?;
        let output = match Command::new(&path).arg("--version").output() {
            Ok(output) => output,
            Err(source) => return Err(QemuError::Broken { path, source }),
        };
        let answer = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        match parse_version(&answer) {
            None => Err(QemuError::Unintelligible { path, answer }),
            Some((major, version)) if major < MAJOR_MIN => Err(QemuError::TooOld { path, version }),
            Some((_, version)) => Ok(Self { path, version }),
        }
    }
}

/// Reads `QEMU emulator version 10.0.2 (Debian …)`: the major version and the whole.
fn parse_version(line: &str) -> Option<(u32, String)> {
    let version = line.strip_prefix("QEMU emulator version ")?.split_whitespace().next()?;
    let major = version.split('.').next()?.parse().ok()?;
    Some((major, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let line = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)";
        assert_eq!(parse_version(line), Some((10, "10.0.2".into())));
        assert_eq!(parse_version("QEMU emulator version 7.2.19"), Some((7, "7.2.19".into())));
        assert_eq!(parse_version("QEMU emulator version 9.2.0-rc1"), Some((9, "9.2.0-rc1".into())));
    }

    #[test]
    fn anything_else_is_no_version() {
        for line in ["", "QEMU emulator version", "QEMU emulator version x.y", "bash: 8.0"] {
            assert_eq!(parse_version(line), None, "{line:?}");
        }
    }
}
