//! Conditional requests and ranges (RFC 9110, 13 and 14) of a representation that has an entity tag and no date.
//!
//! There is no Last-Modified: an image is made from the same files with the same bytes, so its files have no times. A condition by
//! date has no meaning then and is passed over (RFC 9110 13.1.3).

use core::ops::Range;

use weir_http1::Fields;

/// Longest entity tag: sixteen hexadecimal digits in quotes.
const TAG_LEN: usize = 18;

/// An entity tag, strong: other content has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntityTag([u8; TAG_LEN]);

impl EntityTag {
    pub(crate) fn new(hash: u64) -> Self {
        let mut text = [b'"'; TAG_LEN];
        for (digit, shift) in text.iter_mut().skip(1).zip((0..64).step_by(4).rev()) {
            *digit = b"0123456789abcdef"[(hash >> shift & 15) as usize];
        }
        if let Some(last) = text.last_mut() {
            *last = b'"';
        }
        Self(text)
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.0
    }

    /// Whether a list of tags, or `*` alone, has this one. `weak` ones count or do not (RFC 9110 8.8.3.2).
    fn is_in(&self, list: &[u8], weak: bool) -> bool {
        let is_same = |member: &[u8]| {
            let tag = member.strip_prefix(b"W/").filter(|_| weak).unwrap_or(member);
            tag == self.0
        };
        // A comma within a tag parts it in two, of which neither is ours: that has a quotation mark at each end.
        list == b"*" || list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(is_same)
    }

    /// What the fields of this name say of the tag: several are one list (RFC 9110 5.3). None: there is no such field.
    fn is_named(&self, fields: &Fields<'_>, name: &str, weak: bool) -> Option<bool> {
        let lists = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        lists.map(|(_, list)| self.is_in(list, weak)).reduce(|a, b| a || b)
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selected {
    /// All of it.
    Whole,
    /// A part.
    Part(Range<usize>),
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client wants to have it as: 412.
    PreconditionFailed,
    /// There is no such part: 416.
    NotSatisfiable,
}

/// What the fields of a GET or HEAD ask for, of `len` bytes (RFC 9110 13.2.2, in its order).
pub(crate) fn select(fields: &Fields<'_>, tag: &EntityTag, len: usize, is_get: bool) -> Selected {
    if tag.is_named(fields, "if-match", false) == Some(false) {
        return Selected::PreconditionFailed;
    }
    if tag.is_named(fields, "if-none-match", true) == Some(true) {
        return Selected::NotModified;
    }
    // A range has a meaning for GET only (14.2); one for another representation is for none (13.1.5).
    let is_same = fields.get("if-range").is_none_or(|wanted| wanted == tag.text());
    match fields.get("range").filter(|_| is_get && is_same).and_then(|range| parse_range(range, len)) {
        None => Selected::Whole,
        Some(None) => Selected::NotSatisfiable,
        Some(Some(part)) => Selected::Part(part),
    }
}

/// One range of bytes (RFC 9110 14.1.2). None: it is malformed, in another unit or several, and may be ignored. The inner
/// none: it lies outside.
fn parse_range(text: &[u8], len: usize) -> Option<Option<Range<usize>>> {
    let text = core::str::from_utf8(text).ok()?;
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let number = |text: &str| -> Option<usize> {
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large is beyond any end.
        is_digits.then(|| text.parse().unwrap_or(usize::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?;
        // The end of nothing is nothing, and can be had (14.1.2), but no Content-Range could say so.
        return if len == 0 && suffix > 0 { None } else { Some((suffix > 0).then(|| len.saturating_sub(suffix)..len)) };
    }
    let first = number(first)?;
    let end = if last.is_empty() { len } else { number(last)?.saturating_add(1).min(len) };
    if !last.is_empty() && number(last)? < first {
        return None;
    }
    Some((first < end).then_some(first..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        for (text, expected) in [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=2-5", Some(Some(2..6))),
            ("bytes=2-", Some(Some(2..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("BYTES = 9-99999999999999999999999", Some(Some(9..10))),
            ("bytes=10-", Some(None)),
            ("bytes=10-12", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=99999999999999999999999-", Some(None)),
            ("bytes=5-2", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("0-1", None),
        ] {
            assert_eq!(parse_range(text.as_bytes(), 10), expected, "{text}");
        }
        for (text, expected) in [("bytes=0-", Some(None)), ("bytes=-0", Some(None)), ("bytes=-5", None)] {
            assert_eq!(parse_range(text.as_bytes(), 0), expected, "{text} of nothing");
        }
    }

    #[test]
    fn tags_are_compared_strongly_or_weakly() {
        let tag = EntityTag::new(0x0123_4567_89ab_cdef);
        assert_eq!(tag.text(), b"\"0123456789abcdef\"");
        for (list, strong, weak) in [
            ("\"0123456789abcdef\"", true, true),
            ("\"x\" , \"0123456789abcdef\"", true, true),
            ("W/\"0123456789abcdef\"", false, true),
            ("*", true, true),
            ("\"x,*,y\"", false, false),
            ("\"x,\", \"0123456789abcdef\"", true, true),
            ("0123456789abcdef", false, false),
            ("\"0123456789abcdee\"", false, false),
            ("", false, false),
        ] {
            assert_eq!((tag.is_in(list.as_bytes(), false), tag.is_in(list.as_bytes(), true)), (strong, weak), "{list}");
        }
    }
}
