//! What changed from one report to another.
//!
//! Instructions per request decide, since they do not depend on the machine; a ratio of rates has changed only when its rounds
//! do not overlap with those from before.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use weir_host::failure::Failure;

use crate::matrix::{Cell, DUELS, Service, System};
use crate::model::{Report, VERSION};
use crate::number::short;
use crate::options::Compare;
use crate::statistics::Spread;

/// One figure in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What it is.
    pub what: String,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// In percent of before.
    pub percent: f64,
    /// What it means.
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Within the threshold, or within what the rounds differ by.
    Same,
    /// Beyond it, to the good.
    Better,
    /// Beyond it, to the bad.
    Worse,
}

/// `weir bench compare`.
///
/// # Errors
/// When a report cannot be read, or they have nothing in common.
pub fn main(options: &Compare) -> Result<ExitCode, Failure> {
    let (before, after) = (read(&options.before)?, read(&options.after)?);
    let changes = changes(&before, &after, options.threshold);
    if changes.is_empty() {
        return Err(Failure::new("the two reports have no figure in common").help("make both with the same options"));
    }
    println!("{}", table(&changes));
    let count = |verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    let worse = count(Verdict::Worse);
    println!(
        "{} figures: {} better, {worse} worse by more than {} %",
        changes.len(),
        count(Verdict::Better),
        options.threshold
    );
    Ok(ExitCode::from(u8::from(worse > 0)))
}

/// Reads a `report.json`.
///
/// # Errors
/// When it cannot be read, or is none of this version.
pub fn read(path: &Path) -> Result<Report, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(format!("cannot read {}: {error}", path.display())).help("give the report.json of a benchmark")
    })?;
    parse(&text).map_err(|cause| {
        Failure::new(format!("{} is no report: {cause}", path.display())).help("give the report.json of a benchmark")
    })
}

fn parse(text: &str) -> Result<Report, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {
            serde_json::from_value(value).map_err(|error| error.to_string())
        }
        Some(version) => Err(format!("it has version {version}, and {VERSION} is understood")),
        None => Err("it has no version".into()),
    }
}

/// All figures that both have: instructions of Weir, and ratios of rates.
#[must_use]
pub fn changes(before: &Report, after: &Report, threshold: f64) -> Vec<Change> {
    let mut changes = Vec::new();
    for count in before.counts.iter().filter(|count| count.service.system() == System::Weir) {
        let figures = |report: &Report| report.count(count.service, count.cell)?.spread(|window| window.instructions);
        if let (Some(old), Some(new)) = (figures(before), figures(after)) {
            let what = format!("instructions, {}, {}", count.service.name(), count.cell.name());
            changes.push(Change::new(what, old.median, new.median, threshold, Some(false)));
        }
    }
    for rate in before.rates.iter().filter(|rate| rate.service.system() == System::Weir) {
        for (weir, linux) in DUELS.into_iter().filter(|(weir, _)| *weir == rate.service) {
            let ratios = |report: &Report| ratio(report, weir, linux, rate.cell);
            if let (Some(old), Some(new)) = (ratios(before), ratios(after)) {
                let what = format!("rate, {} to {}, {}", weir.name(), linux.name(), rate.cell.name());
                let overlap = old.least <= new.largest && new.least <= old.largest;
                changes.push(Change::new(what, old.median, new.median, threshold, (!overlap).then_some(true)));
            }
        }
    }
    changes
}

/// Weir's rate in units of Linux', round by round. A round in which Linux answered nothing has no ratio.
#[must_use]
pub fn ratio(report: &Report, weir: Service, linux: Service, cell: Cell) -> Option<Spread> {
    Spread::of_ratios(&report.rate(weir, cell)?.rounds, &report.rate(linux, cell)?.rounds)
}

impl Change {
    /// `more_is_better` is `None` when a change proves nothing.
    fn new(what: String, before: f64, after: f64, threshold: f64, more_is_better: Option<bool>) -> Self {
        let percent = if before == 0.0 { 0.0 } else { 100.0 * (after - before) / before };
        let verdict = match more_is_better {
            Some(more_is_better) if percent.abs() > threshold => {
                if (percent > 0.0) == more_is_better {
                    Verdict::Better
                } else {
                    Verdict::Worse
                }
            }
            _ => Verdict::Same,
        };
        Self { what, before, after, percent, verdict }
    }
}

fn table(changes: &[Change]) -> String {
    let mut text = String::from("| figure | before | after | change | |\n| --- | --- | --- | --- | --- |\n");
    for change in changes {
        let verdict = match change.verdict {
            Verdict::Same => "",
            Verdict::Better => "better",
            Verdict::Worse => "worse",
        };
        let (before, after) = (short(change.before), short(change.after));
        text += &format!("| {} | {before} | {after} | {:+.1} % | {verdict} |\n", change.what, change.percent);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{PLAIN, Reuse};
    use crate::model::{Count, PerRequest, Rate};

    const CELL: Cell = Cell { cores: 1, reuse: Reuse::KeepAlive, shape: PLAIN };

    fn report(instructions: f64, rounds: [[f64; 3]; 2]) -> Report {
        let window =
            PerRequest { requests: 1000, errors: 0, instructions, locked: 0.0, barriers: 0.0, devices: 0.1, idle: 0.0 };
        let [weir, linux] = rounds.map(Vec::from);
        Report {
            version: VERSION,
            counts: vec![Count { service: Service::Httpd, cell: CELL, windows: vec![window] }],
            rates: vec![
                Rate { service: Service::Httpd, cell: CELL, rounds: weir, errors: 0 },
                Rate { service: Service::Nginx, cell: CELL, rounds: linux, errors: 0 },
            ],
            ..Report::default()
        }
    }

    fn verdicts(before: &Report, after: &Report) -> Vec<Verdict> {
        changes(before, after, 5.0).into_iter().map(|change| change.verdict).collect()
    }

    const LINUX: [f64; 3] = [100.0, 100.0, 100.0];

    #[test]
    fn more_instructions_are_worse_and_fewer_better() {
        let before = report(1000.0, [[300.0; 3], LINUX]);
        assert_eq!(verdicts(&before, &report(1051.0, [[300.0; 3], LINUX])), [Verdict::Worse, Verdict::Same]);
        assert_eq!(verdicts(&before, &report(949.0, [[300.0; 3], LINUX])), [Verdict::Better, Verdict::Same]);
        assert_eq!(verdicts(&before, &report(1049.0, [[300.0; 3], LINUX])), [Verdict::Same, Verdict::Same]);
    }

    #[test]
    fn a_ratio_changes_when_rounds_do_not_overlap() {
        let before = report(1000.0, [[300.0, 310.0, 320.0], LINUX]);
        assert_eq!(verdicts(&before, &report(1000.0, [[200.0, 210.0, 299.0], LINUX])), [Verdict::Same, Verdict::Worse]);
        assert_eq!(verdicts(&before, &report(1000.0, [[200.0, 210.0, 301.0], LINUX])), [Verdict::Same, Verdict::Same]);
        assert_eq!(verdicts(&before, &report(1000.0, [[400.0; 3], LINUX])), [Verdict::Same, Verdict::Better]);
    }

    #[test]
    fn reports_survive_being_written() {
        let report = report(1000.0, [[300.0; 3], LINUX]);
        assert_eq!(parse(&serde_json::to_string(&report).unwrap()), Ok(report));
    }

    #[test]
    fn what_is_no_report_is_said() {
        let failure = read(Path::new("/nowhere/report.json")).unwrap_err().to_string();
        assert!(failure.contains("/nowhere/report.json") && failure.contains("help: "), "{failure}");
        assert_eq!(parse("{}").unwrap_err(), "it has no version");
        assert_eq!(parse(r#"{"version": 99}"#).unwrap_err(), "it has version 99, and 1 is understood");
        assert!(parse("{").unwrap_err().contains("EOF"), "{:?}", parse("{"));
        assert!(parse(r#"{"version": 1}"#).unwrap_err().contains("missing field"));
    }
}
