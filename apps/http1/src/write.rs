//! Writing heads.

use core::mem;

use crate::decimal::{DIGITS_END, Number, digits};

/// Writes into a caller's buffer. What does not fit is remembered instead of reported at every step:
/// [`finish`](Self::finish) says whether all of it is there.
///
/// Short texts of known length are a comparison and a few stores, as long as the writer stays in registers: it is handed
/// to functions that are compiled into their caller, and not by reference to others.
#[derive(Debug)]
pub struct HeadWriter<'b> {
    /// What is free of the buffer.
    spare: &'b mut [u8],
    capacity: usize,
    has_overflown: bool,
}

impl<'b> HeadWriter<'b> {
    /// A writer at the front of `buffer`.
    #[inline]
    #[must_use]
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { capacity: buffer.len(), spare: buffer, has_overflown: false }
    }

    /// Appends bytes as they are.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        match mem::take(&mut self.spare).split_at_mut_checked(bytes.len()) {
            Some((place, spare)) => {
                place.copy_from_slice(bytes);
                self.spare = spare;
            }
            None => self.has_overflown = true,
        }
    }

    /// Appends a text that is likely short, like a method or a host: then without a call.
    #[inline(always)]
    pub fn text(&mut self, text: &[u8]) {
        match mem::take(&mut self.spare).split_at_mut_checked(text.len()) {
            Some((place, spare)) => {
                copy(place, text);
                self.spare = spare;
            }
            None => self.has_overflown = true,
        }
    }

    /// Appends the first `len` bytes of a text that has room for longer ones: cheaper than a copy of a length that is not
    /// known before.
    #[inline(always)]
    pub fn front<const N: usize>(&mut self, text: &[u8; N], len: usize) {
        match self.spare.first_chunk_mut() {
            Some(place) => {
                *place = *text;
                self.spare = mem::take(&mut self.spare).get_mut(len.min(N)..).unwrap_or_default();
            }
            None => self.bytes(text.get(..len).unwrap_or(text)),
        }
    }

    /// Appends a decimal number.
    #[inline(always)]
    pub fn decimal(&mut self, value: u64) {
        if let Some(number) = Number::of(value) {
            self.front(&number.text, number.len());
        } else if value < DIGITS_END {
            let (digits, len) = digits(value);
            self.front(&digits, len);
        } else {
            self.bytes(itoa::Buffer::new().format(value).as_bytes());
        }
    }

    /// Appends a hexadecimal number without leading zeros.
    pub fn hexadecimal(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            let digit = (value >> (4 * place) & 0xf) as u8;
            self.bytes(&[if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }]);
        }
    }

    /// Appends `name: value` CR LF.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[u8]) {
        self.bytes(name.as_bytes());
        self.bytes(b": ");
        self.bytes(value);
        self.bytes(b"\r\n");
    }

    /// Appends `Content-Length: length` CR LF.
    #[inline]
    pub fn content_length(&mut self, length: u64) {
        self.bytes(b"Content-Length: ");
        self.decimal(length);
        self.bytes(b"\r\n");
    }

    /// Appends `HTTP/1.1 status reason` CR LF.
    #[inline]
    pub fn status_line(&mut self, status: u16, reason: &str) {
        self.bytes(b"HTTP/1.1 ");
        self.decimal(status.into());
        self.bytes(b" ");
        self.bytes(reason.as_bytes());
        self.bytes(b"\r\n");
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.capacity - self.spare.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes written, if everything fitted.
    #[inline]
    #[must_use]
    pub fn finish(self) -> Option<usize> {
        (!self.has_overflown).then_some(self.len())
    }
}

/// Copies a text into a place of its length.
#[inline(always)]
pub(crate) fn copy(place: &mut [u8], text: &[u8]) {
    let is_copied = copy_ends::<16>(place, text)
        || copy_ends::<8>(place, text)
        || copy_ends::<4>(place, text)
        || copy_ends::<2>(place, text)
        || copy_ends::<1>(place, text);
    if !is_copied {
        place.copy_from_slice(text);
    }
}

/// Copies a text of `N` to twice as many bytes, as its first and its last ones. False: it has another length.
#[inline(always)]
pub(crate) fn copy_ends<const N: usize>(place: &mut [u8], text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) else { return false };
    if text.len() > 2 * N || place.len() != text.len() {
        return false;
    }
    if let Some(place) = place.first_chunk_mut() {
        *place = *first;
    }
    if let Some(place) = place.last_chunk_mut() {
        *place = *last;
    }
    true
}
