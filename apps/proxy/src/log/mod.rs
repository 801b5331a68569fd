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
//!
//! Cost: a line is put together from texts that are prepared (names, the second), and entries are used again, so that neither
//! a format string nor an allocation is on the way of a request.

mod entry;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use weir_config::Config;
use weir_http1::{HeadWriter, civil_date};
use weir_socket::Instant;

pub(crate) use entry::{Ender, Entry, Phase};

/// Bytes of lines that wait to be taken.
const BUFFER_LEN: usize = 64 * 1024;

/// Lines that wait to be taken; a shorter one than this is rare.
const LINES_MAX: usize = BUFFER_LEN / 128;

/// Entries that are kept for use again.
const SPARE_MAX: usize = 256;

/// The lines of one core.
pub(crate) struct Log {
    buffer: Box<[u8]>,
    /// Where each line ends.
    ends: Vec<usize>,
    lost: u64,
    unix_ns_at_origin: u64,
    second: Second,
    /// What lines say of each listener, and at last of the admin port.
    listeners: Texts,
    /// What lines say of each pool's servers.
    servers: Box<[Texts]>,
    #[expect(clippy::vec_box, reason = "connections hold the boxes")]
    spare: Vec<Box<Entry>>,
}

type Texts = Box<[Box<[u8]>]>;

impl Log {
    pub(crate) fn new(config: &Config, unix_ns_at_origin: u64) -> Self {
        let listener = |name: &str| format!("Z\",\"listener\":\"{name}\",\"client\":").into_bytes().into();
        let listeners = config.listeners.iter().map(|known| listener(&known.name));
        let servers = config.pools.iter().map(|pool| {
            let server = |name: &str| format!(",\"pool\":\"{}\",\"server\":\"{name}\"", pool.name).into_bytes();
            pool.servers.iter().map(|known| server(&known.name).into()).collect()
        });
        let listeners: Texts = listeners.chain([listener("admin")]).collect();
        let servers: Box<[Texts]> = servers.collect();
        Self {
            buffer: vec![0; BUFFER_LEN].into(),
            ends: Vec::with_capacity(LINES_MAX),
            lost: 0,
            unix_ns_at_origin,
            second: Second { number: u64::MAX, text: [0; _] },
            listeners,
            servers,
            spare: Vec::with_capacity(SPARE_MAX),
        }
    }

    /// Hands over what waits, line by line.
    pub(crate) fn drain(&mut self, mut give: impl FnMut(&[u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            give(self.buffer.get(start..end).unwrap_or_default());
            start = end;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// An entry for an exchange whose head is complete now and began to come at `began`.
    pub(crate) fn begin(
        &mut self,
        listener: u16,
        client: Option<SocketAddr>,
        began: Instant,
        now: Instant,
    ) -> Box<Entry> {
        let Some(mut entry) = self.spare.pop() else {
            return Box::new(Entry::new(listener, client, (began, now), Vec::new()));
        };
        entry.begin_again(listener, client, (began, now));
        entry
    }

    /// The exchange is over: writes its line.
    pub(crate) fn finish(&mut self, entry: Box<Entry>, now: Instant) {
        self.write(&entry, now);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entry);
        }
    }

    fn write(&mut self, entry: &Entry, now: Instant) {
        let start = self.ends.last().copied().unwrap_or(0);
        let known = self.listeners.get(usize::from(entry.listener));
        let listener = known.or(self.listeners.last()).map_or(&b""[..], |text| text);
        let server =
            entry.server.and_then(|(pool, server)| self.servers.get(usize::from(pool))?.get(usize::from(server)));
        let mut line = HeadWriter::new(self.buffer.get_mut(start..).unwrap_or_default());
        line.bytes(b"{\"time\":\"");
        self.second.write(&mut line, self.unix_ns_at_origin + now.as_nanos());
        line.bytes(listener);
        entry.write(&mut line, now, server.map_or(&b""[..], |text| text));
        match line.finish() {
            Some(len) if self.ends.len() < LINES_MAX => self.ends.push(start + len),
            _ => self.lost += 1,
        }
    }
}

/// The text of the second in which the last line was written.
struct Second {
    number: u64,
    text: [u8; 20],
}

impl Second {
    /// RFC 3339, in milliseconds, without its last letter.
    fn write(&mut self, line: &mut HeadWriter<'_>, unix_ns: u64) {
        let (number, milliseconds) = (unix_ns / 1_000_000_000, unix_ns / 1_000_000 % 1000);
        if number != self.number {
            self.change(number);
        }
        let digit = |unit: u64| b'0' + (milliseconds / unit % 10) as u8;
        line.bytes(&self.text);
        line.bytes(&[digit(100), digit(10), digit(1)]);
    }

    #[cold]
    fn change(&mut self, number: u64) {
        self.number = number;
        let (year, month, day) = civil_date(number / 86_400);
        let (hour, minute, second) = (number / 3600 % 24, number / 60 % 60, number % 60);
        let text = format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.", month + 1);
        self.text = text.as_bytes().first_chunk().copied().unwrap_or([b'?'; _]);
    }
}
