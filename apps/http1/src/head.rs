//! What requests and responses have in common: fields, and what they say about connection and framing.

use crate::decimal::{is_shortest, parse_decimal};
use crate::field::{self, FieldName};
use crate::lines::{Field, Lines, Next};
use crate::reject::Reject;

/// HTTP/1.0 or HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    Http11,
}

/// How much of a head is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Head with its empty line, in bytes.
    pub head_bytes: usize,
    /// Request target, in bytes.
    pub target_bytes: usize,
    /// Number of fields.
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes: 16 << 10, target_bytes: 8 << 10, fields: 100 }
    }
}

/// Runs of lines that a proxy does not forward; those of one kind that stand together are one. Nobody has a reason to send
/// more, and the value stays small.
const CUTS_MAX: usize = 10;

/// The fields of a head, and which of them are for this connection only.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'b> {
    /// The head; what is left out of it is given by positions in it.
    head: &'b [u8],
    /// Where the first field line begins.
    start: u32,
    cut_count: u16,
    /// One bit for each cut: it tells for whom a proxy before us forwarded, and goes only where ours says so itself.
    forwarding: u16,
    /// In their order; the last one is, or has, the empty line.
    cuts: [Cut; CUTS_MAX + 1],
    has_length: bool,
    has_date: bool,
}

/// A run of lines that is not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    start: u32,
    end: u32,
}

impl<'b> Fields<'b> {
    /// All fields: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + use<'b> {
        let mut lines = Lines::new(self.head, self.start as usize);
        core::iter::from_fn(move || match lines.next(Reject::FieldValue) {
            Next::Line(line) => Field::parse(line).map(|field| (field.name(), field.value())),
            Next::Incomplete | Next::Refused(_) => None,
        })
    }

    /// The value of the first field called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.get_bytes(name.as_bytes())
    }

    /// The same for a name in bytes.
    #[must_use]
    pub fn get_bytes(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Where the first field line begins in the head.
    #[inline(always)]
    pub(crate) const fn start(&self) -> usize {
        self.start as usize
    }

    /// Whether a Content-Length stands among what [`end_to_end`](Self::end_to_end) gives: the only one, in its shortest form.
    #[inline(always)]
    #[must_use]
    pub const fn has_length(&self) -> bool {
        self.has_length
    }

    /// Whether a Date stands among what [`end_to_end`](Self::end_to_end) gives.
    #[inline(always)]
    #[must_use]
    pub const fn has_date(&self) -> bool {
        self.has_date
    }

    /// The fields that a proxy forwards: without those for this connection only (RFC 9110 7.6.1), and without a
    /// Content-Length that was repeated or has leading zeros ([`has_length`](Self::has_length)).
    ///
    /// They come as runs of whole lines, each line with its CR LF: every one was checked, so what stands next to each other
    /// can be copied in one piece.
    #[inline]
    pub fn end_to_end(&self) -> impl Iterator<Item = &'b [u8]> {
        self.runs(self.start as usize, false)
    }

    /// The same from another place than the first field, and perhaps without `X-Forwarded-*`.
    #[inline]
    pub(crate) fn runs(&self, mut start: usize, cut_forwarding: bool) -> impl Iterator<Item = &'b [u8]> {
        let kept = if cut_forwarding { 0 } else { self.forwarding };
        self.cuts.iter().take(self.cut_count.into()).enumerate().filter_map(move |(index, cut)| {
            if (kept >> index) & 1 == 1 {
                return None;
            }
            let run = self.head.get(start..cut.start as usize);
            start = cut.end as usize;
            run.filter(|run| !run.is_empty())
        })
    }

    /// Leaves lines out.
    #[inline]
    fn cut(&mut self, start: usize, end: usize, is_forwarding: bool) -> Result<(), Reject> {
        let cut = Cut { start: start as u32, end: end as u32 };
        let bit = u16::from(is_forwarding);
        if let Some(last) = self.cut_count.checked_sub(1)
            && let Some(before) = self.cuts.get_mut(usize::from(last))
            && before.end == cut.start
            && self.forwarding >> last == bit
        {
            before.end = cut.end;
            return Ok(());
        }
        let index = usize::from(self.cut_count);
        *self.cuts.get_mut(index).filter(|_| index < CUTS_MAX).ok_or(Reject::TooManyFields)? = cut;
        self.forwarding |= bit << index;
        self.cut_count += 1;
        Ok(())
    }

    /// The fields are those of `head`, whose empty line is the last cut.
    #[inline(always)]
    fn finish(&mut self, head: &'b [u8]) {
        self.head = head;
        let end = head.len() as u32;
        if let Some(cut) = self.cuts.get_mut(usize::from(self.cut_count)) {
            *cut = Cut { start: end.saturating_sub(2), end };
            self.cut_count += 1;
        }
    }
}

/// What the fields of a head say, gathered in one pass.
pub(crate) struct Meaning<'b> {
    pub fields: Fields<'b>,
    pub head_len: usize,
    pub host: Option<&'b [u8]>,
    pub content_length: Option<u64>,
    /// A set of [`Said`].
    said: u8,
}

/// What a head says or does not say.
#[derive(Clone, Copy)]
pub(crate) enum Said {
    Chunked = 1,
    Close = 2,
    KeepAlive = 4,
    ExpectContinue = 8,
    /// Connection names Upgrade.
    UpgradeOption = 16,
    UpgradeField = 32,
    /// Connection names fields.
    Nominations = 64,
}

impl<'b> Meaning<'b> {
    /// Nothing was read yet; the field lines begin at `start`.
    #[inline(always)]
    pub(crate) const fn new(start: usize) -> Self {
        let cuts = [Cut { start: 0, end: 0 }; _];
        let (has_length, has_date) = (false, false);
        let fields = Fields { head: &[], start: start as u32, cut_count: 0, forwarding: 0, cuts, has_length, has_date };
        Self { fields, head_len: 0, host: None, content_length: None, said: 0 }
    }

    /// Reads the field lines of `bytes` to the empty line. False: it has not come yet.
    #[inline(always)]
    pub(crate) fn read(&mut self, bytes: &'b [u8], version: Version, limits: &HeadLimits) -> Result<bool, Reject> {
        let mut lines = Lines::new(bytes, self.fields.start as usize);
        let mut left = limits.fields;
        loop {
            let field = match lines.next_usual() {
                Some(_) if left == 0 => return Err(Reject::TooManyFields),
                Some(field) => field,
                None if lines.take_empty() => break,
                None => match lines.next(Reject::FieldValue) {
                    Next::Line(_) if left == 0 => return Err(Reject::TooManyFields),
                    Next::Line(line) => Field::parse(line).ok_or(Reject::FieldName)?,
                    Next::Incomplete => return Ok(false),
                    Next::Refused(reject) => return Err(reject),
                },
            };
            left -= 1;
            match field.meaning() {
                FieldName::Other => {}
                FieldName::Host if self.host.is_none() => self.host = Some(field.value()),
                FieldName::Date => self.fields.has_date = true,
                // These two stand in most responses.
                FieldName::ContentLength if self.takes_length(field.untrimmed()) => {}
                FieldName::Connection if field::keeps_alive(field.line()) => {
                    self.say(Said::KeepAlive);
                    let end = lines.position();
                    self.fields.cut(end - field.line_len(), end, false)?;
                }
                name => {
                    let end = lines.position();
                    self.add(name, field.untrimmed(), version, (end - field.line_len(), end))?;
                }
            }
        }
        self.head_len = lines.position();
        if self.head_len > limits.head_bytes {
            return Err(Reject::HeadTooLarge);
        }
        let head = bytes.get(..self.head_len).unwrap_or_default();
        if self.said & !(Said::Close as u8 | Said::KeepAlive as u8 | Said::ExpectContinue as u8) != 0 {
            self.conclude(head, version)?;
        }
        self.fields.finish(head);
        Ok(true)
    }

    /// What several fields say together.
    fn conclude(&mut self, head: &'b [u8], version: Version) -> Result<(), Reject> {
        if self.says(Said::Chunked) && self.content_length.is_some() {
            return Err(Reject::LengthAndCoding);
        }
        if self.says(Said::Nominations) {
            self.cut_nominated(head)?;
        }
        if version == Version::Http10 || !self.says(Said::UpgradeField) {
            self.said &= !(Said::UpgradeOption as u8);
        }
        Ok(())
    }

    #[inline(always)]
    pub(crate) const fn says(&self, what: Said) -> bool {
        self.said & what as u8 != 0
    }

    fn say(&mut self, what: Said) {
        self.said |= what as u8;
    }

    /// Connection and field agree that another protocol is wanted.
    #[inline(always)]
    pub(crate) const fn wants_upgrade(&self) -> bool {
        self.says(Said::UpgradeOption)
    }

    /// Any field with a meaning that is not read at once, whose line goes from `start` to `end`. By value: a reference would put
    /// every field into memory.
    #[inline(never)]
    fn add(
        &mut self,
        name: FieldName,
        untrimmed: &'b [u8],
        version: Version,
        (start, end): (usize, usize),
    ) -> Result<(), Reject> {
        let value = field::trim(untrimmed);
        if name.is_cut() {
            self.fields.cut(start, end, name.is_forwarding())?;
        }
        match name {
            FieldName::Host => return Err(Reject::HostRepeated),
            FieldName::ContentLength => {
                if !self.keep_length(value) {
                    self.fields.cut(start, end, false)?;
                }
                self.add_content_length(value)?;
            }
            FieldName::TransferEncoding => self.add_transfer_encoding(value, version)?,
            FieldName::Connection => self.add_options(value),
            FieldName::Upgrade => self.say(Said::UpgradeField),
            // RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored.
            FieldName::Expect if version == Version::Http11 => self.add_expectation(value)?,
            _ => {}
        }
        Ok(())
    }

    #[inline(never)]
    fn add_expectation(&mut self, value: &[u8]) -> Result<(), Reject> {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Reject::Expectation);
        }
        self.say(Said::ExpectContinue);
        Ok(())
    }

    /// Takes a Content-Length as nearly everybody writes it. False: it is another, or not the first.
    #[inline(always)]
    fn takes_length(&mut self, value: &[u8]) -> bool {
        let [b' ', digits @ ..] = value else { return false };
        if self.content_length.is_some() || !is_shortest(digits) {
            return false;
        }
        self.content_length = parse_decimal(digits);
        self.fields.has_length = self.content_length.is_some();
        self.fields.has_length
    }

    /// Whether a Content-Length can be forwarded as it is.
    fn keep_length(&mut self, value: &[u8]) -> bool {
        let is_kept = is_shortest(value) && !self.fields.has_length;
        self.fields.has_length |= is_kept;
        is_kept
    }

    /// RFC 9112 6.3: repeated equal values are one, anything else is not a length.
    fn add_content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        let length = parse_decimal(value).ok_or(Reject::LengthInvalid)?;
        match self.content_length.replace(length) {
            Some(other) if other != length => Err(Reject::LengthRepeated),
            _ => Ok(()),
        }
    }

    /// RFC 9112 6.1: only `chunked`, only once; in HTTP/1.0 the framing is faulty.
    #[inline(never)]
    fn add_transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), Reject> {
        if version == Version::Http10 {
            return Err(Reject::CodingInHttp10);
        }
        if self.says(Said::Chunked) || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reject::CodingUnknown);
        }
        self.say(Said::Chunked);
        Ok(())
    }

    #[inline(never)]
    fn add_options(&mut self, value: &[u8]) {
        for option in field::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.say(Said::Close);
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.say(Said::KeepAlive);
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.say(Said::UpgradeOption);
            } else {
                self.say(Said::Nominations);
            }
        }
    }

    /// Fields that `Connection` names are for this connection only, unless they are protected: cuts the head anew.
    #[cold]
    fn cut_nominated(&mut self, head: &'b [u8]) -> Result<(), Reject> {
        let old = Fields { head, ..self.fields };
        let is_nominated = |name: &[u8]| {
            let connection = old.iter().filter(|(name, _)| FieldName::of(name) == FieldName::Connection);
            connection.flat_map(|(_, value)| field::list(value)).any(|option| option.eq_ignore_ascii_case(name))
        };
        self.fields.cut_count = 0;
        self.fields.forwarding = 0;
        self.fields.has_length = false;
        self.fields.has_date = false;
        let mut lines = Lines::new(old.head, old.start as usize);
        loop {
            let start = lines.position();
            let Next::Line(line) = lines.next(Reject::FieldValue) else { return Ok(()) };
            let Some(field) = Field::parse(line) else { return Ok(()) };
            let name = field.meaning();
            let is_length = name == FieldName::ContentLength;
            let is_cut = name.is_cut() || (is_length && !self.keep_length(field.value()));
            if is_cut || (!name.is_protected() && is_nominated(field.name())) {
                self.fields.cut(start, lines.position(), name.is_forwarding())?;
            } else {
                self.fields.has_date |= name == FieldName::Date;
            }
        }
    }

    /// RFC 9112 9.3.
    #[inline]
    pub(crate) fn is_persistent(&self, version: Version) -> bool {
        !self.says(Said::Close) && (version == Version::Http11 || self.says(Said::KeepAlive))
    }
}
