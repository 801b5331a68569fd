//! One exchange, as the access log will tell of it.

use alloc::vec::Vec;

use weir_http1::{ArrayWriter, HOST_BYTES_MAX, Method, Request, ShortText};
use weir_socket::Instant;

use crate::front::LoggedClient;
use crate::{text, words};

/// What a line has of a request's target, as it is written there, in bytes.
pub(super) const TARGET_LEN_MAX: usize = 512;
pub(super) const METHOD_LEN_MAX: usize = 32;

/// Room for client and request, as a line says them: that of usual ones, which is there for the next one too, and that of
/// any.
const ASKED_LEN: usize = 256;
const ASKED_LEN_MAX: usize = 160 + METHOD_LEN_MAX + HOST_BYTES_MAX + TARGET_LEN_MAX;

/// What is written between the values.
mod texts {
    use super::ShortText;

    pub(super) const NULL: ShortText = ShortText::new(b"null");
    pub(super) const GET: ShortText = ShortText::new(b",\"method\":\"GET\"");
    pub(super) const METHOD: ShortText = ShortText::new(b",\"method\":\"");
    pub(super) const HOST: ShortText = ShortText::new(b",\"host\":\"");
    pub(super) const TARGET: ShortText = ShortText::new(b",\"target\":\"");
    pub(super) const STATUS: ShortText = ShortText::new(b",\"status\":");
    pub(super) const BYTES: ShortText = ShortText::new(b",\"bytes\":");
    pub(super) const CONNECT: ShortText = ShortText::new(b",\"connect_us\":");
    pub(super) const RESPONSE: ShortText = ShortText::new(b",\"response_us\":");
    pub(super) const ACTIVE: ShortText = ShortText::new(b",\"active_us\":");
    pub(super) const TOTAL: ShortText = ShortText::new(b",\"total_us\":");
    pub(super) const RETRIES: ShortText = ShortText::new(b",\"retries\":");
    pub(super) const END: ShortText = ShortText::new(b",\"end\":\"");
    pub(super) const GOOD_END: ShortText<32> = ShortText::new(b",\"retries\":0,\"end\":\"--\"}");
}

/// What a line says of its first two times, up to the third one, where there was no waiting: for a request that was given at once to
/// a server with an open connection, as most are.
pub(super) const NO_WAITING: &str = ",\"queue_us\":0,\"connect_us\":0,\"response_us\":";

/// Bytes of that from the first time on.
const FROM_FIRST_TIME: usize = NO_WAITING.len() - ",\"queue_us\":".len();

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

/// A moment that did not come.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// What is known of one exchange.
pub(crate) struct Entry {
    /// Its first byte, if it came before the end of its head.
    began: Instant,
    /// Its head was complete.
    asked: Instant,
    /// It was given to a server.
    dispatched: Instant,
    /// The server accepted the connection.
    connected: Instant,
    /// The server's head came.
    answered: Instant,
    bytes: u64,
    /// Client and request, as the line says them, and room for more.
    text: Vec<u8>,
    text_len: u16,
    pub(super) listener: u16,
    status: u16,
    /// Pool and server.
    pub(super) server: Option<(u16, u16)>,
    retries: u8,
    end: Option<(Ender, Phase)>,
}

impl Entry {
    /// An exchange that began to come at `began`, and whose head is complete now. `text` is room for what is asked.
    pub(super) fn new(listener: u16, (began, now): (Instant, Instant), text: Vec<u8>) -> Self {
        Self {
            began,
            asked: now,
            dispatched: NEVER,
            connected: NEVER,
            answered: NEVER,
            bytes: 0,
            text,
            text_len: 0,
            listener,
            status: 0,
            server: None,
            retries: 0,
            end: None,
        }
    }

    /// Another exchange, in the same memory.
    pub(super) fn begin_again(&mut self, listener: u16, times: (Instant, Instant)) {
        let room = core::mem::take(&mut self.text);
        *self = Self::new(listener, times, room);
    }

    /// Who asks, and what; nothing of a tunnel.
    #[inline(always)]
    pub(crate) fn ask(&mut self, client: LoggedClient<'_>, request: Option<&Request<'_>>) {
        self.text_len = match asked::<ASKED_LEN>(&mut self.text, client, request) {
            Some(len) => len,
            None => asked_at_length(&mut self.text, client, request),
        };
    }

    /// It is given to a server; for the first time, or once more.
    pub(crate) fn dispatch(&mut self, server: (u16, u16), now: Instant) {
        if self.server.replace(server).is_some() {
            self.retries += 1;
        }
        (self.connected, self.end) = (NEVER, None);
        self.dispatched = self.dispatched.min(now);
    }

    /// The server accepted the connection, or had one open.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.connected = now;
    }

    /// The response's head is known.
    pub(crate) fn answer(&mut self, status: u16, now: Instant) {
        self.status = status;
        self.answered = self.answered.min(now);
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
            (_, NEVER, _) => Phase::Connect,
            (_, _, NEVER) => Phase::Head,
            _ => Phase::Data,
        }
    }

    /// The line from the client's address on; `server` is what it says of pool and server, with [`NO_WAITING`] behind it.
    #[inline(always)]
    pub(super) fn write<'l, const LEN: usize>(
        &self,
        mut line: ArrayWriter<'l, LEN>,
        now: Instant,
        server: &[u8],
    ) -> ArrayWriter<'l, LEN> {
        line.long(self.text.get(..self.text_len.into()).unwrap_or_default());
        if self.status != 0 {
            line.short(&texts::STATUS);
            line.decimal(self.status.into());
        }
        line.short(&texts::BYTES);
        line.decimal(self.bytes);
        if (self.dispatched, self.connected) == (self.asked, self.asked) {
            line.long(server);
        } else {
            line = self.write_waiting(line, server);
        }
        time(&mut line, self.connected, self.answered);
        line.short(&texts::ACTIVE);
        line.decimal(microseconds(self.asked, now));
        line.short(&texts::TOTAL);
        line.decimal(microseconds(self.began, now));
        if (self.retries, self.end) == (0, None) {
            line.short(&texts::GOOD_END);
            return line;
        }
        self.write_end(line)
    }

    /// What `server` says of a request that did not wait, of one that did. By value, here and below: a writer that is lent to
    /// a function is in memory everywhere.
    #[inline(never)]
    fn write_waiting<'l, const LEN: usize>(
        &self,
        mut line: ArrayWriter<'l, LEN>,
        server: &[u8],
    ) -> ArrayWriter<'l, LEN> {
        let before = server.len().saturating_sub(FROM_FIRST_TIME);
        line.long(server.get(..before).unwrap_or_default());
        time(&mut line, self.asked, self.dispatched);
        line.short(&texts::CONNECT);
        time(&mut line, self.dispatched, self.connected);
        line.short(&texts::RESPONSE);
        line
    }

    /// The end of a line that does not tell of a good one.
    #[cold]
    #[inline(never)]
    fn write_end<'l, const LEN: usize>(&self, mut line: ArrayWriter<'l, LEN>) -> ArrayWriter<'l, LEN> {
        line.short(&texts::RETRIES);
        line.decimal(self.retries.into());
        let (ender, phase) = self.end.unwrap_or((Ender::Nobody, Phase::Done));
        line.short(&texts::END);
        line.front(&[ender as u8, phase as u8, b'"', b'}'], 4);
        line
    }
}

/// What is not usual. By value: nothing of the usual way is kept in memory for this.
#[cold]
#[inline(never)]
fn asked_at_length(text: &mut Vec<u8>, client: LoggedClient<'_>, request: Option<&Request<'_>>) -> u16 {
    asked::<ASKED_LEN_MAX>(text, client, request).unwrap_or(0)
}

/// Writes client and request into the front of `text`; their length, if there is room in `LEN` bytes.
#[inline(always)]
fn asked<const LEN: usize>(text: &mut Vec<u8>, client: LoggedClient<'_>, request: Option<&Request<'_>>) -> Option<u16> {
    if text.len() < LEN {
        text.resize(LEN, 0);
    }
    let mut writer = ArrayWriter::<LEN>::new(text.first_chunk_mut()?);
    match client {
        LoggedClient::Kept { text, len } => writer.front(text, len),
        LoggedClient::Other(None) => writer.short(&texts::NULL),
        LoggedClient::Other(Some(address)) => {
            let (text, len) = text::formatted(address);
            writer.byte(b'"');
            writer.text(text.get(..len).unwrap_or_default());
            writer.byte(b'"');
        }
    }
    if let Some(request) = request {
        write_request(&mut writer, request);
    }
    writer.finish().map(|len| len as u16)
}

/// What there is of method, host and target.
#[inline(always)]
fn write_request<const LEN: usize>(text: &mut ArrayWriter<'_, LEN>, request: &Request<'_>) {
    let target = front(request.path_and_query, TARGET_LEN_MAX);
    // Methods and hosts are checked, and have nothing that a string of JSON cannot.
    match request.method {
        Method::Get => text.short(&texts::GET),
        _ => member(text, &texts::METHOD, front(request.method_text, METHOD_LEN_MAX)),
    }
    member(text, &texts::HOST, request.host);
    match is_plain(target) {
        true => member(text, &texts::TARGET, target),
        false => escaped(text, target),
    }
}

fn front(text: &[u8], max: usize) -> &[u8] {
    text.get(..max).unwrap_or(text)
}

#[inline(always)]
fn member<const LEN: usize>(text: &mut ArrayWriter<'_, LEN>, name: &ShortText, value: &[u8]) {
    if !value.is_empty() {
        text.short(name);
        text.text(value);
        text.byte(b'"');
    }
}

/// RFC 8259 7; a target is printable ASCII.
fn escaped<const LEN: usize>(text: &mut ArrayWriter<'_, LEN>, target: &[u8]) {
    text.short(&texts::TARGET);
    let end = text.len() + TARGET_LEN_MAX;
    for &byte in target {
        let is_escaped = matches!(byte, b'"' | b'\\');
        if text.len() + usize::from(is_escaped) >= end {
            break;
        }
        if is_escaped {
            text.byte(b'\\');
        }
        text.byte(byte);
    }
    text.byte(b'"');
}

/// Microseconds between two moments; null if there was one of them only.
#[inline(always)]
fn time<const LEN: usize>(line: &mut ArrayWriter<'_, LEN>, from: Instant, to: Instant) {
    if from == NEVER || to == NEVER {
        return line.short(&texts::NULL);
    }
    line.decimal(microseconds(from, to));
}

#[inline(always)]
fn microseconds(from: Instant, to: Instant) -> u64 {
    to.nanos_since(from) / 1000
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
    // The last eight bytes overlap with those before.
    let Some(last) = text.last_chunk() else { return is_special(words::front(text)) == 0 };
    let mut all = text.as_chunks().0.iter().chain([last]);
    all.all(|word| is_special(u64::from_ne_bytes(*word)) == 0)
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
