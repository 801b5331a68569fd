//! What two ends have agreed to do with a flow, and what came of it.

use std::fmt;
use std::sync::OnceLock;

use weir_socket::CloseReason;

/// Bytes after which the pattern repeats: prime, so that no power of two of lost or repeated bytes goes unnoticed.
const PATTERN_BYTES: usize = 1_000_003;

/// A known stream of bytes: any byte that is lost, repeated, moved or changed differs from what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// How many bytes.
    pub len: u64,
    /// Which stream.
    pub seed: u64,
}

impl Stream {
    /// No bytes at all.
    pub const EMPTY: Self = Self { len: 0, seed: 0 };

    /// `len` bytes.
    #[must_use]
    pub const fn new(len: u64, seed: u64) -> Self {
        Self { len, seed }
    }

    /// The longest piece, at most `limit` bytes, that stands at `offset` of the stream; empty at its end.
    #[must_use]
    pub fn at(&self, offset: u64, limit: usize) -> &'static [u8] {
        let start = (offset.wrapping_add(self.seed.wrapping_mul(7_919)) % PATTERN_BYTES as u64) as usize;
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let piece = &pattern()[start..];
        &piece[..piece.len().min(limit).min(rest)]
    }

    /// Where `bytes`, received at `offset`, first differ from the stream or go beyond its end.
    #[must_use]
    pub fn difference(&self, mut offset: u64, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            let expected = self.at(offset, bytes.len());
            let (these, rest) = bytes.split_at(expected.len());
            if these != expected || expected.is_empty() {
                let wrong = these.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0);
                return Some(offset + wrong as u64);
            }
            offset += expected.len() as u64;
            bytes = rest;
        }
        None
    }
}

fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.flatten().take(PATTERN_BYTES).collect()
    })
}

/// Who ends its direction first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ends {
    /// Each end when it has sent all; both send at the same time.
    #[default]
    Both,
    /// We send and end; the peer begins only then.
    First,
    /// The peer sends and ends; we begin only then.
    Last,
}

/// When received bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading {
    /// At once.
    #[default]
    Eager,
    /// Not before the test says so ([`crate::Application::release`]).
    Held,
}

/// What one end does with a flow. Streams are told apart by the client's port as well, which both ends know.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What this end sends.
    pub send: Stream,
    /// What it expects.
    pub receive: Stream,
    /// Who ends first.
    pub ends: Ends,
    /// When it reads.
    pub reading: Reading,
}

impl Plan {
    /// Both directions at the same time, `send` bytes and `receive` bytes.
    #[must_use]
    pub const fn new(send: u64, receive: u64) -> Self {
        let (send, receive) = (Stream::new(send, 1), Stream::new(receive, 2));
        Self { send, receive, ends: Ends::Both, reading: Reading::Eager }
    }

    /// The same with another order of ends.
    #[must_use]
    pub const fn ending(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    /// The same with another way to read.
    #[must_use]
    pub const fn reading(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// What the other end does, reading at once.
    #[must_use]
    pub const fn mirrored(self) -> Self {
        let ends = match self.ends {
            Ends::Both => Ends::Both,
            Ends::First => Ends::Last,
            Ends::Last => Ends::First,
        };
        Self { send: self.receive, receive: self.send, ends, reading: Reading::Eager }
    }

    /// The plan of the flow whose client has this port.
    #[must_use]
    pub const fn of_client(self, port: u16) -> Self {
        let seed = port as u64 * 4;
        let send = Stream::new(self.send.len, self.send.seed + seed);
        let receive = Stream::new(self.receive.len, self.receive.seed + seed);
        Self { send, receive, ..self }
    }
}

/// What a flow of Weir's came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that the engine took for sending.
    pub sent: u64,
    /// Bytes that arrived.
    pub received: u64,
    /// Where the received bytes were first not what the plan says.
    pub wrong_at: Option<u64>,
    /// Why the flow ended before both ends were through.
    pub broken: Option<CloseReason>,
}

impl Outcome {
    /// Whether all went by the plan; the difference as a sentence.
    ///
    /// # Errors
    /// The difference.
    pub fn check(&self, plan: &Plan) -> Result<(), crate::Failed> {
        let expected = Self { sent: plan.send.len, received: plan.receive.len, wrong_at: None, broken: None };
        crate::ensure(*self == expected, || format!("{self:?} is not {expected:?}"))
    }
}

/// Something did not happen in time.
#[derive(Debug, Clone)]
pub struct TooLate(pub String);

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not in time: {}", self.0)
    }
}

impl std::error::Error for TooLate {}
