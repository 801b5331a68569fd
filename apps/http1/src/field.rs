//! Field names that have a meaning for framing, connections or forwarding.

use crate::bytes::{CASE, Name, lower_word};

/// A field name that a server or proxy treats in a way of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9110 and the registry")]
pub enum FieldName {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    KeepAlive,
    ProxyConnection,
    Te,
    Trailer,
    Upgrade,
    Expect,
    Date,
    Authorization,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XForwardedPort,
    /// Any other name.
    Other,
}

/// The first eight bytes of a name in lower case, as [`lower_word`] gives them.
const fn word(name: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*name)
}

const HOST: u64 = word(b"host\0\0\0\0");
const DATE: u64 = word(b"date\0\0\0\0");
const EXPECT: u64 = word(b"expect\0\0");
const UPGRADE: u64 = word(b"upgrade\0");
const TRAILER: u64 = word(b"trailer\0");
const TE: u64 = word(b"te\0\0\0\0\0\0");
const CONNECTION: u64 = word(b"connecti");
const KEEP_ALIVE: u64 = word(b"keep-ali");
const AUTHORIZATION: u64 = word(b"authoriz");
const CONTENT: u64 = word(b"content-");
const X_FORWARDED: u64 = word(b"x-forwar");
const PROXY: u64 = word(b"proxy-co");
const TRANSFER: u64 = word(b"transfer");

/// All of them, each in its [`place`].
const WORDS: [u64; 16] = {
    let words = [
        HOST,
        DATE,
        EXPECT,
        UPGRADE,
        TRAILER,
        TE,
        CONNECTION,
        KEEP_ALIVE,
        AUTHORIZATION,
        CONTENT,
        X_FORWARDED,
        PROXY,
        TRANSFER,
    ];
    let mut table = [0; 16];
    let mut index = 0;
    while index < words.len() {
        let place = &mut table[place(words[index])];
        assert!(*place == 0, "another factor is needed");
        *place = words[index];
        index += 1;
    }
    table
};

/// Where a word stands, if it is one of them. The factor is one of many by which no two of them have the same place.
#[inline(always)]
const fn place(word: u64) -> usize {
    (word.wrapping_mul(0x99c8_ba2f_6919_6bd3) >> 60) as usize
}

impl FieldName {
    /// The name's meaning; `name` is a token. Its first eight bytes are looked up, so that a name without meaning costs a few
    /// instructions.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        Self::of_line(name, &Name { len: name.len(), word: lower_word(name) })
    }

    /// The same for the name at the front of a line, whose first eight bytes are known already.
    #[inline(always)]
    pub(crate) fn of_line(line: &[u8], name: &Name) -> Self {
        if WORDS[place(name.word)] == name.word { Self::known(line, name.len, name.word) } else { Self::Other }
    }

    /// The same where the first eight bytes are those of a name with a meaning.
    #[inline(always)]
    fn known(line: &[u8], len: usize, word: u64) -> Self {
        // A zero stands behind a name of four letters, and in none: nothing else has this word.
        if word == DATE {
            return Self::Date;
        }
        // The last eight bytes, which overlap with the first ones unless it has more than sixteen.
        let ends = |end: &[u8; 8]| {
            let last = len.checked_sub(8).and_then(|place| line.get(place..)?.first_chunk());
            last.is_some_and(|last| u64::from_le_bytes(*last) | CASE == u64::from_le_bytes(*end))
        };
        let has_between = |byte: u8| line.get(8).is_some_and(|found| found | 0x20 == byte);
        match (len, word) {
            (2, TE) => Self::Te,
            (4, HOST) => Self::Host,
            (6, EXPECT) => Self::Expect,
            (7, UPGRADE) => Self::Upgrade,
            (7, TRAILER) => Self::Trailer,
            (10, CONNECTION) if ends(b"nnection") => Self::Connection,
            (10, KEEP_ALIVE) if ends(b"ep-alive") => Self::KeepAlive,
            (13, AUTHORIZATION) if ends(b"rization") => Self::Authorization,
            (14, CONTENT) if ends(b"t-length") => Self::ContentLength,
            (15, X_FORWARDED) if ends(b"rded-for") => Self::XForwardedFor,
            (16, X_FORWARDED) if ends(b"ded-host") => Self::XForwardedHost,
            (16, X_FORWARDED) if ends(b"ded-port") => Self::XForwardedPort,
            (16, PROXY) if ends(b"nnection") => Self::ProxyConnection,
            (17, X_FORWARDED) if has_between(b'd') && ends(b"ed-proto") => Self::XForwardedProto,
            (17, TRANSFER) if has_between(b'-') && ends(b"encoding") => Self::TransferEncoding,
            _ => Self::Other,
        }
    }

    /// Whether it concerns one connection only, so that a proxy does not forward it (RFC 9110 7.6.1).
    #[inline]
    #[must_use]
    pub const fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }

    /// Whether a proxy tells by it for whom it forwards: replaced by the proxy's own, for a stranger could have made it up.
    #[inline]
    #[must_use]
    pub const fn is_forwarding(self) -> bool {
        matches!(self, Self::XForwardedFor | Self::XForwardedHost | Self::XForwardedProto | Self::XForwardedPort)
    }

    /// Whether a proxy leaves it out or writes it anew.
    #[inline(always)]
    pub(crate) const fn is_cut(self) -> bool {
        self.is_hop_by_hop() || self.is_forwarding()
    }

    /// Whether it keeps its meaning even if `Connection` names it: a peer cannot make a proxy drop these.
    #[inline]
    #[must_use]
    pub const fn is_protected(self) -> bool {
        matches!(self, Self::Host | Self::ContentLength | Self::Authorization) || self.is_forwarding()
    }
}

/// Whether a line of Connection says that it is kept, and nothing else, as nearly everybody writes it. The line has no control
/// character but HTAB, so that only letters become another character in lower case.
#[inline(always)]
pub(crate) fn keeps_alive(line: &[u8]) -> bool {
    let is = |place: usize, text: &[u8; 8]| {
        let found = line.get(place..).and_then(|rest| rest.first_chunk());
        found.is_some_and(|found| u64::from_le_bytes(*found) | CASE == word(text))
    };
    line.len() == "connection: keep-alive".len() && is(8, b"on: keep") && is(14, b"ep-alive")
}

/// The members of a comma-separated list (RFC 9110 5.6.1), without white space around them and without empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_all).filter(|member| !member.is_empty())
}

/// Without the optional white space around a value.
#[inline(always)]
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    // One space and a value is what nearly everybody writes.
    match bytes {
        [b' ', value @ ..] if matches!(value, [first, .., last] if *first > b' ' && *last > b' ') => value,
        _ => trim_all(bytes),
    }
}

#[inline(never)]
fn trim_all(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
