//! Host names, DNS servers and log servers.

use alloc::format;
use alloc::string::ToString;

use super::{PAGE, POOL, WEB, fails, parses};
use crate::{Address, Dns, ErrorKind};

/// A pool whose server has this address.
fn server(address: &str) -> alloc::string::String {
    format!("{WEB}{PAGE}{}", POOL.replace("\"10.0.0.1:80\"", address))
}

#[test]
fn a_server_may_have_a_name() {
    for (text, host, port) in [
        ("app.internal:8080", "app.internal", 8080),
        ("App.Example.COM.:1", "app.example.com", 1),
        ("web_1:65535", "web_1", 65535),
        ("a-b.3com:80", "a-b.3com", 80),
    ] {
        let config = parses(&server(&format!("\"{text}\"")));
        let address = &config.pools[0].servers[0].address;
        assert_eq!(*address, Address::Name { host: host.into(), port });
        assert_eq!((address.ip(), address.to_string()), (None, format!("{host}:{port}")));
        assert!(config.explain().contains(&format!("  a: {host}:{port}, weight 1")));
    }
}

#[test]
fn names_that_no_server_has_are_refused() {
    let label = "a".repeat(64);
    let long = format!("{0}.{0}.{0}.{0}", &label[1..]);
    for host in ["-a.b", "a-.b", "a..b", ".a", "a.1", "a.0.0.1", "localhost", "x.localhost.", &label, &long] {
        fails(ErrorKind::InvalidAddress, &server(&format!("¶\"{host}:80\"")), "no server can be called");
    }
    for text in ["app.internal", "app.internal:0", "app.internal:x", "app/x:80", ":80", "app:65536", "app:+80"] {
        fails(ErrorKind::InvalidAddress, &server(&format!("¶\"{text}\"")), "is not an address with a port");
    }
}

#[test]
fn listeners_and_dns_servers_have_no_names() {
    let web = WEB.replace("\"0.0.0.0:80\"", "¶\"web.internal:80\"");
    fails(ErrorKind::InvalidAddress, &format!("{web}{PAGE}"), "is a host name");
    fails(ErrorKind::InvalidAddress, &format!("[dns]\nservers = ¶\"dns.internal:53\"\n{WEB}{PAGE}"), "is a host name");
}

#[test]
fn dns_has_servers_and_bounds() {
    assert_eq!(parses(&format!("{WEB}{PAGE}")).dns, Dns::default());
    let text = "[dns]\nservers = [\"10.0.0.2:53\", \"[fd00::2]:53\"]\nttl_min = \"1s\"\nttl_max = \"1m\"\n";
    let config = parses(&format!("{text}{WEB}{PAGE}"));
    assert_eq!(config.dns.servers[1].to_string(), "[fd00::2]:53");
    assert_eq!((config.dns.ttl_min_ns, config.dns.ttl_max_ns), (1_000_000_000, 60_000_000_000));
    assert!(config.explain().contains("dns: 10.0.0.2:53, [fd00::2]:53, answers hold for 1s to 1m\n"));
    let refused = |kind, text: &str, message: &str| fails(kind, &format!("{text}\n{WEB}{PAGE}"), message);
    refused(ErrorKind::InvalidAddress, "[dns]\nservers = ¶\"127.0.0.53:53\"", "no other machine");
    refused(ErrorKind::TooLarge, &format!("[dns]\nservers = ¶[{}]", "\"10.0.0.2:53\", ".repeat(9)), "9 DNS servers");
    refused(ErrorKind::InvalidValue, "[dns]\nservers = ¶[]", "is empty");
    refused(ErrorKind::OutOfRange, "[dns]\nttl_min = ¶\"999ms\"", "outside of");
    refused(ErrorKind::ConflictingKeys, "¶[dns]\nttl_min = \"2h\"", "`ttl_min` (2h) is more than `ttl_max` (1h)");
    refused(ErrorKind::NotSupportedYet, "[dns]\n¶search = \"internal\"", "search");
}

#[test]
fn a_name_needs_somebody_to_ask() {
    let fixed = "[network]\naddress = \"192.0.2.10/24\"\n";
    let named = server("¶\"app.internal:80\"");
    fails(ErrorKind::MissingKey, &format!("{fixed}{named}"), "there is no DNS server to ask");
    parses(&format!("{fixed}[dns]\nservers = \"192.0.2.1:53\"\n{}", named.replace('¶', "")));
    parses(&format!("[network]\naddress = \"fd00::1/64\"\n{}", named.replace('¶', "")));
}

#[test]
fn a_log_server_is_another_machine() {
    for (address, message) in [
        ("¶\"10.0.0.5\"", "address with a port"),
        ("¶\"127.0.0.1:514\"", "no other machine"),
        ("¶\"224.0.0.1:514\"", "no other machine"),
        ("¶\"[::]:514\"", "no other machine"),
    ] {
        fails(ErrorKind::InvalidAddress, &format!("{WEB}{PAGE}[log]\nsyslog = {address}\n"), message);
    }
    let text = parses(&format!("{WEB}{PAGE}[log]\nsyslog = \"[fd00::5]:514\"\n")).explain();
    assert!(text.contains("log: console, and syslog over UDP to [fd00::5]:514\n"), "{text}");
}
