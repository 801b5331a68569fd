//! The pictures of a report.

use crate::compare::ratio;
use crate::matrix::{Cell, DUELS, PLAIN, Reuse, Service, scaled};
use crate::model::Report;
use crate::number::short;
use crate::svg::{self, Bar, Scale, Series};

/// A picture with its file's name.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Name of the file.
    pub file: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The picture.
    pub svg: String,
}

/// All for which there are figures.
#[must_use]
pub fn all(report: &Report) -> Vec<Plot> {
    [instructions(report), rates(report), scaling(report), latency(report)].into_iter().flatten().collect()
}

/// Instructions per request, in the middle.
#[must_use]
pub fn median_instructions(report: &Report, service: Service, cell: Cell) -> Option<f64> {
    report.count(service, cell)?.spread(|window| window.instructions).map(|spread| spread.median)
}

/// The same with a load that grows with the vCPUs; with the plain load if that was not measured.
#[must_use]
pub fn scaled_instructions(report: &Report, service: Service, cores: u32, reuse: Reuse) -> Option<f64> {
    let at = |shape| median_instructions(report, service, Cell { cores, reuse, shape });
    at(scaled(cores)).or_else(|| at(PLAIN))
}

fn cells(cores: &[u32]) -> impl Iterator<Item = Cell> {
    let of = |cores| Reuse::ALL.into_iter().map(move |reuse| Cell { cores, reuse, shape: PLAIN });
    cores.iter().copied().flat_map(of)
}

fn label(weir: Service, linux: Service, cell: Cell) -> String {
    let reuse = if cell.reuse == Reuse::KeepAlive { "keep-alive" } else { "connections" };
    format!("{} to {}, {reuse}, {} vCPU", weir.name(), linux.name(), cell.cores)
}

fn instructions(report: &Report) -> Option<Plot> {
    let mut bars = Vec::new();
    for (weir, linux) in DUELS {
        for cell in cells(&[1, 2]) {
            let pair = (median_instructions(report, weir, cell), median_instructions(report, linux, cell));
            if let (Some(ours), Some(theirs)) = pair {
                bars.push(Bar { label: label(weir, linux, cell), value: theirs / ours, spread: None });
            }
        }
    }
    let title = "Instructions per request: how many times fewer in Weir";
    (!bars.is_empty()).then(|| Plot { file: "instructions.svg", title, svg: svg::bars(title, &bars) })
}

fn rates(report: &Report) -> Option<Plot> {
    let mut bars = Vec::new();
    for (weir, linux) in DUELS {
        for cell in cells(&[1, 2, 4]) {
            if let Some(spread) = ratio(report, weir, linux, cell) {
                let range = Some((spread.least, spread.largest));
                bars.push(Bar { label: label(weir, linux, cell), value: spread.median, spread: range });
            }
        }
    }
    let title = "Requests per second: Weir in units of Linux, same round";
    (!bars.is_empty()).then(|| Plot { file: "rates.svg", title, svg: svg::bars(title, &bars) })
}

/// Numbers of vCPUs for which something was counted.
#[must_use]
pub fn counted_cores(report: &Report) -> Vec<u32> {
    let mut cores: Vec<u32> = report.counts.iter().map(|count| count.cell.cores).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

fn scaling(report: &Report) -> Option<Plot> {
    let cores = counted_cores(report);
    let mut series = Vec::new();
    for reuse in Reuse::ALL {
        for service in Service::ALL {
            let at = |cores| scaled_instructions(report, service, cores, reuse);
            let Some(one) = at(1) else { continue };
            let values = cores.iter().map(|cores| at(*cores).map(|count| count / one)).collect();
            series.push(Series { label: format!("{}, {}", service.name(), reuse.name()), values });
        }
    }
    if cores.len() < 2 || series.is_empty() {
        return None;
    }
    let places: Vec<String> = cores.iter().map(|cores| format!("{cores} vCPU")).collect();
    let title = "Instructions per request by vCPUs, in units of one vCPU";
    let svg = svg::lines(title, "", &places, &series, Scale::Linear);
    Some(Plot { file: "scaling.svg", title, svg })
}

fn latency(report: &Report) -> Option<Plot> {
    let shown = |percent: f64| (50.0..100.0).contains(&percent);
    let first = report.latency.first()?;
    let percents: Vec<f64> = first.percentiles.iter().map(|(percent, _)| *percent).filter(|p| shown(*p)).collect();
    let series = report.latency.iter().map(|latency| {
        let at = |percent: &f64| latency.percentiles.iter().find(|(other, _)| other == percent).map(|(_, us)| us / 1e3);
        let label = format!("{}, {} requests per second ({})", latency.service.name(), short(latency.rate), latency.at);
        Series { label, values: percents.iter().map(at).collect() }
    });
    let series: Vec<Series> = series.collect();
    let places: Vec<String> = percents.iter().map(|percent| format!("{percent} %")).collect();
    let title = "Time to answer by percentile, from the moment a request was due";
    let svg = svg::lines(title, "ms", &places, &series, Scale::Logarithmic);
    Some(Plot { file: "latency.svg", title, svg })
}
