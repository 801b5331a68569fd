//! How a body is delimited, and following it through buffers.

use crate::chunked::ChunkedDecoder;
use crate::reject::Reject;

/// How a message's body is delimited (RFC 9112 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none, or an empty one.
    None,
    /// So many bytes, more than 0.
    Length(u64),
    /// The chunked coding says where it ends.
    Chunked,
    /// It ends with the connection; responses only.
    UntilClose,
}

/// What the front of a buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes of content.
    Data(usize),
    /// So many bytes of chunk framing or trailers.
    Framing(usize),
    /// The body is complete, and none of the buffer belongs to it.
    End,
}

/// Follows a body through any cutting into buffers.
#[derive(Debug, Clone, Copy)]
pub enum BodyReader {
    /// So many bytes are left; complete at 0.
    Length(u64),
    /// The chunked coding.
    Chunked(ChunkedDecoder),
    /// Everything is content.
    UntilClose,
}

impl BodyReader {
    /// A reader at the start of a body.
    #[inline]
    #[must_use]
    pub const fn new(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunked(ChunkedDecoder::new()),
            Body::UntilClose => Self::UntilClose,
        }
    }

    /// Classifies the front of `input` (which is not empty) and moves past it. Call again with the rest.
    ///
    /// # Errors
    /// The chunked coding is violated.
    #[inline]
    pub fn read(&mut self, input: &[u8]) -> Result<Piece, Reject> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                Ok(Piece::Data(taken))
            }
            Self::Chunked(decoder) => decoder.read(input),
            Self::UntilClose => Ok(Piece::Data(input.len())),
        }
    }

    /// Whether the body was read to its end. One that ends with the connection never is.
    #[inline]
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        // What most bodies are is asked first, and needs no look at the others.
        if let Self::Length(left) = self {
            return *left == 0;
        }
        matches!(self, Self::Chunked(decoder) if decoder.is_complete())
    }
}
