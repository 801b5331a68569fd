//! Files that exist only in memory, and only as long as this process.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

/// A file for a program that wants a path.
#[derive(Debug)]
pub struct MemFile {
    _file: File,
    path: PathBuf,
}

impl MemFile {
    /// Makes a file with this content.
    ///
    /// # Errors
    /// When memory or file descriptors run out.
    pub fn new(content: &[u8]) -> io::Result<Self> {
        let mut file = File::from(rustix::fs::memfd_create("weir-image", MemfdFlags::CLOEXEC)?);
        file.write_all(content)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
        Ok(Self { _file: file, path })
    }

    /// Where other processes of the same user find it, while this process lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_processes_can_read_it() {
        let file = MemFile::new(b"content").unwrap();
        let output = std::process::Command::new("cat").arg(file.path()).output().unwrap();
        assert_eq!(output.stdout, b"content");
    }
}
