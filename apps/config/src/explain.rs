//! What was understood, for `weir check --explain` and the boot log.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::model::{
    AccessLog, Action, Addressing, Balance, Config, HashOn, Health, HostMatch, HttpCheck, IdlePolicy, Listener,
    OwnHealth, PanicPolicy, Pool, Prefix, Protocol, ProxyVersion, Rate, Route, Server, ServerState, TcpStep,
    WhenAllDown,
};
use crate::units::{duration_text, rate_text, size_text};

impl Config {
    /// The whole configuration in words, defaults included, one fact per line.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut lines = Vec::from([self.network_line()]);
        lines.extend(self.sources_line());
        lines.push(match self.admin {
            Some(admin) => format!("admin: metrics on http://{}/metrics", admin.listen),
            None => "admin: none, metrics are not served".to_string(),
        });
        for listener in &self.listeners {
            let addresses: Vec<String> = listener.bind.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "listener {}: {} on {}{}",
                listener.name,
                protocol_text(listener),
                addresses.join(", "),
                manners(listener)
            ));
            lines.extend(listener.health.as_ref().map(own_health_line));
            lines.extend(listener.routes.iter().map(|route| format!("  {}", self.route_line(route))));
        }
        for pool in &self.pools {
            lines.push(pool_line(pool));
            lines.extend(pool_sources_line(pool));
            lines.extend(pool.health.as_ref().map(health_line));
            lines.extend(pool.servers.iter().map(server_line));
        }
        let pages = self.error_pages.iter();
        lines.extend(pages.map(|page| format!("error page {}: {} bytes", page.status, page.body.len())));
        lines.push(self.limits_line());
        lines.extend(self.client_line());
        lines.push(self.timeouts_line());
        lines.push(self.dns_line());
        lines.push(match self.log.syslog {
            Some(server) => format!("log: console, and syslog over UDP to {server}"),
            None => "log: console".to_string(),
        });
        lines.push(match self.log.access {
            AccessLog::Off => "access log: none".to_string(),
            AccessLog::Console => "access log: console".to_string(),
            AccessLog::Syslog => "access log: syslog".to_string(),
            AccessLog::Both => "access log: console and syslog".to_string(),
        });
        lines.push(self.tuning_line());
        lines.push(String::new());
        lines.join("\n")
    }

    fn network_line(&self) -> String {
        let mtu = self.network.mtu_bytes.map_or("mtu from the device".to_string(), |mtu| format!("mtu {mtu} bytes"));
        let ipv4 = addressing_text(&self.network.ipv4, "from DHCP");
        let ipv6 = addressing_text(&self.network.ipv6, "from a router");
        format!("network: IPv4 {ipv4}; IPv6 {ipv6}; {mtu}")
    }

    /// With which addresses connections to servers come, if there are further ones.
    fn sources_line(&self) -> Option<String> {
        let sources: Vec<String> = self.network.sources.iter().map(ToString::to_string).collect();
        (!sources.is_empty()).then(|| format!("to servers: in turn from the own address and {}", sources.join(", ")))
    }

    fn route_line(&self, route: &Route) -> String {
        let host = match &route.host {
            HostMatch::Any => "any host",
            HostMatch::Exact(name) => name,
            HostMatch::Suffix(suffix) => &format!("*{suffix}"),
        };
        let action = match &route.action {
            Action::Pool(index) => format!("pool {}", self.pools.get(*index).map_or("?", |pool| &pool.name)),
            Action::Files(directory) => format!("files of /{directory}"),
            Action::Respond(respond) => format!("status {} with {} bytes", respond.status, respond.body.len()),
            Action::Redirect(redirect) => format!("redirect {} to {}", redirect.status, redirect.to),
            Action::Page(page) => format!("built-in page {page:?}").to_lowercase(),
        };
        let stripped = if route.strip_prefix { ", prefix stripped" } else { "" };
        let is_edited = !(route.request_fields.is_empty() && route.response_fields.is_empty());
        let edited = if is_edited { ", fields changed" } else { "" };
        format!("{host}, {} -> {action}{stripped}{edited}", route.path)
    }

    fn limits_line(&self) -> String {
        let limits = &self.limits;
        let connections = limits.connections.map_or("computed from memory".to_string(), |n| n.to_string());
        let idle =
            limits.idle_server_connections.map_or(String::new(), |n| format!(", {n} idle connections to servers"));
        let syns = limits
            .uncompleted_syn_rate
            .map_or(String::new(), |rate| format!(", {} uncompleted SYNs", rate_text(rate.per_minute)));
        format!(
            "limits: connections {connections}{idle}{syns}, head {}, {} head fields, target {}, body {} at {} a second",
            size_text(limits.head_bytes.into()),
            limits.head_fields,
            size_text(limits.target_bytes.into()),
            size_text(limits.body_bytes),
            size_text(limits.body_rate_bytes.into()),
        )
    }

    fn client_line(&self) -> Option<String> {
        let limits = self.limits.client;
        let rate = |rate: Rate| rate_text(rate.per_minute);
        let parts = [
            limits.connections.map(|max| format!("{max} connections")),
            limits.connection_rate.map(|limit| format!("{} new connections", rate(limit))),
            limits.request_rate.map(|limit| format!("{} requests", rate(limit))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let dry = if limits.dry_run { ", only counted" } else { "" };
        (!parts.is_empty()).then(|| format!("each client address: {}{dry}", parts.join(", ")))
    }

    fn timeouts_line(&self) -> String {
        let timeouts = &self.timeouts;
        format!(
            "timeouts: head {}, keep-alive {}, connect {}, first byte {}, inactivity {}, body {}, backend idle {}, queue {}, \
             proxy header {}, tunnel {}, half closed {}, drain {}",
            duration_text(timeouts.head_ns),
            duration_text(timeouts.keep_alive_ns),
            duration_text(timeouts.connect_ns),
            duration_text(timeouts.first_byte_ns),
            duration_text(timeouts.inactivity_ns),
            duration_text(timeouts.body_ns),
            duration_text(timeouts.backend_idle_ns),
            duration_text(timeouts.queue_ns),
            duration_text(timeouts.proxy_header_ns),
            duration_text(timeouts.tunnel_ns),
            duration_text(timeouts.half_closed_ns),
            duration_text(timeouts.drain_ns),
        )
    }

    fn dns_line(&self) -> String {
        let servers: Vec<String> = self.dns.servers.iter().map(ToString::to_string).collect();
        let servers = if servers.is_empty() { "servers from DHCP and routers".to_string() } else { servers.join(", ") };
        let (min, max) = (duration_text(self.dns.ttl_min_ns), duration_text(self.dns.ttl_max_ns));
        format!("dns: {servers}, answers hold for {min} to {max}")
    }

    fn tuning_line(&self) -> String {
        let idle = match self.tuning.idle {
            IdlePolicy::Poll => "poll",
            IdlePolicy::Adaptive => "adaptive",
            IdlePolicy::Halt => "halt",
        };
        let panic = match self.tuning.panic {
            PanicPolicy::Reboot => "reboot",
            PanicPolicy::Halt => "halt",
        };
        format!("tuning: idle {idle}, panic {panic}")
    }
}

fn addressing_text<A: fmt::Display>(addressing: &Addressing<A>, automatic: &str) -> String {
    match addressing {
        Addressing::Automatic => automatic.to_string(),
        Addressing::Static { address, prefix_len, gateway: Some(gateway) } => {
            format!("{address}/{prefix_len}, gateway {gateway}")
        }
        Addressing::Static { address, prefix_len, gateway: None } => format!("{address}/{prefix_len}, no gateway"),
    }
}

fn protocol_text(listener: &Listener) -> &'static str {
    match listener.protocol {
        Protocol::Http => "http",
        Protocol::Tcp => "tcp",
        Protocol::TlsPassthrough => "tls, passed through by name,",
    }
}

/// What is not as it is for most listeners.
fn manners(listener: &Listener) -> String {
    let mut text = String::new();
    if !listener.keep_alive {
        text.push_str(", one request per connection");
    }
    if !listener.trusted_proxies.is_empty() {
        text.push_str(&format!(", behind {}", prefixes_text(&listener.trusted_proxies)));
    }
    if listener.proxy_protocol {
        text.push_str(" with PROXY headers");
    }
    if listener.request_id {
        text.push_str(", requests named");
    }
    if let Some(name) = &listener.via {
        text.push_str(&format!(", via {name}"));
    }
    if let Some(max) = listener.connections {
        text.push_str(&format!(", at most {max} connections"));
    }
    for (word, prefixes) in [("for", &listener.allow), ("not for", &listener.deny)] {
        if !prefixes.is_empty() {
            text.push_str(&format!(", {word} {}", prefixes_text(prefixes)));
        }
    }
    text
}

fn own_health_line(health: &OwnHealth) -> String {
    let state = match (health.fail, health.fail_when_down) {
        (true, _) => ", told to fail",
        (false, true) => ", fails when no server is up",
        (false, false) => "",
    };
    let notice = duration_text(health.notice_ns);
    format!("  any host, {} -> own health{state}, notice of {notice} before it leaves", health.path)
}

fn prefixes_text(prefixes: &[Prefix]) -> String {
    let texts = prefixes.iter().map(|prefix| format!("{}/{}", prefix.address, prefix.len));
    texts.collect::<Vec<_>>().join(" ")
}

fn pool_line(pool: &Pool) -> String {
    let balance = match &pool.balance {
        Balance::RoundRobin => "round robin".to_string(),
        Balance::LeastConnections => "least connections".to_string(),
        Balance::Random2 => "random of two".to_string(),
        Balance::Hash(HashOn::ClientAddress) => "hash of the client's address".to_string(),
        Balance::Hash(HashOn::Uri) => "hash of path and query".to_string(),
        Balance::Hash(HashOn::Header(name)) => format!("hash of header field {name}"),
        Balance::Hash(HashOn::Cookie(name)) => format!("hash of cookie {name}"),
    };
    let all_down = match pool.when_all_down {
        WhenAllDown::TryAll => "tried",
        WhenAllDown::Fail => "not tried",
    };
    let slow = match pool.slow_start_ns {
        0 => String::new(),
        time => format!(", slow start of {}", duration_text(time)),
    };
    let sticky = match &pool.sticky {
        None => String::new(),
        Some(cookie) if cookie.secret.is_empty() => format!(", sticky by cookie {} without a secret", cookie.name),
        Some(cookie) => format!(", sticky by cookie {}", cookie.name),
    };
    let (name, servers, queue) = (&pool.name, pool.servers.len(), pool.queue_length);
    format!(
        "pool {name}: {balance} over {servers} servers, {all_down} when all are down, queue of {queue}{slow}{sticky}"
    )
}

fn pool_sources_line(pool: &Pool) -> Option<String> {
    let sources: Vec<String> = pool.sources.iter().map(ToString::to_string).collect();
    (!sources.is_empty()).then(|| format!("  from {}", sources.join(", ")))
}

fn server_line(server: &Server) -> String {
    let state = match server.state {
        ServerState::Up => "",
        ServerState::Drain => ", drains",
        ServerState::Maintenance => ", in maintenance",
    };
    let backup = if server.backup { ", backup" } else { "" };
    let max = server.max_connections.map_or(String::new(), |max| format!(", at most {max} requests at once"));
    let proxy = match server.proxy_protocol {
        None => "",
        Some(ProxyVersion::V1) => ", PROXY v1",
        Some(ProxyVersion::V2) => ", PROXY v2",
    };
    format!("  {}: {}, weight {}{backup}{state}{max}{proxy}", server.name, server.address, server.weight)
}

fn health_line(health: &Health) -> String {
    let Health { port, http, tcp, interval_ns, timeout_ns, rise, fall } = health;
    let asked = match http {
        Some(HttpCheck { method, path, headers, expect: (first, last), .. }) => {
            let with = if headers.is_empty() { "" } else { " with own fields" };
            format!("{} {path}{with} expecting {first}-{last}", method.name())
        }
        None if tcp.is_empty() => "connecting".to_string(),
        None => {
            let steps = tcp.iter().map(|TcpStep { send, expect }| match send.is_empty() {
                true => format!("{expect:?}"),
                false => format!("{send:?} -> {expect:?}"),
            });
            format!("expecting {}", steps.collect::<Vec<_>>().join(", "))
        }
    };
    let (interval, timeout) = (duration_text(*interval_ns), duration_text(*timeout_ns));
    let port = port.map_or(String::new(), |port| format!(" at port {port}"));
    format!("  checked by {asked}{port} each {interval}, timeout {timeout}, rise {rise}, fall {fall}")
}
