//! The lines of a head, and the fields on them.

use crate::bytes::{find_control, token_at};
use crate::field::{FieldName, trim};
use crate::reject::Reject;

/// A line of a head: where it begins, and where its CR LF does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub start: usize,
    pub end: usize,
}

/// Takes the lines off a head, one by one; each must end in CR LF and have no control character but HTAB.
pub(crate) struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Lines<'b> {
    #[inline(always)]
    pub(crate) const fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Where the next line begins.
    #[inline(always)]
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// The next line; none if its end has not come yet. `otherwise` is what a control character within the line is called.
    #[inline(always)]
    pub(crate) fn next(&mut self, otherwise: Reject) -> Result<Option<Line>, Reject> {
        let start = self.at;
        let Some(end) = find_control(self.bytes, start) else { return Ok(None) };
        match self.bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => {
                self.at = end + 2;
                Ok(Some(Line { start, end }))
            }
            _ => self.next_unusual(end, otherwise),
        }
    }

    /// A line with a control character at `end`.
    #[cold]
    #[inline(never)]
    fn next_unusual(&mut self, mut end: usize, otherwise: Reject) -> Result<Option<Line>, Reject> {
        while self.bytes.get(end) == Some(&b'\t') {
            let Some(next) = find_control(self.bytes, end + 1) else { return Ok(None) };
            end = next;
        }
        match self.bytes.get(end..) {
            Some([b'\r', b'\n', ..]) => {
                let start = self.at;
                self.at = end + 2;
                Ok(Some(Line { start, end }))
            }
            Some([] | [b'\r']) | None => Ok(None),
            Some([b'\r' | b'\n', ..]) => Err(Reject::LineEnd),
            Some(_) => Err(otherwise),
        }
    }
}

/// One field line taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Field<'b> {
    pub name: &'b [u8],
    pub meaning: FieldName,
    pub value: &'b [u8],
}

/// RFC 9112 5: `name ":" OWS value OWS`, without white space before the colon. A folded line begins with white space and so
/// has no name.
#[inline(always)]
pub(crate) fn field(bytes: &[u8], line: Line) -> Result<Field<'_>, Reject> {
    let token = token_at(bytes, line.start);
    let colon = line.start + token.len;
    let name = bytes.get(line.start..colon).unwrap_or_default();
    if bytes.get(colon) != Some(&b':') || name.is_empty() {
        return Err(Reject::FieldName);
    }
    // The colon is no control character, so it stands before the line's end.
    let value = trim(bytes.get(colon + 1..line.end).unwrap_or_default());
    Ok(Field { name, meaning: FieldName::of_token(name, &token), value })
}
