//! The configuration as a value: everything in it has been checked and has its default.

mod listener;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use listener::{
    Action, FieldRules, HostMatch, Listener, OwnHealth, Page, Prefix, Protocol, Redirect, Respond, Route,
    contains_address,
};

use crate::units::SECOND;

/// A whole configuration. Made by [`Config::parse`]; the fields are plain data for the image to build from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The first interface.
    pub network: Network,
    /// Where metrics are served; nowhere without it.
    pub admin: Option<Admin>,
    /// At least one; names are unique, no two share an address.
    pub listeners: Vec<Listener>,
    /// Names are unique. [`Action::Pool`] is an index into this list.
    pub pools: Vec<Pool>,
    /// What clients see of errors that have no page here: status and reason as text. No two have the same status.
    pub error_pages: Vec<Respond>,
    /// What is refused when there is too much of it.
    pub limits: Limits,
    /// What ends when it takes too long.
    pub timeouts: Timeouts,
    /// How names of servers become addresses.
    pub dns: Dns,
    /// Where messages go besides the console.
    pub log: Log,
    /// Choices that change how the image runs, not what it serves.
    pub tuning: Tuning,
}

impl Config {
    /// How long listeners still take connections after the machine was told to leave: the longest of their notices.
    #[must_use]
    pub fn notice_ns(&self) -> u64 {
        self.listeners
            .iter()
            .filter_map(|listener| listener.health.as_ref())
            .map(|own| own.notice_ns)
            .max()
            .unwrap_or(0)
    }
}

/// `[network]`: addresses of the first interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Where the IPv4 address comes from: automatically is from a DHCP server, with gateway and prefix.
    pub ipv4: Addressing<Ipv4Addr>,
    /// Where the IPv6 address beside the link-local one comes from: automatically is from a router's advertisement, if there
    /// is one.
    pub ipv6: Addressing<Ipv6Addr>,
    /// Further addresses of the interface, from which connections to servers come too. Each within the subnet of a given
    /// address of its family.
    pub sources: Vec<IpAddr>,
    /// Largest IP packet in bytes, 576 to 1500; what the device says when absent.
    pub mtu_bytes: Option<u16>,
}

/// Where the interface's address of one family comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing<A> {
    /// From the network.
    Automatic,
    /// Written in the configuration.
    Static {
        /// The interface's own address.
        address: A,
        /// Length of the subnet prefix in bits, from 1 on.
        prefix_len: u8,
        /// Router to everything outside of the subnet: within it, or with IPv6 a link-local address.
        gateway: Option<A>,
    },
}

impl<A: Copy> Addressing<A> {
    /// The address, if the configuration tells it.
    #[must_use]
    pub const fn address(&self) -> Option<A> {
        match *self {
            Self::Automatic => None,
            Self::Static { address, .. } => Some(address),
        }
    }
}

/// `[admin]`: the listener for operators, never routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Address and port of the metrics page.
    pub listen: SocketAddr,
}

/// `[[pool]]`: servers that share requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Unique among pools.
    pub name: String,
    /// How they share.
    pub balance: Balance,
    /// What happens when every server is down.
    pub when_all_down: WhenAllDown,
    /// Requests that wait at most while all servers have as many as they may.
    pub queue_length: u32,
    /// Addresses of the image that connections to its servers come from, in turn; all of them do when none is named.
    pub sources: Vec<IpAddr>,
    /// How long a server that comes up gets less than its share; 0 is not at all.
    pub slow_start_ns: u64,
    /// The cookie by which clients stay with their servers.
    pub sticky: Option<StickyCookie>,
    /// How its servers are checked; without it they are not.
    pub health: Option<Health>,
    /// At least one with a weight above zero; names are unique.
    pub servers: Vec<Server>,
}

/// `sticky`: a cookie that says which server its client belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct StickyCookie {
    /// A token.
    pub name: String,
    /// What its values are made with; empty if there is none.
    pub secret: String,
    /// For which paths clients send it.
    pub path: String,
    /// How long clients keep it; until they end without it.
    pub max_age_s: Option<u64>,
    /// Whether clients send it over TLS only.
    pub secure: bool,
    /// Whether clients send it with requests from other sites.
    pub same_site: SameSite,
}

impl fmt::Debug for StickyCookie {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyCookie").field("name", &self.name).finish_non_exhaustive()
    }
}

/// When clients send a cookie with requests that other sites make them send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// When a link is followed.
    #[default]
    Lax,
    /// Never.
    Strict,
    /// Always.
    None,
}

/// `[pool.health]`: how servers are asked whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Where they are asked, if not where they serve: then no PROXY header comes first.
    pub port: Option<u16>,
    /// What is asked; without it and without steps, a connection that is accepted is answer enough.
    pub http: Option<HttpCheck>,
    /// What is said on the bare connection, step by step; not together with `http`.
    pub tcp: Vec<TcpStep>,
    /// From one check of a server to its next.
    pub interval_ns: u64,
    /// For a whole check, from the attempt to connect to the head of the response.
    pub timeout_ns: u64,
    /// Checks in a row that must succeed before a server that was down is up.
    pub rise: u8,
    /// Checks in a row that must fail before a server that was up is down.
    pub fall: u8,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            port: None,
            http: None,
            tcp: Vec::new(),
            interval_ns: 2 * SECOND,
            timeout_ns: 2 * SECOND,
            rise: 2,
            fall: 3,
        }
    }
}

/// A request that a server has to answer well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCheck {
    /// How it asks.
    pub method: CheckMethod,
    /// Target of the request.
    pub path: String,
    /// Value of Host; the server's address without it.
    pub host: Option<String>,
    /// Fields that come in addition.
    pub headers: Vec<(String, String)>,
    /// Lowest and highest status that is good.
    pub expect: (u16, u16),
}

/// One step of a check on the bare connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpStep {
    /// What is sent first; nothing if the server speaks first.
    pub send: String,
    /// What the server has to say then, with anything before and behind it.
    pub expect: String,
}

/// Methods of checks: those that change nothing and bring no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

impl CheckMethod {
    /// As it stands in a request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// How a pool's servers share requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The one of two, drawn at random by weight, with the fewer requests under way.
    Random2,
    /// In turn, in proportion to their weights, from a random place on each core.
    RoundRobin,
    /// The one with the fewest requests under way, in proportion to its weight, as far as the core knows.
    LeastConnections,
    /// Requests that are alike go to the same server, as long as it is up.
    Hash(HashOn),
}

/// What makes requests alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address without its port.
    ClientAddress,
    /// Path and query.
    Uri,
    /// The value of a header field.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
}

/// What happens to requests when every server of a pool is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenAllDown {
    /// Servers are tried all the same.
    #[default]
    TryAll,
    /// They are answered with 503 at once.
    Fail,
}

/// What the operator wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerState {
    /// It gets requests.
    #[default]
    Up,
    /// What is under way there is finished, and nothing new begins.
    Drain,
    /// It gets nothing at all, no check either.
    Maintenance,
}

/// `[[pool.server]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Unique within the pool.
    pub name: String,
    /// Where it listens.
    pub address: Address,
    /// Its share, 0 to [`crate::WEIGHT_MAX`]; 0 is no traffic.
    pub weight: u16,
    /// Whether it gets requests only while no other server of the pool is up.
    pub backup: bool,
    /// What the operator wants of it.
    pub state: ServerState,
    /// Requests under way there at most, from the whole image.
    pub max_connections: Option<u32>,
    /// How its connections begin, if it is to be told for whom they are.
    pub proxy_protocol: Option<ProxyVersion>,
}

/// Versions of the PROXY protocol (haproxy's proxy-protocol.txt).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// There.
    Ip(SocketAddr),
    /// Where DNS says.
    Name {
        /// A whole host name in lower case, without a dot at its end.
        host: String,
        /// The port there.
        port: u16,
    },
}

impl Address {
    /// The address, if the configuration tells it.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }
}

impl Address {
    /// The same machine at another port.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(SocketAddr::new(address.ip(), port)),
            Self::Name { host, .. } => Self::Name { host: host.clone(), port },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections of the whole image; computed from memory when absent.
    pub connections: Option<u32>,
    /// Request or response head, in bytes.
    pub head_bytes: u32,
    /// Header fields of one head.
    pub head_fields: u16,
    /// Request target, in bytes.
    pub target_bytes: u32,
    /// Request body, in bytes.
    pub body_bytes: u64,
    /// What a client has to send of a body in a second, in bytes; 0 is no limit.
    pub body_rate_bytes: u32,
    /// Idle connections to servers that are kept for reuse, in the whole image.
    pub idle_server_connections: Option<u32>,
    /// SYNs that are answered at once though nobody completes the handshakes; a number for each core when absent.
    pub uncompleted_syn_rate: Option<Rate>,
    /// What one client address may have.
    pub client: ClientLimits,
}

/// What one client address may have of the whole image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientLimits {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections.
    pub connection_rate: Option<Rate>,
    /// Requests.
    pub request_rate: Option<Rate>,
    /// Only count what would be refused.
    pub dry_run: bool,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Times a minute, at least once.
    pub per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            head_bytes: 16 << 10,
            head_fields: 100,
            target_bytes: 8 << 10,
            body_bytes: 1 << 30,
            body_rate_bytes: 240,
            idle_server_connections: None,
            uncompleted_syn_rate: None,
            client: ClientLimits::default(),
        }
    }
}

/// `[timeouts]`, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// From a request's first byte, or the connection's start, to the end of its head.
    pub head_ns: u64,
    /// From a response's end to the next request's first byte.
    pub keep_alive_ns: u64,
    /// From the first connection attempt at a server to the established connection.
    pub connect_ns: u64,
    /// From the end of the request to the first byte of the response.
    pub first_byte_ns: u64,
    /// Without any progress in either direction while a body is under way.
    pub inactivity_ns: u64,
    /// Without a byte of a client's body that is asked for.
    pub body_ns: u64,
    /// How long an idle connection to a server is kept for reuse.
    pub backend_idle_ns: u64,
    /// How long a request waits for a server with room.
    pub queue_ns: u64,
    /// From a connection's start to the end of its PROXY header or its TLS ClientHello.
    pub proxy_header_ns: u64,
    /// Without any byte in either direction of a tunnel.
    pub tunnel_ns: u64,
    /// The same once one direction has ended.
    pub half_closed_ns: u64,
    /// How long what is under way may take to its end when the machine is told to leave.
    pub drain_ns: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head_ns: 10 * SECOND,
            keep_alive_ns: 75 * SECOND,
            connect_ns: 3 * SECOND,
            first_byte_ns: 30 * SECOND,
            inactivity_ns: 60 * SECOND,
            body_ns: 30 * SECOND,
            backend_idle_ns: 4 * SECOND,
            queue_ns: 5 * SECOND,
            proxy_header_ns: 3 * SECOND,
            tunnel_ns: 3600 * SECOND,
            half_closed_ns: 30 * SECOND,
            drain_ns: 30 * SECOND,
        }
    }
}

/// `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whom to ask; those that DHCP and routers told if empty.
    pub servers: Vec<SocketAddr>,
    /// How long an answer holds at least, whatever it says.
    pub ttl_min_ns: u64,
    /// How long it holds at most.
    pub ttl_max_ns: u64,
}

impl Default for Dns {
    fn default() -> Self {
        Self { servers: Vec::new(), ttl_min_ns: 5_000_000_000, ttl_max_ns: 3_600_000_000_000 }
    }
}

/// `[log]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// A server for syslog over UDP.
    pub syslog: Option<SocketAddr>,
    /// Where the lines of requests go.
    pub access: AccessLog,
}

/// Where the access log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// Nowhere.
    #[default]
    Off,
    /// To the console, so many lines a second at most.
    Console,
    /// To the log server.
    Syslog,
    /// To both.
    Both,
}

impl AccessLog {
    /// Whether there is one.
    #[must_use]
    pub fn is_on(self) -> bool {
        self != Self::Off
    }

    /// Whether the console shows it.
    #[must_use]
    pub const fn is_on_console(self) -> bool {
        matches!(self, Self::Console | Self::Both)
    }

    /// Whether the log server gets it.
    #[must_use]
    pub const fn is_on_syslog(self) -> bool {
        matches!(self, Self::Syslog | Self::Both)
    }
}

/// `[tuning]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tuning {
    /// What a core does when it has nothing to do.
    pub idle: IdlePolicy,
    /// What a panic ends in.
    pub panic: PanicPolicy,
}

/// What a core does when it has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdlePolicy {
    /// Look again at once, always.
    Poll,
    /// Poll for a short while, then halt until an interrupt.
    #[default]
    Adaptive,
    /// Halt at once.
    Halt,
}

/// What a panic ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PanicPolicy {
    /// The image starts again.
    #[default]
    Reboot,
    /// The image stays as it is, for somebody to look at.
    Halt,
}
