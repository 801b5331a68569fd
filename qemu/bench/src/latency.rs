//! Time to answer at half load, from an open loop: at half of what the Linux service can do, for both, and at half of what
//! Weir can do, for Weir.

use std::time::Duration;

use crate::client::OpenLoop;
use crate::guest::Watch;
use crate::matrix::{Cell, DUELS, PLAIN, Reuse, Service, System};
use crate::model::Latency;
use crate::number;
use crate::rates;
use crate::run::Course;
use crate::statistics::percentile;

/// Which percentiles are told.
const PERCENTS: [f64; 12] = [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0];

/// How long each is asked.
const LENGTH: Duration = Duration::from_secs(6);

/// Measures all duels with the most vCPUs for which there are rates.
pub fn all(course: &mut Course) {
    let Some(&cores) = course.pace.rate_cores.last() else { return };
    let cell = Cell { cores, reuse: Reuse::KeepAlive, shape: PLAIN };
    let Some(_pair) = course.boot(cores, Watch::Nothing) else { return };
    for (weir, linux) in DUELS {
        if let Some(rate) = rates::median(course, linux, cell) {
            let at = half_of(linux);
            measure(course, weir, cell, &at, rate / 2.0);
            measure(course, linux, cell, &at, rate / 2.0);
        }
    }
    for service in Service::ALL.into_iter().filter(|service| service.system() == System::Weir) {
        if let Some(rate) = rates::median(course, service, cell) {
            measure(course, service, cell, &half_of(service), rate / 2.0);
        }
    }
}

fn half_of(service: Service) -> String {
    format!("half of what {} can do", service.name())
}

fn measure(course: &mut Course, service: Service, cell: Cell, at: &str, rate: f64) {
    let open = |length| OpenLoop {
        at: service.at(),
        path: cell.shape.path(),
        rate,
        connections: cell.shape.connections,
        length,
    };
    // Once before it counts, so that code is translated.
    let _ = open(Duration::from_secs(1)).run();
    let latencies = open(LENGTH).run();
    if latencies.micros.is_empty() {
        course.fail(&format!("latency of {}, {}: no answers", service.name(), cell.name()));
        return;
    }
    let at_percent = |percent| Some((percent, percentile(&latencies.micros, percent)?));
    let percentiles: Vec<(f64, f64)> = PERCENTS.into_iter().filter_map(at_percent).collect();
    let told = |wanted: f64| {
        let found = percentiles.iter().find(|(percent, _)| *percent == wanted);
        found.map_or_else(String::new, |(_, micros)| number::short(*micros))
    };
    let rate_told = number::short(rate);
    course.tell(&format!(
        "{} at {rate_told} per second: median {} us, 99 % {} us",
        service.name(),
        told(50.0),
        told(99.0)
    ));
    let requests = latencies.micros.len() as u64;
    let at = at.to_owned();
    course.report.latency.push(Latency { service, cell, at, rate, requests, errors: latencies.errors, percentiles });
}
