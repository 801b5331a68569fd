//! What core 0 does besides: it watches addresses, device and power button, and says when the image is ready.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::time::Duration;

use weir_config::Addressing;
use weir_drivers::net::{ControlEvent, LinkState, NetControl};
use weir_hal::CoreId;
use weir_kernel::{console, cores, error, info, power, time, warn};
use weir_stack::{Shard, ShardEvent};

use crate::leaving::{Leaving, Look};
use crate::seat::Common;
use crate::syslog;

/// Between two looks at the power button and the device's health, in nanoseconds.
const TICK_NS: u64 = 200_000_000;
/// Between two questions to the device, which leave the virtual machine: in ticks.
const TICKS_PER_CHECK: u32 = 5;

/// With an IPv6 address from a router, DHCP is waited for so long: most images are to be reached over IPv4, and a server may try for
/// 3 s whether an address is free before it offers it (dnsmasq does).
const DHCP_GRACE_NS: u64 = 4_000_000_000;

/// Words about the network that wait for a way to the log server: more are not kept.
const WORDS_MAX: usize = 32;

/// The control side of core 0.
pub struct Control {
    net: NetControl,
    common: Arc<Common>,
    next_tick_ns: u64,
    ticks: u32,
    link: LinkState,
    is_dead: bool,
    is_ready: bool,
    /// DHCP has been silent for so long that an IPv6 address alone will do.
    is_without_dhcp: bool,
    /// When an IPv6 address was first there.
    v6_since_ns: Option<u64>,
    /// Since the power button was pressed.
    leaving: Option<Leaving>,
    /// What the log server is still to hear: severity (RFC 5424 6.2.1) and text.
    words: VecDeque<(u8, String)>,
}

impl Control {
    /// Watches over `net`.
    pub fn new(net: NetControl, common: Arc<Common>) -> Self {
        let link = LinkState { up: true, announce: false };
        Self {
            net,
            common,
            next_tick_ns: 0,
            ticks: 0,
            link,
            is_dead: false,
            is_ready: false,
            is_without_dhcp: false,
            v6_since_ns: None,
            leaving: None,
            words: VecDeque::new(),
        }
    }

    /// Whether the machine is about to go off.
    pub const fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether there was an address once.
    pub const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// When [`tick`](Self::tick) has to be called at the latest.
    pub const fn next_tick_ns(&self) -> u64 {
        self.next_tick_ns
    }

    /// To be called in every turn; does what is due.
    #[inline]
    pub fn tick(&mut self, now_ns: u64, shard: &mut Shard) {
        while let Some(event) = shard.poll_shard_event() {
            self.tell(event);
            self.become_ready(now_ns, shard);
        }
        if now_ns >= self.next_tick_ns {
            self.next_tick_ns = now_ns + TICK_NS;
            self.look_around(now_ns, shard);
        }
    }

    /// The next word for the log server. What is said while there is no way to it waits: that the link is down is heard when
    /// it is up.
    #[inline]
    pub fn poll_word(&mut self, shard: &Shard) -> Option<(u8, String)> {
        if self.words.is_empty() {
            return None;
        }
        let server = self.common.config.log.syslog?;
        let has_way = self.link.up && (server.is_ipv6() || shard.ipv4().is_some());
        has_way.then(|| self.words.pop_front()).flatten()
    }

    /// Says something of the network on the console and, if there is one, to the log server.
    fn say(&mut self, severity: u8, text: String) {
        match severity {
            syslog::INFO => info!("{text}"),
            syslog::WARNING => warn!("{text}"),
            _ => error!("{text}"),
        }
        if self.common.config.log.syslog.is_some() && self.words.len() < WORDS_MAX {
            self.words.push_back((severity, text));
        }
    }

    #[cold]
    fn look_around(&mut self, now_ns: u64, shard: &mut Shard) {
        self.become_ready(now_ns, shard);
        self.watch_button(now_ns);
        self.poll_device(shard);
        self.ticks += 1;
        if self.ticks >= TICKS_PER_CHECK {
            self.ticks = 0;
            self.check_link(shard);
        }
    }

    /// The first press lets requests end, the second one does not wait for them.
    fn watch_button(&mut self, now_ns: u64) {
        let connections = || self.common.board.sum("weir_client_connections");
        match (power::button_pressed(), &mut self.leaving) {
            (false, None) => {}
            (true, None) => {
                let (open, config) = (connections(), &self.common.config);
                let (notice_ns, limit_ns) = (config.notice_ns(), config.timeouts.drain_ns);
                let limit = Duration::from_nanos(notice_ns + limit_ns);
                info!("power button: {open} connections may end, within {limit:?}; a second press does not wait");
                self.leaving = Some(Leaving::begin(now_ns, notice_ns, limit_ns));
            }
            (true, Some(_)) => switch_off("the power button was pressed again"),
            (false, Some(leaving)) => {
                let under_way = connections() + self.common.board.sum("weir_tcp_send_queued_bytes");
                match leaving.look(now_ns, under_way) {
                    Look::Waits => {}
                    Look::Drained(after_ms) => switch_off(&format!("all connections have ended, after {after_ms} ms")),
                    Look::TimeIsUp => switch_off(&format!("the time is up with {} connections", connections())),
                }
            }
        }
    }

    #[cold]
    fn tell(&mut self, event: ShardEvent) {
        match event {
            // The line that says `ready` names it.
            ShardEvent::Ipv4Configured(_) if !self.is_ready => return,
            ShardEvent::NoAddress(_) => self.is_without_dhcp = true,
            _ => {}
        }
        let (severity, text) = in_words(event);
        self.say(severity, text);
    }

    /// Says that clients are served, once there is an address for them. An IPv6 address from a router waits a little for DHCP.
    fn become_ready(&mut self, now_ns: u64, shard: &Shard) {
        if self.is_ready {
            return;
        }
        if shard.ipv4().is_some() || (shard.ipv6().is_some() && self.is_v6_enough(now_ns)) {
            self.say_ready(shard);
        }
    }

    /// Whether the IPv6 address that there is will do.
    fn is_v6_enough(&mut self, now_ns: u64) -> bool {
        let is_given = self.common.config.network.ipv6 != Addressing::Automatic;
        let since_ns = *self.v6_since_ns.get_or_insert(now_ns);
        is_given || self.is_without_dhcp || now_ns >= since_ns + DHCP_GRACE_NS
    }

    fn say_ready(&mut self, shard: &Shard) {
        self.is_ready = true;
        let addresses = addresses(shard);
        let mut listeners = String::new();
        for listener in &self.common.config.listeners {
            for bind in &listener.bind {
                let comma = if listeners.is_empty() { "" } else { "," };
                let _ = write!(listeners, "{comma}{}={bind}", listener.name);
            }
        }
        if let Some(admin) = self.common.config.admin {
            let _ = write!(listeners, ",admin={}", admin.listen);
        }
        let plan = &self.common.plan;
        console::print(format_args!(
            "weir: ready {addresses} listeners={listeners} cores={} device=\"{}\" connections_max={} flows_max={} buffers={} after={} ms",
            plan.cores,
            self.common.report,
            plan.connections_of_all(),
            plan.flows_of_all(),
            plan.buffers_of_all(),
            time::now_ns() / 1_000_000,
        ));
    }

    fn poll_device(&mut self, shard: &mut Shard) {
        match self.net.poll() {
            ControlEvent::Quiet => return,
            ControlEvent::Dead(_) if self.is_dead => return,
            ControlEvent::Dead(error) => {
                self.is_dead = true;
                error!("network: the device does not come back: {error}");
            }
            ControlEvent::ResetBegun => warn!("network: the device misbehaves; resetting it"),
            ControlEvent::ResetDone => {
                info!("network: the device works again");
                shard.announce();
            }
        }
        // Who sleeps before a stopped queue has to follow.
        (0..self.common.plan.cores).filter_map(|id| u16::try_from(id).ok()).for_each(|id| cores::wake(CoreId(id)));
    }

    fn check_link(&mut self, shard: &mut Shard) {
        let Ok(link) = self.net.check() else { return };
        match (self.link.up, link.up) {
            (true, false) => self.say(syslog::WARNING, "network: the link is down".into()),
            (false, true) => {
                self.say(syslog::INFO, "network: the link is up".into());
                shard.handle_link_up();
            }
            _ => {}
        }
        if link.announce {
            info!("network: the device asks for an announcement, as after a migration");
            shard.announce();
            if self.net.announced().is_err() {
                warn!("network: the device does not take the announcement");
            }
        }
        self.link = link;
    }
}

/// What an event of the network is called, and how grave it is.
fn in_words(event: ShardEvent) -> (u8, String) {
    match event {
        ShardEvent::Ipv4Configured(configuration) => (syslog::INFO, format!("network: address {configuration}")),
        ShardEvent::Ipv4Lost => {
            let text = "network: the lease has ended or was refused, there is no IPv4 address; asking again";
            (syslog::WARNING, text.into())
        }
        ShardEvent::Ipv6Configured(configuration) => (syslog::INFO, format!("network: address {configuration}")),
        ShardEvent::Ipv6Lost => (syslog::WARNING, "network: the IPv6 address is gone".into()),
        ShardEvent::NoAddress(patience) => {
            let text = format!(
                "network: no address from DHCP after {} s: is there a server on this network? \
                 A static one is [network] address = \"A.B.C.D/N\"; asking goes on",
                patience.as_secs()
            );
            (syslog::ERROR, text)
        }
        ShardEvent::RouterSilent(router) => (syslog::WARNING, format!("network: the router {router} does not answer")),
        ShardEvent::RouterBack(router) => (syslog::INFO, format!("network: the router {router} answers again")),
        ShardEvent::AddressConflict { address, mac: [a, b, c, d, e, f] } => {
            let station = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            (syslog::ERROR, format!("network: {address} is also claimed by {station}"))
        }
        ShardEvent::AddressDeclined(address) => {
            let text =
                format!("network: the lease of {address} is declined; DHCP is asked for another address in 10 s");
            (syslog::WARNING, text)
        }
    }
}

fn switch_off(reason: &str) -> ! {
    info!("switching off: {reason}");
    power::off()
}

/// `address=` with IPv4, if there is one, and `address6=` with all of IPv6.
fn addresses(shard: &Shard) -> String {
    let mut text = String::new();
    if let Some(v4) = shard.ipv4() {
        let _ = write!(text, "address={v4} ");
    }
    text.push_str("address6=");
    if let Some(v6) = shard.ipv6() {
        let _ = write!(text, "{v6},");
    }
    let _ = write!(text, "{}", shard.link_local());
    text
}
