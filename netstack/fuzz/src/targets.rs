//! All targets.

mod chunked;
mod configuration;
mod device;
mod frames;
mod heads;
mod names;
mod operations;
mod seed;
mod segments;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::campaign;
use crate::features::Features;

/// Something that reads foreign bytes.
pub struct Target {
    /// Its name: of the command, of the folder of its corpus.
    pub name: &'static str,
    /// Runs it. Panics are findings.
    pub run: fn(&[u8]) -> Features,
    /// Words of its language, for the mutator.
    pub words: &'static [&'static [u8]],
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All of them.
pub static TARGETS: &[Target] = &[
    Target { name: "segments", run: segments::run, words: &[] },
    Target { name: "operations", run: operations::run, words: &[] },
    Target { name: "frames", run: frames::run, words: &[] },
    Target { name: "device", run: device::run, words: &[] },
    Target { name: "request", run: heads::run_request, words: heads::WORDS },
    Target { name: "response", run: heads::run_response, words: heads::WORDS },
    Target { name: "chunked", run: chunked::run, words: chunked::WORDS },
    Target { name: "configuration", run: configuration::run, words: configuration::WORDS },
    Target { name: "names", run: names::run, words: names::WORDS },
    Target { name: "seed", run: seed::run, words: seed::WORDS },
];

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// The folder of its corpus in the tree.
    #[must_use]
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }

    /// Runs it with the bytes of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn replay(&'static self, path: &Path) -> io::Result<()> {
        campaign::replay(self, path)
    }
}
