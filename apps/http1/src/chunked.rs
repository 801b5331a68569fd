//! The chunked transfer coding (RFC 9112 section 7.1), incremental and strict.

use crate::body::Piece;
use crate::bytes::is_token;
use crate::field::FieldName;
use crate::reject::Reject;
use crate::write::HeadWriter;

/// Digits of a chunk size: what fits into 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes of one chunk's extension.
const EXTENSION_BYTES_MAX: u16 = 256;

/// Bytes of a trailer section.
const TRAILER_BYTES_MAX: u16 = 8 * 1024;

/// Longest field name that is looked at in a trailer: those that are forbidden there are not longer.
const NAME_BYTES: usize = 17;

/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Bytes that [`write_chunk_head`] writes at most: the end of the chunk before, 16 digits, and CR LF.
pub const CHUNK_HEAD_BYTES_MAX: usize = 2 + 16 + 2;

/// Writes what stands before a chunk's data: its size, and before that the end of the previous chunk, if this is not the
/// first.
pub fn write_chunk_head(writer: &mut HeadWriter<'_>, len: usize, is_first: bool) {
    if !is_first {
        writer.bytes(b"\r\n");
    }
    writer.hexadecimal(len as u64);
    writer.bytes(b"\r\n");
}

/// Where the decoder is.
///
/// ```text
///   Size -> [Extension] -> SizeLf -> Data -> DataCr -> DataLf -> Size ...
///                             \ size 0
///                              -> LineStart -> Name -> Value -> ValueLf -> LineStart ...
///                                     \ CR
///                                      -> LastLf -> Complete
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { digits: u8 },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    LineStart,
    Name,
    Value,
    ValueLf,
    LastLf,
    Complete,
}

/// Finds the end of a chunked body, and in it what is data and what is framing.
#[derive(Debug, Clone, Copy)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of the current chunk that are left.
    left: u64,
    /// Bytes of the extension or the trailer section so far.
    extra: u16,
    name: [u8; NAME_BYTES],
    name_len: u8,
}

impl ChunkedDecoder {
    /// A decoder at the start of a body.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extra: 0, name: [0; NAME_BYTES], name_len: 0 }
    }

    /// Whether the body was read to its end, trailers included.
    #[inline]
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Classifies the front of `input` and moves past it.
    ///
    /// # Errors
    /// The input is not of the chunked coding, or uses more of its liberties than is accepted.
    pub fn read(&mut self, input: &[u8]) -> Result<Piece, Reject> {
        match self.state {
            State::Complete => return Ok(Piece::End),
            State::Data => {
                let taken = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Piece::Data(taken));
            }
            _ => {}
        }
        let mut framing = 0;
        for &byte in input {
            self.state = self.step(byte)?;
            framing += 1;
            if matches!(self.state, State::Data | State::Complete) {
                break;
            }
        }
        Ok(Piece::Framing(framing))
    }

    fn step(&mut self, byte: u8) -> Result<State, Reject> {
        match self.state {
            State::Size { digits } => self.size(byte, digits),
            State::Extension => match byte {
                b'\r' => Ok(State::SizeLf),
                0x21..=0x7e => self.count(EXTENSION_BYTES_MAX, Reject::ChunkExtension, State::Extension),
                _ => Err(Reject::ChunkExtension),
            },
            State::SizeLf if byte != b'\n' => Err(Reject::ChunkSize),
            State::SizeLf => {
                self.extra = 0;
                Ok(if self.left == 0 { State::LineStart } else { State::Data })
            }
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size { digits: 0 }),
            State::DataCr | State::DataLf => Err(Reject::ChunkEnd),
            State::LineStart | State::Name | State::Value | State::ValueLf | State::LastLf => self.trailer(byte),
            // `read` does not step in these.
            State::Data | State::Complete => Ok(self.state),
        }
    }

    fn size(&mut self, byte: u8, digits: u8) -> Result<State, Reject> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(State::SizeLf),
            b';' if digits > 0 => return Ok(State::Extension),
            _ => return Err(Reject::ChunkSize),
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(Reject::ChunkSize);
        }
        // The last chunk's size was 0, or its data were read to the end: `left` starts at 0.
        self.left = self.left << 4 | u64::from(digit);
        Ok(State::Size { digits: digits + 1 })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Reject> {
        let next = match (self.state, byte) {
            (State::LineStart, b'\r') => return Ok(State::LastLf),
            (State::LastLf, b'\n') => return Ok(State::Complete),
            (State::LineStart, _) if is_token(byte) => {
                self.name_len = 0;
                self.keep(byte);
                State::Name
            }
            (State::Name, b':') if !self.is_forbidden() => State::Value,
            (State::Name, _) if is_token(byte) => {
                self.keep(byte);
                State::Name
            }
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, b'\t' | 0x20..=0x7e | 0x80..) => State::Value,
            (State::ValueLf, b'\n') => State::LineStart,
            _ => return Err(Reject::Trailer),
        };
        self.count(TRAILER_BYTES_MAX, Reject::Trailer, next)
    }

    fn count(&mut self, max: u16, reject: Reject, next: State) -> Result<State, Reject> {
        self.extra += 1;
        if self.extra > max { Err(reject) } else { Ok(next) }
    }

    fn keep(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(usize::from(self.name_len)) {
            *place = byte;
        }
        self.name_len = self.name_len.saturating_add(1);
    }

    /// RFC 9110 6.5.1: fields for framing, routing and the connection do not belong into trailers.
    fn is_forbidden(&self) -> bool {
        let name = FieldName::of(self.name.get(..usize::from(self.name_len)).unwrap_or_default());
        name.is_hop_by_hop() || name.is_protected() || matches!(name, FieldName::Expect | FieldName::Trailer)
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}
