//! The payload: what makes an image somebody's own, as one ustar archive.
//!
//! Members, in this order: `weir.toml`, the configuration; then `files/…`, the document root, sorted by the bytes of the
//! path. Regular files only; owner 0, mode 0644 and time 0 everywhere, so that the same content gives the same bytes. The
//! guest walks the 512-byte headers in place and serves the files from where they lie.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the configuration, the first member.
pub const CONFIG_NAME: &str = "weir.toml";

/// Folder of the document root in the archive.
pub const FILES_PREFIX: &str = "files";

/// How deep folders may be nested below the document root.
const DEPTH_MAX: usize = 32;

/// What can be wrong with the files that are to be packed.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The document root is not a folder.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// A device, a socket, a pipe, or a link to a folder.
    #[error("{} is neither a regular file nor a folder", .0.display())]
    UnknownKind(PathBuf),
    /// The name is longer than the archive format can hold: 255 bytes with the last 100 behind a slash.
    #[error("the path {0} is too long for the archive (255 bytes, at most 100 of them after some slash)")]
    PathTooLong(String),
    /// URLs are text; so are the names of the files behind them.
    #[error("the name of {} is not UTF-8", .0.display())]
    NotUtf8(PathBuf),
    /// Folders nested deeper than [`DEPTH_MAX`].
    #[error("{} is nested deeper than 32 folders", .0.display())]
    TooDeep(PathBuf),
}

/// Packs a configuration and, if given, a document root.
///
/// # Errors
/// When a file cannot be read or cannot be named in the archive.
pub fn pack(config: &str, document_root: Option<&Path>) -> Result<Vec<u8>, PayloadError> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, CONFIG_NAME, config.as_bytes())?;
    if let Some(root) = document_root {
        for (name, path) in list(root)? {
            let content = fs::read(&path).map_err(|source| PayloadError::Unreadable { path, source })?;
            append(&mut archive, &name, &content)?;
        }
    }
    Ok(archive.into_inner().expect("writing to memory does not fail"))
}

/// Lists the files below `root` with their names in the archive, sorted by name.
fn list(root: &Path) -> Result<Vec<(String, PathBuf)>, PayloadError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| PayloadError::Unreadable { path, source }
    };
    if !fs::metadata(root).map_err(unreadable(root))?.is_dir() {
        return Err(PayloadError::NotAFolder(root.to_owned()));
    }
    let mut files = Vec::new();
    let mut folders = vec![(FILES_PREFIX.to_owned(), root.to_owned(), 0)];
    while let Some((prefix, folder, depth)) = folders.pop() {
        if depth > DEPTH_MAX {
            return Err(PayloadError::TooDeep(folder));
        }
        for entry in fs::read_dir(&folder).map_err(unreadable(&folder))? {
            let entry = entry.map_err(unreadable(&folder))?;
            let path = entry.path();
            let Ok(leaf) = entry.file_name().into_string() else { return Err(PayloadError::NotUtf8(path)) };
            let name = format!("{prefix}/{leaf}");
            // A link to a file stands for the file; a link to a folder could close a circle.
            let kind = entry.file_type().map_err(unreadable(&path))?;
            if kind.is_dir() {
                folders.push((name, path, depth + 1));
            } else if fs::metadata(&path).map_err(unreadable(&path))?.is_file() {
                files.push((name, path));
            } else {
                return Err(PayloadError::UnknownKind(path));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) -> Result<(), PayloadError> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(|_| PayloadError::PathTooLong(name.to_owned()))?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    archive.append(&header, content).expect("writing to memory does not fail");
    Ok(())
}

#[cfg(test)]
mod tests;
