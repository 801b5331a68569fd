//! `[[listener]]`.

use crate::Default::{Required, Value, Words};
use crate::Shape::{
    Boolean, Choice, Duration, Fields, Inline, Integer, List, Name, Numbers, Table, Text, TextOrInline, Texts,
};
use crate::{Section, key, section};

pub(crate) static LISTENER: Section = section(&[
    key("name", Name, Required("\"web\""), "unique among listeners; a label in the metrics"),
    key(
        "bind",
        Texts,
        Required("\"0.0.0.0:80\""),
        "an address with port, or a list of them: `\"0.0.0.0:80\"`, `\"[::]:80\"`. Addresses in 127.0.0.0/8 and `[::1]` are \
         reached from inside the image only",
    ),
    key(
        "protocol",
        Choice(&["http", "tcp", "tls-passthrough"]),
        Value("\"http\""),
        "`\"tcp\"`: bytes of any protocol, to the pool of the only route; `\"tls-passthrough\"`: TLS that servers end, routed by \
         the name in the ClientHello (`host` of its routes)",
    ),
    key(
        "trusted_proxies",
        Texts,
        Words("nobody"),
        "addresses or prefixes of the proxies in front, `[\"10.0.0.0/8\"]`: their `X-Forwarded-*` are kept and our client is \
         added to `X-Forwarded-For`; those of others are replaced",
    ),
    key(
        "proxy_protocol",
        Boolean,
        Value("false"),
        "whether each connection begins with a PROXY header, v1 or v2, from one of `trusted_proxies`; others are reset",
    ),
    key(
        "request_id",
        Boolean,
        Value("false"),
        "whether requests get an `X-Request-Id` of 32 hexadecimal digits; one of a trusted proxy stays",
    ),
    key(
        "via",
        Name,
        Words("none"),
        "what the image is called in `Via: 1.1 NAME`, which servers get with each request then. Not on its own account: nginx as a \
         server compresses no response to a request that has one (`gzip_proxied`)",
    ),
    key("keep_alive", Boolean, Value("true"), "whether connections stay open between requests"),
    key(
        "connections",
        Integer(1, 16_000_000),
        Words("no limit but `limits.connections`"),
        "its client connections at once; each core allows its share, rounded up, and resets further ones \
         (`weir_incidents_total{reason=\"listener_connections\"}`)",
    ),
    key(
        "allow",
        Texts,
        Words("everybody"),
        "addresses or prefixes of clients that may connect; others are reset (`reason=\"client_denied\"`). With \
         `proxy_protocol`, the client is who the PROXY header says",
    ),
    key("deny", Texts, Words("nobody"), "those that may not, whatever `allow` says"),
    key("health", Table(&HEALTH), Words("none"), "where others ask whether this image is well"),
    key("route", List(&ROUTE), Required(""), "which requests go where"),
]);

static HEALTH: Section = section(&[
    key("path", Text, Value("\"/healthz\""), "path of the page, on every host and before all routes"),
    key("fail", Boolean, Value("false"), "the switch: 503 whatever is the case"),
    key(
        "fail_when_down",
        Boolean,
        Value("false"),
        "503 while no pool of the listener's routes has a server that is up, as the core sees it",
    ),
    key(
        "notice",
        Duration("0ms", "5m"),
        Value("\"0s\""),
        "how long the listener still takes connections after the power button was pressed, while the page is 503 already; \
         `timeouts.drain` begins after it",
    ),
]);

static ROUTE: Section = Section {
    keys: &[
        key("host", Text, Words("every host"), "`\"www.example.com\"` or `\"*.example.com\"`"),
        key(
            "path",
            Text,
            Value("\"/\""),
            "path prefix, matched by whole segments: `/api` is for `/api` and `/api/x`, not for `/apix`",
        ),
        key("pool", Text, ONE, "name of the pool that answers"),
        key("files", Text, ONE, "folder of the image's archive (`weir build --files DIR`)"),
        key("respond", Inline(&RESPOND), ONE, "always the same answer"),
        key("redirect", TextOrInline(&REDIRECT), ONE, "another address: `\"https://…\"`"),
        key("page", Choice(&["demo"]), ONE, "a page of the image: `\"demo\"` says which listener and core answered"),
        key(
            "strip_prefix",
            Boolean,
            Value("false"),
            "with `pool`: the server gets the path without the route's `path`",
        ),
        key("request_headers", Inline(&RULES), Words("unchanged"), "with `pool`: changes on the way to the server"),
        key("response_headers", Inline(&RULES), Words("unchanged"), "with `pool`: the same for a server's responses"),
    ],
    one_of: &["pool", "files", "respond", "redirect", "page"],
};

const ONE: crate::Default = Words("one of `pool`, `files`, `respond`, `redirect`, `page`");

static RESPOND: Section = section(&[
    key("status", Integer(200, 599), Value("200"), "its status"),
    key("body", Text, Value("\"\""), "its content"),
    key("content_type", Text, Value("\"text/plain\""), "the content's type"),
]);

static REDIRECT: Section = section(&[
    key("to", Text, Required("\"https://www.example.com/\""), "where to"),
    key("status", Numbers(&[301, 302, 303, 307, 308]), Value("302"), "how"),
]);

static RULES: Section = section(&[
    key("set", Fields, Words("nothing"), "fields that replace those of the same name: `{ NAME = \"VALUE\" }`"),
    key("add", Fields, Words("nothing"), "fields that come in addition"),
    key("remove", Texts, Words("nothing"), "names of fields that are left out"),
]);
