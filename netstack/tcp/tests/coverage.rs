//! `docs/rfc9293.md` has a row for each requirement of RFC 9293, and every test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The numbers of appendix B: kind, and how many of it.
const REQUIREMENTS: [(&str, u32); 4] = [("MUST", 69), ("SHLD", 31), ("MAY", 18), ("REC", 1)];

fn netstack() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The rows of the page's tables: requirement, and what shows it.
fn rows() -> Vec<(String, String)> {
    let page = fs::read_to_string(netstack().parent().unwrap().join("docs/rfc9293.md")).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let is_requirement = |name: &str| REQUIREMENTS.iter().any(|(kind, _)| name.starts_with(&format!("{kind}-")));
    let rows = page.lines().map(cells).filter(|cells| cells.len() == 5 && is_requirement(&cells[1]));
    rows.map(|cells| (cells[1].clone(), cells[3].clone())).collect()
}

/// Every test in the folders of the network stack, as `file::function`.
fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    let mut folders = vec![netstack()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                add_tests(&path, &mut tests);
            }
        }
    }
    tests
}

/// Functions with `#[test]`, and those that a table of tests with a `main` of its own names.
fn add_tests(path: &Path, tests: &mut BTreeSet<String>) {
    let text = fs::read_to_string(path).unwrap();
    let file = path.file_stem().unwrap().to_str().unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
        tests.extend(
            pair[1].strip_prefix("fn ").and_then(|rest| rest.split('(').next()).map(|f| format!("{file}::{f}")),
        );
    }
    let entries = lines.iter().filter(|line| line.starts_with("(\"") && line.ends_with("),"));
    let functions = entries.filter_map(|line| line.trim_end_matches("),").split(", ").nth(1));
    tests.extend(functions.map(|function| format!("{file}::{function}")));
}

#[test]
fn no_requirement_is_missing() {
    let rows = rows();
    for (kind, count) in REQUIREMENTS {
        for number in 1..=count {
            let name = format!("{kind}-{number}");
            let found = rows.iter().filter(|(requirement, _)| *requirement == name).count();
            assert_eq!(found, 1, "rows for {name}");
        }
    }
}

#[test]
fn every_row_names_a_test_that_exists_or_says_why_not() {
    let tests = tests();
    for (requirement, shown_by) in rows() {
        let named: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        for test in &named {
            assert!(tests.contains(*test), "{requirement}: there is no test {test}");
        }
        let has_reason = ["**not met**", "**not ours**", "by design"].iter().any(|word| shown_by.contains(word));
        assert!(!named.is_empty() || has_reason, "{requirement}: no test and no reason");
    }
}
