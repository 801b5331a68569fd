//! Requests per second, in rounds: each round asks every service once, so that a ratio within a round cancels what the machine
//! did meanwhile. Every second round goes backwards, so that nobody is always first.

use crate::guest::Watch;
use crate::lab::Pair;
use crate::matrix::{Cell, SHAPES, Service};
use crate::model::Rate;
use crate::number;
use crate::run::Course;
use crate::statistics::Spread;

/// Rounds for other shapes than the first.
const ROUNDS_OF_OTHERS: usize = 3;

/// Measures every cell.
pub fn all(course: &mut Course) {
    for cores in course.pace.rate_cores.clone() {
        let Some(mut pair) = course.boot(cores, Watch::Nothing) else { continue };
        warm_up(course);
        let shapes = if course.pace.all_shapes { SHAPES.len() } else { 1 };
        for shape in SHAPES.into_iter().take(shapes) {
            for reuse in course.reuses() {
                let rounds = if shape == SHAPES[0] { course.pace.rounds } else { ROUNDS_OF_OTHERS };
                cell(course, &mut pair, Cell { cores, reuse, shape }, rounds);
            }
        }
    }
}

/// A second of each load for each service, which counts for nothing: code is translated, connections to the servers open.
fn warm_up(course: &Course) {
    for reuse in course.reuses() {
        for service in course.services() {
            // What fails here fails again where it is told.
            let _ = reuse.load().run(service.at(), "/", 1);
        }
    }
}

fn cell(course: &mut Course, _pair: &mut Pair, cell: Cell, rounds: usize) {
    let services = course.services();
    let empty = |service| Rate { service, cell, rounds: vec![0.0; rounds], errors: 0 };
    let mut rates: Vec<Rate> = services.iter().copied().map(empty).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..services.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let service = services[index];
            // A thousand connections take a while to open.
            let is_short = cell.shape != SHAPES[0] && cell.shape.connections == SHAPES[0].connections;
            let seconds = if is_short { 1 } else { course.pace.rate_seconds };
            let (path, connections) = (cell.shape.path(), cell.shape.connections);
            match cell.reuse.load().run_wide(service.at(), &path, seconds, connections) {
                Ok(outcome) => {
                    rates[index].rounds[round] = outcome.rate;
                    rates[index].errors += outcome.errors;
                }
                Err(error) => course.fail(&format!("rate of {}, {}: {error}", service.name(), cell.name())),
            }
        }
    }
    let medians = rates.iter().filter_map(|rate| {
        let median = Spread::of(rate.rounds.iter().copied())?.median;
        Some(format!("{} {}", rate.service.name(), number::short(median)))
    });
    course.tell(&format!("{}, per second: {}", cell.name(), medians.collect::<Vec<_>>().join("; ")));
    course.report.rates.extend(rates);
}

/// The middle rate of a service, if it was measured.
#[must_use]
pub fn median(course: &Course, service: Service, cell: Cell) -> Option<f64> {
    let rate = course.report.rate(service, cell)?;
    Spread::of(rate.rounds.iter().copied()).map(|spread| spread.median).filter(|median| *median > 0.0)
}
