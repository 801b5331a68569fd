//! `[[pool]]` beside its servers' addresses.

use core::net::IpAddr;

use super::*;

fn with(pool: &str, server: &str) -> String {
    format!("{WEB}{PAGE}{}{server}\n", POOL.replace("name = \"api\"\n", &format!("name = \"api\"\n{pool}\n")))
}

#[test]
fn every_way_to_share_is_understood() {
    for (text, expected) in [
        ("", Balance::Random2),
        ("balance = \"round-robin\"", Balance::RoundRobin),
        ("balance = \"least-connections\"", Balance::LeastConnections),
        ("balance = \"random-2\"", Balance::Random2),
        ("balance = \"hash\"", Balance::Hash(HashOn::ClientAddress)),
        ("balance = \"hash\"\nhash_on = \"client-address\"", Balance::Hash(HashOn::ClientAddress)),
        ("balance = \"hash\"\nhash_on = \"uri\"", Balance::Hash(HashOn::Uri)),
        ("balance = \"hash\"\nhash_on = \"header:X-User\"", Balance::Hash(HashOn::Header("X-User".into()))),
        ("balance = \"hash\"\nhash_on = \"cookie:id\"", Balance::Hash(HashOn::Cookie("id".into()))),
    ] {
        assert_eq!(parses(&with(text, "")).pools[0].balance, expected, "{text}");
    }
}

#[test]
fn servers_have_a_state_and_limits() {
    let config = parses(&with(
        "when_all_down = \"fail\"\nqueue_length = 7\nslow_start = \"30s\"",
        "[[pool.server]]\nname = \"b\"\naddress = \"10.0.0.2:80\"\nstate = \"drain\"\n\
         [[pool.server]]\nname = \"c\"\naddress = \"10.0.0.3:80\"\nbackup = true\nmax_connections = 200",
    ));
    let pool = &config.pools[0];
    assert_eq!((pool.when_all_down, pool.queue_length), (WhenAllDown::Fail, 7));
    assert_eq!(pool.slow_start_ns, 30_000_000_000);
    let states: alloc::vec::Vec<_> = pool.servers.iter().map(|s| (s.state, s.backup, s.max_connections)).collect();
    let (up, drain) = (ServerState::Up, ServerState::Drain);
    assert_eq!(states, [(up, false, None), (drain, false, None), (up, true, Some(200))]);
    let text = config.explain();
    for expected in [
        "pool api: random of two over 3 servers, not tried when all are down, queue of 7, slow start of 30s",
        "  b: 10.0.0.2:80, weight 1, drains",
        "  c: 10.0.0.3:80, weight 1, backup, at most 200 requests at once",
    ] {
        assert!(text.lines().any(|line| line == expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn a_pool_has_source_addresses_of_its_own() {
    let net = "[network]\naddress = [\"10.0.0.2/24\", \"2001:db8::2/64\"]\nsource_addresses = [\"10.0.0.3\"]\n\
               [dns]\nservers = [\"10.0.0.9:53\"]\n";
    let with_source = |source: &str, server: &str| format!("{net}{}", with(&format!("source = {source}"), server));
    let server = |address: &str| format!("[[pool.server]]\nname = \"b\"\naddress = {address}\n");
    let config = parses(&with_source("\"10.0.0.3\"", &server("\"app.internal:80\"")));
    assert_eq!(config.pools[0].sources, [IpAddr::from([10, 0, 0, 3])]);
    let both = "[\"10.0.0.2\", \"2001:db8::2\"]";
    let config = parses(&with_source(both, &server("\"[2001:db8::9]:80\"")));
    assert!(config.explain().lines().any(|line| line == "  from 10.0.0.2, 2001:db8::2"), "{}", config.explain());
    let six = "\"2001:db8::2\"";
    // What stays within the image comes from where it goes to.
    let within = with_source(six, "").replace("10.0.0.1:80", "10.0.0.3:80").replace("0.0.0.0:80", "10.0.0.2:80");
    parses(&within);
    for (kind, source, address, message) in [
        (ErrorKind::InvalidAddress, "¶\"10.0.0.4\"", "\"10.0.0.9:80\"", "not an address of this image"),
        (ErrorKind::InvalidAddress, "[\"10.0.0.3\", ¶\"10.0.0.3\"]", "\"10.0.0.9:80\"", "twice"),
        (ErrorKind::InvalidAddress, "¶\"10.0.0.3/24\"", "\"10.0.0.9:80\"", "`source` is"),
        (ErrorKind::ConflictingKeys, "\"10.0.0.3\"", "¶\"[2001:db8::9]:80\"", "not reached from any `source`"),
        (ErrorKind::ConflictingKeys, both, "¶\"[fe80::1]:80\"", "not reached from any `source`"),
        (ErrorKind::WrongType, "¶7", "\"10.0.0.9:80\"", "a list of strings"),
    ] {
        fails(kind, &with_source(source, &server(address)), message);
    }
    let named = with_source(six, "").replace("address = \"10.0.0.1:80\"", "address = ¶\"app.internal:80\"");
    fails(ErrorKind::ConflictingKeys, &named, "not reached from any `source`");
    fails(ErrorKind::InvalidAddress, &with("source = ¶\"10.0.0.3\"", ""), "not an address of this image");
}

#[test]
fn mistakes_in_pools_have_a_place() {
    for (kind, pool, server, message) in [
        (ErrorKind::InvalidValue, "balance = ¶\"least\"", "", "does not know"),
        (ErrorKind::InvalidValue, "balance = \"hash\"\nhash_on = ¶\"cookie\"", "", "told apart"),
        (ErrorKind::InvalidValue, "balance = \"hash\"\nhash_on = ¶\"header:a b\"", "", "told apart"),
        (ErrorKind::ConflictingKeys, "hash_on = ¶\"uri\"", "", "`balance = \"hash\"`"),
        (ErrorKind::InvalidValue, "when_all_down = ¶\"try\"", "", "does not know"),
        (ErrorKind::OutOfRange, "queue_length = ¶1000001", "", "outside"),
        (ErrorKind::InvalidValue, "", "state = ¶\"off\"", "does not know"),
        (ErrorKind::OutOfRange, "slow_start = ¶\"500ms\"", "", "outside"),
        (ErrorKind::InvalidDuration, "slow_start = ¶\"30\"", "", "not a duration"),
        (ErrorKind::ConflictingKeys, "balance = \"hash\"\nslow_start = ¶\"30s\"", "", "no meaning"),
        (ErrorKind::OutOfRange, "", "max_connections = ¶0", "outside"),
        (ErrorKind::WrongType, "", "backup = ¶1", "true or false"),
    ] {
        fails(kind, &with(pool, server), message);
    }
    let drained = format!("{WEB}{PAGE}¶{POOL}state = \"drain\"\n");
    fails(ErrorKind::EmptyPool, &drained, "weight 0, drain or are in maintenance");
}

fn with_health(keys: &str) -> String {
    format!("{WEB}{PAGE}{}", POOL.replace("[[pool.server]]", &format!("[pool.health]\n{keys}\n[[pool.server]]")))
}

#[test]
fn a_check_has_a_method_fields_and_a_port() {
    let keys =
        "port = 8081\nhttp = { method = \"HEAD\", path = \"/up\", headers = { X-Probe = \"weir\", Accept = \"*/*\" } }";
    let config = parses(&with_health(keys));
    let health = config.pools[0].health.as_ref().expect("checks");
    let http = health.http.as_ref().expect("a request");
    assert_eq!((health.port, http.method, http.headers.len()), (Some(8081), CheckMethod::Head, 2));
    let expected = "  checked by HEAD /up with own fields expecting 200-399 at port 8081 each 2s,";
    assert!(config.explain().contains(expected), "{}", config.explain());
    for (kind, keys, message) in [
        (ErrorKind::OutOfRange, "port = ¶0", "1 to 65535"),
        (ErrorKind::InvalidValue, "http = { path = \"/\", method = ¶\"POST\" }", "does not know"),
        (ErrorKind::InvalidName, "http = { path = \"/\", headers = { Connection = ¶\"x\" } }", "connections end"),
        (ErrorKind::InvalidName, "http = { path = \"/\", headers = { \"a b\" = ¶\"x\" } }", "not the name"),
        (ErrorKind::InvalidValue, "http = { path = \"/\", headers = { X-A = ¶\"a\\r\\nb\" } }", "header field"),
        (ErrorKind::InvalidValue, "http = { path = \"/\", headers = ¶{ Host = \"a\" } }", "a key of its own"),
        (ErrorKind::WrongType, "http = { path = \"/\", headers = ¶1 }", "a table"),
    ] {
        fails(kind, &with_health(keys), message);
    }
    let long = "x".repeat(1100);
    fails(
        ErrorKind::TooLarge,
        &with_health(&format!("http = {{ path = \"/\", headers = ¶{{ X-A = \"{long}\" }} }}")),
        "1107 bytes",
    );
}

#[test]
fn a_check_says_and_expects_step_by_step() {
    let redis = r#"tcp = [{ expect = "+OK", send = "AUTH x\r\n" }, { send = "PING\r\n", expect = "+PONG" }]"#;
    let config = parses(&with_health(redis));
    let steps = &config.pools[0].health.as_ref().expect("checks").tcp;
    assert_eq!((steps.len(), &*steps[1].send, &*steps[1].expect), (2, "PING\r\n", "+PONG"));
    let line =
        r#"  checked by expecting "AUTH x\r\n" -> "+OK", "PING\r\n" -> "+PONG" each 2s, timeout 2s, rise 2, fall 3"#;
    assert!(config.explain().lines().any(|found| found == line), "{}", config.explain());
    let smtp = parses(&with_health("[[pool.health.tcp]]\nexpect = \"220 \""));
    let expected = "checked by expecting \"220 \" each 2s";
    assert!(smtp.explain().contains(expected), "{}", smtp.explain());
    let (long_send, long_expect) = ("x".repeat(1025), "x".repeat(257));
    for (kind, keys, message) in [
        (ErrorKind::MissingKey, "tcp = [¶{ send = \"PING\" }]", "no `expect`"),
        (ErrorKind::InvalidValue, "tcp = [{ expect = ¶\"\" }]", "`expect` is empty"),
        (ErrorKind::InvalidValue, "tcp = [{ send = ¶\"\", expect = \"a\" }]", "`send` is empty"),
        (ErrorKind::TooLarge, &format!("tcp = [{{ send = ¶\"{long_send}\", expect = \"a\" }}]"), "1025 bytes"),
        (ErrorKind::TooLarge, &format!("tcp = [{{ expect = ¶\"{long_expect}\" }}]"), "257 bytes"),
        (
            ErrorKind::TooLarge,
            &format!("tcp = [{}¶{{ expect = \"a\" }}]", "{ expect = \"a\" }, ".repeat(16)),
            "more than 16 steps",
        ),
        (ErrorKind::UnknownKey, "tcp = [{ expect = \"a\", ¶recv = \"b\" }]", "unknown key"),
        (ErrorKind::WrongType, "tcp = ¶{ expect = \"a\" }", "a list of tables"),
    ] {
        fails(kind, &with_health(keys), message);
    }
    let both = with_health(&format!("http = {{ path = \"/\" }}\n{redis}")).replace("[pool.health]", "¶[pool.health]");
    fails(ErrorKind::ConflictingKeys, &both, "by `http` and by `tcp`");
}

#[test]
fn a_sticky_cookie_has_a_name_and_safe_attributes() {
    let of = |keys: &str| parses(&with(&format!("sticky = {{ cookie = \"W\"{keys} }}"), ""));
    let config = of("");
    let cookie = config.pools[0].sticky.as_ref().expect("a cookie");
    let expected = (&"W".into(), &"/".into(), None, false, SameSite::Lax);
    assert_eq!((&cookie.name, &cookie.path, cookie.max_age_s, cookie.secure, cookie.same_site), expected);
    assert!(config.explain().contains(", sticky by cookie W without a secret"), "{}", config.explain());
    let secret = "0123456789abcdef";
    let config = of(&format!(", secret = \"{secret}\", max_age = \"90s\", secure = true, same_site = \"none\""));
    let cookie = config.pools[0].sticky.as_ref().expect("a cookie");
    assert_eq!((cookie.max_age_s, cookie.secure, cookie.same_site), (Some(90), true, SameSite::None));
    assert!(config.explain().contains(", sticky by cookie W\n"), "{}", config.explain());
    assert!(!config.explain().contains(secret) && !alloc::format!("{config:?}").contains(secret));
    for (kind, keys, message) in [
        (ErrorKind::MissingKey, "¶{ }", "has no `cookie`"),
        (ErrorKind::InvalidName, "{ cookie = ¶\"a b\" }", "not the name"),
        (ErrorKind::InvalidName, "{ cookie = ¶\"\" }", "not the name"),
        (ErrorKind::InvalidValue, "{ cookie = \"W\", secret = ¶\"short\" }", "5 bytes"),
        (ErrorKind::InvalidValue, "{ cookie = \"W\", path = ¶\"/;a\" }", "not the path"),
        (ErrorKind::OutOfRange, "{ cookie = \"W\", max_age = ¶\"10ms\" }", "outside"),
        (ErrorKind::ConflictingKeys, "{ cookie = \"W\", same_site = ¶\"none\" }", "browsers refuse"),
        (ErrorKind::UnknownKey, "{ cookie = \"W\", ¶domain = \"a\" }", "unknown key"),
        (ErrorKind::WrongType, "¶\"W\"", "a table"),
    ] {
        fails(kind, &with(&format!("sticky = {keys}"), ""), message);
    }
}

#[test]
fn only_http_has_cookies() {
    let listener = "[[listener]]\nname = \"t\"\nbind = \"0.0.0.0:81\"\nprotocol = \"tcp\"\n[[listener.route]]\n";
    let text = with("sticky = { cookie = \"W\" }", "");
    fails(ErrorKind::ConflictingKeys, &format!("{listener}pool = ¶\"api\"\n{text}"), "only listeners of HTTP");
}
