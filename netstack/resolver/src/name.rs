//! Domain names as they are on the wire.

use alloc::vec::Vec;
use core::fmt;

/// Longest name and longest label on the wire, in bytes (RFC 1035 2.3.4).
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;

/// A domain name: labels behind their lengths, in lower case, with the root's at the end (RFC 1035 3.1, RFC 4343).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Vec<u8>);

impl Name {
    /// The name that `text` writes, from the root: with or without a dot at its end. None: it cannot be one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::from_labels(text.split('.').map(|label| Some(label.as_bytes()))).filter(|name| name.0.len() > 1)
    }

    /// Of labels without their lengths; none if one of them is missing, empty or too long, or all are.
    pub(crate) fn from_labels<'l>(labels: impl Iterator<Item = Option<&'l [u8]>>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            let label = label?;
            if label.is_empty() || label.len() > LABEL_BYTES_MAX || wire.len() + label.len() + 2 > NAME_BYTES_MAX {
                return None;
            }
            wire.push(label.len() as u8);
            wire.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        wire.push(0);
        Some(Self(wire))
    }

    /// Its bytes in a message.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        let mut dot = "";
        while let Some((&len, more)) = rest.split_first().filter(|(len, _)| **len > 0) {
            let (label, more) = more.split_at_checked(len.into()).unwrap_or((more, &[]));
            write!(f, "{dot}{}", label.escape_ascii())?;
            (rest, dot) = (more, ".");
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    #[test]
    fn names_are_read_and_written_in_lower_case() {
        let name = Name::new("App.Internal").expect("a name");
        assert_eq!(name.wire(), b"\x03app\x08internal\0");
        assert_eq!(name.to_string(), "app.internal");
        assert_eq!(Name::new("app.internal."), Some(name));
    }

    #[test]
    fn rfc1035_2_3_4_lengths() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(Name::new(&longest).map(|name| name.wire().len()), Some(255));
        for bad in [String::new(), ".".into(), "a..b".into(), ".a".into(), "a".repeat(64), longest + "b"] {
            assert_eq!(Name::new(&bad), None, "{bad}");
        }
    }
}
