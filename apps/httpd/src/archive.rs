//! Files in a ustar archive (POSIX.1-2017 pax, "ustar Interchange Format"), found without copying.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

const BLOCK: usize = 512;

/// Longest file: what a chunk and the TCP queue count in 32 bits.
const FILE_BYTES_MAX: usize = u32::MAX as usize;

/// The files of an archive, by their full names. Clones share one table, which nobody changes.
#[derive(Debug, Default, Clone)]
pub struct Archive {
    /// Sorted by name.
    files: Arc<[(String, File)]>,
}

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its bytes.
    pub content: &'static [u8],
    /// A hash of them: other content has another one, as far as chance goes.
    pub hash: u64,
}

impl File {
    fn new(content: &'static [u8]) -> Self {
        // Eight bytes at a time: an archive of many megabytes is hashed at every start.
        let (words, rest) = content.as_chunks::<8>();
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let hash = words.iter().fold(content.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        let hash = rest.iter().fold(hash, |hash, &byte| mix(hash, byte.into()));
        Self { content, hash: mix(mix(hash, hash >> 32), 1) }
    }
}

/// What is wrong with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveError {
    /// It ends within a header or a file.
    Truncated,
    /// A header whose checksum is wrong: not a tar archive, or a damaged one.
    Checksum,
    /// A header with a number or name that is none.
    Header,
    /// A file of 4 GiB or more.
    TooLarge,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the archive is truncated",
            Self::Checksum => "not a ustar archive, or a damaged one",
            Self::Header => "the archive has a malformed header",
            Self::TooLarge => "the archive has a file of 4 GiB or more",
        })
    }
}

impl core::error::Error for ArchiveError {}

impl Archive {
    /// Reads the table of contents. Folders and special files are passed over.
    ///
    /// # Errors
    /// The bytes are not a ustar archive.
    pub fn new(mut bytes: &'static [u8]) -> Result<Self, ArchiveError> {
        let mut files = Vec::new();
        while let Some((header, rest)) = bytes.split_at_checked(BLOCK) {
            if header.iter().all(|&byte| byte == 0) {
                break;
            }
            check_sum(header)?;
            let size = usize::try_from(octal(field(header, 124, 12))?).map_err(|_| ArchiveError::TooLarge)?;
            if size > FILE_BYTES_MAX {
                return Err(ArchiveError::TooLarge);
            }
            let content = rest.get(..size).ok_or(ArchiveError::Truncated)?;
            if matches!(field(header, 156, 1), b"0" | b"\0") {
                files.push((name(header)?, File::new(content)));
            }
            // The last file's padding may be cut off.
            bytes = rest.get(size.next_multiple_of(BLOCK)..).unwrap_or_default();
        }
        if !bytes.is_empty() && bytes.len() < BLOCK {
            return Err(ArchiveError::Truncated);
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { files: files.into() })
    }

    /// The file with this full name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<File> {
        let index = self.files.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
        self.files.get(index).map(|(_, file)| *file)
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

fn field(header: &[u8], offset: usize, len: usize) -> &[u8] {
    header.get(offset..offset + len).unwrap_or_default()
}

/// The sum of all bytes, those of the checksum itself taken as spaces.
fn check_sum(header: &[u8]) -> Result<(), ArchiveError> {
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let own: u64 = field(header, 148, 8).iter().map(|&byte| u64::from(byte)).sum();
    let expected = octal(field(header, 148, 8)).map_err(|_| ArchiveError::Checksum)?;
    if sum - own + 8 * u64::from(b' ') == expected { Ok(()) } else { Err(ArchiveError::Checksum) }
}

/// Octal digits, perhaps after spaces, ended by NUL or space.
fn octal(digits: &[u8]) -> Result<u64, ArchiveError> {
    let text = digits.trim_ascii_start();
    let len = text.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    match text.get(len) {
        _ if len == 0 => Err(ArchiveError::Header),
        None | Some(0 | b' ') => Ok(text.iter().take(len).fold(0, |value, byte| value << 3 | u64::from(byte - b'0'))),
        Some(_) => Err(ArchiveError::Header),
    }
}

/// Prefix, slash and name; both fields end at a NUL or fill their place.
fn name(header: &[u8]) -> Result<String, ArchiveError> {
    let text = |offset, len| {
        let bytes = field(header, offset, len).split(|&byte| byte == 0).next().unwrap_or_default();
        core::str::from_utf8(bytes).map_err(|_| ArchiveError::Header)
    };
    let (prefix, leaf) =
        if field(header, 257, 5) == b"ustar" { (text(345, 155)?, text(0, 100)?) } else { ("", text(0, 100)?) };
    if leaf.is_empty() {
        return Err(ArchiveError::Header);
    }
    Ok(if prefix.is_empty() { leaf.into() } else { [prefix, "/", leaf].concat() })
}
