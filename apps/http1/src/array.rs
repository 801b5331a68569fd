//! Writing short texts into an array.

use crate::decimal::{DIGITS_END, Number, digits};
use crate::write::{copy, copy_ends};

/// Bytes that a text is filled up with at most.
const FILLING_LEN_MAX: usize = 16;

/// A text of up to `ROOM` bytes, filled up to be written by one instruction for each sixteen of them.
#[derive(Debug, Clone, Copy)]
pub struct ShortText<const ROOM: usize = 16> {
    bytes: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> ShortText<ROOM> {
    /// Made where the program is compiled, as a constant.
    #[must_use]
    pub const fn new<const N: usize>(text: &[u8; N]) -> Self {
        const { assert!(N <= ROOM && ROOM - N <= FILLING_LEN_MAX) };
        let mut bytes = [0; ROOM];
        let mut place = 0;
        while place < N {
            bytes[place] = text[place];
            place += 1;
        }
        Self { bytes, len: N }
    }
}

/// Writes into an array, for lines of many short texts.
///
/// A text that has no room, with its filling, is not written, but its length counts: so nothing but
/// [`finish`](Self::finish) has to know of it, and a short text is a comparison, a store and an addition. The last sixteen
/// bytes of the array are for fillings alone.
#[derive(Debug)]
pub struct ArrayWriter<'b, const LEN: usize> {
    array: &'b mut [u8; LEN],
    len: usize,
}

impl<'b, const LEN: usize> ArrayWriter<'b, LEN> {
    /// Bytes that have room.
    pub const CAPACITY: usize = LEN - FILLING_LEN_MAX;

    /// A writer at the front of `array`.
    #[inline(always)]
    #[must_use]
    pub const fn new(array: &'b mut [u8; LEN]) -> Self {
        Self { array, len: 0 }
    }

    /// Appends the first `len` bytes of a text that is filled up.
    #[inline(always)]
    pub fn front<const N: usize>(&mut self, text: &[u8; N], len: usize) {
        debug_assert!(len <= N && N - len <= FILLING_LEN_MAX);
        if let Some(place) = self.array.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *place = *text;
        }
        self.len += len;
    }

    /// Appends a text that is known where the program is compiled.
    #[inline(always)]
    pub fn short<const ROOM: usize>(&mut self, text: &ShortText<ROOM>) {
        self.front(&text.bytes, text.len);
    }

    /// Appends one byte.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        self.front(&[byte], 1);
    }

    /// Appends a text that is likely short, like a host.
    #[inline(always)]
    pub fn text(&mut self, text: &[u8]) {
        if let Some(place) = self.place(text.len()) {
            copy(place, text);
        }
        self.len += text.len();
    }

    /// Appends a text that likely has between 32 and 128 bytes.
    #[inline(always)]
    pub fn long(&mut self, text: &[u8]) {
        if let Some(place) = self.place(text.len())
            && !copy_ends::<32>(place, text)
            && !copy_ends::<64>(place, text)
        {
            place.copy_from_slice(text);
        }
        self.len += text.len();
    }

    #[inline(always)]
    fn place(&mut self, len: usize) -> Option<&mut [u8]> {
        self.array.get_mut(self.len..)?.get_mut(..len)
    }

    /// Appends a decimal number.
    #[inline(always)]
    pub fn decimal(&mut self, value: u64) {
        match Number::of(value) {
            Some(number) => self.front(&number.text, number.len()),
            None if value < DIGITS_END => {
                let (text, len) = digits_apart(value);
                self.front(&text, len);
            }
            None => self.text(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Bytes of all that was to be written so far.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Bytes written, if everything had room.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> Option<usize> {
        if self.len <= Self::CAPACITY { Some(self.len) } else { None }
    }
}

/// Not compiled into each place: its constants would take the registers of all that stands around it.
#[inline(never)]
fn digits_apart(value: u64) -> ([u8; 8], usize) {
    digits(value)
}
