//! The report for people: Markdown, the headline first, then every figure, then how it was measured and where Linux wins.

use std::fmt::Write;

use crate::compare::ratio;
use crate::guest::LINUX_APPEND;
use crate::matrix::{Cell, DUELS, PLAIN, Reuse, Service, System};
use crate::model::{Count, PerRequest, Report, Series};
use crate::number::{grouped, short};
use crate::plots::{Plot, counted_cores, median_instructions, scaled_instructions};
use crate::statistics::Spread;
use crate::usl::Usl;
use crate::{baseline, run};

/// The table that goes to the terminal, and into the README; `None` if nothing was measured that belongs into it.
#[must_use]
pub fn headline(report: &Report) -> Option<String> {
    let mut rows = String::new();
    let head = "| 64-byte answers, 32 connections | instructions per request | fewer by | rate, in units of Linux |\n\
         | --- | --- | --- | --- |\n";
    let mut cores = counted_cores(report);
    cores.retain(|cores| *cores <= 2);
    for (weir, linux) in DUELS {
        for cores in &cores {
            for reuse in Reuse::ALL {
                let cell = Cell { cores: *cores, reuse, shape: PLAIN };
                let counts = (median_instructions(report, weir, cell), median_instructions(report, linux, cell));
                let (Some(ours), Some(theirs)) = counts else { continue };
                let rate = ratio(report, weir, linux, cell).map_or("not measured".into(), |spread| times(&spread));
                let _ = writeln!(
                    rows,
                    "| {} to {}, {}, {cores} vCPU | {} to {} | {}× | {rate} |",
                    weir.name(),
                    linux.name(),
                    reuse.name(),
                    grouped(ours),
                    grouped(theirs),
                    short(theirs / ours),
                );
            }
        }
    }
    (!rows.is_empty()).then(|| format!("{head}{rows}"))
}

fn times(spread: &Spread) -> String {
    format!("{}× ({} to {})", short(spread.median), short(spread.least), short(spread.largest))
}

/// Everything.
#[must_use]
pub fn report(report: &Report, plots: &[Plot]) -> String {
    let mut text = String::from("# Weir and Linux, measured in turn\n\n");
    let minutes = report.seconds.div_ceil(60);
    let _ = writeln!(text, "{} UTC, `{}`, pace {}, {minutes} min.\n", report.started, report.command, report.pace);
    text += &headline(report).unwrap_or_default();
    for plot in plots {
        let _ = writeln!(text, "\n![{}]({})", plot.title, plot.file);
    }
    text += &lost(report);
    text += &counts(report);
    text += &invariance(report);
    text += &sharing(report);
    text += &rates(report);
    text += &latency(report);
    text += &singles(report);
    text += &machine(report);
    text += FAIRNESS;
    let _ = writeln!(text, "\nThe Linux guest's command line: `{LINUX_APPEND}`.");
    for (title, language, file) in [
        ("Weir's configuration", "toml", run::CONFIG),
        ("nginx in the Linux guest", "nginx", baseline::NGINX),
        ("HAProxy in the Linux guest", "haproxy", baseline::HAPROXY),
    ] {
        let _ = writeln!(text, "\n<details><summary>{title}</summary>\n\n```{language}\n{file}```\n\n</details>");
    }
    text
}

/// Every comparison that Weir loses.
fn lost(report: &Report) -> String {
    let mut lost = Vec::new();
    for rate in &report.rates {
        for (weir, linux) in DUELS.into_iter().filter(|(weir, _)| *weir == rate.service) {
            if let Some(spread) = ratio(report, weir, linux, rate.cell).filter(|spread| spread.median < 1.0) {
                lost.push(format!(
                    "rate of {} to {}, {}: {}",
                    weir.name(),
                    linux.name(),
                    rate.cell.name(),
                    times(&spread)
                ));
            }
        }
    }
    for count in report.counts.iter().filter(|count| count.service.system() == System::Weir) {
        for (weir, linux) in DUELS.into_iter().filter(|(weir, _)| *weir == count.service) {
            let Some(theirs) = report.count(linux, count.cell) else { continue };
            for (name, figure) in FIGURES {
                let (Some(ours), Some(theirs)) = (median(count, figure), median(theirs, figure)) else { continue };
                if ours > theirs {
                    let (ours, theirs) = (short(ours), short(theirs));
                    let cell = count.cell.name();
                    lost.push(format!("{name} of {} to {}, {cell}: {ours} to {theirs}", weir.name(), linux.name()));
                }
            }
        }
    }
    for list in [&report.boots, &report.idle, &report.memory] {
        lost.extend(pairs(list).filter(|(weir, linux)| weir.median > linux.median).map(|(weir, linux)| {
            let of = list.first().map_or("", |series| series.of.as_str());
            format!("{of}: {} to {}", short(weir.median), short(linux.median))
        }));
    }
    let bulk = |service| {
        let bulk = report.bulk.iter().find(|bulk| bulk.service == service)?;
        Spread::of(bulk.rounds.iter().copied())
    };
    for (weir, linux) in &DUELS[1..] {
        if let (Some(ours), Some(theirs)) = (bulk(*weir), bulk(*linux))
            && ours.median < theirs.median
        {
            let (ours, theirs) = (short(ours.median), short(theirs.median));
            lost.push(format!("bulk through {} to {}: {ours} to {theirs} MiB/s", weir.name(), linux.name()));
        }
    }
    lost.extend(lost_latency(report));
    let mut text = String::from("\n## Where Linux wins\n\n");
    if lost.is_empty() {
        text += "In nothing that was measured here.\n";
    }
    lost.iter().for_each(|line| text += &format!("- {line}\n"));
    text
}

fn lost_latency(report: &Report) -> Vec<String> {
    let mut lost = Vec::new();
    for (weir, linux) in DUELS {
        let of = |service| report.latency.iter().filter(move |latency| latency.service == service);
        let Some(theirs) = of(linux).next() else { continue };
        let Some(ours) = of(weir).find(|ours| ours.at == theirs.at) else { continue };
        for ((percent, our_us), (_, their_us)) in ours.percentiles.iter().zip(&theirs.percentiles) {
            if our_us > their_us && *percent >= 50.0 {
                let (our_us, their_us) = (short(*our_us), short(*their_us));
                let names = format!("{} to {}", weir.name(), linux.name());
                lost.push(format!("time to answer, {percent} %, {names}, {}: {our_us} to {their_us} us", ours.at));
            }
        }
    }
    lost
}

/// Figures of a window by name.
type Figure = fn(&PerRequest) -> f64;
const FIGURES: [(&str, Figure); 3] = [
    ("instructions", |window| window.instructions),
    // Linux' barriers are locked instructions.
    ("locked instructions and barriers", |window| window.locked + window.barriers),
    ("device accesses", |window| window.devices),
];

fn median(count: &Count, figure: Figure) -> Option<f64> {
    count.spread(figure).map(|spread| spread.median)
}

/// Weir's figure with Linux' of the same thing.
fn pairs(list: &[Series]) -> impl Iterator<Item = (Spread, Spread)> {
    let of = |system, what: &str| {
        let series = list.iter().find(|series| series.system == system && series.of == what)?;
        Spread::of(series.values.iter().copied())
    };
    let weir = list.iter().filter(|series| series.system == System::Weir);
    weir.filter_map(move |series| Some((of(System::Weir, &series.of)?, of(System::Linux, &series.of)?)))
}

fn counts(report: &Report) -> String {
    let mut text = String::from(
        "\n## What a guest executes per request\n\nOf all vCPUs together, polling and idle time included. The spread is that \
         of the windows.\n\n| service | load | instructions | spread | locked | barriers | device accesses | idle | errors |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for count in &report.counts {
        let figure = |figure: Figure| median(count, figure).map_or(String::new(), short);
        let Some(spread) = count.spread(|window| window.instructions) else {
            let requests = count.windows.iter().map(|window| window.requests).max().unwrap_or_default();
            let name = format!("{} | {}", count.service.name(), count.cell.name());
            let _ = writeln!(text, "| {name} | too few answers ({requests}) | | | | | | |");
            continue;
        };
        let width = 100.0 * (spread.largest - spread.least) / spread.median.max(1.0);
        let errors: u64 = count.windows.iter().map(|window| window.errors).sum();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {width:.1} % | {} | {} | {} | {} | {errors} |",
            count.service.name(),
            count.cell.name(),
            grouped(spread.median),
            figure(|window| window.locked),
            figure(|window| window.barriers),
            figure(|window| window.devices),
            figure(|window| window.idle),
        );
    }
    text
}

fn invariance(report: &Report) -> String {
    let cores = counted_cores(report);
    if cores.len() < 2 {
        return String::new();
    }
    let mut text = String::from(
        "\n## More cores, same work per request?\n\nInstructions per request in units of one vCPU, with 32 connections for each vCPU where that was measured and \
         32 in all elsewhere; the coefficients of the \
         universal scalability law that fit them, and the capacity that it predicts, in units of one core. **A prediction \
         from instructions alone**: cache misses, memory and the host's network are not in it. A guest with more vCPUs than \
         this machine has processors has less to do on each, finds smaller bursts and polls more; that is in the figures, \
         too.\n\n",
    );
    let header: Vec<String> = cores.iter().map(|cores| format!("{cores} vCPU")).collect();
    let columns = " --- |".repeat(cores.len() + 3);
    let _ = writeln!(text, "| service | {} | σ, κ | 24 cores | 64 cores |\n| --- |{columns}", header.join(" | "));
    for reuse in Reuse::ALL {
        for service in Service::ALL {
            let at = |cores| scaled_instructions(report, service, cores, reuse);
            let Some(one) = at(1) else { continue };
            let row = cores.iter().map(|cores| at(*cores).map_or("".into(), |count| format!("{:.2}", count / one)));
            let row: Vec<String> = row.collect();
            let points: Vec<_> = cores.iter().filter_map(|cores| Some((f64::from(*cores), at(*cores)?))).collect();
            let law = Usl::fit(&points).map_or(String::new(), |usl| {
                let [some, many] = [24.0, 64.0].map(|cores| format!("{:.1}", usl.capacity(cores)));
                format!(" {:.4}, {:.5} | {some} | {many} |", usl.sigma, usl.kappa)
            });
            let _ = writeln!(text, "| {}, {} | {} |{law}", service.name(), reuse.name(), row.join(" | "));
        }
    }
    text
}

fn sharing(report: &Report) -> String {
    if report.sharing.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Cache lines that cores share\n\nWritten by one vCPU and touched by another while the load was on; accesses are \
         those to such a line once it was shared. The device has no RSS: a packet that comes in on another core's queue is \
         handed over, through lines that are shared by purpose.\n\n\
         | service | load | requests | lines | accesses per request |\n| --- | --- | --- | --- | --- |\n",
    );
    for sharing in &report.sharing {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            sharing.service.name(),
            sharing.cell.name(),
            grouped(sharing.requests as f64),
            grouped(sharing.lines as f64),
            short(sharing.accesses)
        );
    }
    text
}

fn rates(report: &Report) -> String {
    let mut text = String::from(
        "\n## Requests per second\n\nThe ratio is the median of the rounds' own ratios, with the least and the largest, \
         without rounds in which Linux answered nothing. The absolute rates are context: client, servers and guests share this machine's processors.\n\n\
         | load | Weir | Linux | ratio | Weir's errors | Linux' errors |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for (weir, linux) in DUELS {
        for ours in report.rates.iter().filter(|rate| rate.service == weir) {
            let Some(theirs) = report.rate(linux, ours.cell) else { continue };
            let middle = |rounds: &[f64]| match Spread::of(rounds.iter().copied()) {
                Some(spread) if spread.largest > 0.0 => grouped(spread.median),
                _ => "no answers".into(),
            };
            let ratio = ratio(report, weir, linux, ours.cell).map_or("none".into(), |spread| times(&spread));
            let _ = writeln!(
                text,
                "| {} to {}, {} | {} | {} | {} | {} | {} |",
                weir.name(),
                linux.name(),
                ours.cell.name(),
                middle(&ours.rounds),
                middle(&theirs.rounds),
                ratio,
                ours.errors,
                theirs.errors
            );
        }
    }
    text
}

fn latency(report: &Report) -> String {
    if report.latency.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Time to answer\n\nOpen loop: requests are due at a steady rate whatever the answers do, and latency counts from \
         then. Microseconds.\n\n| service | rate | 50 % | 90 % | 99 % | 99.9 % | slowest | errors |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for latency in &report.latency {
        let at = |percent: f64| {
            let found = latency.percentiles.iter().find(|(other, _)| *other == percent);
            found.map_or(String::new(), |(_, micros)| short(*micros))
        };
        let (service, errors) = (latency.service.name(), latency.errors);
        let rate = format!("{}, {}, {} vCPU", short(latency.rate), latency.at, latency.cell.cores);
        let columns = [50.0, 90.0, 99.0, 99.9, 100.0].map(at).join(" | ");
        let _ = writeln!(text, "| {service} | {rate} | {columns} | {errors} |");
    }
    text
}

/// Figures that stand alone.
fn singles(report: &Report) -> String {
    let mut rows = Vec::new();
    for list in [&report.boots, &report.idle, &report.memory] {
        for series in list {
            if let Some(spread) = Spread::of(series.values.iter().copied()) {
                let (median, range) = (short(spread.median), range(&spread));
                rows.push(format!("| {} | {} | {median} {}{range} |", series.of, series.system.name(), series.unit));
            }
        }
    }
    for bulk in &report.bulk {
        if let Some(spread) = Spread::of(bulk.rounds.iter().copied()) {
            let (median, range) = (short(spread.median), range(&spread));
            let what = format!("one answer of 64 MiB, {} vCPU", bulk.cores);
            rows.push(format!("| {what} | {} | {median} MiB/s{range} |", bulk.service.name()));
        }
    }
    for flood in &report.floods {
        let what =
            format!("{} SYNs per second from everywhere, {} vCPU", grouped(flood.syns_per_second as f64), flood.cores);
        let figures = format!(
            "{} of {} requests answered, median {} ms, slowest {} ms",
            flood.answered,
            flood.tried,
            short(flood.median_ms),
            short(flood.slowest_ms)
        );
        rows.push(format!("| {what} | {} | {figures} |", flood.service.name()));
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\n## Start, rest, memory, bulk, attack\n\n| what | of | figure |\n| --- | --- | --- |\n{}\n",
        rows.join("\n")
    )
}

fn range(spread: &Spread) -> String {
    if spread.least == spread.largest {
        return String::new();
    }
    format!(" ({} to {})", short(spread.least), short(spread.largest))
}

fn machine(report: &Report) -> String {
    let mut text = String::from("\n## Machine\n\n| | |\n| --- | --- |\n");
    for fact in &report.facts {
        let _ = writeln!(text, "| {} | {} |", fact.name, fact.value);
    }
    for (title, list) in [("Not measured", &report.failures), ("Tried again", &report.retries)] {
        if !list.is_empty() {
            let _ = writeln!(text, "\n{title}:\n");
            list.iter().for_each(|line| text += &format!("- {}\n", line.replace('\n', " ")));
        }
    }
    text
}

const FAIRNESS: &str = "
## How it was measured, and what is not fair

- Both guests run at the same time in one private network namespace, on wires of their own; the one that is not asked is idle. A
  round asks every service once, every second round in the opposite order.
- Same QEMU, same machine, same memory, same number of queue pairs, same client and the same two nginx on the host behind every
  proxy, to which all proxies keep their connections open. Each wire has room for 20,000 frames, so that a guest that is slow loses
  none of them.
- Linux is given what an operator of a busy server gives it, and what is below: `mitigations=off`, nothing beside the servers, a
  worker or thread for each vCPU, `reuseport`, no access log, no conntrack, an initramfs in memory, long queues.
- Weir has its defaults.
- For Linux: instructions of `rep movsb` count as one, and it copies with them; Weir copies less and counts each step. Its nginx and
  HAProxy do more than was asked of them here: TLS, rules, logs. It is the distribution's kernel and programs, not the newest.
- For Weir: it polls before it halts, and what it executes meanwhile is in its figures.
- Under TCG an instruction costs about the same whatever it is: a locked one is too cheap, a VM exit is not one, cache misses do not
  show. What Linux does at every system call, interrupt and change of process costs more under TCG than on a processor, since
  translations and page tables are looked up again: that is why ratios of rates are larger than those of instructions. **Under KVM
  ratios of rates will be smaller; counts will be the same.** Believe the counts.
- The client takes a processor of its own when it can have one. With as many vCPUs as the machine has processors it is the client
  that is measured in part, which makes ratios smaller than they are.
- With 1,000 connections, rates are of a crowd of which each has been answered once before, for four seconds; opening connections
  that stay open does not count. Instructions are always counted so, and until the last answer has come: nothing is under way
  at the beginning or the end.
- Guests that count run slower, find larger bursts in their queues, and need less for each request; this holds for both.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bulk, Rate, VERSION};

    fn sample() -> Report {
        let cell = Cell { cores: 1, reuse: Reuse::KeepAlive, shape: PLAIN };
        let count = |service, instructions, devices| Count {
            service,
            cell,
            windows: vec![PerRequest {
                requests: 100,
                errors: 0,
                instructions,
                locked: 0.0,
                barriers: 0.0,
                devices,
                idle: 0.0,
            }],
        };
        let rate = |service, rounds: [f64; 3]| Rate { service, cell, rounds: rounds.into(), errors: 0 };
        let series =
            |system, values: [f64; 3]| Series { system, of: "start".into(), unit: "ms".into(), values: values.into() };
        Report {
            version: VERSION,
            started: "2026-11-25 09:00".into(),
            counts: vec![count(Service::Httpd, 2500.0, 4.0), count(Service::Nginx, 25_000.0, 3.0)],
            rates: vec![rate(Service::Httpd, [50.0, 80.0, 70.0]), rate(Service::Nginx, [100.0; 3])],
            boots: vec![series(System::Weir, [300.0, 200.0, 250.0]), series(System::Linux, [3000.0; 3])],
            bulk: vec![
                Bulk { service: Service::Proxy, cores: 1, rounds: vec![10.0] },
                Bulk { service: Service::Haproxy, cores: 1, rounds: vec![20.0] },
            ],
            failures: vec!["a\nb".into()],
            retries: vec!["QEMU ended".into()],
            ..Report::default()
        }
    }

    #[test]
    fn the_headline_has_figures_and_ratios() {
        let text = headline(&sample()).unwrap();
        let row = "| Weir httpd to nginx, keep-alive, 1 vCPU | 2,500 to 25,000 | 10.0× | 0.70× (0.50 to 0.80) |";
        assert!(text.contains(row), "{text}");
        assert_eq!(headline(&Report::default()), None);
    }

    #[test]
    fn what_is_lost_is_told() {
        let text = lost(&sample());
        for line in [
            "- rate of Weir httpd to nginx, keep-alive, 1 vCPU, 64 B, 32 connections: 0.70× (0.50 to 0.80)",
            "- device accesses of Weir httpd to nginx, keep-alive, 1 vCPU, 64 B, 32 connections: 4.00 to 3.00",
            "- bulk through Weir proxy to HAProxy: 10.0 to 20.0 MiB/s",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("- instructions of") && !text.contains("- start"), "{text}");
        assert!(lost(&Report::default()).contains("In nothing"), "{text}");
    }

    #[test]
    fn the_report_has_all_of_it() {
        let text = report(&sample(), &crate::plots::all(&sample()));
        for part in [
            "250 ms (200 to 300)",
            "- a b\n",
            "Tried again:\n\n- QEMU ended\n",
            "![Instructions per request",
            "worker_cpu_affinity auto",
            "http-reuse",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
