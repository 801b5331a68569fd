//! `[[listener]]` and its routes, beside addresses.

use super::*;

fn with(listener: &str, route: &str) -> String {
    format!("{WEB}{listener}\n[[listener.route]]\npool = \"api\"\n{route}\n{POOL}")
}

#[test]
fn protocols_and_proxies_are_understood() {
    for (text, expected) in
        [("http", Protocol::Http), ("tcp", Protocol::Tcp), ("tls-passthrough", Protocol::TlsPassthrough)]
    {
        let config = parses(&with(&format!("protocol = \"{text}\""), ""));
        assert_eq!(config.listeners[0].protocol, expected);
    }
    let config = parses(&with(
        "trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.7\", \"fd00::/8\", \"0.0.0.0/0\"]\nproxy_protocol = true\nrequest_id = true",
        "",
    ));
    let listener = &config.listeners[0];
    assert!(listener.proxy_protocol && listener.request_id);
    let trusts = |address: &str| contains_address(&listener.trusted_proxies[..3], address.parse().expect("an address"));
    assert!(["10.255.0.1", "192.0.2.7", "fd12::1"].into_iter().all(trusts));
    assert!(!["11.0.0.1", "192.0.2.8", "fe80::1", "::ffff:10.0.0.1"].into_iter().any(trusts));
    assert!(listener.trusted_proxies[3].contains("255.1.2.3".parse().expect("an address")));
    let server = parses(&format!("{WEB}{PAGE}{POOL}proxy_protocol = \"v2\"\n"));
    assert_eq!(server.pools[0].servers[0].proxy_protocol, Some(ProxyVersion::V2));
}

#[test]
fn changes_of_fields_are_understood() {
    let config = parses(&with(
        "",
        "strip_prefix = true\nrequest_headers = { set = { Host = \"b\" }, remove = \"Cookie\" }\n\
         [listener.route.response_headers.add]\nX-A = \"1\"\nX-B = \"2\"",
    ));
    let route = &config.listeners[0].routes[0];
    assert!(route.strip_prefix);
    assert_eq!(route.request_fields.set, [("Host".into(), "b".into())]);
    assert_eq!(route.request_fields.remove, ["Cookie"]);
    assert_eq!(route.response_fields.add.len(), 2);
    assert!(
        config.explain().contains("  any host, / -> pool api, prefix stripped, fields changed"),
        "{}",
        config.explain()
    );
}

#[test]
fn a_listener_has_a_name_for_via() {
    let config = parses(&with("via = \"edge-1.example\"", ""));
    assert_eq!(config.listeners[0].via.as_deref(), Some("edge-1.example"));
    assert!(config.explain().contains("listener web: http on 0.0.0.0:80, via edge-1.example"), "{}", config.explain());
    assert_eq!(parses(&with("", "")).listeners[0].via, None);
    for name in ["", "a b", "a, 1.1 b", "a\\r\\nX: y"] {
        fails(ErrorKind::InvalidName, &with(&format!("via = ¶\"{name}\""), ""), "cannot be a name");
    }
}

#[test]
fn a_listener_says_who_may_come_and_how_many() {
    let text = "connections = 500\nallow = [\"10.0.0.0/8\", \"fd00::/8\"]\ndeny = \"10.6.6.6\"";
    let config = parses(&with(text, ""));
    let listener = &config.listeners[0];
    assert_eq!((listener.connections, listener.allow.len(), listener.deny.len()), (Some(500), 2, 1));
    let expected =
        "listener web: http on 0.0.0.0:80, at most 500 connections, for 10.0.0.0/8 fd00::/8, not for 10.6.6.6/32";
    assert!(config.explain().contains(expected), "{}", config.explain());
    for (kind, listener, message) in [
        (ErrorKind::OutOfRange, "connections = ¶0", "1 to 16000000"),
        (ErrorKind::WrongType, "connections = ¶\"5\"", "an integer"),
        (ErrorKind::InvalidAddress, "allow = [\"10.0.0.0/8\", ¶\"10.0.0.0/33\"]", "10.0.0.0/33"),
        (ErrorKind::InvalidAddress, "deny = ¶\"everybody\"", "everybody"),
        (ErrorKind::InvalidValue, "allow = ¶[]", "is empty"),
    ] {
        fails(kind, &with(listener, ""), message);
    }
}

#[test]
fn a_listener_says_how_it_is() {
    let with_health = |keys: &str| with(&format!("[listener.health]\n{keys}"), "");
    let health = |keys: &str| parses(&with_health(keys)).listeners[0].health.clone();
    assert_eq!(parses(&with("", "")).listeners[0].health, None);
    assert_eq!(health(""), Some(OwnHealth::default()));
    let keys = "path = \"/up\"\nfail_when_down = true\nnotice = \"10s\"";
    let (path, notice_ns) = ("/up".into(), 10_000_000_000);
    assert_eq!(health(keys), Some(OwnHealth { path, fail: false, fail_when_down: true, notice_ns }));
    let config = parses(&with_health(keys));
    let expected = "  any host, /up -> own health, fails when no server is up, notice of 10s before it leaves\n";
    assert!(config.explain().contains(expected), "{}", config.explain());
    assert_eq!(config.notice_ns(), notice_ns);
    assert!(parses(&with_health("fail = true")).explain().contains("own health, told to fail, notice of 0ms"));
    for (kind, keys, message) in [
        (ErrorKind::InvalidValue, "path = ¶\"healthz\"", "not a path"),
        (ErrorKind::WrongType, "fail = ¶1", "true or false"),
        (ErrorKind::WrongType, "fail_when_down = ¶\"yes\"", "true or false"),
        (ErrorKind::OutOfRange, "notice = ¶\"1h\"", "0ms to 5m"),
        (ErrorKind::InvalidDuration, "notice = ¶\"10\"", "not a duration"),
        (ErrorKind::UnknownKey, "¶status = 200", "in [listener.health]"),
    ] {
        fails(kind, &with_health(keys), message);
    }
    fails(ErrorKind::ConflictingKeys, &with("¶[listener.health]\npath = \"/\"", ""), "has the path \"/\", too");
    fails(ErrorKind::ConflictingKeys, &with("protocol = \"tcp\"\n¶[listener.health]", ""), "only a listener with");
}

#[test]
fn mistakes_in_listeners_have_a_place() {
    for (kind, listener, route, message) in [
        (ErrorKind::InvalidValue, "protocol = ¶\"udp\"", "", "does not know"),
        (ErrorKind::NotSupportedYet, "protocol = ¶\"https\"", "", "not supported yet"),
        (ErrorKind::InvalidAddress, "trusted_proxies = [\"10.0.0.0/8\", ¶\"10.0.0.0/33\"]", "", "10.0.0.0/33"),
        (ErrorKind::InvalidAddress, "trusted_proxies = ¶\"proxy\"", "", "proxy"),
        (ErrorKind::ConflictingKeys, "proxy_protocol = ¶true", "", "needs `trusted_proxies`"),
        (ErrorKind::InvalidName, "", "request_headers = { set = { Connection = ¶\"x\" } }", "connections end"),
        (ErrorKind::InvalidName, "", "request_headers = { add = { \"a b\" = ¶\"x\" } }", "not the name"),
        (ErrorKind::InvalidName, "", "response_headers = { remove = ¶\"content-length\" }", "messages"),
        (ErrorKind::InvalidValue, "", "request_headers = { set = { X-A = ¶\"a\\r\\nb\" } }", "header field"),
        (ErrorKind::InvalidValue, "", "request_headers = ¶{ remove = \"Host\" }", "without `Host`"),
        (ErrorKind::InvalidValue, "", "request_headers = ¶{ add = { host = \"b\" } }", "nor have two"),
        (
            ErrorKind::DuplicateName,
            "",
            "request_headers = ¶{ set = { X-A = \"1\", x-a = \"2\" } }",
            "`x-a` is set twice",
        ),
        (ErrorKind::UnknownKey, "", "request_headers = { ¶sat = { } }", "sat"),
    ] {
        fails(kind, &with(listener, route), message);
    }
    for (listener, routes, message) in [
        (
            "protocol = \"tcp\"",
            "[[listener.route]]\npool = \"api\"\n¶[[listener.route]]\npath = \"/x\"\npool = \"api\"\n",
            "one route",
        ),
        ("protocol = \"tcp\"", "¶[[listener.route]]\nhost = \"a\"\npool = \"api\"\n", "no host"),
        ("protocol = \"tcp\"", "¶[[listener.route]]\npath = \"/a\"\npool = \"api\"\n", "no path"),
        ("protocol = \"tcp\"", "¶[[listener.route]]\npage = \"demo\"\n", "only a pool"),
        ("protocol = \"tls-passthrough\"", "¶[[listener.route]]\npool = \"api\"\nstrip_prefix = true\n", "no path"),
        ("", "¶[[listener.route]]\npage = \"demo\"\nstrip_prefix = true\n", "only what goes to a pool"),
    ] {
        fails(ErrorKind::ConflictingKeys, &format!("{WEB}{listener}\n{routes}{POOL}"), message);
    }
}

#[test]
fn the_access_log_goes_where_it_is_told() {
    for (text, expected) in [
        ("", AccessLog::Off),
        ("access = \"console\"", AccessLog::Console),
        ("access = \"both\"\nsyslog = \"10.0.0.5:514\"", AccessLog::Both),
    ] {
        assert_eq!(parses(&format!("{WEB}{PAGE}[log]\n{text}\n")).log.access, expected);
    }
    fails(ErrorKind::ConflictingKeys, &format!("{WEB}{PAGE}[log]\naccess = ¶\"syslog\"\n"), "there is none");
    fails(ErrorKind::InvalidValue, &format!("{WEB}{PAGE}[log]\naccess = ¶\"file\"\n"), "does not know");
}

#[test]
fn what_a_client_may_have_is_understood() {
    let limits = "connections_per_client = 100\nconnection_rate_per_client = \"50/s\"\nrequest_rate_per_client = \"90/m\"\n\
                  dry_run = true\nbody_rate = \"1KiB\"\n";
    let config = parses(&format!("{WEB}{PAGE}[limits]\n{limits}"));
    let rate = |per_minute| Some(Rate { per_minute });
    let expected =
        ClientLimits { connections: Some(100), connection_rate: rate(3000), request_rate: rate(90), dry_run: true };
    assert_eq!((config.limits.client, config.limits.body_rate_bytes), (expected, 1024));
    let line = "each client address: 100 connections, 50/s new connections, 90/m requests, only counted";
    assert!(config.explain().contains(line), "{}", config.explain());
    for value in ["\"5\"", "\"0/s\"", "\"5/h\"", "\"-1/s\"", "\"1.5/s\""] {
        let text = format!("{WEB}{PAGE}[limits]\nrequest_rate_per_client = ¶{value}\n");
        fails(ErrorKind::InvalidValue, &text, "is not a rate");
    }
    fails(ErrorKind::WrongType, &format!("{WEB}{PAGE}[limits]\nrequest_rate_per_client = ¶5\n"), "a rate in quotes");
}

#[test]
fn a_rate_of_uncompleted_syns_is_understood() {
    let config = parses(&format!("{WEB}{PAGE}[limits]\nuncompleted_syn_rate = \"20000/s\"\n"));
    assert_eq!(config.limits.uncompleted_syn_rate, Some(Rate { per_minute: 1_200_000 }));
    assert!(config.explain().contains(", 20000/s uncompleted SYNs, head"), "{}", config.explain());
    assert_eq!(parses(&format!("{WEB}{PAGE}")).limits.uncompleted_syn_rate, None);
    fails(ErrorKind::InvalidValue, &format!("{WEB}{PAGE}[limits]\nuncompleted_syn_rate = ¶\"0/s\"\n"), "is not a rate");
}

#[test]
fn error_pages_are_for_errors_of_ours() {
    let page = "[[error_page]]\nstatus = 503\nbody = \"<p>later</p>\"\n";
    let config = parses(&format!("{WEB}{PAGE}{page}"));
    assert_eq!(
        (config.error_pages[0].status, config.error_pages[0].content_type.as_str()),
        (503, "text/html; charset=utf-8")
    );
    assert!(config.explain().contains("error page 503: 12 bytes\n"));
    for (kind, pages, message) in [
        (ErrorKind::OutOfRange, "[[error_page]]\nstatus = ¶200\nbody = \"\"\n", "outside"),
        (ErrorKind::InvalidValue, "[[error_page]]\nstatus = ¶418\nbody = \"\"\n", "never answered"),
        (ErrorKind::MissingKey, "¶[[error_page]]\nstatus = 404\n", "no `body`"),
        (ErrorKind::DuplicateName, &format!("{page}{}", page.replace("503", "¶503")), "already"),
    ] {
        fails(kind, &format!("{WEB}{PAGE}{pages}"), message);
    }
}
