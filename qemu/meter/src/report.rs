//! Figures as text: Markdown tables, so that they can go into the documentation as they are.

use std::cmp::Reverse;
use std::fmt::Write;

use crate::names::Names;
use crate::profile::{self, Row};

use crate::tally::{Counts, Special, Tally};

/// Header of the table of [`summary_row`].
pub const SUMMARY_HEADER: &str = "| per request | instructions | locked | barriers | device accesses | idle | req/s (context) |\n\
     | --- | --- | --- | --- | --- | --- | --- |";

/// Kinds of shared lines that are listed.
const GROUPS_LISTED: usize = 20;

/// Packages with a smaller share, in percent, are left out.
const SHARE_MIN: f64 = 0.05;

/// Special instructions and device accesses that are listed by place.
const PLACES_LISTED: usize = 12;

/// A measurement, ready to be told.
#[derive(Debug)]
pub struct Measurement {
    /// What was measured.
    pub title: String,
    /// Requests answered in the meantime.
    pub requests: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests per second.
    pub rate: f64,
    /// What the guest did.
    pub work: Tally,
    /// Whether accesses to device memory were counted.
    pub has_devices: bool,
}

impl Measurement {
    fn per_request(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }
}

/// One line of the summary. Device accesses are those to ports and those to device memory.
#[must_use]
pub fn summary_row(measurement: &Measurement) -> String {
    let Counts { instructions, locked, barriers, ports, devices, halts, .. } = measurement.work.total();
    let each = |count| measurement.per_request(count);
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        measurement.title,
        grouped(each(instructions).round() as u64),
        short(each(locked)),
        short(each(barriers)),
        if measurement.has_devices { short(each(ports + devices)) } else { "not counted".into() },
        short(each(halts)),
        grouped(measurement.rate.round() as u64),
    )
}

/// Each vCPU's share of the work, and what it does per request.
#[must_use]
pub fn balance(measurement: &Measurement) -> String {
    let mut text = String::from(
        "| vCPU | share | instructions | locked | barriers | ports | msr | device memory | idle |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let all = measurement.work.total().instructions.max(1) as f64;
    for (vcpu, counts) in measurement.work.by_vcpu().iter().enumerate() {
        let each = |count| short(measurement.per_request(count));
        let _ = writeln!(
            text,
            "| {vcpu} | {:.1} % | {} | {} | {} | {} | {} | {} | {} |",
            100.0 * counts.instructions as f64 / all,
            each(counts.instructions),
            each(counts.locked),
            each(counts.barriers),
            each(counts.ports),
            each(counts.msrs),
            each(counts.devices),
            each(counts.halts),
        );
    }
    text
}

/// The packages; the functions with most instructions of their own, and with what was inlined into them; then where the special instructions and device accesses are.
#[must_use]
pub fn profile(measurement: &Measurement, names: &Names, rows_max: usize) -> String {
    let mut text = String::from("| package | instructions per request | share |\n| --- | --- | --- |\n");
    let all = measurement.work.total().instructions.max(1) as f64;
    for (package, count) in profile::by_package(&measurement.work, names) {
        let share = 100.0 * count as f64 / all;
        if share >= SHARE_MIN {
            let _ = writeln!(text, "| {package} | {} | {share:.1} % |", short(measurement.per_request(count)));
        }
    }
    let mut rows = profile::by_function(&measurement.work, names);
    text += &format!("\n{}", functions(measurement, rows.iter().take(rows_max)));
    rows.sort_by_key(|row| Reverse(row.with_inlined));
    let with_inlined = rows.iter().filter(|row| row.with_inlined > row.counts.instructions).take(rows_max);
    text += &format!("\nThe same, by what was inlined:\n\n{}", functions(measurement, with_inlined));
    for (title, special) in [
        ("locked instructions", Special::Locked),
        ("barriers", Special::Barrier),
        ("port accesses", Special::Port),
        ("msr accesses", Special::Msr),
    ] {
        text += &places(measurement, title, &profile::specials(&measurement.work, names, special));
    }
    text + &places(measurement, "device memory accesses", &profile::devices(&measurement.work, names))
}

/// The source lines with most instructions.
#[must_use]
pub fn source_lines(measurement: &Measurement, names: &Names, rows_max: usize) -> String {
    let mut text = String::from("instructions per request, by line:\n");
    for (line, count) in profile::by_line(&measurement.work, names).iter().take(rows_max) {
        let _ = writeln!(text, "{:>10}  {line}", short(measurement.per_request(*count)));
    }
    text
}

fn functions<'a>(measurement: &Measurement, rows: impl Iterator<Item = &'a Row>) -> String {
    let mut text = String::from(
        "| function | instructions per request | share | with inlined | locked |\n| --- | --- | --- | --- | --- |\n",
    );
    let all = measurement.work.total().instructions.max(1) as f64;
    for row in rows {
        let _ = writeln!(
            text,
            "| `{}` | {} | {:.1} % | {} | {} |",
            row.function,
            short(measurement.per_request(row.counts.instructions)),
            100.0 * row.counts.instructions as f64 / all,
            short(measurement.per_request(row.with_inlined)),
            short(measurement.per_request(row.counts.locked)),
        );
    }
    text
}

fn places(measurement: &Measurement, title: &str, places: &[(String, u64)]) -> String {
    let mut text = String::new();
    if !places.is_empty() {
        let _ = writeln!(text, "\n{title} per request, by place:");
    }
    for (place, count) in places.iter().take(PLACES_LISTED) {
        let _ = writeln!(text, "{:>10}  {place}", short(measurement.per_request(*count)));
    }
    text
}

/// The cache lines that several vCPUs shared, those with the same accesses together.
#[must_use]
pub fn lines(measurement: &Measurement, names: &Names) -> String {
    let work = &measurement.work;
    let mut text = format!("{} cache lines were written by one vCPU and touched by another\n", work.lines_total);
    let groups = profile::line_groups(work, names);
    for group in groups.iter().take(GROUPS_LISTED) {
        let _ = writeln!(text, "\n  {} with {} accesses, such as {}", group.lines, group.accesses, group.example);
        for access in &group.places {
            let _ = writeln!(text, "    {access}");
        }
    }
    if groups.len() > GROUPS_LISTED {
        let _ = writeln!(text, "\n  and {} more kinds", groups.len() - GROUPS_LISTED);
    }
    text
}

/// Three digits that count: `1234`, `12.3`, `0.0123`, `0`.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        value if value < 0.0001 => "<0.0001".into(),
        value if value < 0.1 => format!("{value:.4}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// `12345` as `12,345`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        let work = serde_json::from_str(
            r#"{"vcpus":2,"halts":[1,1],"unplaced":[0,0],
                "blocks":[[4096,[2,4],[[1,"locked"]],[300,100]],[8192,[1],[[0,"port"]],[200000,0]]],
                "devices":[[0,8192,"bell",30]],
                "lines":[[64,1,2,[[0,4096,1,9],[1,8192,0,7]]]],"lines_total":1}"#,
        )
        .unwrap();
        Measurement { title: "httpd".into(), requests: 100, errors: 0, rate: 12_345.6, work, has_devices: true }
    }

    #[test]
    fn the_summary_is_a_row() {
        assert_eq!(summary_row(&measurement()), "| httpd | 2,008 | 4.00 | 0 | 2000 | 0.0200 | 12,346 |");
    }

    #[test]
    fn vcpus_stand_beside_one_another() {
        let text = balance(&measurement());
        assert!(text.contains("| 0 | 99.9 % | 2006 | 3.00 | 0 | 2000 | 0 | 0.30 | 0.0100 |"), "{text}");
        assert!(text.contains("| 1 | 0.1 % | 2.00 | 1.00 | 0 | 0 | 0 | 0 | 0.0100 |"), "{text}");
    }

    #[test]
    fn the_profile_names_places() {
        let text = profile(&measurement(), &Names::default(), 25);
        assert!(text.contains("| `(no symbol)` | 2008 | 100.0 % | 2008 | 4.00 |"), "{text}");
        assert!(text.contains("locked instructions per request, by place:\n      4.00  0x1002\n"), "{text}");
        assert!(text.contains("      0.30  bell from 0x2000\n"), "{text}");
        assert!(!text.contains("barriers per request, by place"), "{text}");
        assert!(lines(&measurement(), &Names::default()).starts_with("1 cache lines were"));
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.0, 0.00001, 0.01234, 0.3, 4.0, 15.25, 25_300.4].map(short);
        assert_eq!(texts, ["0", "<0.0001", "0.0123", "0.30", "4.00", "15.2", "25300"]);
        assert_eq!([1, 999, 1000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}
