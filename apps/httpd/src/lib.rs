//! The built-in server: what answers a request without asking another machine.
//!
//! - [`Prepared`] is a response that never changes but for its date: fixed responses, redirects, the demo page, errors. It is
//!   written once a second and then sent again and again by reference.
//! - [`Archive`] finds files in the ustar archive of the image, [`FileRoot`] answers from one of its directories; contents
//!   are sent from where they lie.
//! - [`HttpDate`] is the Date field, renewed once a second.
//!
//! None of it knows about connections: [`Answer`]s are chunks to send. The connections are `weir-proxy`'s, which serves
//! built-in and proxied routes alike.
//!
//! Cost of a [`Prepared`] answer in the steady state: one comparison of times and one counted reference.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod archive;
mod conditions;
mod date;
mod files;
mod mime;
mod page;
mod prepared;

#[cfg(test)]
mod tests;

pub use archive::{Archive, ArchiveError};
pub use date::HttpDate;
pub use files::{FileRoot, dynamic_head};
pub use mime::content_type;
pub use page::demo_page;
pub use prepared::{Prepared, error_page, error_response};

use weir_packet::Chunk;

/// Value of the Server field.
pub const SERVER: &str = "weir";

/// A response, ready to be sent: the head, perhaps with the body behind it, and what is left of the body.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Goes first.
    pub head: Chunk,
    /// Goes second.
    pub body: Option<Chunk>,
    /// Bytes of content in both.
    pub body_bytes: usize,
}

/// What a response tells the client about the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It stays open, as HTTP/1.1 does by default.
    Persistent,
    /// It stays open, as an HTTP/1.0 client asked for.
    KeepAlive,
    /// It ends after this response.
    Close,
}

impl Connection {
    /// The field that says so.
    #[inline]
    #[must_use]
    pub const fn field(self) -> &'static [u8] {
        match self {
            Self::Persistent => b"",
            Self::KeepAlive => b"Connection: keep-alive\r\n",
            Self::Close => b"Connection: close\r\n",
        }
    }
}

/// How a response is to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// What becomes of the connection.
    pub connection: Connection,
    /// Whether only the head is wanted (HEAD).
    pub head_only: bool,
}
