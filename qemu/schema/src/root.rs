//! The whole file, and its tables without tables of their own.

use crate::Default::{Required, Value, Words};
use crate::Shape::{Boolean, Choice, Duration, Integer, List, Numbers, Rate, Size, Table, Text, Texts};
use crate::{Section, key, listener, pool, section};

/// A configuration.
pub static ROOT: Section = section(&[
    key("network", Table(&NETWORK), Words("addresses from the network"), "addresses of the interface"),
    key("admin", Table(&ADMIN), Words("no metrics"), "where operators look"),
    key("listener", List(&listener::LISTENER), Required(""), "where clients come in"),
    key("pool", List(&pool::POOL), Words("none"), "servers that share requests"),
    key("error_page", List(&ERROR_PAGE), Words("status and reason as text"), "what clients see of errors"),
    key("limits", Table(&LIMITS), Words("as below"), "what is refused when there is too much of it"),
    key("timeouts", Table(&TIMEOUTS), Words("as below"), "what ends when it takes too long"),
    key("dns", Table(&DNS), Words("as below"), "how names of servers become addresses"),
    key("log", Table(&LOG), Words("the console"), "where messages go"),
    key("tuning", Table(&TUNING), Words("as below"), "how the image runs"),
]);

static NETWORK: Section = section(&[
    key(
        "address",
        Texts,
        Words("IPv4 from DHCP, IPv6 from a router's advertisement (SLAAC)"),
        "address and prefix length: `\"192.0.2.10/24\"`, `\"2001:db8::10/64\"`, or a list of one of each family",
    ),
    key(
        "gateway",
        Texts,
        Words("with a given address none, otherwise what came with it"),
        "router to all other networks, or a list of one of each family; within the subnet, with IPv6 also link-local: `\"fe80::1\"`",
    ),
    key(
        "source_addresses",
        Texts,
        Words("none"),
        "further addresses of the interface, at most 16, in the subnet of a given `address`: connections to servers come from all \
         of them in turn",
    ),
    key("mtu", Integer(576, 1500), Words("what the device says"), "largest IP packet in bytes"),
]);

static ADMIN: Section = section(&[key(
    "listen",
    Text,
    Required("\"0.0.0.0:9000\""),
    "address and port of `/metrics` (Prometheus text format), and of `/configuration`: which source the configuration came from, what became of the \
     others and what is wrong with them",
)]);

static ERROR_PAGE: Section = section(&[
    key(
        "status",
        Numbers(&[400, 404, 405, 408, 413, 414, 417, 429, 431, 500, 501, 502, 503, 504, 505]),
        Required("503"),
        "of which error this is the page",
    ),
    key("body", Text, Required("\"<p>Later.</p>\""), "the page, at most 64 KiB"),
    key("content_type", Text, Value("\"text/html; charset=utf-8\""), "its type"),
]);

static LIMITS: Section = section(&[
    key("connections", Integer(1, 16_000_000), Words("computed from memory"), "client connections of the whole image"),
    key(
        "idle_server_connections",
        Integer(0, 16_000_000),
        Words("as many as client connections"),
        "idle connections to servers that are kept for reuse; each core keeps its share, rounded up, and closes further ones \
         (`weir_incidents_total{reason=\"idle_limit\"}`)",
    ),
    key("head", Size("1KiB", "256KiB"), Value("\"16KiB\""), "size of a request or response head (431, 502)"),
    key("head_fields", Integer(1, 128), Value("100"), "fields of a head"),
    key("target", Size("16B", "64KiB"), Value("\"8KiB\""), "size of a request target (414)"),
    key("body", Size("0B", "1048576GiB"), Value("\"1GiB\""), "size of a request body (413)"),
    key(
        "body_rate",
        Size("0B", "1GiB"),
        Value("\"240B\""),
        "what a client has to send of a body in a second, after 5 s to begin with; time in which the server is waited for does \
         not count (408); `\"0B\"` is no limit",
    ),
    key(
        "uncompleted_syn_rate",
        Rate,
        Words("`5000/s` for each core"),
        "SYNs that are answered at once although the handshakes before them are not completed; further ones are answered when the client \
         sends them again, a second later (`weir_tcp_total{event=\"syns_deferred\"}`)",
    ),
    key(
        "connections_per_client",
        Integer(1, 16_000_000),
        Words("no limit"),
        "connections of one client address; further ones are reset",
    ),
    key(
        "connection_rate_per_client",
        Rate,
        Words("no limit"),
        "its new connections, `\"50/s\"` or `\"30/m\"`; further ones are reset",
    ),
    key("request_rate_per_client", Rate, Words("no limit"), "its requests; further ones are 429 with `Retry-After`"),
    key(
        "dry_run",
        Boolean,
        Value("false"),
        "only count what the last three would refuse (`weir_incidents_total{reason=\"client_connections\"}`, \
         `client_connection_rate`, `client_request_rate`)",
    ),
]);

static TIMEOUTS: Section = section(&[
    key(
        "head",
        TIMEOUT,
        Value("\"10s\""),
        "from a request's first byte, or the connection's start, to the end of its head",
    ),
    key("keep_alive", TIMEOUT, Value("\"75s\""), "from a response's end to the next request's first byte"),
    key("connect", TIMEOUT, Value("\"3s\""), "from the first attempt at a server to the established connection"),
    key("first_byte", TIMEOUT, Value("\"30s\""), "from the end of the request to the first byte of the response (504)"),
    key("inactivity", TIMEOUT, Value("\"60s\""), "without any progress while a body is under way"),
    key("body", TIMEOUT, Value("\"30s\""), "without a byte of a client's body that is waited for (408)"),
    key("backend_idle", TIMEOUT, Value("\"4s\""), "how long an idle connection to a server is kept for reuse"),
    key("queue", TIMEOUT, Value("\"5s\""), "how long a request waits for a server with room (503)"),
    key(
        "proxy_header",
        TIMEOUT,
        Value("\"3s\""),
        "from a connection's start to the end of its PROXY header, and of its ClientHello",
    ),
    key("tunnel", TIMEOUT, Value("\"1h\""), "without a byte in either direction of a tunnel: TCP, TLS, WebSocket"),
    key("half_closed", TIMEOUT, Value("\"30s\""), "the same once one side has ended its direction"),
    key(
        "drain",
        TIMEOUT,
        Value("\"30s\""),
        "how long what is under way may take to its end after the power button was pressed; a second press does not wait",
    ),
]);

const TIMEOUT: crate::Shape = Duration("10ms", "24h");

static DNS: Section = section(&[
    key(
        "servers",
        Texts,
        Words(
            "those that DHCP and routers (RFC 8106) tell; with a given IPv4 address, servers with names need this key",
        ),
        "whom to ask, up to 8: `[\"10.0.0.2:53\", \"[fd00::2]:53\"]`",
    ),
    key("ttl_min", Duration("1s", "24h"), Value("\"5s\""), "how long an answer holds at least, whatever it says"),
    key("ttl_max", Duration("1s", "24h"), Value("\"1h\""), "how long it holds at most"),
]);

static LOG: Section = section(&[
    key(
        "syslog",
        Text,
        Words("none"),
        "address of a log server: messages go there by syslog (RFC 5424) over UDP (RFC 5426), one datagram for each, facility \
         local0",
    ),
    key(
        "access",
        Choice(&["off", "console", "syslog", "both"]),
        Value("\"off\""),
        "where each request and each tunnel gets a line when it is over: nowhere, on the console (as many lines as it may \
         print, 50 a second), by syslog, or both",
    ),
]);

static TUNING: Section = section(&[
    key(
        "idle",
        Choice(&["poll", "adaptive", "halt"]),
        Value("\"adaptive\""),
        "what a core does without work: poll for ever, poll for at most 200 us and then halt, or halt at once",
    ),
    key("panic", Choice(&["reboot", "halt"]), Value("\"reboot\""), "what a failure of the image ends in"),
]);
