//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112): strict parsing and writing, without I/O.
//!
//! - [`Request::parse`] and [`Response::parse`] turn the bytes of a head into a checked value that borrows from them;
//!   whatever could be understood in two ways is a [`Reject`]. The crate `httparse` is the oracle of the tests: it accepts
//!   whatever is accepted here, and means the same by it.
//! - [`Body`] says how the body is delimited, [`BodyReader`] follows it through any cutting into buffers, and
//!   [`ChunkedDecoder`] is its part for the chunked coding.
//! - [`HeadScan`] tells when a head that comes in pieces is worth parsing again.
//! - [`HeadWriter`] writes heads into a caller's buffer.
//!
//! Nothing here allocates, and nothing panics on foreign bytes.
//!
//! Cost: 581 instructions for a request of `wrk`, 844 for a response of nginx (`docs/decisions/http1.md`).

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod array;
mod body;
mod bytes;
mod chunked;
mod date;
mod decimal;
mod field;
mod head;
mod lines;
mod method;
mod reject;
mod request;
mod response;
mod scan;
mod status;
mod target;
mod write;

#[cfg(test)]
mod tests;

pub use array::{ArrayWriter, ShortText};
pub use body::{Body, BodyReader, Piece};
pub use chunked::{CHUNK_HEAD_BYTES_MAX, ChunkedDecoder, LAST_CHUNK, write_chunk_head};
pub use date::{DATE_BYTES, civil_date, write_date};
pub use field::FieldName;
pub use head::{Fields, HeadLimits, Version};
pub use method::Method;
pub use reject::Reject;
pub use request::Request;
pub use response::Response;
pub use scan::HeadScan;
pub use status::reason_phrase;
pub use target::{HOST_BYTES_MAX, Target};
pub use write::HeadWriter;
