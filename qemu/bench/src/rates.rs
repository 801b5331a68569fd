//! Requests per second, in rounds: each round asks every service once, so that a ratio within a round cancels what the machine
//! did meanwhile. Every second round goes backwards, so that nobody is always first.

use std::time::Duration;

use weir_meter::lab::Failed;
use weir_meter::lab::load::Outcome;

use crate::crowd::Crowd;
use crate::guest::Watch;
use crate::lab::Pair;
use crate::matrix::{Cell, PLAIN, SHAPES, Service, Shape};
use crate::model::Rate;
use crate::number;
use crate::run::Course;
use crate::statistics::Spread;

/// Rounds for other shapes than the first.
const ROUNDS_OF_OTHERS: usize = 3;

/// How long a crowd asks, when each of it has been answered once.
const CROWD_LENGTH: Duration = Duration::from_secs(4);

/// Measures every cell.
pub fn all(course: &mut Course) {
    for cores in course.pace.rate_cores.clone() {
        let Some(mut pair) = course.boot(cores, Watch::Nothing) else { continue };
        warm_up(course);
        let shapes = if course.pace.all_shapes { SHAPES.len() } else { 1 };
        for shape in SHAPES.into_iter().take(shapes) {
            for reuse in course.pace.reuses.clone() {
                let rounds = if shape == SHAPES[0] { course.pace.rounds } else { ROUNDS_OF_OTHERS };
                cell(course, &mut pair, Cell { cores, reuse, shape }, rounds);
            }
        }
    }
}

/// A second of each load for each service, which counts for nothing: code is translated, connections to the servers open.
fn warm_up(course: &Course) {
    for reuse in &course.pace.reuses {
        for service in &course.pace.services {
            // What fails here fails again where it is told.
            let _ = reuse.load().run(service.at(), "/", 1);
        }
    }
}

fn cell(course: &mut Course, _pair: &mut Pair, cell: Cell, rounds: usize) {
    let services = course.pace.services.clone();
    let empty = |service| Rate { service, cell, rounds: vec![0.0; rounds], errors: 0 };
    let mut rates: Vec<Rate> = services.iter().copied().map(empty).collect();
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..services.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let service = services[index];
            match load(service, cell, course.pace.rate_seconds) {
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

/// A thousand connections take a while to open, longer than others are asked; then that does not count.
fn load(service: Service, cell: Cell, seconds: u32) -> Result<Outcome, Failed> {
    let Shape { connections, .. } = cell.shape;
    if connections == PLAIN.connections {
        let seconds = if cell.shape == PLAIN { seconds } else { 1 };
        return cell.reuse.load().run_wide(service.at(), &cell.shape.path(), seconds, connections);
    }
    let mut crowd = Crowd::new(service.at(), &cell.shape.path(), connections, cell.reuse)?;
    crowd.run(Duration::ZERO)?;
    let outcome = crowd.run(CROWD_LENGTH)?;
    if outcome.requests == 0 { Err(format!("no answers, {} errors", outcome.errors).into()) } else { Ok(outcome) }
}

/// The middle rate of a service, if it was measured.
#[must_use]
pub fn median(course: &Course, service: Service, cell: Cell) -> Option<f64> {
    let rate = course.report.rate(service, cell)?;
    Spread::of(rate.rounds.iter().copied()).map(|spread| spread.median).filter(|median| *median > 0.0)
}
