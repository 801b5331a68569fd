//! The access log: one line of JSON for each request and each tunnel, when it is over.
//!
//! ```text
//! {"time":"2026-11-25T09:00:00.123Z","listener":"web","client":"192.0.2.1:4711","method":"GET","host":"example.com",
//!  "target":"/a?b","status":200,"bytes":5,"pool":"app","server":"a","queue_us":0,"connect_us":310,"response_us":1200,
//!  "active_us":1600,"total_us":1600,"retries":0,"end":"--"}
//! ```
//!
//! The five times are those of HAProxy: waiting in the pool's queue, connecting to a server, the server's answer from the
//! end of that to its head, the whole exchange from the request's complete head on, and the same from its first byte on. A
//! time that there was not is null. `end` has two letters: who ended it, and in which phase.
//!
//! Lines wait in one buffer until the runtime takes them, in every turn; what finds no room is lost and counted. Nobody waits.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::SocketAddr;

use weir_config::Config;
use weir_http1::{Request, civil_date};
use weir_socket::Instant;

/// Bytes of lines that wait to be taken.
const BUFFER_LEN: usize = 64 * 1024;

/// What is kept of a request's target, and of its host, in bytes.
const TARGET_LEN_MAX: usize = 512;
const HOST_LEN_MAX: usize = 255;
const METHOD_LEN_MAX: usize = 32;

/// Longest line: every byte of a text may have to be escaped by six.
const LINE_LEN_MAX: usize = 1024 + 6 * (TARGET_LEN_MAX + HOST_LEN_MAX + METHOD_LEN_MAX);
const _: () = assert!(LINE_LEN_MAX < BUFFER_LEN);

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
    listener: u16,
    method: Vec<u8>,
    host: Vec<u8>,
    target: Vec<u8>,
    status: u16,
    bytes: u64,
    /// Pool and server.
    server: Option<(u16, u16)>,
    retries: u8,
    end: Option<(Ender, Phase)>,
}

/// The lines of one core.
pub(crate) struct Log {
    lines: Vec<u8>,
    lost: u64,
    unix_ns_at_origin: u64,
    listeners: Box<[String]>,
    /// Name of each pool, and of its servers.
    pools: Box<[(String, Box<[String]>)]>,
}

impl Log {
    pub(crate) fn new(config: &Config, unix_ns_at_origin: u64) -> Self {
        let pools = config.pools.iter().map(|pool| {
            let servers = pool.servers.iter().map(|server| server.name.clone());
            (pool.name.clone(), servers.collect())
        });
        Self {
            lines: Vec::with_capacity(BUFFER_LEN),
            lost: 0,
            unix_ns_at_origin,
            listeners: config.listeners.iter().map(|listener| listener.name.clone()).collect(),
            pools: pools.collect(),
        }
    }

    /// Hands over what waits, line by line.
    pub(crate) fn drain(&mut self, mut give: impl FnMut(&[u8])) {
        self.lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).for_each(&mut give);
        self.lines.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The exchange is over: writes its line.
    pub(crate) fn write(&mut self, entry: &Entry, now: Instant) {
        if BUFFER_LEN - self.lines.len() < LINE_LEN_MAX {
            self.lost += 1;
            return;
        }
        let unix_ns = self.unix_ns_at_origin + now.as_nanos();
        let listener = self.listeners.get(usize::from(entry.listener)).map_or("admin", String::as_str);
        let pool = entry.server.and_then(|(pool, server)| {
            let (pool, servers) = self.pools.get(usize::from(pool))?;
            Some((pool.as_str(), servers.get(usize::from(server))?.as_str()))
        });
        // The buffer has room for the longest line, and its writer does not fail.
        let _ = entry.write(&mut Text(&mut self.lines), now, Context { unix_ns, listener, pool });
    }
}

/// What an entry's line says that the entry does not know.
struct Context<'l> {
    unix_ns: u64,
    listener: &'l str,
    pool: Option<(&'l str, &'l str)>,
}

impl Entry {
    /// An exchange whose head is complete now and began to come at `began`.
    pub(crate) fn new(listener: u16, client: Option<SocketAddr>, began: Instant, now: Instant) -> Self {
        Self {
            began,
            asked: now,
            dispatched: None,
            connected: None,
            answered: None,
            client,
            listener,
            method: Vec::new(),
            host: Vec::new(),
            target: Vec::new(),
            status: 0,
            bytes: 0,
            server: None,
            retries: 0,
            end: None,
        }
    }

    /// What is asked for.
    pub(crate) fn ask(&mut self, request: &Request<'_>) {
        let keep = |text: &[u8], max: usize| text.get(..max).unwrap_or(text).to_vec();
        self.method = keep(request.method_text, METHOD_LEN_MAX);
        self.host = keep(request.host, HOST_LEN_MAX);
        self.target = keep(request.path_and_query, TARGET_LEN_MAX);
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

    fn write(&self, out: &mut Text<'_>, now: Instant, context: Context<'_>) -> fmt::Result {
        out.write_str("{\"time\":\"")?;
        write_time(out, context.unix_ns)?;
        write!(out, "\",\"listener\":\"{}\",\"client\":", context.listener)?;
        match self.client {
            Some(client) => write!(out, "\"{client}\"")?,
            None => out.write_str("null")?,
        }
        for (name, text) in [("method", &self.method), ("host", &self.host), ("target", &self.target)] {
            if !text.is_empty() {
                write!(out, ",\"{name}\":")?;
                write_string(out, text)?;
            }
        }
        if self.status != 0 {
            write!(out, ",\"status\":{}", self.status)?;
        }
        write!(out, ",\"bytes\":{}", self.bytes)?;
        if let Some((pool, server)) = context.pool {
            write!(out, ",\"pool\":\"{pool}\",\"server\":\"{server}\"")?;
        }
        let queue = self.dispatched.map(|at| micros(self.asked, at));
        let connect = self.dispatched.zip(self.connected).map(|(from, to)| micros(from, to));
        let response = self.connected.zip(self.answered).map(|(from, to)| micros(from, to));
        for (name, value) in [("queue_us", queue), ("connect_us", connect), ("response_us", response)] {
            match value {
                Some(value) => write!(out, ",\"{name}\":{value}")?,
                None => write!(out, ",\"{name}\":null")?,
            }
        }
        let (active, total) = (micros(self.asked, now), micros(self.began, now));
        let (ender, phase) = self.end.unwrap_or((Ender::Nobody, Phase::Done));
        let (ender, phase) = (char::from(ender as u8), char::from(phase as u8));
        let retries = self.retries;
        writeln!(out, ",\"active_us\":{active},\"total_us\":{total},\"retries\":{retries},\"end\":\"{ender}{phase}\"}}")
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos()) / 1000
}

/// RFC 3339, in milliseconds.
fn write_time(out: &mut Text<'_>, unix_ns: u64) -> fmt::Result {
    let (seconds, milliseconds) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1000);
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    write!(out, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z", month + 1)
}

/// RFC 8259 7; what is not printable ASCII, a bad host for instance, is given by its number.
fn write_string(out: &mut Text<'_>, text: &[u8]) -> fmt::Result {
    out.write_str("\"")?;
    for &byte in text {
        match byte {
            b'"' | b'\\' => write!(out, "\\{}", byte as char)?,
            0x20..=0x7e => out.0.push(byte),
            _ => write!(out, "\\u{byte:04x}")?,
        }
    }
    out.write_str("\"")
}

/// Text that is written to the end of a buffer.
struct Text<'b>(&'b mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
