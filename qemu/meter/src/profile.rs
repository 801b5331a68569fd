//! Who did it: a tally by function.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::names::{self, Names};
use crate::tally::{Counts, Line, Special, Tally};

/// Bytes of a cache line.
const LINE_LEN: u64 = 64;

/// One function's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The function.
    pub function: String,
    /// What it did itself. Halts belong to no function.
    pub counts: Counts,
    /// Its instructions together with those of functions inlined into it.
    pub with_inlined: u64,
}

/// The functions, those with most instructions of their own first.
#[must_use]
pub fn by_function(tally: &Tally, names: &Names) -> Vec<Row> {
    let mut rows: HashMap<String, Row> = HashMap::new();
    for (at, counts) in by_instruction(tally) {
        let frames = names.frames(at);
        let own = &frames[names::own(&frames)].function;
        // A function that is inlined into itself counts once.
        let all: BTreeSet<&String> = frames.iter().map(|frame| &frame.function).collect();
        for function in all {
            let empty = || Row { function: function.clone(), counts: Counts::default(), with_inlined: 0 };
            let row = rows.entry(function.clone()).or_insert_with(empty);
            row.with_inlined += counts.instructions;
            if function == own {
                row.counts += counts;
            }
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| (b.counts.instructions, &a.function).cmp(&(a.counts.instructions, &b.function)));
    rows
}

/// The source lines, those with most instructions first.
#[must_use]
pub fn by_line(tally: &Tally, names: &Names) -> Vec<(String, u64)> {
    let mut lines: HashMap<String, u64> = HashMap::new();
    for (at, counts) in by_instruction(tally) {
        let frame = names.own_frame(at);
        *lines.entry(frame.line()).or_default() += counts.instructions;
    }
    sorted(lines.into_iter().collect())
}

/// The packages, those with most instructions first.
#[must_use]
pub fn by_package(tally: &Tally, names: &Names) -> Vec<(String, u64)> {
    let mut packages: HashMap<String, u64> = HashMap::new();
    for (at, counts) in by_instruction(tally) {
        *packages.entry(names.own_frame(at).package().to_owned()).or_default() += counts.instructions;
    }
    sorted(packages.into_iter().collect())
}

/// What each instruction amounts to, by its address.
fn by_instruction(tally: &Tally) -> BTreeMap<u64, Counts> {
    let mut all: BTreeMap<u64, Counts> = BTreeMap::new();
    for block in &tally.blocks {
        let runs = block.runs_total();
        for at in block.addresses() {
            all.entry(at).or_default().instructions += runs;
        }
        for (at, special) in block.specials() {
            *all.entry(at).or_default().special_mut(special) += runs;
        }
    }
    for access in &tally.devices {
        all.entry(access.at).or_default().devices += access.count;
    }
    all
}

/// Special instructions of a kind by place (`function+0x12`), most executed first.
#[must_use]
pub fn specials(tally: &Tally, names: &Names, special: Special) -> Vec<(String, u64)> {
    let places = tally.by_address(special).into_iter();
    sorted(places.map(|(at, count)| (names.describe(at), count)).collect())
}

/// Device accesses by device and place, most frequent first.
#[must_use]
pub fn devices(tally: &Tally, names: &Names) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    for access in &tally.devices {
        *counts.entry(format!("{} from {}", access.device, names.describe(access.at))).or_default() += access.count;
    }
    sorted(counts.into_iter().collect())
}

/// Shared cache lines that the same places access most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineGroup {
    /// How many lines.
    pub lines: usize,
    /// Accesses to them since they were shared.
    pub accesses: u64,
    /// The address of one of them, with the variable that lies there.
    pub example: String,
    /// Who accesses that one, and where: those with most accesses.
    pub places: Vec<String>,
}

/// The shared lines in groups, those with most accesses first.
#[must_use]
pub fn line_groups(tally: &Tally, names: &Names) -> Vec<LineGroup> {
    let mut groups: HashMap<Vec<String>, LineGroup> = HashMap::new();
    for line in &tally.lines {
        let places = line_places(line, names);
        let key = places.iter().map(|(place, _)| place.clone()).collect();
        let group = groups.entry(key).or_insert_with(|| LineGroup {
            lines: 0,
            accesses: 0,
            example: memory(line.address, names),
            places: places.iter().map(|(place, count)| format!("{count} {place}")).collect(),
        });
        group.lines += 1;
        group.accesses += line.accesses.iter().map(|access| access.count).sum::<u64>();
    }
    let mut groups: Vec<LineGroup> = groups.into_values().collect();
    groups.sort_by(|a, b| (b.accesses, &a.example).cmp(&(a.accesses, &b.example)));
    groups
}

/// The busiest loads and the busiest stores of each vCPU.
fn line_places(line: &Line, names: &Names) -> Vec<(String, u64)> {
    let mut busiest: BTreeMap<(usize, u8), (u64, u64)> = BTreeMap::new();
    for access in &line.accesses {
        let entry = busiest.entry((access.vcpu, access.is_store)).or_default();
        *entry = (*entry).max((access.count, access.at));
    }
    let describe = |((vcpu, is_store), (count, at)): ((usize, u8), (u64, u64))| {
        let verb = if is_store == 1 { "stores" } else { "loads" };
        (format!("{verb} by vCPU {vcpu} at {}", names.describe(at)), count)
    };
    busiest.into_iter().map(describe).collect()
}

fn memory(address: u64, names: &Names) -> String {
    let variable = (address..address + LINE_LEN).step_by(8).find_map(|address| names.variable(address));
    match variable {
        Some(place) => format!("{address:#x} ({})", place.name),
        None => format!("{address:#x}"),
    }
}

fn sorted(mut counts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    counts.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        serde_json::from_str(
            r#"{"vcpus":2,"halts":[0,0],"unplaced":[0,0],
                "blocks":[[4096,[2,4],[[1,"locked"]],[10,20]],[4100,[1],[],[5,0]],[8192,[1,1],[],[3,1]]],
                "devices":[[0,8192,"bell",3],[1,8192,"bell",1],[1,1,"clock",9]],
                "lines":[],"lines_total":0}"#,
        )
        .unwrap()
    }

    #[test]
    fn blocks_add_up_and_devices_are_told_by_place() {
        let nameless = Names::default();
        let rows = by_function(&tally(), &nameless);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.function, "(no symbol)");
        assert_eq!(row.counts, Counts { instructions: 73, locked: 30, devices: 13, ..Counts::default() });
        assert_eq!(row.with_inlined, 73);
        assert_eq!(specials(&tally(), &nameless, Special::Locked), [("0x1002".into(), 30)]);
        assert_eq!(devices(&tally(), &nameless), [("clock from 0x1".into(), 9), ("bell from 0x2000".into(), 4)]);
    }

    #[test]
    fn blocks_that_overlap_add_up_by_instruction() {
        let by_address = by_instruction(&tally());
        let instructions = |at: u64| by_address[&at].instructions;
        assert_eq!([0x1000, 0x1002, 0x1004, 0x2001].map(instructions), [30, 30, 5, 4]);
    }

    #[test]
    fn lines_with_the_same_accesses_are_one_group() {
        let mut tally = tally();
        tally.lines = serde_json::from_str(
            "[[128,1,3,[[1,4096,0,2],[0,8192,1,7],[0,8000,1,1]]],[192,1,3,[[1,4096,0,1],[0,8192,1,5]]],
              [0,3,0,[[0,1,1,1],[1,1,1,1]]]]",
        )
        .unwrap();
        let groups = line_groups(&tally, &Names::default());
        let [first, second] = groups.as_slice() else { panic!("{groups:?}") };
        assert_eq!((first.lines, first.accesses, first.example.as_str()), (2, 16, "0x80"));
        assert_eq!(first.places, ["7 stores by vCPU 0 at 0x2000", "2 loads by vCPU 1 at 0x1000"]);
        assert_eq!((second.lines, second.example.as_str()), (1, "0x0"));
    }
}
