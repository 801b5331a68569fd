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
mod opening;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use weir_config::{Config, NAME_BYTES_MAX};
use weir_http1::{ArrayWriter, HOST_BYTES_MAX};
use weir_socket::Instant;

use entry::{METHOD_LEN_MAX, NO_WAITING, TARGET_LEN_MAX};
use opening::Opening;

pub(crate) use entry::{Ender, Entry, Phase};

/// The longest line, in bytes: a whole one fits where lines go.
pub const LOG_LINE_LEN_MAX: usize = {
    const WITHOUT_VALUES: &str = "{\"time\":\"2026-11-25T09:00:00.123Z\",\"listener\":\"\",\"client\":\"\",\"method\":\"\",\"host\":\"\",\
        \"target\":\"\",\"status\":200,\"bytes\":,\"pool\":\"\",\"server\":\"\",\"queue_us\":,\"connect_us\":,\"response_us\":,\
        \"active_us\":,\"total_us\":,\"retries\":255,\"end\":\"--\"}";
    const CLIENT_LEN_MAX: usize = 8 * 4 + 7 + "[]:65535".len();
    const NUMBER_LEN_MAX: usize = 20;
    let request = METHOD_LEN_MAX + HOST_BYTES_MAX + TARGET_LEN_MAX;
    WITHOUT_VALUES.len() + 3 * NAME_BYTES_MAX + CLIENT_LEN_MAX + request + 6 * NUMBER_LEN_MAX
};

/// Bytes of lines that wait to be taken.
const BUFFER_LEN: usize = 64 * 1024;

/// Room for any line, behind the last one that waits.
const LINE_LEN: usize = 2048;
const _: () = assert!(LOG_LINE_LEN_MAX <= ArrayWriter::<'_, LINE_LEN>::CAPACITY);

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
    /// How lines of each listener begin, and at last those of the admin port.
    openings: Box<[Opening]>,
    /// What lines say of each pool's servers, and of requests that did not wait for them.
    servers: Box<[Texts]>,
    #[expect(clippy::vec_box, reason = "connections hold the boxes")]
    spare: Vec<Box<Entry>>,
}

type Texts = Box<[Box<[u8]>]>;

impl Log {
    pub(crate) fn new(config: &Config, unix_ns_at_origin: u64) -> Self {
        let listeners = config.listeners.iter().map(|listener| listener.name.as_str());
        let servers = config.pools.iter().map(|pool| {
            let server = |name: &str| format!(",\"pool\":\"{}\",\"server\":\"{name}\"{NO_WAITING}", pool.name);
            pool.servers.iter().map(|known| server(&known.name).into_bytes().into()).collect()
        });
        Self {
            buffer: vec![0; BUFFER_LEN + LINE_LEN].into(),
            ends: Vec::with_capacity(LINES_MAX),
            lost: 0,
            unix_ns_at_origin,
            openings: listeners.chain(["admin"]).map(Opening::new).collect(),
            servers: servers.collect(),
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
    pub(crate) fn begin(&mut self, listener: u16, began: Instant, now: Instant) -> Box<Entry> {
        let Some(mut entry) = self.spare.pop() else {
            return Box::new(Entry::new(listener, (began, now), Vec::new()));
        };
        entry.begin_again(listener, (began, now));
        entry
    }

    /// The exchange is over: writes its line.
    #[inline(never)]
    pub(crate) fn finish(&mut self, entry: Box<Entry>, now: Instant) {
        self.write(&entry, now);
        if self.spare.len() < SPARE_MAX {
            self.spare.push(entry);
        }
    }

    fn write(&mut self, entry: &Entry, now: Instant) {
        let start = self.ends.last().copied().unwrap_or(0);
        let at_last = self.openings.len().saturating_sub(1);
        let opening = self.openings.get_mut(at_last.min(entry.listener.into()));
        let server =
            entry.server.and_then(|(pool, server)| self.servers.get(usize::from(pool))?.get(usize::from(server)));
        let room = self.buffer.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        let Some(room) = room.filter(|_| self.ends.len() < LINES_MAX) else {
            self.lost += 1;
            return;
        };
        let mut line = ArrayWriter::<LINE_LEN>::new(room);
        line.long(opening.map_or(&b""[..], |opening| opening.at(self.unix_ns_at_origin + now.as_nanos())));
        match entry.write(line, now, server.map_or(NO_WAITING.as_bytes(), |text| text)).finish() {
            Some(len) => self.ends.push(start + len),
            None => self.lost += 1,
        }
    }
}
