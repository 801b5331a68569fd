//! `[[pool]]`.

use crate::Default::{Required, Value, Words};
use crate::Shape::{Boolean, Choice, Duration, Fields, Inline, Integer, List, Name, Table, Text, Texts};
use crate::{Section, key, section};

pub(crate) static POOL: Section = section(&[
    key("name", Name, Required("\"api\""), "unique among pools"),
    key(
        "balance",
        Choice(&["random-2", "round-robin", "least-connections", "hash"]),
        Value("\"random-2\""),
        "the less busy of two drawn by weight; in turn by weight, from a random place on each core; who has the fewest requests \
         under way for its weight; the like to the same server",
    ),
    key(
        "hash_on",
        Text,
        Words("`\"client-address\"`"),
        "with `\"hash\"`: `\"client-address\"`, `\"uri\"`, `\"header:NAME\"`, `\"cookie:NAME\"`; a request without it goes by its \
         client's address",
    ),
    key(
        "when_all_down",
        Choice(&["try-all", "fail"]),
        Value("\"try-all\""),
        "servers are tried all the same, or 503 at once",
    ),
    key(
        "queue_length",
        Integer(0, 1_000_000),
        Value("1024"),
        "requests that wait while all servers have `max_connections`; further ones are 503",
    ),
    key(
        "source",
        Texts,
        Words("all addresses of the image"),
        "addresses of the image that connections to the pool's servers, and checks of them, come from, in turn: `address` or \
         some of `source_addresses` of [`[network]`](#network)",
    ),
    key(
        "slow_start",
        Duration("1s", "1h"),
        Words("the whole share at once"),
        "how long a server that came up gets less than its share: from a tenth of its weight, growing with time, on each core \
         from when it heard of it; with least connections, what it may have under way grows. Not with `\"hash\"`",
    ),
    key("sticky", Inline(&STICKY), Words("clients do not stay"), "a cookie by which clients stay with their servers"),
    key("health", Table(&HEALTH), Words("servers are not checked"), "how servers are asked whether they are well"),
    key("server", List(&SERVER), Required(""), "who answers"),
]);

static STICKY: Section = section(&[
    key("cookie", Text, Required("\"SERVERID\""), "its name, which no server uses"),
    key(
        "secret",
        Text,
        Words("none: who knows the servers' names can tell them apart, and make cookies"),
        "16 to 256 bytes that cookies are made with, the same on all images",
    ),
    key("path", Text, Value("\"/\""), "for which paths clients send it"),
    key(
        "max_age",
        Duration("1s", "9600h"),
        Words("until the client ends"),
        "how long clients keep it, in whole seconds",
    ),
    key("secure", Boolean, Value("false"), "clients send it over TLS only: for TLS that ends in front of Weir"),
    key(
        "same_site",
        Choice(&["lax", "strict", "none"]),
        Value("\"lax\""),
        "whether clients send it with requests from other sites; `\"none\"` needs `secure`",
    ),
]);

static SERVER: Section = section(&[
    key("name", Name, Required("\"a\""), "unique within the pool"),
    key(
        "address",
        Text,
        Required("\"10.0.0.11:8080\""),
        "address with port, `\"10.0.0.11:8080\"` or `\"[fd00::11]:8080\"`, or a host name with port, `\"app.internal:8080\"` (see \
         [`[dns]`](#dns))",
    ),
    key("weight", Integer(0, 256), Value("1"), "share; 0 is no traffic"),
    key("backup", Boolean, Value("false"), "gets requests only while no other server of the pool is up"),
    key(
        "state",
        Choice(&["up", "drain", "maintenance"]),
        Value("\"up\""),
        "`\"drain\"`: nothing new begins, what is under way is finished; `\"maintenance\"`: nothing at all",
    ),
    key(
        "proxy_protocol",
        Choice(&["v1", "v2"]),
        Words("none"),
        "each connection begins with a PROXY header; it is one client's then and not used for others. Checks say `LOCAL` \
         (`UNKNOWN`)",
    ),
    key(
        "max_connections",
        Integer(1, 16_000_000),
        Words("no limit"),
        "requests under way there at most, from the whole image: each core has a share, and shares go where they are needed",
    ),
]);

static HEALTH: Section = section(&[
    key(
        "http",
        Inline(&HTTP),
        Words("a connection that is accepted is enough"),
        "a request that has to be answered well",
    ),
    key(
        "tcp",
        List(&TCP),
        Words("as with `http`"),
        "what is said on the connection, step by step; not together with `http`",
    ),
    key("port", Integer(1, 65535), Words("the server's"), "where checks go instead; they bring no PROXY header there"),
    key(
        "interval",
        Duration("50ms", "1h"),
        Value("\"2s\""),
        "from one check of a server to the next; up to an eighth more, at random",
    ),
    key("timeout", Duration("50ms", "1h"), Value("\"2s\""), "for a whole check"),
    key("rise", Integer(1, 100), Value("2"), "checks in a row that must succeed before a server that was down is up"),
    key("fall", Integer(1, 100), Value("3"), "checks in a row that must fail before a server that was up is down"),
]);

static TCP: Section = section(&[
    key("send", Text, Words("nothing: the server speaks"), "what is sent, 1 to 1024 bytes"),
    key(
        "expect",
        Text,
        Required("\"+PONG\""),
        "what has to come then, 1 to 256 bytes within the next 8 KiB; what is before and behind it does not matter",
    ),
]);

static HTTP: Section = section(&[
    key("path", Text, Required("\"/healthz\""), "its target"),
    key("method", Choice(&["GET", "HEAD", "OPTIONS"]), Value("\"GET\""), "its method"),
    key("host", Text, Words("the address that is asked"), "value of its `Host`"),
    key("headers", Fields, Words("none"), "fields that come in addition, at most 1024 bytes"),
    key("expect", Text, Value("\"200-399\""), "the statuses that are good, one or a range"),
]);
