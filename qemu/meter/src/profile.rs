//! Who did it: a tally by function.

use std::collections::{BTreeMap, HashMap};

use crate::symbols::Symbols;
use crate::tally::{Counts, Line, Special, Tally};

/// Name of what no symbol covers.
const UNKNOWN: &str = "(no symbol)";

/// One function's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The function.
    pub function: String,
    /// What it did. Halts belong to no function.
    pub counts: Counts,
    /// How often each vCPU executed its instructions.
    pub instructions_by_vcpu: Vec<u64>,
}

/// The functions, those with most instructions first.
///
/// A block belongs to the function of its first instruction.
#[must_use]
pub fn by_function(tally: &Tally, symbols: &Symbols) -> Vec<Row> {
    let name = |address| symbols.function(address).map_or(UNKNOWN, |place| place.name);
    let mut rows: HashMap<&str, Row> = HashMap::new();
    let empty = |function: &str| Row {
        function: function.to_owned(),
        counts: Counts::default(),
        instructions_by_vcpu: vec![0; tally.vcpus],
    };
    for block in &tally.blocks {
        let function = name(block.start);
        let row = rows.entry(function).or_insert_with(|| empty(function));
        let one = block.counts();
        row.counts += one.times(block.runs_total());
        for (sum, runs) in row.instructions_by_vcpu.iter_mut().zip(&block.runs) {
            *sum += one.instructions * runs;
        }
    }
    for access in &tally.devices {
        let function = name(access.at);
        rows.entry(function).or_insert_with(|| empty(function)).counts.devices += access.count;
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by(|a, b| (b.counts.instructions, &a.function).cmp(&(a.counts.instructions, &b.function)));
    rows
}

/// Special instructions of a kind by place (`function+0x12`), most executed first.
#[must_use]
pub fn specials(tally: &Tally, symbols: &Symbols, special: Special) -> Vec<(String, u64)> {
    let places = tally.by_address(special).into_iter();
    sorted(places.map(|(at, count)| (symbols.describe(at), count)).collect())
}

/// Device accesses by device and place, most frequent first.
#[must_use]
pub fn devices(tally: &Tally, symbols: &Symbols) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    for access in &tally.devices {
        *counts.entry(format!("{} from {}", access.device, symbols.describe(access.at))).or_default() += access.count;
    }
    sorted(counts.into_iter().collect())
}

/// A shared cache line in words: the variable or the address, and who does what to it.
#[must_use]
pub fn describe_line(line: &Line, symbols: &Symbols) -> String {
    let variable = (line.address..line.address + 64).step_by(8).find_map(|address| symbols.variable(address));
    let memory = match variable {
        Some(place) => format!("{:#x} ({})", line.address, place.name),
        None => format!("{:#x}", line.address),
    };
    let mut accesses: Vec<_> = line.accesses.iter().collect();
    accesses.sort_by_key(|access| std::cmp::Reverse(access.count));
    let accesses = accesses.iter().take(6).map(|access| {
        let verb = if access.is_store == 1 { "writes" } else { "reads" };
        format!("cpu{} {verb} {}x at {}", access.vcpu, access.count, symbols.describe(access.at))
    });
    format!("{memory}: {}", accesses.collect::<Vec<_>>().join("; "))
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
        let nameless = Symbols::default();
        let rows = by_function(&tally(), &nameless);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.function, UNKNOWN);
        assert_eq!(row.counts, Counts { instructions: 73, locked: 30, devices: 13, ..Counts::default() });
        assert_eq!(row.instructions_by_vcpu, [31, 42]);
        assert_eq!(specials(&tally(), &nameless, Special::Locked), [("0x1002".into(), 30)]);
        assert_eq!(devices(&tally(), &nameless), [("clock from 0x1".into(), 9), ("bell from 0x2000".into(), 4)]);
    }

    #[test]
    fn a_shared_line_tells_who_and_where() {
        let line: Line = serde_json::from_str("[128,1,3,[[1,4096,0,2],[0,8192,1,7]]]").unwrap();
        let text = describe_line(&line, &Symbols::default());
        assert_eq!(text, "0x80: cpu0 writes 7x at 0x2000; cpu1 reads 2x at 0x1000");
    }
}
