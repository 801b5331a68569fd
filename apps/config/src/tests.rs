//! Every class of mistake with its place: the sign `¶` in a text stands where the error must point.

use alloc::format;
use alloc::string::{String, ToString};

use super::*;

mod listener;
mod names;
mod pool;

/// The smallest configuration that works, without its listener's routes.
const WEB: &str = "[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n";
const PAGE: &str = "[[listener.route]]\npage = \"demo\"\n";
const POOL: &str = "[[pool]]\nname = \"api\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.1:80\"\n";

fn fails(kind: ErrorKind, marked: &str, message: &str) {
    let offset = marked.find('¶').expect("the text has a mark");
    let before = &marked[..offset];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    let text = marked.replace('¶', "");
    let error = Config::parse(&text).expect_err(marked);
    assert_eq!(error.kind(), kind, "{error}\nin\n{marked}");
    assert_eq!((error.line(), error.column()), (line, column), "{error}\nin\n{marked}");
    assert!(error.message().contains(message), "{error}\ndoes not say\n{message}");
    assert!(!error.help().is_empty() && !error.message().contains('\n') && !error.help().contains('\n'), "{error}");
}

fn parses(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|error| panic!("{error}\nin\n{text}"))
}

#[test]
fn the_demo_is_a_balancer_in_front_of_two_built_in_servers() {
    let config = parses(DEMO);
    assert_eq!((config.network.ipv4, config.network.ipv6), (Addressing::Automatic, Addressing::Automatic));
    assert_eq!(config.admin.map(|admin| admin.listen.port()), Some(9000));
    let names: alloc::vec::Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["web", "one", "two"]);
    assert_eq!(config.listeners[0].routes[0].action, Action::Pool(0));
    assert_eq!(config.pools[0].servers.len(), 2);
    assert_eq!(config.timeouts, Timeouts::default());
}

#[test]
fn everything_that_is_honoured_is_understood() {
    let config = parses(
        r#"
        [network]
        address = ["192.0.2.10/24", "2001:db8::10/64"]
        gateway = ["192.0.2.1", "fe80::1"]
        mtu = 1400
        [admin]
        listen = "192.0.2.10:9000"
        [limits]
        connections = 5000
        head = "8KiB"
        head_fields = 50
        target = "4KiB"
        body = "1MiB"
        idle_server_connections = 64
        [timeouts]
        head = "5s"
        keep_alive = "1m"
        connect = "250ms"
        first_byte = "20s"
        inactivity = "2m"
        backend_idle = "3s"
        drain = "5m"
        [log]
        syslog = "192.0.2.5:514"
        [tuning]
        idle = "poll"
        panic = "halt"
        [[pool]]
        name = "api"
        balance = "round-robin"
        server = [{ name = "a", address = "[fd00::1]:8080", weight = 3 }, { name = "b", address = "10.0.0.2:8080" }]
        [[listener]]
        name = "web"
        bind = ["0.0.0.0:80", "0.0.0.0:8080", "[::]:80", "[2001:db8::10]:8080", "[fe80::5054:ff:fe00:1]:81"]
        protocol = "http"
        keep_alive = false
        [[listener.route]]
        host = "WWW.example.com"
        path = "/api/"
        pool = "api"
        [[listener.route]]
        host = "*.example.com"
        files = "/site/docs/"
        [[listener.route]]
        path = "/hello"
        respond = { status = 404, body = "no\n", content_type = "text/html; charset=utf-8" }
        [[listener.route]]
        path = "/old"
        redirect = { to = "https://example.com/new", status = 308 }
        [[listener.route]]
        path = "/older"
        redirect = "https://example.com/new"
        "#,
    );
    let address = [192, 0, 2, 10].into();
    let gateway = Some([192, 0, 2, 1].into());
    assert_eq!(config.network.ipv4, Addressing::Static { address, prefix_len: 24, gateway });
    let address = "2001:db8::10".parse().expect("an address");
    let gateway = "fe80::1".parse().ok();
    assert_eq!(config.network.ipv6, Addressing::Static { address, prefix_len: 64, gateway });
    assert_eq!(config.pools[0].servers[0].address.to_string(), "[fd00::1]:8080");
    assert_eq!(config.listeners[0].bind[2].to_string(), "[::]:80");
    assert_eq!(config.network.mtu_bytes, Some(1400));
    let limits = Limits {
        connections: Some(5000),
        head_bytes: 8192,
        head_fields: 50,
        target_bytes: 4096,
        body_bytes: 1 << 20,
        idle_server_connections: Some(64),
        ..Limits::default()
    };
    assert_eq!(config.limits, limits);
    let said = "limits: connections 5000, 64 idle connections to servers, head 8KiB,";
    assert!(config.explain().contains(said), "{}", config.explain());
    assert_eq!(config.timeouts.head_ns, 5_000_000_000);
    assert_eq!((config.timeouts.connect_ns, config.timeouts.drain_ns), (250_000_000, 300_000_000_000));
    assert_eq!(config.log.syslog, "192.0.2.5:514".parse().ok());
    assert_eq!(config.tuning, Tuning { idle: IdlePolicy::Poll, panic: PanicPolicy::Halt });
    let weights: alloc::vec::Vec<u16> = config.pools[0].servers.iter().map(|server| server.weight).collect();
    assert_eq!(weights, [3, 1]);
    assert!(!config.listeners[0].keep_alive);
    let routes = &config.listeners[0].routes;
    assert_eq!(routes[0].host, HostMatch::Exact("www.example.com".into()));
    assert_eq!(routes[1].host, HostMatch::Suffix(".example.com".into()));
    assert_eq!(routes[1].action, Action::Files("site/docs".into()));
    assert_eq!(routes[3].action, Action::Redirect(Redirect { status: 308, to: "https://example.com/new".into() }));
    assert_eq!(routes[4].action, Action::Redirect(Redirect { status: 302, to: "https://example.com/new".into() }));
}

#[test]
fn the_examples_are_valid_and_what_is_called_a_default_is_one() {
    parses(include_str!("../examples/minimal.toml"));
    parses(include_str!("../examples/files.toml"));
    let balancer = parses(include_str!("../examples/balancer.toml"));
    assert_eq!((balancer.limits, balancer.timeouts), (Limits::default(), Timeouts::default()));
    assert_eq!(balancer.tuning, Tuning::default());
}

#[test]
fn an_error_shows_file_line_column_and_help() {
    let error = Config::parse("[tuning]\nidel = \"poll\"\n").expect_err("misspelt").in_file("weir.toml");
    assert_eq!(error.to_string(), "weir.toml:2:1: unknown key `idel` in [tuning]\nhelp: did you mean `idle`?");
}

#[test]
fn columns_count_characters() {
    fails(ErrorKind::UnknownKey, "\"grüße\" = 1 # ¶\n".replace('¶', "").replacen('"', "¶\"", 1).as_str(), "grüße");
    fails(ErrorKind::WrongType, "tuning = { idle = \"poll\" }\nadmin = ¶3", "must be a table");
}

#[test]
fn syntax() {
    fails(ErrorKind::Syntax, "[network¶\n", "");
    fails(ErrorKind::Syntax, "a = ¶\n", "");
    fails(ErrorKind::Syntax, "[tuning]\nidle = \"poll\"\n¶idle = \"halt\"\n", "duplicate key");
    assert_eq!(Config::parse("\u{0}").expect_err("NUL").kind(), ErrorKind::Syntax);
}

#[test]
fn too_large() {
    fails(ErrorKind::TooLarge, &format!("¶# {}", "x".repeat(TEXT_BYTES_MAX)), "limit");
    let many = "[[listener]]\n".repeat(SECTIONS_MAX + 1);
    assert_eq!(Config::parse(&many).expect_err("too many").kind(), ErrorKind::TooLarge);
}

#[test]
fn keys() {
    fails(ErrorKind::UnknownKey, "¶netwrok = 1\n", "unknown key `netwrok`");
    fails(ErrorKind::UnknownKey, &format!("{WEB}¶colour = 1\n{PAGE}"), "in [[listener]]");
    fails(ErrorKind::UnknownKey, &format!("{WEB}[[listener.route]]\n¶pol = \"x\"\npage=\"demo\""), "`pol`");
    fails(ErrorKind::MissingKey, "¶[admin]\n", "[admin] has no `listen`");
    fails(ErrorKind::MissingKey, "¶[[listener]]\nname = \"web\"\n[[listener.route]]\npage=\"demo\"\n", "no `bind`");
    fails(ErrorKind::MissingKey, "¶[[listener]]\nbind = \"0.0.0.0:80\"\n", "no `name`");
    fails(ErrorKind::MissingKey, &format!("¶{WEB}"), "no `[[listener.route]]`");
    fails(ErrorKind::MissingKey, &format!("{WEB}¶[[listener.route]]\npath = \"/\"\n"), "no `pool`");
    fails(ErrorKind::MissingKey, "[[pool]]\nname = \"a\"\n¶[[pool.server]]\nname = \"a\"\n", "no `address`");
    fails(ErrorKind::ConflictingKeys, "[network]\ngateway = ¶\"10.0.0.1\"\n", "an IPv4 `gateway` without `address`");
    let other = "[network]\naddress = \"10.0.0.2/8\"\ngateway = [\"10.0.0.1\", ¶\"fe80::1\"]\n";
    fails(ErrorKind::ConflictingKeys, other, "an IPv6 `gateway` without `address`");
    fails(
        ErrorKind::ConflictingKeys,
        &format!("{WEB}¶[[listener.route]]\npage = \"demo\"\nfiles = \"x\"\n"),
        "several",
    );
    fails(ErrorKind::ConflictingKeys, "¶[limits]\nhead = \"4KiB\"\n", "leaves no room");
}

#[test]
fn what_is_planned_is_refused_and_not_ignored() {
    for (marked, message) in [
        ("[admin]\nlisten = \"0.0.0.0:9\"\n¶token_sha256 = \"00\"\n", "token_sha256"),
        ("[[listener]]\nname = \"w\"\nbind = \"0.0.0.0:80\"\n¶certificate = \"x\"\n", "certificate"),
        ("[network]\naddress = [\"192.0.2.10/24\", ¶\"192.0.2.11/24\"]\n", "several addresses of one family"),
        (
            "[network]\naddress = [\"fd00::1/64\", \"192.0.2.11/24\", ¶\"fd00::2/64\"]\n",
            "several addresses of one family",
        ),
        (
            "[network]\naddress = \"fd00::1/64\"\ngateway = [\"fe80::1\", ¶\"fe80::2\"]\n",
            "several addresses of one family",
        ),
        ("[[pool]]\nname = \"p\"\n[pool.health]\n¶agent = 81\n", "agent"),
        ("[limits]\n¶queue = 3\n", "queue"),
        ("[timeouts]\n¶check = \"2s\"\n", "check"),
    ] {
        fails(ErrorKind::NotSupportedYet, marked, message);
        fails(ErrorKind::NotSupportedYet, marked, "not supported yet");
    }
}

#[test]
fn types_and_ranges() {
    fails(ErrorKind::WrongType, "network = ¶\"10.0.0.1\"\n", "`network` must be a table, this is a string");
    fails(ErrorKind::WrongType, "listener = ¶\"web\"\n", "a list of tables");
    fails(ErrorKind::WrongType, "pool = [¶1]\n", "a table");
    fails(ErrorKind::WrongType, "[network]\nmtu = ¶\"1500\"\n", "an integer");
    fails(ErrorKind::WrongType, "[admin]\nlisten = ¶9000\n", "a string");
    fails(ErrorKind::WrongType, "[[listener]]\nname = \"w\"\nbind = ¶80\n", "a string or a list");
    fails(
        ErrorKind::WrongType,
        "[[listener]]\nname = \"w\"\nbind = \"0.0.0.0:80\"\nkeep_alive = ¶1\n",
        "true or false",
    );
    fails(ErrorKind::WrongType, "[timeouts]\nhead = ¶10\n", "a duration");
    fails(ErrorKind::WrongType, "[limits]\nbody = ¶10.5\n", "a size");
    fails(ErrorKind::OutOfRange, "[network]\nmtu = ¶9000\n", "576 to 1500");
    fails(ErrorKind::OutOfRange, "[network]\nmtu = ¶-1\n", "576 to 1500");
    fails(ErrorKind::OutOfRange, "[limits]\nconnections = ¶0\n", "connections");
    fails(ErrorKind::OutOfRange, "[limits]\nidle_server_connections = ¶16000001\n", "0 to 16000000");
    fails(ErrorKind::OutOfRange, "[limits]\nhead = ¶\"100B\"\n", "1KiB to 256KiB");
    fails(ErrorKind::OutOfRange, "[timeouts]\nconnect = ¶\"0s\"\n", "10ms to 24h");
    fails(ErrorKind::OutOfRange, &POOL.replace("address", "weight = ¶257\naddress"), "0 to 256");
    fails(ErrorKind::OutOfRange, &format!("{WEB}[[listener.route]]\nrespond = {{ status = ¶99 }}\n"), "200 to 599");
    fails(ErrorKind::InvalidDuration, "[timeouts]\nhead = ¶\"10\"\n", "not a duration");
    fails(ErrorKind::InvalidSize, "[limits]\nbody = ¶\"10MB\"\n", "not a size");
}

#[test]
fn values() {
    fails(ErrorKind::InvalidValue, "[tuning]\nidle = ¶\"sleep\"\n", "does not know \"sleep\"");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\nhost = ¶\"a b\"\n"), "not a host");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\nhost = ¶\"a:80\"\n"), "not a host");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\nhost = ¶\"*x.de\"\n"), "not a host");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\npath = ¶\"api\"\n"), "not a path");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\npath = ¶\"/a?b\"\n"), "not a path");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\nfiles = ¶\"a/../b\"\n"), "not a directory");
    fails(ErrorKind::InvalidValue, &format!("{WEB}[[listener.route]]\nredirect = ¶\"a\\r\\nb\"\n"), "header field");
    fails(
        ErrorKind::InvalidValue,
        &format!("{WEB}[[listener.route]]\nredirect.to = \"/\"\nredirect.status = ¶304\n"),
        "304",
    );
    fails(ErrorKind::InvalidValue, "[[listener]]\nname = \"w\"\nbind = ¶[]\n", "empty");
    for status in [204, 205, 304] {
        let route = format!("{WEB}[[listener.route]]\nrespond = {{ status = {status}, body = ¶\"x\" }}\n");
        fails(ErrorKind::ConflictingKeys, &route, "has no body");
    }
    fails(ErrorKind::InvalidName, "[[listener]]\nname = ¶\"a b\"\nbind = \"0.0.0.0:80\"\n", "cannot be a name");
    fails(ErrorKind::InvalidName, "[[pool]]\nname = ¶\"\"\n", "cannot be a name");
}

#[test]
fn addresses() {
    for (marked, message) in [
        ("[network]\naddress = ¶\"192.0.2.10\"\n", "192.0.2.10"),
        ("[network]\naddress = ¶\"192.0.2.10/33\"\n", "192.0.2.10/33"),
        ("[network]\naddress = ¶\"192.0.2.0/24\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"192.0.2.255/24\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"127.0.0.1/8\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = \"192.0.2.10/24\"\ngateway = ¶\"198.51.100.1\"\n", "not another machine"),
        ("[network]\naddress = \"192.0.2.10/24\"\ngateway = ¶\"192.0.2.10\"\n", "not another machine"),
        ("[network]\naddress = \"192.0.2.10/24\"\ngateway = ¶\"router\"\n", "router"),
        ("[network]\naddress = ¶\"2001:db8::1\"\n", "2001:db8::1"),
        ("[network]\naddress = ¶\"2001:db8::1/129\"\n", "2001:db8::1/129"),
        ("[network]\naddress = ¶\"2001:db8::1/0\"\n", "2001:db8::1/0"),
        ("[network]\naddress = ¶\"2001:db8::/64\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"fe80::1/64\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"ff02::1/64\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"::1/128\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = ¶\"::ffff:192.0.2.1/96\"\n", "cannot be the address of a machine"),
        ("[network]\naddress = [\"192.0.2.10/24\", ¶\"2001:db8::/64\"]\n", "2001:db8::/64 cannot be"),
        ("[network]\naddress = \"2001:db8::1/64\"\ngateway = ¶\"2001:db8:1::1\"\n", "not another machine"),
        ("[network]\naddress = \"2001:db8::1/64\"\ngateway = ¶\"2001:db8::1\"\n", "not another machine"),
        ("[network]\naddress = \"2001:db8::1/64\"\ngateway = ¶\"fe80::1%2\"\n", "fe80::1%2"),
        ("[admin]\nlisten = ¶\"[::]\"\n", "not an address with a port"),
        ("[admin]\nlisten = ¶\"[::]:0\"\n", "port 0"),
        ("[admin]\nlisten = ¶\"[::ffff:192.0.2.1]:80\"\n", "an IPv4 address written as an IPv6 one"),
        ("[admin]\nlisten = ¶\"[fe80::1%1]:80\"\n", "names a zone"),
        ("[admin]\nlisten = ¶\"2001:db8::1:80\"\n", "not an address with a port"),
        ("[[pool]]\nname=\"p\"\n[[pool.server]]\nname=\"a\"\naddress = ¶\"[::]:80\"\n", "no server can be reached"),
        (
            "[[pool]]\nname=\"p\"\n[[pool.server]]\nname=\"a\"\naddress = ¶\"[ff02::1]:80\"\n",
            "no server can be reached",
        ),
        ("[admin]\nlisten = ¶\"0.0.0.0\"\n", "not an address with a port"),
        ("[admin]\nlisten = ¶\"0.0.0.0:0\"\n", "port 0"),
        ("[admin]\nlisten = ¶\"0.0.0.0:99999\"\n", "not an address with a port"),
        ("[[pool]]\nname=\"p\"\n[[pool.server]]\nname=\"a\"\naddress = ¶\"0.0.0.0:80\"\n", "no server can be reached"),
    ] {
        fails(ErrorKind::InvalidAddress, marked, message);
    }
    for (network, server, message) in [
        ("", "255.255.255.255", "no server can be reached"),
        ("address = \"192.0.2.10/24\"", "192.0.2.255", "no server can be reached"),
        ("address = \"192.0.2.10/24\"", "192.0.3.1", "outside of 192.0.2.10/24, and there is no gateway"),
    ] {
        let marked = format!(
            "[network]\n{network}\n{WEB}{PAGE}[[pool]]\nname = \"p\"\n[[pool.server]]\nname = \"a\"\naddress = ¶\"{server}:80\"\n"
        );
        fails(ErrorKind::InvalidAddress, &marked, message);
    }
    let foreign = "[network]\naddress = \"192.0.2.10/24\"\n[[listener]]\nname = \"w\"\nbind = ¶\"192.0.2.11:80\"\n";
    fails(ErrorKind::InvalidAddress, &format!("{foreign}{PAGE}"), "not an address of this image");
    let foreign = foreign.replace("192.0.2.10/24", "fd00::1/64").replace("192.0.2.11", "[fd00::2]");
    fails(ErrorKind::InvalidAddress, &format!("{foreign}{PAGE}"), "fd00::2 is not an address of this image");
}

#[test]
fn remedies_for_addresses_are_addresses() {
    for (listen, help) in [
        ("2001:db8::1:80", "IPv6 addresses stand in brackets: \"[2001:db8::1]:80\""),
        ("[::ffff:192.0.2.1]:80", "write \"192.0.2.1:80\""),
        ("[fe80::1%3]:80", "write \"[fe80::1]:80\": there is one interface"),
        ("[::1]", "write an address and a port, as in \"0.0.0.0:9000\" or \"[2001:db8::1]:80\""),
    ] {
        let error = Config::parse(&format!("[admin]\nlisten = \"{listen}\"\n")).expect_err(listen);
        assert_eq!(error.help(), help);
    }
}

#[test]
fn names_and_references() {
    let marked = WEB.replace("\"web\"", "¶\"web\"").replace(":80", ":81");
    fails(ErrorKind::DuplicateName, &format!("{WEB}{PAGE}{marked}{PAGE}"), "already a listener");
    fails(ErrorKind::DuplicateName, &format!("{POOL}{}", POOL.replace("\"api\"", "¶\"api\"")), "already a pool");
    let server = "[[pool.server]]\nname = ¶\"a\"\naddress = \"10.0.0.2:80\"\n";
    fails(ErrorKind::DuplicateName, &format!("{POOL}{server}"), "already a server");
    fails(ErrorKind::UnknownPool, &format!("{POOL}{WEB}[[listener.route]]\npool = ¶\"app\"\n"), "called \"app\"");
    fails(ErrorKind::UnreachableRoute, &format!("{WEB}{PAGE}¶[[listener.route]]\nfiles = \"\"\n"), "path \"/\"");
    fails(ErrorKind::EmptyPool, "¶[[pool]]\nname = \"api\"\n", "has no server");
    fails(ErrorKind::EmptyPool, &format!("¶{POOL}weight = 0\n"), "weight 0");
    fails(ErrorKind::NoListener, "¶", "no [[listener]]");
    fails(ErrorKind::NoListener, &format!("¶{POOL}"), "no [[listener]]");
}

#[test]
fn addresses_are_used_once_and_lead_somewhere() {
    let other = WEB.replace("\"web\"", "\"other\"");
    fails(ErrorKind::DuplicateBind, &format!("{WEB}{PAGE}{}{PAGE}", other.replace("\"0.", "¶\"0.")), "0.0.0.0:80");
    let wildcard = other.replace("\"0.0.0.0", "¶\"127.0.0.1");
    fails(ErrorKind::DuplicateBind, &format!("{WEB}{PAGE}{wildcard}{PAGE}"), "127.0.0.1:80");
    let admin = "[admin]\nlisten = \"0.0.0.0:80\"\n";
    fails(ErrorKind::DuplicateBind, &format!("{admin}{}{PAGE}", WEB.replace("\"0.", "¶\"0.")), "already listened on");

    let all = WEB.replace("\"0.0.0.0:80\"", "[\"0.0.0.0:80\", \"[::]:80\"]");
    parses(&format!("{all}{PAGE}"));
    let one = other.replace("\"0.0.0.0", "¶\"[::1]");
    fails(ErrorKind::DuplicateBind, &format!("{all}{PAGE}{one}{PAGE}"), "[::1]:80 is already listened on");

    for nowhere in ["127.0.0.1:8081", "[::1]:80"] {
        let pool = POOL.replace("\"10.0.0.1:80\"", &format!("¶\"{nowhere}\""));
        let text = format!("{pool}{WEB}[[listener.route]]\npool = \"api\"\n");
        fails(ErrorKind::NoLocalServer, &text, nowhere);
    }
    let route = "[[listener.route]]\npool = \"api\"\n";
    let itself = POOL.replace("10.0.0.1", "127.0.0.1");
    fails(ErrorKind::ForwardingLoop, &format!("{itself}{WEB}{}", route.replace("\"api", "¶\"api")), "come back");
    let network = "[network]\naddress = \"10.0.0.1/8\"\n";
    fails(ErrorKind::ForwardingLoop, &format!("{network}{POOL}{WEB}{}", route.replace("\"api", "¶\"api")), "come back");
    let [network, pool, web] = [
        network.replace("10.0.0.1/8", "fd00::1/64"),
        POOL.replace("10.0.0.1", "[fd00::1]"),
        WEB.replace("0.0.0.0", "[::]"),
    ];
    fails(ErrorKind::ForwardingLoop, &format!("{network}{pool}{web}{}", route.replace("\"api", "¶\"api")), "come back");
}

#[test]
fn a_loop_over_two_listeners_is_found() {
    let pool = |name: &str, port: u16| {
        format!("[[pool]]\nname = \"{name}\"\n[[pool.server]]\nname = \"s\"\naddress = \"127.0.0.1:{port}\"\n")
    };
    let listener = |name: &str, port: u16, pool: &str| {
        format!("[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:{port}\"\n[[listener.route]]\npool = {pool}\n")
    };
    let text = [pool("x", 81), pool("y", 80), listener("a", 80, "\"x\""), listener("b", 81, "¶\"y\"")].concat();
    fails(ErrorKind::ForwardingLoop, &text, "listener \"a\"");
}

#[test]
fn explain_names_everything_that_was_understood() {
    let text = parses(DEMO).explain();
    for expected in [
        "network: IPv4 from DHCP; IPv6 from a router; mtu from the device",
        "admin: metrics on http://0.0.0.0:9000/metrics",
        "listener web: http on 0.0.0.0:80",
        "  any host, / -> pool demo",
        "  any host, /hello -> status 200 with 15 bytes",
        "  any host, / -> built-in page demo",
        "  two: 127.0.0.1:8082, weight 1",
        "timeouts: head 10s, keep-alive 75s, connect 3s, first byte 30s, inactivity 1m, body 30s, backend idle 4s, queue 5s, \
         proxy header 3s, tunnel 1h, half closed 30s, drain 30s",
        "dns: servers from DHCP and routers, answers hold for 5s to 1h",
        "log: console",
        "tuning: idle adaptive, panic reboot",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn source_addresses_are_further_hosts_of_the_given_subnet() {
    let with = |sources: &str| {
        let own = "address = [\"192.0.2.10/24\", \"2001:db8::10/64\"]\ngateway = \"192.0.2.1\"\n";
        format!("[network]\n{own}source_addresses = [{sources}]\n{WEB}{PAGE}{POOL}")
    };
    let config = parses(&with("\"192.0.2.11\", \"2001:db8::11\", \"192.0.2.12\""));
    assert_eq!(config.network.sources.len(), 3);
    let line = "to servers: in turn from the own address and 192.0.2.11, 2001:db8::11, 192.0.2.12";
    assert!(config.explain().lines().any(|found| found == line), "{}", config.explain());
    for (bad, why) in [
        ("¶\"192.0.3.11\"", "no further address"),
        ("¶\"192.0.2.10\"", "no further address"),
        ("¶\"192.0.2.255\"", "no further address"),
        ("¶\"192.0.2.1\"", "the gateway's"),
        ("\"192.0.2.11\", ¶\"192.0.2.11\"", "twice"),
        ("¶\"2001:db9::11\"", "no further address"),
    ] {
        fails(ErrorKind::InvalidAddress, &with(bad), why);
    }
    let many = (11..27).map(|host| format!("\"192.0.2.{host}\", ")).collect::<String>();
    fails(ErrorKind::OutOfRange, &with(&format!("{many}¶\"192.0.2.99\"")), "more than 16");
    let automatic = format!("[network]\nsource_addresses = ¶\"10.0.0.3\"\n{WEB}{PAGE}{POOL}");
    fails(ErrorKind::ConflictingKeys, &automatic, "without a given IPv4 address");
    // They are addresses of the image: a listener may have one of its own, and no server.
    let bound = with("\"192.0.2.11\"").replace("0.0.0.0:80", "192.0.2.11:80");
    parses(&bound);
    fails(
        ErrorKind::InvalidAddress,
        &bound.replace("\"192.0.2.11:80\"", "¶\"192.0.2.12:80\""),
        "not an address of this image",
    );
}

#[test]
fn explain_names_both_families() {
    let network = "[network]\naddress = [\"2001:DB8:0::10/64\", \"192.0.2.10/24\"]\ngateway = \"fe80::1\"\n";
    let web = WEB.replace("\"0.0.0.0:80\"", "[\"0.0.0.0:80\", \"[::]:80\"]");
    let text = parses(&format!("{network}{web}{PAGE}{}", POOL.replace("10.0.0.1", "[fd00:0::1]"))).explain();
    for expected in [
        "network: IPv4 192.0.2.10/24, no gateway; IPv6 2001:db8::10/64, gateway fe80::1; mtu from the device",
        "listener web: http on 0.0.0.0:80, [::]:80",
        "  a: [fd00::1]:80, weight 1",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected:?} is not in\n{text}");
    }
}

/// A small generator, so that a failure can be repeated (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut random = Random(0x5eed);
    let pieces =
        ["[", "]", "\"", "=", "\n", "{", "}", ".", ",", "pool", "listener", "''' ", "\u{0}", "é", "9", "-", "/33", "#"];
    for _ in 0..400 {
        let garbage: String = (0..random.below(60)).map(|_| pieces[random.below(pieces.len())]).collect();
        let _ = Config::parse(&garbage);
    }
    for _ in 0..600 {
        let mut bytes = DEMO.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let (at, len) = (random.below(bytes.len()), random.below(12));
            match random.below(3) {
                0 => bytes[at] = random.below(256) as u8,
                1 => drop(bytes.drain(at..(at + len).min(bytes.len()))),
                _ => drop(bytes.splice(at..at, pieces[random.below(pieces.len())].bytes())),
            }
        }
        if let Err(error) = Config::parse(&String::from_utf8_lossy(&bytes)) {
            assert!(error.line() >= 1 && error.column() >= 1);
        }
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = format!("a = {}", "[".repeat(200_000));
    assert_eq!(Config::parse(&deep).expect_err("too deep").kind(), ErrorKind::Syntax);
    let dotted = format!("{}a = 1", "a.".repeat(200_000));
    assert!(Config::parse(&dotted).is_err());
}

#[test]
fn health_checks_have_defaults_and_ranges() {
    let with = |health: &str| format!("{WEB}[[listener.route]]\npool = \"api\"\n{POOL}[pool.health]\n{health}");
    let parsed = Config::parse(&with("").replace('¶', "")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.pools[0].health, Some(Health::default()));
    let text = with(
        "http = { path = \"/h\", expect = \"200\", host = \"a\" }\ninterval = \"1s\"\ntimeout = \"50ms\"\nrise = 1\nfall = 9\n",
    );
    let health = Config::parse(&text).unwrap_or_else(|error| panic!("{error}")).pools.remove(0).health.expect("checks");
    let (method, headers) = (CheckMethod::Get, Default::default());
    let http = HttpCheck { method, path: "/h".into(), host: Some("a".into()), headers, expect: (200, 200) };
    let expected = Health {
        port: None,
        http: Some(http),
        tcp: [].into(),
        interval_ns: 1_000_000_000,
        timeout_ns: 50_000_000,
        rise: 1,
        fall: 9,
    };
    assert_eq!(health, expected);
    for (kind, bad) in [
        (ErrorKind::OutOfRange, "interval = ¶\"10ms\"\n"),
        (ErrorKind::OutOfRange, "rise = ¶0\n"),
        (ErrorKind::OutOfRange, "fall = ¶101\n"),
        (ErrorKind::InvalidValue, "http = { path = ¶\"healthz\" }\n"),
        (ErrorKind::InvalidValue, "http = { path = ¶\"/a b\" }\n"),
        (ErrorKind::MissingKey, "http = ¶{ expect = \"200\" }\n"),
        (ErrorKind::OutOfRange, "http = { path = \"/\", expect = ¶\"399-200\" }\n"),
        (ErrorKind::OutOfRange, "http = { path = \"/\", expect = ¶\"+20\" }\n"),
        (ErrorKind::UnknownKey, "¶intervall = \"2s\"\n"),
    ] {
        fails(kind, &with(bad), "");
    }
}
