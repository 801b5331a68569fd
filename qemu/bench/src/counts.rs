//! What guests execute per request, and which cache lines their vCPUs share.

use std::time::Duration;

use weir_meter::lab::Failed;
use weir_meter::lab::load::Outcome;
use weir_meter::tally::Tally;

use crate::crowd::Crowd;
use crate::guest::{Guest, Watch};
use crate::lab::Pair;
use crate::matrix::{Cell, PLAIN, Reuse, SHAPES, Service, Shape, scaled};
use crate::model::{Count, PerRequest, Sharing};
use crate::run::Course;

/// Load before anything is counted: connections open, to the servers, too, caches fill, code is translated.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long is counted: so many seconds, or longer if requests are slow, so that what happens now and then does not weigh too
/// much.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// At least.
    pub seconds: u32,
    /// How many requests there should be.
    pub requests: u32,
}

/// Requests that a window should have for each connection, and the longest window for it in seconds.
const REQUESTS_PER_CONNECTION: f64 = 5.0;
const SECONDS_MAX: u32 = 20;

/// How long cache lines are followed. Everything is slow then.
const SHARING_WINDOW: Window = Window { seconds: 4, requests: 2_000 };

/// Virtual processors when cache lines are followed.
const SHARING_CORES: u32 = 2;

/// Counts for every number of vCPUs.
pub fn instructions(course: &mut Course) {
    for cores in course.pace.count_cores.clone() {
        let Some(mut pair) = course.boot(cores, Watch::Instructions) else { continue };
        for shape in shapes(course.pace.all_shapes, cores) {
            for reuse in course.pace.reuses.clone() {
                let cell = Cell { cores, reuse, shape };
                for service in course.pace.services.clone() {
                    count(course, &mut pair, service, cell);
                }
            }
        }
    }
}

/// All on one vCPU; on more, the plain one and the one whose load grows with the vCPUs. The plain one tells nothing that is not
/// known from two.
fn shapes(is_full: bool, cores: u32) -> Vec<Shape> {
    match cores {
        _ if !is_full => vec![PLAIN],
        1 => SHAPES.to_vec(),
        2 => vec![PLAIN, scaled(cores)],
        _ => vec![scaled(cores)],
    }
}

fn count(course: &mut Course, pair: &mut Pair, service: Service, cell: Cell) {
    let guest = pair.guest(service.system());
    let count = if cell.shape == PLAIN || cell.shape == scaled(cell.cores) { course.pace.count_windows } else { 1 };
    let mut windows = Vec::new();
    match watch(guest, service, cell, course.pace.window, count) {
        Ok(watched) => windows.extend(watched.iter().map(|(outcome, work)| per_request(outcome, work))),
        Err(error) => course.fail(&format!("instructions of {}, {}: {error}", service.name(), cell.name())),
    }
    if let Some(last) = windows.last() {
        course.tell(&format!("{}, {}: {:.0} instructions per request", service.name(), cell.name(), last.instructions));
        course.report.counts.push(Count { service, cell, windows });
    }
}

/// Load that is not counted, then load that is, several times. What opening the connections costs is in the first.
fn watch(
    guest: &mut Guest,
    service: Service,
    cell: Cell,
    window: Window,
    windows: usize,
) -> Result<Vec<(Outcome, Tally)>, Failed> {
    let meter = guest.meter.as_mut().ok_or("nothing counts in this guest")?;
    let mut crowd = Crowd::new(service.at(), &cell.shape.path(), cell.shape.connections, cell.reuse)?;
    let warm_up = crowd.run(WARM_UP)?;
    let seconds = window.seconds_at(warm_up.rate, cell.shape.connections);
    let mut watched = Vec::new();
    for _ in 0..windows {
        let before = meter.mark()?;
        let outcome = crowd.run(Duration::from_secs(seconds.into()))?;
        let work = meter.read()?.since(&before);
        if work.unplaced.iter().any(|runs| *runs > 0) {
            return Err("the plugin had too few counters".into());
        }
        if outcome.requests == 0 {
            return Err(format!("no answers within {seconds} s, {} errors", outcome.errors).into());
        }
        watched.push((outcome, work));
    }
    Ok(watched)
}

impl Window {
    /// Its length, for a service with so many requests per second.
    fn seconds_at(self, rate: f64, connections: u32) -> u32 {
        let wanted = f64::from(self.requests).max(REQUESTS_PER_CONNECTION * f64::from(connections));
        let needed = (wanted / rate.max(1.0)).ceil();
        self.seconds.max(needed.min(f64::from(SECONDS_MAX)) as u32)
    }
}

fn per_request(outcome: &Outcome, work: &Tally) -> PerRequest {
    let total = work.total();
    let each = |count: u64| count as f64 / outcome.requests.max(1) as f64;
    PerRequest {
        requests: outcome.requests,
        errors: outcome.errors,
        instructions: each(total.instructions),
        locked: each(total.locked),
        barriers: each(total.barriers),
        devices: each(total.ports + total.devices),
        idle: each(total.halts),
    }
}

/// Follows cache lines in both guests.
pub fn sharing(course: &mut Course) {
    let Some(mut pair) = course.boot(SHARING_CORES, Watch::Lines) else { return };
    for reuse in Reuse::ALL {
        let cell = Cell { cores: SHARING_CORES, reuse, shape: SHAPES[0] };
        for service in Service::ALL {
            match watch(pair.guest(service.system()), service, cell, SHARING_WINDOW, 1) {
                Ok(watched) => {
                    for (outcome, work) in &watched {
                        let sharing = shared(service, cell, outcome, work);
                        let lines = sharing.lines;
                        course.tell(&format!("{}, {}: {lines} cache lines shared", service.name(), reuse.name()));
                        course.report.sharing.push(sharing);
                    }
                }
                Err(error) => course.fail(&format!("cache lines of {}, {}: {error}", service.name(), reuse.name())),
            }
        }
    }
}

fn shared(service: Service, cell: Cell, outcome: &Outcome, work: &Tally) -> Sharing {
    let accesses: u64 = work.lines.iter().flat_map(|line| &line.accesses).map(|access| access.count).sum();
    Sharing {
        service,
        cell,
        requests: outcome.requests,
        lines: work.lines_total,
        accesses: accesses as f64 / outcome.requests.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_grows_with_vcpus() {
        assert_eq!((shapes(true, 1).len(), shapes(false, 8)), (SHAPES.len(), vec![PLAIN]));
        assert_eq!(shapes(true, 8), [Shape { size: 64, connections: 256 }]);
    }

    #[test]
    fn slow_services_are_watched_for_longer() {
        let window = Window { seconds: 2, requests: 2_000 };
        assert_eq!([10_000.0, 500.0, 10.0, 0.0].map(|rate| window.seconds_at(rate, 32)), [2, 4, 20, 20]);
        assert_eq!(window.seconds_at(1000.0, 1000), 5);
    }

    #[test]
    fn figures_are_per_request_and_of_all_vcpus() {
        let work: Tally = serde_json::from_str(
            r#"{"vcpus":2,"halts":[3,1],"unplaced":[0,0],
                "blocks":[[4096,[2,4],[[1,"locked"]],[10,20]],[8192,[1],[[0,"port"]],[8,0]]],
                "devices":[[0,8192,"bell",32]],
                "lines":[[64,1,2,[[0,4096,1,9],[1,8192,0,7]]]],"lines_total":5}"#,
        )
        .unwrap();
        let outcome = Outcome { requests: 4, errors: 1, rate: 2.0 };
        let figures = per_request(&outcome, &work);
        assert_eq!((figures.instructions, figures.locked, figures.devices, figures.idle), (17.0, 7.5, 10.0, 1.0));
        let cell = Cell { cores: 2, reuse: Reuse::KeepAlive, shape: SHAPES[0] };
        let sharing = shared(Service::Nginx, cell, &outcome, &work);
        assert_eq!((sharing.lines, sharing.accesses), (5, 4.0));
    }
}
