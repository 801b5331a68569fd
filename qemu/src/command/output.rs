//! Where an image goes: a file that is there as a whole or not at all, or a device that it is written over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::failure::Failure;

/// An image on its way: it is made at [`path`](Self::path), and [`commit`](Self::commit) puts it where it is wanted. Without that,
/// nothing is left of it.
pub(super) struct Output<'a> {
    wanted: &'a Path,
    folder: TempDir,
}

impl<'a> Output<'a> {
    /// A folder beside the wanted file, so that the way there is a change of name.
    ///
    /// # Errors
    /// Nothing can be written there.
    pub(super) fn new(wanted: &'a Path) -> Result<Self, Failure> {
        if wanted.is_dir() {
            return Err(Failure::new(format!("{} is a folder", wanted.display()))
                .help("give the name of a file, such as -o lb.elf"));
        }
        let parent = wanted.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let beside = if is_device(wanted) { std::env::temp_dir() } else { parent.to_owned() };
        let folder = tempfile::Builder::new().prefix(".weir-").tempdir_in(&beside);
        Ok(Self { wanted, folder: folder.map_err(|error| cannot_make(wanted, &beside, &error))? })
    }

    /// Where it is made.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Puts what was made where it is wanted.
    ///
    /// # Errors
    /// It cannot be written there, or does not fit.
    pub(super) fn commit(self) -> Result<(), Failure> {
        let fail = |error: io::Error| cannot_write(self.wanted, &error);
        if !is_device(self.wanted) {
            return fs::rename(self.path(), self.wanted).map_err(fail);
        }
        let mut image = File::open(self.path()).map_err(fail)?;
        let mut device = OpenOptions::new().write(true).open(self.wanted).map_err(fail)?;
        if let Some(room) = room(&mut device).map_err(fail)? {
            let bytes = image.metadata().map_err(fail)?.len();
            check_room(bytes, room, &self.wanted.display().to_string())?;
        }
        io::copy(&mut image, &mut device).and_then(|_| device.flush()).map_err(fail)
    }
}

/// Fails for an image that is larger than its medium.
///
/// # Errors
/// It is.
pub(super) fn check_room(image_bytes: u64, room: u64, medium: &str) -> Result<(), Failure> {
    if image_bytes <= room {
        return Ok(());
    }
    let kib = |bytes: u64| bytes.div_ceil(1024);
    let cause = format!("the image has {} KiB, and {medium} has room for {}", kib(image_bytes), kib(room));
    Err(Failure::new(cause).help("take a larger medium, or fewer files"))
}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {error}", path.display()))
}

/// Nothing can be made in `folder`. The error's own text would name our temporary folder, which nobody has asked for.
fn cannot_make(path: &Path, folder: &Path, error: &io::Error) -> Failure {
    let (cause, help) = match folder.is_dir() {
        true => (format!("{} takes no files: {}", folder.display(), error.kind()), "choose another folder".into()),
        false => (format!("there is no folder {}", folder.display()), format!("mkdir -p {}", folder.display())),
    };
    Failure::new(format!("cannot write {}: {cause}", path.display())).help(help)
}

/// Whether something that is no file would be written over.
pub(super) fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_block_device() || kind.is_char_device() || kind.is_fifo()
    })
}

/// The length of a block device; `None` for what has no end.
fn room(device: &mut File) -> io::Result<Option<u64>> {
    if !device.metadata()?.file_type().is_block_device() {
        return Ok(None);
    }
    let room = device.seek(SeekFrom::End(0))?;
    device.rewind()?;
    Ok(Some(room))
}
