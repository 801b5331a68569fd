//! One exchange, as the access log will tell of it.

use alloc::vec::Vec;
use core::net::SocketAddr;

use weir_http1::{HOST_BYTES_MAX, HeadWriter, Request};
use weir_socket::Instant;

use crate::text;

/// What a line has of a request's target, as it is written there, in bytes.
pub(super) const TARGET_LEN_MAX: usize = 512;
pub(super) const METHOD_LEN_MAX: usize = 32;

/// What a usual request takes of a line at most, in bytes: room that is there for the next one too.
const REQUEST_LEN: usize = 256;

/// What any request takes at most, with names.
const REQUEST_LEN_MAX: usize = 64 + METHOD_LEN_MAX + HOST_BYTES_MAX + TARGET_LEN_MAX;

/// Who ended an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ender {
    /// Nobody but its end.
    Nobody = b'-',
    /// The client went away.
    Client = b'C',
    /// The client took too long.
    ClientTimeout = b'c',
    /// A server went away, could not be reached, or talked nonsense.
    Server = b'S',
    /// A server took too long.
    ServerTimeout = b's',
    /// We refused it.
    Proxy = b'P',
    /// We had no room, no buffer or no port for it.
    Resource = b'R',
}

/// In which phase an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// When all was done.
    Done = b'-',
    /// While the request came in.
    Request = b'R',
    /// While it waited for a server with room.
    Queue = b'Q',
    /// While a server was connected to.
    Connect = b'C',
    /// While the server's head was waited for.
    Head = b'H',
    /// While bodies moved.
    Data = b'D',
}

/// What is known of one exchange.
pub(crate) struct Entry {
    /// Its first byte, if it came before the end of its head.
    began: Instant,
    /// Its head was complete.
    asked: Instant,
    /// It was given to a server.
    dispatched: Option<Instant>,
    /// The server accepted the connection.
    connected: Option<Instant>,
    /// The server's head came.
    answered: Option<Instant>,
    client: Option<SocketAddr>,
    pub(super) listener: u16,
    /// What is asked for, as the line says it, and room for more.
    request: Vec<u8>,
    request_len: u16,
    status: u16,
    bytes: u64,
    /// Pool and server.
    pub(super) server: Option<(u16, u16)>,
    retries: u8,
    end: Option<(Ender, Phase)>,
}

impl Entry {
    /// An exchange that began to come at `began`, and whose head is complete now. `request` is room for what it asks.
    pub(super) fn new(
        listener: u16,
        client: Option<SocketAddr>,
        (began, now): (Instant, Instant),
        request: Vec<u8>,
    ) -> Self {
        Self {
            began,
            asked: now,
            dispatched: None,
            connected: None,
            answered: None,
            client,
            listener,
            request,
            request_len: 0,
            status: 0,
            bytes: 0,
            server: None,
            retries: 0,
            end: None,
        }
    }

    /// Another exchange, in the same memory.
    pub(super) fn begin_again(&mut self, listener: u16, client: Option<SocketAddr>, times: (Instant, Instant)) {
        let room = core::mem::take(&mut self.request);
        *self = Self::new(listener, client, times, room);
    }

    /// What is asked for.
    pub(crate) fn ask(&mut self, request: &Request<'_>) {
        for room in [REQUEST_LEN, REQUEST_LEN_MAX] {
            if self.request.len() < room {
                self.request.resize(room, 0);
            }
            let mut text = HeadWriter::new(&mut self.request);
            write_request(&mut text, request);
            if let Some(len) = text.finish() {
                self.request_len = len as u16;
                return;
            }
        }
    }

    /// It is given to a server; for the first time, or once more.
    pub(crate) fn dispatch(&mut self, server: (u16, u16), now: Instant) {
        if self.server.replace(server).is_some() {
            self.retries += 1;
        }
        (self.connected, self.end) = (None, None);
        self.dispatched.get_or_insert(now);
    }

    /// The server accepted the connection, or had one open.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// The response's head is known.
    pub(crate) fn answer(&mut self, status: u16, now: Instant) {
        self.status = status;
        self.answered.get_or_insert(now);
    }

    /// Bytes of the response's body go to the client.
    #[inline]
    pub(crate) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Why it ends; the first reason is the one.
    pub(crate) fn end(&mut self, ender: Ender, phase: Phase) {
        self.end.get_or_insert((ender, phase));
    }

    /// The phase it is in.
    pub(crate) fn phase(&self) -> Phase {
        match (self.server, self.connected, self.answered) {
            (None, ..) => Phase::Queue,
            (_, None, _) => Phase::Connect,
            (_, _, None) => Phase::Head,
            _ => Phase::Data,
        }
    }

    /// The line from the client's address on; `server` is what it says of pool and server, up to the first time.
    #[inline(always)]
    pub(super) fn write(&self, line: &mut HeadWriter<'_>, now: Instant, server: &[u8]) {
        match self.client {
            Some(client) => {
                line.bytes(b"\"");
                text::socket_address(line, client);
                line.bytes(b"\"");
            }
            None => line.bytes(b"null"),
        }
        line.bytes(self.request.get(..self.request_len.into()).unwrap_or_default());
        if self.status != 0 {
            line.bytes(b",\"status\":");
            line.decimal(self.status.into());
        }
        line.bytes(b",\"bytes\":");
        line.decimal(self.bytes);
        line.bytes(server);
        time(line, Some(self.asked), self.dispatched);
        line.bytes(b",\"connect_us\":");
        time(line, self.dispatched, self.connected);
        line.bytes(b",\"response_us\":");
        time(line, self.connected, self.answered);
        line.bytes(b",\"active_us\":");
        time(line, Some(self.asked), Some(now));
        line.bytes(b",\"total_us\":");
        time(line, Some(self.began), Some(now));
        line.bytes(b",\"retries\":");
        line.decimal(self.retries.into());
        let (ender, phase) = self.end.unwrap_or((Ender::Nobody, Phase::Done));
        line.bytes(b",\"end\":\"");
        line.bytes(&[ender as u8, phase as u8, b'"', b'}']);
    }
}

/// What there is of method, host and target.
#[inline(always)]
fn write_request(text: &mut HeadWriter<'_>, request: &Request<'_>) {
    let target = front(request.path_and_query, TARGET_LEN_MAX);
    // Methods and hosts are checked, and have nothing that a string of JSON cannot.
    member(text, b",\"method\":\"", front(request.method_text, METHOD_LEN_MAX));
    member(text, b",\"host\":\"", request.host);
    match is_plain(target) {
        true => member(text, b",\"target\":\"", target),
        false => escaped(text, target),
    }
}

fn front(text: &[u8], max: usize) -> &[u8] {
    text.get(..max).unwrap_or(text)
}

#[inline(always)]
fn member<const N: usize>(text: &mut HeadWriter<'_>, name: &[u8; N], value: &[u8]) {
    if !value.is_empty() {
        text.bytes(name);
        text.text(value);
        text.bytes(b"\"");
    }
}

/// RFC 8259 7; a target is printable ASCII.
#[inline(always)]
fn escaped(text: &mut HeadWriter<'_>, target: &[u8]) {
    text.bytes(b",\"target\":\"");
    let end = text.len() + TARGET_LEN_MAX;
    for &byte in target {
        let is_escaped = matches!(byte, b'"' | b'\\');
        if text.len() + usize::from(is_escaped) >= end {
            break;
        }
        if is_escaped {
            text.bytes(b"\\");
        }
        text.bytes(&[byte]);
    }
    text.bytes(b"\"");
}

/// Microseconds between two moments; null if there was one of them only.
#[inline(always)]
fn time(line: &mut HeadWriter<'_>, from: Option<Instant>, to: Option<Instant>) {
    match from.zip(to) {
        Some((from, to)) => line.decimal(to.as_nanos().saturating_sub(from.as_nanos()) / 1000),
        None => line.bytes(b"null"),
    }
}

/// Whether a string of JSON says the printable ASCII of `text` as it is: eight bytes at a time.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // For bytes below 128: the highest bit of each that is zero, and perhaps of some above it.
    let zeros = |word: u64| word.wrapping_sub(ONES) & HIGHS;
    let has = |word: u64, byte: u8| zeros(word ^ u64::from_ne_bytes([byte; 8]));
    let is_special = |word| has(word, b'"') | has(word, b'\\');
    let (words, rest) = text.as_chunks();
    let last = rest.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte));
    words.iter().all(|word| is_special(u64::from_ne_bytes(*word)) == 0) && is_special(last) == 0
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn what_needs_a_backslash_is_found_in_every_place() {
        for len in 1..20 {
            for place in 0..len {
                for byte in b' '..=b'~' {
                    let mut text = vec![b'a'; len];
                    text[place] = byte;
                    assert_eq!(is_plain(&text), !matches!(byte, b'"' | b'\\'), "{}", text.escape_ascii());
                }
            }
        }
        assert!(is_plain(b""));
    }
}
