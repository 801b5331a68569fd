//! One console line in a fixed buffer.

use core::fmt;

/// The longest usual line, without its line feed. What exceeds it is cut and marked.
pub const LINE_BYTES_MAX: usize = 510;

/// The longest record, which is of no use when it is cut.
pub const RECORD_BYTES_MAX: usize = 3 * (LINE_BYTES_MAX + 1) - 1;

const CUT_MARK: &[u8] = b"...";

/// Collects formatted text; never fails, cuts instead. Control characters become `?`, so that no foreign text can
/// start a line of its own or steer a terminal. `ROOM` has the line feed in it.
pub struct Line<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
    cut: bool,
}

/// A line like most.
pub type UsualLine = Line<{ LINE_BYTES_MAX + 1 }>;

/// A line that is a record.
pub type RecordLine = Line<{ RECORD_BYTES_MAX + 1 }>;

impl<const ROOM: usize> Line<ROOM> {
    /// An empty line.
    pub const fn new() -> Self {
        Line { bytes: [0; ROOM], len: 0, cut: false }
    }

    /// The bytes to send, line feed included.
    pub fn finish(&mut self) -> &[u8] {
        if self.cut {
            // In the place of whole characters.
            while self.len + CUT_MARK.len() >= ROOM || is_inside_character(self.bytes[self.len]) {
                self.len -= 1;
            }
            self.bytes[self.len..][..CUT_MARK.len()].copy_from_slice(CUT_MARK);
            self.len += CUT_MARK.len();
        }
        self.bytes[self.len] = b'\n';
        &self.bytes[..=self.len]
    }
}

impl<const ROOM: usize> fmt::Write for Line<ROOM> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let mut bytes = [0; 4];
            let bytes = if character.is_control() { '?' } else { character }.encode_utf8(&mut bytes).as_bytes();
            self.cut |= self.len + bytes.len() >= ROOM;
            if self.cut {
                return Ok(());
            }
            self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        }
        Ok(())
    }
}

/// Whether a byte of UTF-8 goes on with a character rather than beginning one.
const fn is_inside_character(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

impl<const ROOM: usize> Default for Line<ROOM> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use core::fmt::Write;
    use std::string::String;

    #[test]
    fn a_line_ends_with_one_line_feed() {
        let mut line = UsualLine::new();
        write!(line, "weir: {} cores", 2).unwrap();
        assert_eq!(line.finish(), b"weir: 2 cores\n");
    }

    #[test]
    fn a_long_line_is_cut_and_marked() {
        let mut line = UsualLine::new();
        line.write_str(&String::from_iter(std::iter::repeat_n('x', LINE_BYTES_MAX))).unwrap();
        assert!(!line.finish().ends_with(b"...\n"), "exactly full is not cut");
        line.write_str("y").unwrap();
        let bytes = line.finish();
        assert_eq!(bytes.len(), LINE_BYTES_MAX + 1);
        assert!(bytes.ends_with(b"x...\n"));
    }

    #[test]
    fn a_record_has_the_room_of_three_lines() {
        let mut line = RecordLine::new();
        line.write_str(&String::from_iter(std::iter::repeat_n('x', RECORD_BYTES_MAX))).unwrap();
        assert_eq!(line.finish().len(), 3 * UsualLine::new().bytes.len());
        assert!(!line.finish().ends_with(b"...\n"));
    }

    #[test]
    fn foreign_text_cannot_start_a_line_of_its_own() {
        let mut line = UsualLine::new();
        line.write_str("weir: host \"a\nweir: ready\x1b[2J\"").unwrap();
        assert_eq!(line.finish(), b"weir: host \"a?weir: ready?[2J\"\n");
        // The same in one character: CSI of ISO 6429's second set, as UTF-8.
        let mut line = UsualLine::new();
        line.write_str("\u{9b}2J\u{85}weir: ready").unwrap();
        assert_eq!(line.finish(), b"?2J?weir: ready\n");
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        for ascii in 0..4 {
            let mut line = UsualLine::new();
            line.write_str(&"xxx"[..ascii]).unwrap();
            line.write_str(&String::from_iter(std::iter::repeat_n('\u{20ac}', LINE_BYTES_MAX))).unwrap();
            line.write_str("y").unwrap();
            let text = std::str::from_utf8(line.finish()).unwrap();
            assert!(text.ends_with("\u{20ac}...\n"), "{ascii}: {text}");
        }
    }
}
