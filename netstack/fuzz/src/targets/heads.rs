//! Heads of requests and responses: more bytes never change what was already decided.

use weir_http1::{HeadLimits, Method, Reject, Request, Response};

use crate::features::Features;

/// What heads are made of.
pub const WORDS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b HTTP/1.0\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://a/ HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 304 \r\n",
    b"HTTP/1.1 101 Switching\r\n",
    b"Host: a\r\n",
    b"Host: [::1]:80\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close, x\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"X-A: b\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\t",
    b"\x7f",
    b"%00",
    b", ",
];

const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "CONNECT"];

/// What a parser decided on a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Incomplete,
    /// The head's length, and everything about it as text.
    Complete(usize, String),
    Refused(Reject),
}

pub fn run_request(data: &[u8]) -> Features {
    with_limits(data, |bytes, limits| match Request::parse(bytes, limits) {
        Ok(None) => Verdict::Incomplete,
        Err(reject) => Verdict::Refused(reject),
        Ok(Some(request)) => {
            let host = String::from_utf8_lossy(request.host_name());
            let forwarded: usize = request.forwarded().map(<[u8]>::len).sum();
            assert!(forwarded <= request.head_len, "more is forwarded than there was");
            assert!(request.path().len() <= request.path_and_query.len());
            let words = (request.is_persistent, request.expects_continue, request.wants_upgrade, request.is_plain());
            let fields = request.fields.iter().count();
            let text = format!("{:?} {:?} {words:?} {fields} {}", request.method, request.body, host.is_empty());
            Verdict::Complete(request.head_len, text)
        }
    })
}

pub fn run_response(data: &[u8]) -> Features {
    let Some((&method, data)) = data.split_first() else { return Features::default() };
    let method = METHODS[usize::from(method) % METHODS.len()];
    with_limits(data, |bytes, limits| match Response::parse(bytes, method_of(method), limits) {
        Ok(None) => Verdict::Incomplete,
        Err(reject) => Verdict::Refused(reject),
        Ok(Some(response)) => {
            let forwarded: usize = response.forwarded().map(<[u8]>::len).sum();
            assert!(forwarded <= response.head_len, "more is forwarded than there was");
            assert!((100..1_000).contains(&response.status), "{}", response.status);
            let fields = response.fields.iter().count();
            let text = format!("{} {:?} {} {fields}", response.status, response.body, response.is_persistent);
            Verdict::Complete(response.head_len, text)
        }
    })
}

fn method_of(name: &str) -> Method {
    match name {
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        _ => Method::Get,
    }
}

/// The first byte chooses limits that are soon reached, or the usual ones.
fn with_limits(data: &[u8], parse: impl Fn(&[u8], &HeadLimits) -> Verdict) -> Features {
    let mut features = Features::default();
    let Some((&choice, bytes)) = data.split_first() else { return features };
    let small = HeadLimits { head_bytes: 256, target_bytes: 32, fields: 4 };
    let limits = if choice % 2 == 0 { HeadLimits::default() } else { small };
    let whole = parse(bytes, &limits);
    match &whole {
        Verdict::Incomplete => features.add(0),
        Verdict::Refused(reject) => features.add_name(reject.name()),
        Verdict::Complete(len, text) => {
            // The words, not the numbers in them.
            features.add_name(&text.replace(|c: char| c.is_ascii_digit(), ""));
            assert!(*len <= bytes.len(), "a head of {len} in {} bytes", bytes.len());
            assert!(*len <= limits.head_bytes, "a head of {len} bytes");
        }
    }
    prefixes_agree(bytes, &whole, |prefix| parse(prefix, &limits));
    features
}

/// A prefix is incomplete until it is decided, and the decision stays.
fn prefixes_agree(bytes: &[u8], whole: &Verdict, parse: impl Fn(&[u8]) -> Verdict) {
    let decided = match whole {
        Verdict::Complete(len, _) => *len,
        _ => bytes.len(),
    };
    // Many prefixes of a long input say the same: the first and the last of them are enough.
    let lengths = (0..decided.min(64)).chain(decided.saturating_sub(64)..decided);
    for len in lengths {
        match (parse(&bytes[..len]), whole) {
            (Verdict::Incomplete, _) | (Verdict::Refused(_), Verdict::Refused(_)) => {}
            (verdict, _) => panic!("{len} of {} bytes are {verdict:?}, all are {whole:?}", bytes.len()),
        }
    }
    if let Verdict::Complete(len, _) = whole {
        assert_eq!(&parse(&bytes[..*len]), whole, "what follows the head has changed it");
    }
}
