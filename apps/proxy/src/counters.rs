//! What a core counts.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use weir_config::Config;
use weir_http1::Reject;

use crate::health::{OUTCOMES, Outcome};
use crate::histogram::{BUCKETS, Histogram};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations of a histogram, up to a bound that is said in seconds.
    Bucket(&'static str),
    /// The sum of a histogram's durations, in nanoseconds.
    SumNs,
    /// How many durations a histogram has.
    Count,
}

/// One value with its name in Prometheus' exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Name of the metric.
    pub metric: &'static str,
    /// What the value is.
    pub kind: Kind,
    /// Name and value of a label that tells values of one metric apart.
    pub label: Option<(&'static str, &'static str)>,
    /// The value.
    pub value: u64,
}

/// What happens to connections and exchanges, apart from good requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incident {
    /// The table of client connections was full.
    ConnectionRefused,
    /// A client had as many connections as it may; with `dry_run`, it would have been refused.
    ClientConnections,
    /// A client opened connections too often.
    ClientConnectionRate,
    /// A client sent requests too often (429).
    ClientRequestRate,
    /// A listener had as many connections as it may.
    ListenerConnections,
    /// A client connected to a listener that is not for it.
    ClientDenied,
    /// A client was not counted, because the table of clients was full.
    ClientUntracked,
    /// A client did not send its head in time.
    HeadTimeout,
    /// A connection was idle for too long.
    KeepAliveTimeout,
    /// A client stopped sending a body or reading a response.
    ClientTimeout,
    /// A client went away in the middle of an exchange.
    ClientGone,
    /// A server could not be connected to.
    ConnectFailed,
    /// A server did not accept a connection in time.
    ConnectTimeout,
    /// No connection could be opened for a reason of our own: no source port left.
    NoSourcePort,
    /// No connection could be opened for a reason of our own: no route or no room.
    NoConnection,
    /// A server did not begin its response in time.
    FirstByteTimeout,
    /// A server stopped in the middle of a response.
    ServerTimeout,
    /// A server ended or reset a connection before its response was complete.
    ServerGone,
    /// A server sent something that is not a valid response.
    BadResponse,
    /// A server sent more than its response.
    ExcessBytes,
    /// A request was sent again, after a connection had died without an answer.
    Retry,
    /// A request was not sent again, because too many were.
    RetryBudget,
    /// A request found all servers busy and its pool's queue full.
    QueueFull,
    /// A request waited too long for a server with room.
    QueueTimeout,
    /// No server was up.
    NoServer,
    /// A connection with a PROXY header came from somebody who is not trusted.
    UntrustedProxy,
    /// A connection did not begin with a PROXY header.
    BadProxyHeader,
    /// A connection did not begin with a TLS ClientHello.
    BadClientHello,
    /// No PROXY header or ClientHello in time.
    PrefaceTimeout,
    /// No route for the name in a ClientHello.
    NoRoute,
    /// One end of a tunnel was reset.
    TunnelBroken,
    /// Nothing moved in a tunnel for too long.
    TunnelTimeout,
    /// A request was sent to another server, after one could not be connected to.
    Redispatch,
    /// A client's sticky cookie is none of its pool's.
    CookieUnknown,
    /// A client's sticky cookie named a server that was down.
    CookieDown,
    /// A server failed too often in a row, and is left alone for a time.
    Ejected,
    /// An idle connection was found dead before it was used.
    StaleConnection,
    /// A connection to a server was not kept for reuse, because as many as may be were idle.
    IdleLimit,
    /// No buffer was free for a response or a head.
    NoBuffer,
}

const INCIDENTS: [(Incident, &str); 39] = [
    (Incident::ConnectionRefused, "connection_refused"),
    (Incident::ClientConnections, "client_connections"),
    (Incident::ClientConnectionRate, "client_connection_rate"),
    (Incident::ClientRequestRate, "client_request_rate"),
    (Incident::ListenerConnections, "listener_connections"),
    (Incident::ClientDenied, "client_denied"),
    (Incident::ClientUntracked, "client_untracked"),
    (Incident::HeadTimeout, "head_timeout"),
    (Incident::KeepAliveTimeout, "keep_alive_timeout"),
    (Incident::ClientTimeout, "client_timeout"),
    (Incident::ClientGone, "client_gone"),
    (Incident::ConnectFailed, "connect_failed"),
    (Incident::ConnectTimeout, "connect_timeout"),
    (Incident::NoSourcePort, "no_source_port"),
    (Incident::NoConnection, "no_connection"),
    (Incident::FirstByteTimeout, "first_byte_timeout"),
    (Incident::ServerTimeout, "server_timeout"),
    (Incident::ServerGone, "server_gone"),
    (Incident::BadResponse, "bad_response"),
    (Incident::ExcessBytes, "excess_bytes"),
    (Incident::Retry, "retry"),
    (Incident::RetryBudget, "retry_budget"),
    (Incident::QueueFull, "queue_full"),
    (Incident::QueueTimeout, "queue_timeout"),
    (Incident::NoServer, "no_server"),
    (Incident::UntrustedProxy, "untrusted_proxy"),
    (Incident::BadProxyHeader, "bad_proxy_header"),
    (Incident::BadClientHello, "bad_client_hello"),
    (Incident::PrefaceTimeout, "preface_timeout"),
    (Incident::NoRoute, "no_route"),
    (Incident::TunnelBroken, "tunnel_broken"),
    (Incident::TunnelTimeout, "tunnel_timeout"),
    (Incident::Redispatch, "redispatch"),
    (Incident::CookieUnknown, "cookie_unknown"),
    (Incident::CookieDown, "cookie_down"),
    (Incident::Ejected, "ejected"),
    (Incident::StaleConnection, "stale_connection"),
    (Incident::IdleLimit, "idle_limit"),
    (Incident::NoBuffer, "no_buffer"),
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters and gauges of one core's service.
#[derive(Debug)]
pub struct Counters {
    /// Requests with a good head, per listener; the last one is the admin listener.
    requests: Box<[Named]>,
    /// Exchanges begun, per server.
    servers: Box<[Named]>,
    /// Whether each server gets requests as far as health checks say; in the order of `servers`.
    servers_up: Box<[bool]>,
    /// How long requests waited for the head of their response, per pool.
    waits: Box<[Wait]>,
    /// Health checks that ended, by how.
    checks: [u64; OUTCOMES.len()],
    /// Responses by class of status.
    responses: [u64; CLASSES.len()],
    rejects: [u64; Reject::ALL.len()],
    incidents: [u64; INCIDENTS.len()],
    connections: u64,
    pub(crate) open_fronts: u64,
    pub(crate) open_backs: u64,
    pub(crate) idle_backs: u64,
    pub(crate) queued: u64,
}

#[derive(Debug)]
struct Named {
    label: &'static str,
    value: u64,
}

/// Times of one pool.
#[derive(Debug)]
struct Wait {
    pool: &'static str,
    times: Histogram,
}

impl Counters {
    /// How many values there are for what a configuration names.
    #[must_use]
    pub fn named_values(config: &Config) -> usize {
        let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
        config.listeners.len() + 2 * servers + (BUCKETS + 2) * config.pools.len()
    }

    /// All at zero. The names of listeners and servers are kept for as long as the image runs.
    pub(crate) fn new(config: &Config) -> Self {
        let named = |name: String| Named { label: leak(&name), value: 0 };
        let listeners = config.listeners.iter().map(|listener| listener.name.clone());
        let servers = config
            .pools
            .iter()
            .flat_map(|pool| pool.servers.iter().map(move |server| format!("{}/{}", pool.name, server.name)));
        let servers = servers.map(named).collect::<Box<[_]>>();
        let checked = config
            .pools
            .iter()
            .flat_map(|pool| pool.servers.iter().map(|server| pool.health.is_none() && server.address.ip().is_some()));
        Self {
            servers_up: checked.collect(),
            waits: config
                .pools
                .iter()
                .map(|pool| Wait { pool: leak(&pool.name), times: Histogram::default() })
                .collect(),
            checks: [0; _],
            requests: listeners.chain(["admin".into()]).map(named).collect::<Vec<_>>().into(),
            servers,
            responses: [0; _],
            rejects: [0; _],
            incidents: [0; _],
            connections: 0,
            open_fronts: 0,
            open_backs: 0,
            idle_backs: 0,
            queued: 0,
        }
    }

    #[inline]
    pub(crate) fn connection(&mut self) {
        self.connections += 1;
        self.open_fronts += 1;
    }

    #[inline]
    pub(crate) fn request(&mut self, listener: usize) {
        if let Some(named) = self.requests.get_mut(listener) {
            named.value += 1;
        }
    }

    /// `server` counts through all pools.
    #[inline]
    pub(crate) fn exchange(&mut self, server: usize) {
        if let Some(named) = self.servers.get_mut(server) {
            named.value += 1;
        }
    }

    #[inline]
    pub(crate) fn response(&mut self, status: u16) {
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        if let Some(count) = self.responses.get_mut(class) {
            *count += 1;
        }
    }

    /// The head of a response came so many nanoseconds after that of its request.
    #[inline]
    pub(crate) fn wait(&mut self, pool: u16, ns: u64) {
        if let Some(wait) = self.waits.get_mut(usize::from(pool)) {
            wait.times.add(ns);
        }
    }

    #[cold]
    pub(crate) fn reject(&mut self, reject: Reject) {
        if let Some(count) = self.rejects.get_mut(reject.index()) {
            *count += 1;
        }
    }

    #[cold]
    pub(crate) fn incident(&mut self, incident: Incident) {
        if let Some(count) = self.incidents.get_mut(incident as usize) {
            *count += 1;
        }
    }

    #[cold]
    pub(crate) fn check(&mut self, outcome: Outcome) {
        if let Some(count) = self.checks.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// `server` counts through all pools.
    #[cold]
    pub(crate) fn server_up(&mut self, server: usize, is_up: bool) {
        if let Some(state) = self.servers_up.get_mut(server) {
            *state = is_up;
        }
    }

    /// Hands every value to `give`, the same ones in the same order each time.
    pub fn visit(&self, mut give: impl FnMut(Sample)) {
        let mut counter = |metric, label, value| give(Sample { metric, kind: Kind::Counter, label, value });
        for named in &self.requests {
            counter("weir_requests_total", Some(("listener", named.label)), named.value);
        }
        for (class, value) in CLASSES.iter().zip(self.responses) {
            counter("weir_responses_total", Some(("class", class)), value);
        }
        for named in &self.servers {
            counter("weir_server_requests_total", Some(("server", named.label)), named.value);
        }
        for (reject, value) in Reject::ALL.iter().zip(self.rejects) {
            counter("weir_rejects_total", Some(("reason", reject.name())), value);
        }
        for ((_, name), value) in INCIDENTS.iter().zip(self.incidents) {
            counter("weir_incidents_total", Some(("reason", name)), value);
        }
        for ((_, name), value) in OUTCOMES.iter().zip(self.checks) {
            counter("weir_checks_total", Some(("outcome", name)), value);
        }
        counter("weir_client_connections_total", None, self.connections);
        for Wait { pool, times } in &self.waits {
            let label = Some(("pool", *pool));
            let mut part = |kind, value| give(Sample { metric: "weir_response_seconds", kind, label, value });
            times.buckets().for_each(|(bound, count)| part(Kind::Bucket(bound), count));
            part(Kind::SumNs, times.sum_ns());
            part(Kind::Count, times.count());
        }
        for (named, &is_up) in self.servers.iter().zip(&self.servers_up) {
            let label = Some(("server", named.label));
            give(Sample { metric: "weir_server_up", kind: Kind::Gauge, label, value: is_up.into() });
        }
        let mut gauge = |metric, value| give(Sample { metric, kind: Kind::Gauge, label: None, value });
        gauge("weir_client_connections", self.open_fronts);
        gauge("weir_server_connections", self.open_backs);
        gauge("weir_server_connections_idle", self.idle_backs);
        gauge("weir_requests_queued", self.queued);
    }

    /// One value by its metric and the value of its label; for tests and status lines.
    #[must_use]
    pub fn get(&self, metric: &str, label: &str) -> Option<u64> {
        let mut found = None;
        self.visit(|sample| {
            if sample.metric == metric && sample.label.map_or("", |(_, value)| value) == label {
                found = Some(sample.value);
            }
        });
        found
    }
}

/// A name that is published for as long as the image runs.
fn leak(name: &str) -> &'static str {
    Box::leak(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_configuration_names_has_room_on_the_board() {
        let config = String::from(weir_config::DEMO)
            + "[[pool]]\nname = \"more\"\n[[pool.server]]\nname = \"a\"\naddress = \"10.0.0.1:1\"\n";
        let config = Config::parse(&config).unwrap_or_else(|error| panic!("{error}"));
        let mut named = 0;
        Counters::new(&config).visit(|sample| {
            let is_named = matches!(sample.label, Some(("listener" | "server" | "pool", _)));
            named += usize::from(is_named && sample.label != Some(("listener", "admin")));
        });
        assert_eq!(Counters::named_values(&config), named);
    }

    #[test]
    fn incidents_are_numbered_in_order() {
        for (index, (incident, _)) in INCIDENTS.iter().enumerate() {
            assert_eq!(*incident as usize, index);
        }
        for (index, (outcome, _)) in OUTCOMES.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
    }
}
