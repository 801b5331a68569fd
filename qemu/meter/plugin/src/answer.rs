//! What the client is told: one line of JSON.
//!
//! ```text
//! {"vcpus":2,
//!  "halts":[HALTS OF VCPU 0, …],
//!  "unplaced":[BLOCKS WITHOUT A COUNTER OF THEIR OWN, RUN BY VCPU 0, …],
//!  "blocks":[[START, [LENGTH OF AN INSTRUCTION, …], [[PLACE IN THE BLOCK, "locked"|"barrier"|"port"|"msr"], …],
//!             [RUNS BY VCPU 0, …]], …],
//!  "devices":[[VCPU, ADDRESS OF THE INSTRUCTION, "DEVICE", COUNT], …],
//!  "lines":[[PHYSICAL ADDRESS, MASK OF WRITERS, MASK OF READERS,
//!            [[VCPU, ADDRESS OF THE INSTRUCTION, 1 IF A STORE, COUNT], …]], …],
//!  "lines_total":SHARED LINES, OF WHICH AT MOST 4096 ARE LISTED}
//! ```
//!
//! or `{"error":"SENTENCE"}`. Counts are since the start, but for `devices`, since the first mark, and `lines`,
//! since the last one.

use std::fmt::{Display, Write};

use crate::blocks::{Blocks, SLOT_OF_THE_REST};
use crate::devices::Devices;
use crate::lines::{Lines, Shared};

/// Shared lines that are listed, those with most accesses.
const LINES_MAX: usize = 4096;

/// Everything that can be told.
pub struct Facts<'a> {
    /// Virtual processors that were started.
    pub vcpus: usize,
    /// How often each has gone idle.
    pub halts: Vec<u64>,
    /// The blocks.
    pub blocks: &'a Blocks,
    /// A counter's value, for each vCPU.
    pub runs: &'a dyn Fn(usize) -> Vec<u64>,
    /// Device accesses.
    pub devices: &'a Devices,
    /// Cache lines, if they are followed.
    pub lines: Option<&'a Lines>,
}

/// The answer that tells the facts.
pub fn facts(facts: &Facts) -> String {
    let mut text = String::new();
    let blocks = facts.blocks.iter().filter_map(|(shape, slot)| {
        let runs = (facts.runs)(slot);
        let specials = shape.specials.iter().map(|(index, kind)| format!("[{index},\"{}\"]", kind.name()));
        let has_run = runs.iter().any(|count| *count > 0);
        has_run.then(|| format!("[{},{},{},{}]", shape.start, list(&shape.lens), list(specials), list(&runs)))
    });
    let devices = facts.devices.iter().map(|(place, count)| {
        let name = place.device.replace(|c: char| c == '"' || c == '\\' || c.is_control(), "?");
        format!("[{},{},\"{name}\",{count}]", place.vcpu, place.at)
    });
    let lines = facts.lines.map(Lines::shared).unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(text, "{{\"vcpus\":{},\"halts\":{}", facts.vcpus, list(&facts.halts));
    let _ = write!(text, ",\"unplaced\":{}", list((facts.runs)(SLOT_OF_THE_REST)));
    let _ = write!(text, ",\"blocks\":{},\"devices\":{}", list(blocks), list(devices));
    let listed = lines.iter().take(LINES_MAX).map(line);
    let _ = write!(text, ",\"lines\":{},\"lines_total\":{}}}", list(listed), lines.len());
    text
}

/// The answer that says what was wrong.
pub fn error(sentence: &str) -> String {
    let sentence = sentence.replace(|c: char| c == '"' || c == '\\' || c.is_control(), "?");
    format!("{{\"error\":\"{sentence}\"}}")
}

fn line(shared: &Shared) -> String {
    let places = shared.places.iter().map(|(vcpu, place, count)| {
        let store = u8::from(place.is_store);
        format!("[{vcpu},{},{store},{count}]", place.at)
    });
    format!("[{},{},{},{}]", shared.address, shared.writers, shared.readers, list(places))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut text = String::from("[");
    for (index, item) in items.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{item}");
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Shape;
    use crate::decode::Kind;
    use crate::devices::Place;

    #[test]
    fn the_answer_is_one_line_with_all_of_it() {
        let mut blocks = Blocks::default();
        let slot = blocks.slot(Shape { start: 4096, lens: vec![3, 1], specials: vec![(1, Kind::Locked)] });
        blocks.slot(Shape { start: 8192, lens: vec![1], specials: Vec::new() });
        let mut devices = Devices::default();
        devices.count(Place { vcpu: 1, at: 4099, device: "a \"bell\"".into() });
        let lines = Lines::new(4096);
        lines.access(0, 64, 10, true);
        lines.access(1, 64, 20, false);
        let runs = |counter| if counter == slot { vec![7, 0] } else { vec![0, 0] };
        let answer = facts(&Facts {
            vcpus: 2,
            halts: vec![5, 6],
            blocks: &blocks,
            runs: &runs,
            devices: &devices,
            lines: Some(&lines),
        });
        assert_eq!(
            answer,
            "{\"vcpus\":2,\"halts\":[5,6],\"unplaced\":[0,0],\"blocks\":[[4096,[3,1],[[1,\"locked\"]],[7,0]]],\
             \"devices\":[[1,4099,\"a ?bell?\",1]],\"lines\":[[64,1,2,[[1,20,0,1]]]],\"lines_total\":1}"
        );
        assert_eq!(error("no \"such\"\n"), "{\"error\":\"no ?such??\"}");
    }
}
