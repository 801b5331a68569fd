//! One request that a server answers: what has to be remembered between its first and its last byte.

use alloc::vec::Vec;

use weir_http1::{BodyReader, Method, Piece, Reject, Request, Version};
use weir_packet::Chunk;
use weir_socket::Instant;

use crate::pace::Pace;

use crate::slab::Key;

/// Connections that are tried for one request, as long as none could be established.
pub(crate) const ATTEMPTS_MAX: u8 = 3;

/// How often a request is sent again at most.
pub(crate) const RETRIES_MAX: u8 = 2;

/// A request under way.
pub(crate) struct Exchange {
    /// The connection to the server; none only between two attempts.
    pub back: Option<Key>,
    /// When the request's head was complete.
    pub began: Instant,
    pub pool: u16,
    pub server: u16,
    pub method: Method,
    /// The client's version.
    pub version: Version,
    /// The client's connection takes another request afterwards.
    pub is_persistent: bool,
    /// Nothing happens if the server gets it twice.
    pub is_replayable: bool,
    /// The server was asked to switch protocols, and may.
    pub is_upgrade: bool,
    /// The connection to the server was idle before: it may have died unnoticed.
    pub is_reused: bool,
    /// It waits in its pool's queue for a server with room.
    pub is_queued: bool,
    /// The client is to stay with the server, and gets a cookie that says so.
    pub is_cookie_due: bool,
    /// How often it was sent again after a connection had died without an answer.
    pub retries: u8,
    /// The server takes no more of the request.
    pub is_request_cut: bool,
    pub attempts: u8,
    /// What tells it apart from others where the pool goes by that.
    pub hash: u64,
    /// Number of what changes on its way; 0 is nothing.
    pub way: u16,
    /// The head as it is sent to servers, until one answers.
    pub head: Head,
    pub request: BodyReader,
    /// Bytes of content that the request may still have.
    pub request_left: u64,
    /// How long the client may take with its body.
    pub pace: Pace,
    pub response: ResponseState,
}

/// Where an exchange is sent, and by what.
#[derive(Clone, Copy)]
pub(crate) struct Aim {
    pub pool: u16,
    pub server: u16,
    pub hash: u64,
    pub way: u16,
}

impl Exchange {
    /// An exchange of a request whose head, as servers get it, is `head`. Its body may have `body_bytes_max` bytes.
    #[inline]
    pub(crate) fn new(aim: Aim, request: &Request<'_>, head: Head, body_bytes_max: u64, now: Instant) -> Self {
        Self {
            method: request.method,
            version: request.version,
            is_persistent: request.is_persistent,
            is_replayable: request.is_replayable(),
            request: BodyReader::new(request.body),
            request_left: body_bytes_max,
            pace: Pace::new(request.expects_continue, now),
            response: ResponseState::Head,
            ..Self::tunnel(aim, head, now)
        }
    }

    /// A tunnel; `head` are bytes of the client's that were read already.
    #[inline]
    pub(crate) fn tunnel(aim: Aim, head: Head, now: Instant) -> Self {
        Self {
            back: None,
            began: now,
            pool: aim.pool,
            server: aim.server,
            method: Method::Other,
            version: Version::Http11,
            is_persistent: false,
            is_replayable: false,
            is_upgrade: false,
            is_reused: false,
            is_queued: false,
            is_cookie_due: false,
            retries: 0,
            is_request_cut: false,
            attempts: 0,
            hash: aim.hash,
            way: aim.way,
            head,
            request: BodyReader::UntilClose,
            request_left: 0,
            pace: Pace::new(false, now),
            response: ResponseState::Tunnel(Tunnel::default()),
        }
    }
}

/// How far the response is.
pub(crate) enum ResponseState {
    /// Nothing of the final response was forwarded.
    Head,
    /// The head was forwarded.
    Body {
        reader: BodyReader,
        framing: Framing,
        /// The server's connection takes another request afterwards.
        is_back_persistent: bool,
    },
    /// There is none: bytes go both ways.
    Tunnel(Tunnel),
}

/// Which directions of a tunnel have ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tunnel {
    pub client_ended: bool,
    pub server_ended: bool,
}

/// What is done to a body's framing on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It stays: a length, or the chunked coding after it was checked.
    Keep,
    /// The chunked coding is taken off: HTTP/1.0 does not know it. The body ends with the connection.
    Strip,
    /// The body ended with the server's connection and gets the chunked coding.
    Chunk {
        /// No chunk was written yet.
        is_first: bool,
    },
}

/// A head in buffers.
pub(crate) enum Head {
    None,
    One(Chunk),
    Many(Vec<Chunk>),
}

impl Head {
    /// The buffers, shared.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let slice = match self {
            Self::None => &[],
            Self::One(chunk) => core::slice::from_ref(chunk),
            Self::Many(chunks) => chunks,
        };
        slice.iter().cloned()
    }
}

/// What a reader found in a buffer.
pub(crate) struct Followed {
    /// Bytes that belong to the body, framing included.
    pub used: usize,
    /// Bytes of content among them.
    pub content: u64,
}

/// Follows a body through a buffer.
#[inline]
pub(crate) fn follow(reader: &mut BodyReader, bytes: &[u8]) -> Result<Followed, Reject> {
    // What most bodies are, without a loop.
    if let BodyReader::Length(left) = reader {
        let used = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
        *left -= used as u64;
        return Ok(Followed { used, content: used as u64 });
    }
    let mut followed = Followed { used: 0, content: 0 };
    while let Some(rest) = bytes.get(followed.used..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest)? {
            Piece::Data(len) => {
                followed.used += len;
                followed.content += len as u64;
            }
            Piece::Framing(len) => followed.used += len,
            Piece::End => break,
        }
    }
    Ok(followed)
}
