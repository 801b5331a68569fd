//! The report as a value: what `report.json` holds.

use serde::{Deserialize, Serialize};

use crate::matrix::{Cell, Service, System};
use crate::statistics::Spread;

/// The form of `report.json`. One that is read must be of this.
pub const VERSION: u32 = 1;

/// Everything that was measured, and on what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The command that made it.
    pub command: String,
    /// `full`, `quick` or `smoke`.
    pub pace: String,
    /// When it began, in UTC.
    pub started: String,
    /// How long it took.
    pub seconds: u64,
    /// The machine and the programs.
    pub facts: Vec<Fact>,
    /// What guests execute per request.
    pub counts: Vec<Count>,
    /// Cache lines that vCPUs share.
    pub sharing: Vec<Sharing>,
    /// Requests per second, in rounds.
    pub rates: Vec<Rate>,
    /// Time to answer at a given rate.
    pub latency: Vec<Latency>,
    /// From the start of QEMU to the first byte of an answer.
    pub boots: Vec<Series>,
    /// Processor time of an idle guest.
    pub idle: Vec<Series>,
    /// Memory of an idle connection.
    pub memory: Vec<Series>,
    /// Throughput of one long answer.
    pub bulk: Vec<Bulk>,
    /// Requests during a flood of SYNs.
    pub floods: Vec<Flood>,
    /// What could not be measured, and why.
    pub failures: Vec<String>,
    /// What had to be tried again, and why.
    #[serde(default)]
    pub retries: Vec<String>,
}

/// Something about the machine or a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What a guest executes per request, in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// The service.
    pub service: Service,
    /// The cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// Each time it was measured.
    pub windows: Vec<PerRequest>,
}

/// Figures per request, of all vCPUs together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PerRequest {
    /// Requests that were answered in the window.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Instructions per request.
    pub instructions: f64,
    /// Locked instructions per request.
    pub locked: f64,
    /// `mfence` per request.
    pub barriers: f64,
    /// Accesses to device memory and ports per request.
    pub devices: f64,
    /// Transitions to idle per request.
    pub idle: f64,
}

/// Cache lines that one vCPU wrote and another touched, while a load was on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sharing {
    /// The service.
    pub service: Service,
    /// The cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// Requests that were answered in the meantime.
    pub requests: u64,
    /// How many lines.
    pub lines: usize,
    /// Accesses to them per request, once they were shared. Of the 4,096 lines with most accesses.
    pub accesses: f64,
}

/// Requests per second in one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The service.
    pub service: Service,
    /// The cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// One for each round; those of one round belong together.
    pub rounds: Vec<f64>,
    /// Requests that failed, in all rounds.
    pub errors: u64,
}

/// Time to answer, from the moment a request was due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The service.
    pub service: Service,
    /// The cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// How the rate was chosen.
    pub at: String,
    /// Requests per second that were asked for.
    pub rate: f64,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Percentile and microseconds.
    pub percentiles: Vec<(f64, f64)>,
}

/// A figure of a system, several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The system.
    pub system: System,
    /// What it is a figure of.
    pub of: String,
    /// Its unit.
    pub unit: String,
    /// The figures.
    pub values: Vec<f64>,
}

/// Throughput of one long answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bulk {
    /// The service.
    pub service: Service,
    /// Virtual processors.
    pub cores: u32,
    /// MiB per second, one for each round.
    pub rounds: Vec<f64>,
}

/// Requests during a flood of SYNs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flood {
    /// The service.
    pub service: Service,
    /// Virtual processors.
    pub cores: u32,
    /// SYNs per second that were asked for, from random addresses.
    pub syns_per_second: u64,
    /// Requests that were tried, one after the other.
    pub tried: usize,
    /// Requests that were answered within five seconds.
    pub answered: usize,
    /// Milliseconds of those, median.
    pub median_ms: f64,
    /// Milliseconds of the slowest.
    pub slowest_ms: f64,
}

/// Requests that each connection must have had answered in a window. What is under way at the window's end has cost something
/// and is not counted as answered; with fewer requests that weighs too much.
const REQUESTS_PER_CONNECTION_MIN: u64 = 3;

impl Count {
    /// The spread of a figure over the windows in which enough was answered; `None` if there is no such window.
    #[must_use]
    pub fn spread(&self, figure: impl Fn(&PerRequest) -> f64) -> Option<Spread> {
        let enough = REQUESTS_PER_CONNECTION_MIN * u64::from(self.cell.shape.connections);
        Spread::of(self.windows.iter().filter(|window| window.requests >= enough).map(figure))
    }
}

impl Report {
    /// The count of a service in a cell.
    #[must_use]
    pub fn count(&self, service: Service, cell: Cell) -> Option<&Count> {
        self.counts.iter().find(|count| (count.service, count.cell) == (service, cell))
    }

    /// Whether anything was measured.
    #[must_use]
    pub fn has_figures(&self) -> bool {
        let series = [&self.boots, &self.idle, &self.memory].iter().any(|list| !list.is_empty());
        let counted = !self.counts.is_empty() || !self.sharing.is_empty();
        counted || series || !self.rates.is_empty() || !self.bulk.is_empty() || !self.floods.is_empty()
    }

    /// The rate of a service in a cell.
    #[must_use]
    pub fn rate(&self, service: Service, cell: Cell) -> Option<&Rate> {
        self.rates.iter().find(|rate| (rate.service, rate.cell) == (service, cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{Reuse, Shape};

    #[test]
    fn windows_with_few_answers_do_not_count() {
        let window = |requests, instructions| PerRequest {
            requests,
            errors: 0,
            instructions,
            locked: 0.0,
            barriers: 0.0,
            devices: 0.0,
            idle: 0.0,
        };
        let cell = Cell { cores: 1, reuse: Reuse::PerRequest, shape: Shape { size: 64, connections: 1000 } };
        let mut count = Count {
            service: Service::Nginx,
            cell,
            windows: vec![window(300, 1e6), window(3000, 9e4), window(4000, 8e4)],
        };
        let spread = count.spread(|window| window.instructions).unwrap();
        assert_eq!((spread.least, spread.largest), (8e4, 9e4));
        count.windows.truncate(1);
        assert_eq!(count.spread(|window| window.instructions), None);
    }
}
