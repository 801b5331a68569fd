//! The schema: which sections and keys there are, and what their values may be.

mod check;
mod dns;
mod error_page;
mod fields;
mod health;
mod listener;
mod log;
mod network;
mod pool;
mod source;
mod sticky;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use toml::de::DeTable;

use crate::document::Section;
use crate::error::{Error, ErrorKind, Fault};
use crate::model::{Admin, ClientLimits, Config, IdlePolicy, Limits, PanicPolicy, Timeouts, Tuning};
use crate::units::{DAY, MILLISECOND};
use crate::{HEAD_FIELDS_MAX, TEXT_BYTES_MAX};

type Result<T> = core::result::Result<T, Fault>;

const KIB: u64 = 1 << 10;

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// The first mistake that was found, with its place in `text`.
    pub fn parse(text: &str) -> core::result::Result<Self, Error> {
        read(text).map_err(|fault| Error::new(text, fault))
    }
}

fn read(text: &str) -> Result<Config> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the configuration has {} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
        return Err(Fault::new(0..0, ErrorKind::TooLarge, message, "split it over several images"));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        Fault::new(span, ErrorKind::Syntax, error.message(), "the file must be TOML 1.0, see https://toml.io")
    })?;
    let mut root = Section::new("the configuration", document.span(), document.get_ref());
    root.not_yet(&["logging", "tls", "certificate"])?;

    let network = network::read(root.table("network", "[network]")?)?;
    let admin = root.table("admin", "[admin]")?.map(admin).transpose()?;
    let error_pages = error_page::read(root.tables("error_page", "[[error_page]]", error_page::STATUSES.len())?)?;
    let limits = limits(root.table("limits", "[limits]")?)?;
    let timeouts = timeouts(root.table("timeouts", "[timeouts]")?)?;
    let dns = dns::read(root.table("dns", "[dns]")?)?;
    let log = log::read(root.table("log", "[log]")?)?;
    let tuning = tuning(root.table("tuning", "[tuning]")?)?;
    let pools = pool::read(root.tables("pool", "[[pool]]", crate::SECTIONS_MAX)?)?;
    let listeners = listener::read(root.tables("listener", "[[listener]]", crate::SECTIONS_MAX)?, &pools.value)?;
    root.finish()?;

    let places = check::Places {
        admin: admin.as_ref().map(|admin| admin.span.clone()),
        binds: listeners.binds,
        servers: pools.servers,
        sources: pools.sources,
        pool_routes: listeners.pool_routes,
    };
    let config = Config {
        network,
        admin: admin.map(|admin| admin.value),
        listeners: listeners.value,
        pools: pools.value,
        error_pages,
        limits,
        timeouts,
        dns,
        log,
        tuning,
    };
    check::check(&config, &places)?;
    Ok(config)
}

/// A value and where it stands.
struct Placed<T> {
    value: T,
    span: Range<usize>,
}

fn admin(mut section: Section<'_>) -> Result<Placed<Admin>> {
    section.not_yet(&["token_sha256", "interface"])?;
    let listen = section.require("listen", "\"0.0.0.0:9000\"")?;
    let value = Admin { listen: listen.socket_address("0.0.0.0:9000")? };
    section.finish()?;
    Ok(Placed { value, span: listen.span() })
}

fn limits(section: Option<Section<'_>>) -> Result<Limits> {
    let mut limits = Limits::default();
    let Some(mut section) = section else { return Ok(limits) };
    section.not_yet(&["queue", "queue_length"])?;
    if let Some(item) = section.take("connections") {
        limits.connections = Some(item.integer(1..=16_000_000)? as u32);
    }
    if let Some(item) = section.take("head") {
        limits.head_bytes = item.size_bytes(KIB..=256 * KIB)? as u32;
    }
    if let Some(item) = section.take("head_fields") {
        limits.head_fields = item.integer(1..=HEAD_FIELDS_MAX.into())? as u16;
    }
    if let Some(item) = section.take("target") {
        limits.target_bytes = item.size_bytes(16..=64 * KIB)? as u32;
    }
    if let Some(item) = section.take("body") {
        limits.body_bytes = item.size_bytes(0..=1 << 50)?;
    }
    if let Some(item) = section.take("body_rate") {
        limits.body_rate_bytes = item.size_bytes(0..=1 << 30)? as u32;
    }
    let idle = section.take("idle_server_connections").map(|item| item.integer(0..=16_000_000)).transpose()?;
    limits.idle_server_connections = idle.map(|max| max as u32);
    limits.uncompleted_syn_rate = section.take("uncompleted_syn_rate").map(|item| item.rate()).transpose()?;
    limits.client = client_limits(&mut section)?;
    if limits.target_bytes >= limits.head_bytes {
        return Err(section.fault(
            ErrorKind::ConflictingKeys,
            format!(
                "the limit of `target` ({} bytes) leaves no room in `head` ({} bytes)",
                limits.target_bytes, limits.head_bytes
            ),
            "make `target` smaller than `head`",
        ));
    }
    section.finish()?;
    Ok(limits)
}

/// What one client address may have.
fn client_limits(section: &mut Section<'_>) -> Result<ClientLimits> {
    let connections = section.take("connections_per_client").map(|item| item.integer(1..=16_000_000)).transpose()?;
    Ok(ClientLimits {
        connections: connections.map(|max| max as u32),
        connection_rate: section.take("connection_rate_per_client").map(|item| item.rate()).transpose()?,
        request_rate: section.take("request_rate_per_client").map(|item| item.rate()).transpose()?,
        dry_run: section.take("dry_run").map_or(Ok(false), |item| item.boolean())?,
    })
}

fn timeouts(section: Option<Section<'_>>) -> Result<Timeouts> {
    let mut timeouts = Timeouts::default();
    let Some(mut section) = section else { return Ok(timeouts) };
    section.not_yet(&["check"])?;
    let keys: [(&'static str, &mut u64); 12] = [
        ("head", &mut timeouts.head_ns),
        ("keep_alive", &mut timeouts.keep_alive_ns),
        ("connect", &mut timeouts.connect_ns),
        ("first_byte", &mut timeouts.first_byte_ns),
        ("inactivity", &mut timeouts.inactivity_ns),
        ("body", &mut timeouts.body_ns),
        ("backend_idle", &mut timeouts.backend_idle_ns),
        ("queue", &mut timeouts.queue_ns),
        ("proxy_header", &mut timeouts.proxy_header_ns),
        ("tunnel", &mut timeouts.tunnel_ns),
        ("half_closed", &mut timeouts.half_closed_ns),
        ("drain", &mut timeouts.drain_ns),
    ];
    for (key, value) in keys {
        if let Some(item) = section.take(key) {
            *value = item.duration_ns(10 * MILLISECOND..=DAY)?;
        }
    }
    section.finish()?;
    Ok(timeouts)
}

fn tuning(section: Option<Section<'_>>) -> Result<Tuning> {
    let mut tuning = Tuning::default();
    let Some(mut section) = section else { return Ok(tuning) };
    if let Some(item) = section.take("idle") {
        let choices = [("poll", IdlePolicy::Poll), ("adaptive", IdlePolicy::Adaptive), ("halt", IdlePolicy::Halt)];
        tuning.idle = item.choice(&choices, &[])?;
    }
    if let Some(item) = section.take("panic") {
        tuning.panic = item.choice(&[("reboot", PanicPolicy::Reboot), ("halt", PanicPolicy::Halt)], &[])?;
    }
    section.finish()?;
    Ok(tuning)
}

/// Names that must be unique within `what`; remembers where each one stands.
struct Names {
    what: &'static str,
    seen: Vec<(String, Range<usize>)>,
}

impl Names {
    fn new(what: &'static str) -> Self {
        Self { what, seen: Vec::new() }
    }

    fn insert(&mut self, name: &str, span: Range<usize>) {
        self.seen.push((name.into(), span));
    }

    /// Sorting instead of comparing all with all: a pool may have thousands of servers.
    fn check_unique(mut self) -> Result<()> {
        self.seen.sort_by(|a, b| (&a.0, a.1.start).cmp(&(&b.0, b.1.start)));
        let twice = self.seen.windows(2).find_map(|pair| match pair {
            [a, b] if a.0 == b.0 => Some(b),
            _ => None,
        });
        let Some((name, span)) = twice else { return Ok(()) };
        Err(Fault::new(
            span.clone(),
            ErrorKind::DuplicateName,
            format!("there is already a {} called \"{name}\"", self.what),
            "give each one its own name",
        ))
    }
}
