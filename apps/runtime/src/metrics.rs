//! The names under which a core's counters are published.

use alloc::sync::Arc;
use core::fmt;

use weir_kernel::memory::heap::HeapUsage;
use weir_proxy::MetricsSource;
use weir_resolver::Counters;
use weir_stack::Shard;
use weir_tcp::FlowState;

use crate::board::{Kind, Publisher};
use crate::core_life::Turns;
use crate::imbalance::Imbalance;
use crate::names::Names;
use crate::seat::Common;
use crate::syslog::Syslog;
use crate::wire::Wire;

/// Time that a core had something to do.
const BUSY: &str = "weir_core_busy_us_total";

/// The page of all cores, for `/metrics`.
pub struct Figures {
    common: Arc<Common>,
    imbalance: Imbalance,
}

impl Figures {
    /// A page that this core can write.
    pub fn new(common: Arc<Common>) -> Self {
        Self { common, imbalance: Imbalance::default() }
    }
}

impl MetricsSource for Figures {
    fn write_metrics(&mut self, out: &mut dyn fmt::Write) -> fmt::Result {
        let board = &self.common.board;
        board.write(out)?;
        let permille = self.imbalance.permille(board.per_core(BUSY).collect());
        writeln!(out, "# TYPE weir_core_imbalance gauge")?;
        writeln!(out, "weir_core_imbalance {}.{:03}", permille / 1000, permille % 1000)
    }
}

/// HTTP.
pub fn service(to: &mut Publisher<'_>, counters: &weir_proxy::Counters) {
    counters.visit(|sample| to.put(sample.kind, sample.metric, sample.label, sample.value));
}

/// The network stack.
pub fn stack(to: &mut Publisher<'_>, shard: &Shard) {
    let flows = shard.tcp_gauges();
    let total: u64 = flows.flows.iter().map(|&count| u64::from(count)).sum();
    to.gauge("weir_flows", total + u64::from(flows.half_open));
    for (state, &count) in FlowState::ALL.iter().zip(&flows.flows) {
        to.labelled(Kind::Gauge, "weir_tcp_flows", ("state", state.name()), count.into());
    }
    to.gauge("weir_tcp_time_wait", flows.time_wait.into());
    to.gauge("weir_tcp_half_open", flows.half_open.into());
    to.gauge("weir_tcp_send_queued_bytes", flows.send_queued);
    to.gauge("weir_tcp_receive_queued_bytes", flows.receive_queued);
    let ports = shard.source_ports_in_use();
    to.gauge("weir_source_ports", shard.source_ports());
    to.gauge("weir_source_ports_in_use", ports.total);
    to.gauge("weir_source_ports_in_use_max", ports.max);
    for (name, value) in shard.tcp_counters().iter() {
        to.labelled(Kind::Counter, "weir_tcp_total", ("event", name), value);
    }
    for (name, value) in shard.counters().events() {
        to.labelled(Kind::Counter, "weir_stack_total", ("event", name), value);
    }
    for (name, value) in shard.counters().drops() {
        to.labelled(Kind::Counter, "weir_drops_total", ("reason", name), value);
    }
    for (name, value) in shard.gauges() {
        match name {
            "buffers_in_use" => to.gauge("weir_packet_buffers_in_use", value),
            "buffers" => to.gauge("weir_packet_buffers", value),
            name => to.labelled(Kind::Gauge, "weir_stack", ("what", name), value),
        }
    }
}

/// The queue pair, and what goes through it for other cores. Every core has the same names.
pub fn device(to: &mut Publisher<'_>, wire: &Wire) {
    wire.counters().for_each(|name, value| to.labelled(Kind::Counter, "weir_device_total", ("event", name), value));
    let gauges = wire.gauges();
    to.gauge("weir_device_receive_buffers", gauges.receive_buffers as u64);
    to.gauge("weir_device_transmit_frames", gauges.transmit_frames as u64);
    let relayed = wire.relayed();
    let mut event = |name, value| to.labelled(Kind::Counter, "weir_relay_total", ("event", name), value);
    event("given", relayed.given);
    event("sent", relayed.sent);
    event("drop_no_buffer", relayed.drop_no_buffer);
    event("drop_refused", relayed.drop_refused);
}

/// The log.
pub fn log(to: &mut Publisher<'_>, syslog: &Syslog, lost_lines: u64) {
    to.counter("weir_log_sent_total", syslog.sent());
    to.counter("weir_log_lost_total", syslog.lost());
    to.counter("weir_access_log_lost_total", lost_lines);
}

/// Names of servers, which core 0 resolves; every core has the same metrics.
pub fn names(to: &mut Publisher<'_>, names: Option<&Names>) {
    let states = names.map(Names::states).unwrap_or_default();
    for (state, value) in [("resolved", states.resolved), ("kept", states.kept), ("unresolved", states.unresolved)] {
        to.labelled(Kind::Gauge, "weir_names", ("state", state), value);
    }
    let none = Counters::default();
    for (event, value) in names.map_or(&none, Names::counters).iter() {
        to.labelled(Kind::Counter, "weir_dns_total", ("event", event), value);
    }
}

/// The core itself.
pub fn core(to: &mut Publisher<'_>, turns: &Turns, rings_full: u64, heap: Option<HeapUsage>) {
    to.labelled(Kind::Counter, "weir_turns_total", ("kind", "busy"), turns.busy);
    to.labelled(Kind::Counter, "weir_turns_total", ("kind", "idle"), turns.idle);
    to.counter(BUSY, turns.busy_ns / 1000);
    to.counter("weir_halts_total", turns.halts);
    to.counter("weir_wakes_sent_total", turns.wakes);
    to.counter("weir_ring_full_total", rings_full);
    to.gauge("weir_heap_used_bytes", heap.map_or(0, |heap| heap.used_bytes));
}
