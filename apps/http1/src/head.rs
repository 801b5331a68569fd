//! What requests and responses have in common: fields, and what they say about connection and framing.

use core::mem::MaybeUninit;

use httparse::Header;

use crate::FIELDS_MAX;
use crate::field::{self, FieldName};
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
    /// Number of fields, at most [`FIELDS_MAX`].
    pub fields: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes: 16 << 10, target_bytes: 8 << 10, fields: 100 }
    }
}

/// Room for the fields of one head, on the caller's stack. Making it costs nothing: it stays uninitialised.
pub struct FieldSlots<'b>([MaybeUninit<Header<'b>>; FIELDS_MAX]);

impl<'b> FieldSlots<'b> {
    /// Empty slots.
    #[inline]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a default would promise a value")]
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; FIELDS_MAX])
    }

    #[inline]
    pub(crate) fn up_to(&mut self, limit: usize) -> &mut [MaybeUninit<Header<'b>>] {
        let len = limit.min(FIELDS_MAX);
        &mut self.0[..len]
    }
}

/// The fields of a head, in their order, and which of them are for this connection only.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'h, 'b> {
    head: &'b [u8],
    list: &'h [Header<'b>],
    /// One bit for each field that a proxy does not forward.
    hop_by_hop: u128,
    /// One bit for each field that tells for whom a proxy before us forwarded.
    forwarding: u128,
}

const _: () = assert!(FIELDS_MAX <= u128::BITS as usize);

impl<'h, 'b> Fields<'h, 'b> {
    /// All fields: name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> + use<'h, 'b> {
        self.list.iter().map(|header| (header.name, header.value))
    }

    /// The fields that a proxy forwards: without those for this connection only (RFC 9110 7.6.1), and without
    /// Content-Length, which the one who frames the message writes anew.
    ///
    /// They come as runs of whole lines, each line with its CR LF: every one was checked, so what stands next to each other
    /// can be copied in one piece.
    #[inline]
    pub fn end_to_end(&self) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.without(self.hop_by_hop)
    }

    /// The same without `X-Forwarded-*`, which the proxy replaces by its own.
    #[inline]
    pub fn end_to_end_unforwarded(&self) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        self.without(self.hop_by_hop | self.forwarding)
    }

    #[inline]
    fn without(self, dropped: u128) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        let mut index = 0;
        core::iter::from_fn(move || {
            index += (!dropped).checked_shr(index)?.trailing_zeros();
            let start = self.line_start(index)?;
            index += dropped.checked_shr(index).map_or(0, u128::trailing_zeros).min(u128::BITS - index);
            let end = self.line_start(index).unwrap_or(self.head.len().saturating_sub(2));
            self.head.get(start..end)
        })
    }

    /// Where the line of a field begins in the head.
    #[inline]
    fn line_start(&self, index: u32) -> Option<usize> {
        let header = self.list.get(index as usize)?;
        Some(header.name.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr()))
    }

    /// The value of the first field called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.list.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// What the fields of a head say, gathered in one pass.
#[derive(Default)]
pub(crate) struct Meaning<'b> {
    pub host: Option<&'b [u8]>,
    pub content_length: Option<u64>,
    pub is_chunked: bool,
    pub has_close: bool,
    pub has_keep_alive: bool,
    pub has_upgrade: bool,
    pub expects_continue: bool,
    upgrade_field: bool,
    has_nominations: bool,
    hop_by_hop: u128,
    forwarding: u128,
}

impl<'b> Meaning<'b> {
    #[inline]
    pub(crate) fn of(fields: &[Header<'b>], version: Version) -> Result<Self, Reject> {
        let mut meaning = Self::default();
        for (index, header) in fields.iter().enumerate() {
            let name = FieldName::of(header.name.as_bytes());
            if name != FieldName::Other {
                meaning.add(name, header.value, 1 << index, version)?;
            }
        }
        if meaning.is_chunked && meaning.content_length.is_some() {
            return Err(Reject::LengthAndCoding);
        }
        if meaning.has_nominations {
            meaning.drop_nominated(fields);
        }
        meaning.has_upgrade &= meaning.upgrade_field && version == Version::Http11;
        Ok(meaning)
    }

    fn add(&mut self, name: FieldName, value: &'b [u8], bit: u128, version: Version) -> Result<(), Reject> {
        if name.is_hop_by_hop() || name == FieldName::ContentLength {
            self.hop_by_hop |= bit;
        }
        if name.is_forwarding() {
            self.forwarding |= bit;
        }
        match name {
            FieldName::Host if self.host.is_some() => return Err(Reject::HostRepeated),
            FieldName::Host => self.host = Some(value),
            FieldName::ContentLength => self.add_content_length(value)?,
            FieldName::TransferEncoding => self.add_transfer_encoding(value, version)?,
            FieldName::Connection => self.add_connection(value),
            FieldName::Upgrade => self.upgrade_field = true,
            // RFC 9110 10.1.1: an expectation in HTTP/1.0 is ignored.
            FieldName::Expect if version == Version::Http11 => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Reject::Expectation);
                }
                self.expects_continue = true;
            }
            _ => {}
        }
        Ok(())
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
    fn add_transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), Reject> {
        if version == Version::Http10 {
            return Err(Reject::CodingInHttp10);
        }
        if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Reject::CodingUnknown);
        }
        self.is_chunked = true;
        Ok(())
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in field::list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.has_close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.has_keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.has_upgrade = true;
            } else {
                self.has_nominations = true;
            }
        }
    }

    /// Fields that `Connection` names are for this connection only, unless they are protected.
    #[cold]
    fn drop_nominated(&mut self, fields: &[Header<'b>]) {
        let connection = fields.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
        for option in connection.flat_map(|header| field::list(header.value)) {
            if FieldName::of(option).is_protected() {
                continue;
            }
            for (index, header) in fields.iter().enumerate() {
                if header.name.as_bytes().eq_ignore_ascii_case(option) {
                    self.hop_by_hop |= 1 << index;
                }
            }
        }
    }

    #[inline]
    pub(crate) fn fields<'h>(&self, head: &'b [u8], list: &'h [Header<'b>]) -> Fields<'h, 'b> {
        Fields { head, list, hop_by_hop: self.hop_by_hop, forwarding: self.forwarding }
    }

    /// RFC 9112 9.3.
    #[inline]
    pub(crate) fn is_persistent(&self, version: Version) -> bool {
        !self.has_close && (version == Version::Http11 || self.has_keep_alive)
    }
}

/// `1*DIGIT` without overflow.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(digit.into()) }
    })
}

/// `httparse` takes a bare LF for a line end. Every line but the last ends where the next field's name begins, so two bytes
/// before each name and the last four bytes tell.
#[inline]
pub(crate) fn check_line_ends(head: &[u8], fields: &[Header<'_>]) -> Result<(), Reject> {
    let origin = head.as_ptr().addr();
    for header in fields {
        let name = header.name.as_ptr().addr().wrapping_sub(origin);
        if head.get(name.wrapping_sub(2)) != Some(&b'\r') {
            return Err(Reject::LineEnd);
        }
    }
    if head.ends_with(b"\r\n\r\n") { Ok(()) } else { Err(Reject::LineEnd) }
}

/// The name for what `httparse` refused.
#[cold]
pub(crate) fn reject(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::HeaderName => Reject::FieldName,
        httparse::Error::HeaderValue => Reject::FieldValue,
        httparse::Error::NewLine => Reject::LineEnd,
        httparse::Error::Status | httparse::Error::Token => Reject::StartLine,
        httparse::Error::TooManyHeaders => Reject::TooManyFields,
        httparse::Error::Version => Reject::Version,
    }
}
