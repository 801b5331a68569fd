//! What cores share in a piece of work that they should not: locked instructions, and cache lines that one core writes and
//! another touches.
//!
//! Cores may meet in few places. [`MEETINGS`] names them by source file: the rings between cores, and the memory that a core
//! takes from the machine when its own runs out, which it does ever more rarely. All else is a finding.

use std::collections::BTreeMap;

use crate::names::Names;
use crate::tally::{Line, Special, Tally};

/// Source files, by their beginning, in which cores may meet.
pub const MEETINGS: [&str; 2] = ["netstack/packet/src/handoff.rs", "kernel/src/memory/"];

/// What was shared outside of [`MEETINGS`], in words, with counts; nothing is as it should be.
#[must_use]
pub fn findings(work: &Tally, names: &Names) -> Vec<String> {
    let locked = work.by_address(Special::Locked).into_iter().filter(|(at, count)| *count > 0 && !meets(*at, names));
    let locked = locked.map(|(at, count)| format!("{count} locked instructions at {}", names.describe(at)));
    let mut findings: Vec<String> = locked.collect();
    findings.extend(work.lines.iter().filter(|line| !is_meeting(line, names)).map(|line| tell(line, names)));
    let untold = work.lines_total.saturating_sub(work.lines.len());
    if untold > 0 {
        findings.push(format!("{untold} more shared lines that the plugin did not list"));
    }
    findings
}

/// Whether the instruction is part of a place where cores may meet, also when it was inlined elsewhere.
fn meets(at: u64, names: &Names) -> bool {
    names.frames(at).iter().any(|frame| MEETINGS.iter().any(|place| frame.file().starts_with(place)))
}

/// Whether all who touch the line do so where they may. Functions without a source, such as `memcpy`, are in somebody's service
/// and say nothing, unless nobody else says anything.
fn is_meeting(line: &Line, names: &Names) -> bool {
    let is_told = |at: u64| names.frames(at).iter().any(|frame| !frame.file().is_empty());
    let mut told = line.accesses.iter().filter(|access| is_told(access.at)).peekable();
    told.peek().is_some() && told.all(|access| meets(access.at, names))
}

fn tell(line: &Line, names: &Names) -> String {
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    for access in &line.accesses {
        let verb = if access.is_store == 1 { "stores" } else { "loads" };
        let place = format!("{verb} by vCPU {} at {}", access.vcpu, names.describe(access.at));
        *places.entry(place).or_default() += access.count;
    }
    let places: Vec<String> = places.into_iter().map(|(place, count)| format!("{count} {place}")).collect();
    let variable = names.variable(line.address).map_or_else(String::new, |place| format!(" ({})", place.name));
    format!("line {:#x}{variable}: {}", line.address, places.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a source nothing can be excused.
    #[test]
    fn what_nobody_can_explain_is_a_finding() {
        let tally: Tally = serde_json::from_str(
            r#"{"vcpus":2,"halts":[0,0],"unplaced":[0,0],
                "blocks":[[4096,[2,4],[[1,"locked"]],[10,20]],[8192,[1,1],[],[3,1]]],
                "devices":[],"lines":[[128,1,3,[[1,4096,0,2],[0,8192,1,7]]]],"lines_total":3}"#,
        )
        .unwrap();
        assert_eq!(
            findings(&tally, &Names::default()),
            [
                "30 locked instructions at 0x1002",
                "line 0x80: 2 loads by vCPU 1 at 0x1000; 7 stores by vCPU 0 at 0x2000",
                "2 more shared lines that the plugin did not list",
            ]
        );
        assert_eq!(findings(&Tally::default(), &Names::default()), [""; 0]);
    }
}
