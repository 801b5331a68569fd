//! Where cores publish their counters, and where `/metrics` reads them.
//!
//! Each core copies its values to its own lines of the board with plain stores: when it has become quiet, and now and then
//! while it is busy. No line has two writers, nobody is asked, nobody waits (`docs/decisions/counters.md`).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use spin::Once;
pub use weir_proxy::Kind;

/// Values that one core can publish beside those of what the configuration names.
const VALUES_MAX: usize = 1024;

/// Receives values while a core publishes, always in the same order.
pub struct Publisher<'a> {
    lines: &'a Lines,
    next: usize,
    names: Option<Vec<Name>>,
}

/// Name and value of a label.
pub type Label = (&'static str, &'static str);

/// One value's name in Prometheus' exposition format.
#[derive(Debug, Clone)]
struct Name {
    metric: &'static str,
    label: Option<Label>,
    kind: Kind,
}

/// The board of all cores. What every core looks at when it publishes shares no line with what one of them writes.
#[repr(align(128))]
pub struct Board {
    names: Once<Vec<Name>>,
    cores: Box<[Lines]>,
}

#[repr(align(128))]
struct Lines {
    len: AtomicUsize,
    values: Box<[AtomicU64]>,
}

impl Board {
    /// An empty board for `cores` cores, with so many values for what the configuration names.
    pub fn new(cores: usize, named: usize) -> Self {
        let values = || (0..VALUES_MAX + named).map(|_| AtomicU64::new(0)).collect();
        let line = || Lines { len: AtomicUsize::new(0), values: values() };
        Self { names: Once::new(), cores: (0..cores).map(|_| line()).collect() }
    }

    /// Publishes the values of `core`, which `give` hands over one by one, the same ones in the same order each time.
    pub fn publish(&self, core: usize, give: impl FnOnce(&mut Publisher<'_>)) {
        let Some(lines) = self.cores.get(core) else { return };
        let names = if self.names.is_completed() { None } else { Some(Vec::new()) };
        let mut publisher = Publisher { lines, next: 0, names };
        give(&mut publisher);
        lines.len.store(publisher.next, Ordering::Relaxed);
        if let Some(names) = publisher.names {
            self.names.call_once(|| names);
        }
    }

    /// The sum of a metric over all labels and cores, as last published.
    pub fn sum(&self, metric: &str) -> u64 {
        let names = self.names.get().map_or(&[][..], Vec::as_slice);
        let of_metric = names.iter().enumerate().filter(|(_, name)| name.metric == metric).map(|(index, _)| index);
        let values = of_metric.flat_map(|index| self.cores.iter().filter_map(move |lines| lines.values.get(index)));
        values.map(|value| value.load(Ordering::Relaxed)).sum()
    }

    /// The sum of a metric over all labels for each core, as last published.
    pub fn per_core(&self, metric: &str) -> impl Iterator<Item = u64> {
        let names = self.names.get().map_or(&[][..], Vec::as_slice);
        self.cores.iter().map(move |lines| {
            let of_metric = names.iter().zip(&lines.values).filter(|(name, _)| name.metric == metric);
            of_metric.map(|(_, value)| value.load(Ordering::Relaxed)).sum()
        })
    }

    /// Writes all values of all cores as Prometheus text.
    ///
    /// # Errors
    /// `out` refuses.
    pub fn write(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let Some(names) = self.names.get() else { return Ok(()) };
        let mut previous = "";
        for (index, name) in names.iter().enumerate() {
            if name.metric != previous {
                writeln!(out, "# TYPE {} {}", name.metric, name.type_name())?;
                previous = name.metric;
            }
            for (core, lines) in self.cores.iter().enumerate() {
                if index >= lines.len.load(Ordering::Relaxed) {
                    continue;
                }
                let value = lines.values.get(index).map_or(0, |value| value.load(Ordering::Relaxed));
                name.write(out, core, value)?;
            }
        }
        Ok(())
    }
}

impl Name {
    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Bucket(_) | Kind::SumNs | Kind::Count => "histogram",
        }
    }

    fn write(&self, out: &mut dyn fmt::Write, core: usize, value: u64) -> fmt::Result {
        let suffix = match self.kind {
            Kind::Counter | Kind::Gauge => "",
            Kind::Bucket(_) => "_bucket",
            Kind::SumNs => "_sum",
            Kind::Count => "_count",
        };
        write!(out, "{}{suffix}{{core=\"{core}\"", self.metric)?;
        if let Some((key, label)) = self.label {
            write!(out, ",{key}=\"{label}\"")?;
        }
        if let Kind::Bucket(bound) = self.kind {
            write!(out, ",le=\"{bound}\"")?;
        }
        match self.kind {
            Kind::SumNs => writeln!(out, "}} {}.{:09}", value / 1_000_000_000, value % 1_000_000_000),
            _ => writeln!(out, "}} {value}"),
        }
    }
}

impl Publisher<'_> {
    /// A value that only grows.
    pub fn counter(&mut self, metric: &'static str, value: u64) {
        self.put(Kind::Counter, metric, None, value);
    }

    /// A value that goes up and down.
    pub fn gauge(&mut self, metric: &'static str, value: u64) {
        self.put(Kind::Gauge, metric, None, value);
    }

    /// One of several values of the same metric, told apart by a label.
    pub fn labelled(&mut self, kind: Kind, metric: &'static str, label: Label, value: u64) {
        self.put(kind, metric, Some(label), value);
    }

    /// Any value. What does not fit on the board is left out.
    pub fn put(&mut self, kind: Kind, metric: &'static str, label: Option<Label>, value: u64) {
        let Some(place) = self.lines.values.get(self.next) else { return };
        place.store(value, Ordering::Relaxed);
        self.next += 1;
        if let Some(names) = &mut self.names {
            names.push(Name { metric, label, kind });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn the_page_names_each_metric_once_and_has_a_line_for_each_core() {
        let board = Board::new(2, 0);
        for core in 0..2 {
            board.publish(core, |to| {
                to.counter("weir_a_total", 10 + core as u64);
                to.labelled(Kind::Gauge, "weir_b", ("kind", "x"), 1);
                to.labelled(Kind::Gauge, "weir_b", ("kind", "y"), 2);
            });
        }
        assert!(board.per_core("weir_a_total").eq([10, 11]) && board.per_core("weir_b").eq([3, 3]));
        let mut page = String::new();
        board.write(&mut page).expect("a string takes all");
        let expected = "# TYPE weir_a_total counter\n\
            weir_a_total{core=\"0\"} 10\nweir_a_total{core=\"1\"} 11\n\
            # TYPE weir_b gauge\n\
            weir_b{core=\"0\",kind=\"x\"} 1\nweir_b{core=\"1\",kind=\"x\"} 1\n\
            weir_b{core=\"0\",kind=\"y\"} 2\nweir_b{core=\"1\",kind=\"y\"} 2\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_histogram_is_written_as_prometheus_reads_it() {
        let board = Board::new(1, 0);
        board.publish(0, |to| {
            for (kind, value) in [(Kind::Bucket("0.001"), 2), (Kind::Bucket("+Inf"), 3), (Kind::SumNs, 1_020_000_300)] {
                to.labelled(kind, "weir_a_seconds", ("pool", "p"), value);
            }
            to.put(Kind::Count, "weir_a_seconds", None, 3);
        });
        let mut page = String::new();
        board.write(&mut page).expect("a string takes all");
        let expected = "# TYPE weir_a_seconds histogram\n\
            weir_a_seconds_bucket{core=\"0\",pool=\"p\",le=\"0.001\"} 2\n\
            weir_a_seconds_bucket{core=\"0\",pool=\"p\",le=\"+Inf\"} 3\n\
            weir_a_seconds_sum{core=\"0\",pool=\"p\"} 1.020000300\n\
            weir_a_seconds_count{core=\"0\"} 3\n";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_core_that_has_not_published_is_absent() {
        let board = Board::new(2, 0);
        board.publish(1, |to| to.counter("weir_a_total", 5));
        let mut page = String::new();
        board.write(&mut page).expect("a string takes all");
        assert_eq!(page, "# TYPE weir_a_total counter\nweir_a_total{core=\"1\"} 5\n");
    }

    #[test]
    fn thousands_of_servers_find_room() {
        let board = Board::new(1, 10_000);
        board.publish(0, |to| (0..VALUES_MAX as u64 + 10_000).for_each(|value| to.gauge("weir_a", value)));
        let mut page = String::new();
        board.write(&mut page).expect("a string takes all");
        assert_eq!(page.lines().count(), VALUES_MAX + 10_001);
    }
}
