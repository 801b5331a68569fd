//! The lines of a head, and the fields on them.

use crate::bytes::{Name, field_name, find_control, usual_name};
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

    /// What was not taken yet.
    #[inline(always)]
    pub(crate) const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    /// Passes over what was looked at by its own.
    #[inline(always)]
    pub(crate) fn skip(&mut self, len: usize) {
        self.rest = self.rest.get(len..).unwrap_or_default();
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
        let end = find_control(self.rest, 0);
        match self.take(end) {
            Some(line) => Next::Line(line),
            None => self.take_unusual(end, otherwise),
        }
    }

    /// The next line, if it is a field with a usual name and a value without tabs: then nothing of it is looked at twice.
    /// None: it is something else, and not taken.
    #[inline(always)]
    pub(crate) fn next_usual(&mut self) -> Option<Field<'b>> {
        let name = usual_name(self.rest)?;
        let line = self.take(find_control(self.rest, name.len + 1))?;
        Some(Field { line, name })
    }

    /// Takes the line that ends at `end`, if it ends there.
    #[inline(always)]
    fn take(&mut self, end: usize) -> Option<Line<'b>> {
        let (text, rest) = self.rest.split_at_checked(end)?;
        let (end, after) = rest.split_first_chunk()?;
        if *end != *b"\r\n" {
            return None;
        }
        let line = Line { text, rest: self.rest };
        self.rest = after;
        Some(line)
    }

    /// A line with tabs, or none.
    #[inline(always)]
    fn take_unusual(&mut self, end: usize, otherwise: Reject) -> Next<'b> {
        match unusual_end(self.rest, end, otherwise) {
            Ok(Some(end)) => self.take(end).map_or(Next::Incomplete, Next::Line),
            Ok(None) => Next::Incomplete,
            Err(reject) => Next::Refused(reject),
        }
    }
}

/// Where the line ends in whose place `end` there is a control character, or nothing more.
#[cold]
#[inline(never)]
fn unusual_end(line: &[u8], mut end: usize, otherwise: Reject) -> Result<Option<usize>, Reject> {
    while line.get(end) == Some(&b'\t') {
        end = find_control(line, end + 1);
    }
    match line.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(Some(end)),
        Some([] | [b'\r']) | None => Ok(None),
        Some([b'\r' | b'\n', ..]) => Err(Reject::LineEnd),
        Some(_) => Err(otherwise),
    }
}

/// One field line taken apart.
#[derive(Clone, Copy)]
pub(crate) struct Field<'b> {
    line: Line<'b>,
    name: Name,
}

impl<'b> Field<'b> {
    /// RFC 9112 5: `name ":" OWS value OWS`, without white space before the colon. A folded line begins with white space and
    /// so has no name.
    #[inline(always)]
    pub(crate) fn parse(line: Line<'b>) -> Option<Self> {
        // The colon is no control character, so name and colon stand before the line's end.
        Some(Self { line, name: field_name(line.rest)? })
    }

    #[inline(always)]
    pub(crate) fn meaning(&self) -> FieldName {
        FieldName::of_line(self.line.rest, &self.name)
    }

    #[inline(always)]
    pub(crate) fn name(&self) -> &'b [u8] {
        self.line.text.get(..self.name.len).unwrap_or_default()
    }

    /// The whole line, without its CR LF.
    #[inline(always)]
    pub(crate) fn line(&self) -> &'b [u8] {
        self.line.text
    }

    /// The value with white space still around it.
    #[inline(always)]
    pub(crate) fn untrimmed(&self) -> &'b [u8] {
        self.line.text.get(self.name.len + 1..).unwrap_or_default()
    }

    #[inline(always)]
    pub(crate) fn value(&self) -> &'b [u8] {
        trim(self.untrimmed())
    }

    /// Bytes of the line with its CR LF.
    #[inline(always)]
    pub(crate) fn line_len(&self) -> usize {
        self.line.text.len() + 2
    }
}
