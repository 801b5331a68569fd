//! Writes the tables of `docs/performance/throughput.md`: `cargo run --release -p weir-sim --example throughput`.
//!
//! With `queue`, `loss` or `fairness` it writes that table alone.
//! With `trace RATE_MBIT ROUND_TRIP_US QUEUE_BYTES MS` it prints what one flow does over such a path instead.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_sim::bulk::{Bulk, Loss, Measured, Path, cubic_segments, jain, reno_segments};
use weir_tcp::CongestionAlgorithm::{self, Cubic, NewReno};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/performance/throughput.md");
const SEEDS: u64 = 4;
const BOTH: [CongestionAlgorithm; 2] = [Cubic, NewReno];

/// A table's name, and what makes it.
type Section = (&'static str, fn() -> String);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "trace") {
        return trace(&arguments[1..]);
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    let sections: [Section; 3] = [("fairness", fairness), ("queue", without_loss), ("loss", with_loss)];
    for (name, table) in sections {
        if wanted(name) {
            write(name, &table());
        }
    }
}

/// Puts a table in its place in the document.
fn write(name: &str, table: &str) {
    let text = std::fs::read_to_string(DOCUMENT).expect("the document");
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (head, rest) = text.split_once(&begin).expect("the table's begin");
    let (_, tail) = rest.split_once(&end).expect("the table's end");
    std::fs::write(DOCUMENT, format!("{head}{begin}\n{table}\n{end}{tail}")).expect("the document can be written");
    println!("{table}");
}

fn path(rate_mbit: u64, round_trip_us: u64, queue_round_trips: f64, loss: Loss) -> Path {
    let rate_bps = rate_mbit * 1_000_000;
    let product = rate_bps as f64 / 8e6 * round_trip_us as f64;
    Path {
        rate_bps,
        access_bps: 4 * rate_bps,
        round_trip_us,
        queue_bytes: (product * queue_round_trips) as u64,
        loss,
        mtu: 1_500,
        segmentation_max: 64_000,
    }
}

fn trace(arguments: &[String]) {
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).expect("a number");
    let path = Path { queue_bytes: number(2), ..path(number(0), number(1), 0.0, Loss::None) };
    let bulk = Bulk { to_ms: number(3), trace_ms: 50, ..Bulk::new(1, path) };
    println!("{:?}", bulk.run());
}

/// Runs all, on two threads, and gives the results in order.
fn run_all(bulks: &[Bulk]) -> Vec<Measured> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(bulk) = bulks.get(at) else { return done };
            done.push((at, bulk.run().unwrap_or_else(|what| panic!("{what}: {bulk:?}"))));
            eprintln!("{at} of {}", bulks.len());
        }
    };
    let mut all = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut all = work();
        all.extend(other.join().expect("no panic"));
        all
    });
    all.sort_by_key(|&(place, _)| place);
    all.into_iter().map(|(_, measured)| measured).collect()
}

fn without_loss() -> String {
    let mut cases = Vec::new();
    for (rate_mbit, round_trip_us) in [(10_000, 20_000), (1_000, 2_000), (1_000, 20_000), (1_000, 100_000)] {
        for queue in [0.2, 1.0, 2.0] {
            for algorithm in BOTH {
                cases.push((rate_mbit, round_trip_us, queue, algorithm));
            }
        }
    }
    let bulk = |&(rate_mbit, round_trip_us, queue, algorithm): &(u64, u64, f64, CongestionAlgorithm)| {
        let path = path(rate_mbit, round_trip_us, queue, Loss::None);
        let mut bulk = Bulk { from_ms: 1_000, to_ms: 3_000, ..Bulk::new(1, path) };
        bulk.config.congestion = algorithm;
        bulk
    };
    let bulks: Vec<Bulk> = cases.iter().map(bulk).collect();
    let measured = run_all(&bulks);
    let mut table = String::from(
        "| link | round trip | queue | algorithm | of the link, 1 to 3 s | dropped | episodes | timeouts |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (case, (bulk, run)) in cases.iter().zip(bulks.iter().zip(&measured)) {
        let (rate_mbit, round_trip_us, queue, algorithm) = case;
        let _ = writeln!(
            table,
            "| {} Gbit/s | {} ms | {queue} round trips | {algorithm:?} | {:.1} % | {} | {} | {} |",
            rate_mbit / 1_000,
            round_trip_us / 1_000,
            100.0 * run.goodput[0] / bulk.link_goodput(),
            run.dropped,
            run.recoveries,
            run.timeouts,
        );
    }
    table
}

fn with_loss() -> String {
    let mut cases = Vec::new();
    for algorithm in BOTH {
        for round_trip_us in [20_000_u64, 100_000] {
            for every in [10_000, 1_000, 100] {
                cases.push((algorithm, round_trip_us, every));
            }
        }
    }
    let bulk = |&(algorithm, round_trip_us, _): &(CongestionAlgorithm, u64, u64), loss: Loss, seed: u64| {
        // Five hundred losses or more, but for the longest round trip.
        let to_ms = if round_trip_us > 50_000 { 600_000 } else { 200_000 };
        let mut bulk = Bulk { from_ms: 20_000, to_ms, ..Bulk::new(seed, path(10_000, round_trip_us, 1.0, loss)) };
        bulk.config.congestion = algorithm;
        bulk
    };
    let mut bulks = Vec::new();
    for case in &cases {
        bulks.push(bulk(case, Loss::Every(case.2), 1));
        bulks.extend((1..=SEEDS).map(|seed| bulk(case, Loss::Random(1.0 / case.2 as f64), seed)));
    }
    let measured = run_all(&bulks);
    let mut table = String::from(
        "| algorithm | round trip | loss | model, segments | lost at random | of the model | rate, Mbit/s | one of every n lost | of the model | timeouts |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (&(algorithm, round_trip_us, every), runs) in cases.iter().zip(measured.chunks(1 + SEEDS as usize)) {
        let (p, round_trip_s) = (1.0 / every as f64, round_trip_us as f64 / 1e6);
        let model = if algorithm == Cubic { cubic_segments(p, round_trip_s) } else { reno_segments(p) };
        let goodput = runs[1..].iter().map(|run| run.goodput[0]).sum::<f64>() / SEEDS as f64;
        let segments = |goodput: f64| goodput * round_trip_s / f64::from(runs[0].mss);
        let regular = segments(runs[0].goodput[0]);
        let random = segments(goodput);
        let timeouts: u64 = runs[1..].iter().map(|run| run.timeouts).sum();
        let _ = writeln!(
            table,
            "| {algorithm:?} | {} ms | {} % | {model:.1} | {random:.1} | {:.2} | {:.1} | {regular:.1} | {:.2} | {timeouts} |",
            round_trip_us / 1_000,
            100.0 * p,
            random / model,
            goodput * 8.0 / 1e6,
            regular / model,
        );
    }
    table
}

fn fairness() -> String {
    let mut cases = Vec::new();
    for algorithm in BOTH {
        for rate_mbit in [20, 100] {
            for queue in [0.2, 1.0, 2.0] {
                cases.push((algorithm, rate_mbit, queue));
            }
        }
    }
    let bulk = |&(algorithm, rate_mbit, queue): &(CongestionAlgorithm, u64, f64)| {
        let (from_ms, to_ms) = (20_000, 80_000);
        let starts_ms = vec![0, 2_000];
        let path = path(rate_mbit, 20_000, queue, Loss::None);
        let mut bulk = Bulk { from_ms, to_ms, starts_ms, ..Bulk::new(1, path) };
        bulk.config.congestion = algorithm;
        bulk
    };
    let bulks: Vec<Bulk> = cases.iter().map(bulk).collect();
    let measured = run_all(&bulks);
    let mut table = String::from(
        "| algorithm | link | queue | measured | Jain's index | of the link | dropped |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (case, (run, bulk)) in cases.iter().zip(measured.iter().zip(&bulks)) {
        let (algorithm, rate_mbit, queue) = case;
        let _ = writeln!(
            table,
            "| {algorithm:?} | {rate_mbit} Mbit/s | {queue} round trips | {} to {} s | {:.3} | {:.1} % | {} |",
            bulk.from_ms / 1_000,
            bulk.to_ms / 1_000,
            jain(&run.goodput),
            100.0 * run.goodput.iter().sum::<f64>() / bulk.link_goodput(),
            run.dropped,
        );
    }
    table
}
