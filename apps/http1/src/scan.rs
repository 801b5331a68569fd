//! Heads that come in pieces.

/// A head that grows is parsed again at least this often, so that limits are noticed when they are passed.
const PARSE_EVERY_BYTES: usize = 2048;

/// Tells when a head that is gathered from pieces is worth parsing (again).
///
/// Parsing after each piece would cost the square of the head's length when a peer sends single bytes. So the new bytes
/// alone are searched for the end of the head; in between it is parsed only when it has doubled or grown by 2 KiB, so that
/// nonsense and excess are still refused early.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScan {
    /// Bytes since the last line end that were not CR; the head ends where a line has none.
    line_len: u16,
    seen: usize,
    parsed: usize,
}

impl HeadScan {
    /// A scan of a head whose first `bytes` were parsed and are not complete.
    #[must_use]
    pub fn after(bytes: &[u8]) -> Self {
        let mut scan = Self::default();
        scan.add(bytes);
        scan.parsed = bytes.len();
        scan
    }

    /// Looks at more bytes. True: parse all that was gathered.
    pub fn add(&mut self, bytes: &[u8]) -> bool {
        let mut has_end = false;
        for (index, &byte) in bytes.iter().enumerate() {
            match byte {
                // Empty lines before a request do not end it; the parser bounds them.
                b'\n' => {
                    has_end |= self.line_len == 0 && self.seen + index > 3;
                    self.line_len = 0;
                }
                b'\r' => {}
                _ => self.line_len = self.line_len.saturating_add(1),
            }
        }
        self.seen += bytes.len();
        let next = self.parsed.saturating_mul(2).max(64).min(self.parsed + PARSE_EVERY_BYTES);
        let is_due = has_end || self.seen >= next;
        if is_due {
            self.parsed = self.seen;
        }
        is_due
    }
}
