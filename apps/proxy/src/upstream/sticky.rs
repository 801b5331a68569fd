//! A cookie of our own that says which server a client belongs to.
//!
//! Each server has a token: SipHash-2-4 with 128 bits of the pool's and the server's name, with a key made of the pool's secret. It says
//! nothing of the server to who does not know the secret, and is the same on every core and every image with the same names and
//! secret: nothing is kept per client. Tokens are made when the image starts; a request costs a search among them.
//!
//! | the client's cookie | the request goes to | and the client gets a cookie |
//! | --- | --- | --- |
//! | names a server that is up, or drains | that server | no |
//! | names one that has as many requests as it may | another server, or the queue | no: it comes back there |
//! | names one that is down or in maintenance | another server | yes |
//! | is none of our tokens, or there is none | a server as the pool chooses | yes |

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use siphasher::sip128::SipHasher24;
use weir_config::{Pool, SameSite, StickyCookie};
use weir_socket::Instant;

use super::{Choice, Upstream};
use crate::counters::Incident;

/// Bytes of a token as text.
const TOKEN_LEN: usize = 32;

type Token = [u8; TOKEN_LEN];

/// The cookie of a pool.
pub(crate) struct Sticky {
    pub name: Box<str>,
    /// In order.
    tokens: Box<[(Token, u16)]>,
    /// What a client gets that is to stay with a server, by the server's number.
    lines: Box<[Box<[u8]>]>,
}

/// Where a request goes that may have a cookie.
pub(crate) struct Placed {
    pub choice: Choice,
    /// The client gets another cookie.
    pub is_new: bool,
    /// What was wrong with its cookie.
    pub incident: Option<Incident>,
}

impl Sticky {
    pub(super) fn new(cookie: &StickyCookie, pool: &Pool) -> Self {
        let token = |server: &weir_config::Server| token(cookie, &pool.name, &server.name);
        let mut tokens: Box<[(Token, u16)]> = (0..).zip(&pool.servers).map(|(n, server)| (token(server), n)).collect();
        tokens.sort_unstable();
        let lines = pool.servers.iter().map(|server| line(cookie, &token(server)).into_bytes().into()).collect();
        Self { name: cookie.name.as_str().into(), tokens, lines }
    }

    fn find(&self, value: &[u8]) -> Option<u16> {
        let place = self.tokens.binary_search_by(|(token, _)| token.as_slice().cmp(value)).ok()?;
        self.tokens.get(place).map(|&(_, server)| server)
    }

    /// The lines of a response to a client that is to stay with a server.
    pub(crate) fn lines(&self, server: u16) -> &[u8] {
        self.lines.get(usize::from(server)).map_or(b"", |lines| lines)
    }
}

/// Names have no NUL.
fn token(cookie: &StickyCookie, pool: &str, server: &str) -> Token {
    let key = SipHasher24::new().hash(cookie.secret.as_bytes()).as_bytes();
    let hash = SipHasher24::new_with_key(&key).hash(format!("{pool}\0{server}").as_bytes());
    let mut token = [0; TOKEN_LEN];
    let digits = hash.as_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, digit) in token.iter_mut().zip(digits) {
        *place = b"0123456789abcdef".get(usize::from(digit)).copied().unwrap_or(b'0');
    }
    token
}

/// RFC 6265 4.1. Shared caches must not give one client's cookie to another, so they are told (RFC 9111 5.2.2.7).
fn line(cookie: &StickyCookie, token: &Token) -> String {
    let mut line = format!("Set-Cookie: {}={}", cookie.name, String::from_utf8_lossy(token));
    line.push_str(&format!("; Path={}", cookie.path));
    if let Some(max_age_s) = cookie.max_age_s {
        line.push_str(&format!("; Max-Age={max_age_s}"));
    }
    line.push_str("; HttpOnly; SameSite=");
    line.push_str(match cookie.same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    });
    line.push_str(if cookie.secure { "; Secure\r\n" } else { "\r\n" });
    line.push_str("Cache-Control: private\r\n");
    line
}

impl Upstream {
    /// [`place`](Self::place) for a request with this cookie, or without one.
    #[cold]
    pub(crate) fn place_by_cookie(&mut self, now: Instant, key: u64, value: Option<&[u8]>) -> Placed {
        let found = self.sticky.as_ref().zip(value).map(|(sticky, value)| sticky.find(value));
        let server = found.flatten().and_then(|index| Some((index, self.servers.get(usize::from(index))?)));
        let (incident, is_new) = match (found, server) {
            (None, _) => (None, true),
            (Some(_), None) => (Some(Incident::CookieUnknown), true),
            (Some(_), Some((_, server))) if server.down_until > now => (Some(Incident::CookieDown), true),
            // Nobody overtakes; who waits does not wait for one that drains.
            (Some(_), Some((index, server))) if server.is_usable(now) && (self.queued == 0 || server.weight == 0) => {
                return Placed { choice: Choice::Server(index), is_new: false, incident: None };
            }
            _ => (None, false),
        };
        Placed { choice: self.place(now, key), is_new, incident }
    }
}
