//! The lines of a head, and the fields on them.

use crate::bytes::{field_name, find_control};
use crate::field::{FieldName, trim};
use crate::reject::Reject;

/// Takes the lines off a head, one by one; each must end in CR LF and have no control character but HTAB.
pub(crate) struct Lines<'b> {
    rest: &'b [u8],
    len: usize,
}

/// What [`Lines::next`] found.
pub(crate) enum Next<'b> {
    /// A line without its end.
    Line(Line<'b>),
    /// A line whose end has not come yet.
    Incomplete,
    /// A line that is refused.
    Refused(Reject),
}

/// A line of a head.
#[derive(Clone, Copy)]
pub(crate) struct Line<'b> {
    /// Without its CR LF.
    pub text: &'b [u8],
    /// The same with all that follows it.
    pub rest: &'b [u8],
}

impl<'b> Lines<'b> {
    #[inline(always)]
    pub(crate) fn new(bytes: &'b [u8], at: usize) -> Self {
        Self { rest: bytes.get(at..).unwrap_or_default(), len: bytes.len() }
    }

    /// Where the next line begins.
    #[inline(always)]
    pub(crate) const fn position(&self) -> usize {
        self.len - self.rest.len()
    }

    /// Whether the next line is empty, which is then passed over.
    #[inline(always)]
    pub(crate) fn take_empty(&mut self) -> bool {
        let [b'\r', b'\n', rest @ ..] = self.rest else { return false };
        self.rest = rest;
        true
    }

    /// The next line. `otherwise` is what a control character within the line is called.
    #[inline(always)]
    pub(crate) fn next(&mut self, otherwise: Reject) -> Next<'b> {
        let end = find_control(self.rest);
        if let Some((text, [b'\r', b'\n', after @ ..])) = self.rest.split_at_checked(end) {
            let line = Line { text, rest: self.rest };
            self.rest = after;
            return Next::Line(line);
        }
        self.next_unusual(end, otherwise)
    }

    /// A line with tabs, or none.
    #[cold]
    #[inline(never)]
    fn next_unusual(&mut self, mut end: usize, otherwise: Reject) -> Next<'b> {
        while self.rest.get(end) == Some(&b'\t') {
            end += 1 + find_control(self.rest.get(end + 1..).unwrap_or_default());
        }
        match self.rest.split_at_checked(end) {
            Some((text, [b'\r', b'\n', after @ ..])) => {
                let line = Line { text, rest: self.rest };
                self.rest = after;
                Next::Line(line)
            }
            Some((_, [] | [b'\r'])) | None => Next::Incomplete,
            Some((_, [b'\r' | b'\n', ..])) => Next::Refused(Reject::LineEnd),
            Some(_) => Next::Refused(otherwise),
        }
    }
}

/// One field line taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Field<'b> {
    pub name: &'b [u8],
    pub meaning: FieldName,
    /// The value with white space still around it.
    pub untrimmed: &'b [u8],
}

impl<'b> Field<'b> {
    /// RFC 9112 5: `name ":" OWS value OWS`, without white space before the colon. A folded line begins with white space and
    /// so has no name.
    #[inline(always)]
    pub(crate) fn parse(line: Line<'b>) -> Option<Self> {
        // The colon is no control character, so name and colon stand before the line's end. Nothing is cut out here that
        // most fields are never asked for.
        let name = field_name(line.rest)?;
        Some(Self {
            name: line.text.get(..name.len).unwrap_or_default(),
            meaning: FieldName::of_line(line.rest, &name),
            untrimmed: line.text.get(name.len + 1..).unwrap_or_default(),
        })
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> &'b [u8] {
        trim(self.untrimmed)
    }
}
