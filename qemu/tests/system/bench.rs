//! `weir bench`: one cell of a benchmark, and what it says when it cannot.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use weir_host::qemu::Qemu;

use crate::command::fails_with;
use crate::lab::{lab, weir};
use crate::{CannotTest, Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("bench::tools_missing", tools_missing),
    ("bench::no_report", no_report),
    ("bench::one_cell_becomes_a_report", one_cell_becomes_a_report),
];

fn tools_missing() -> Tested {
    let folder = tempfile::tempdir()?;
    symlink(Qemu::find()?.path, folder.path().join("qemu-system-x86_64"))?;
    let texts = ["not found: wrk ab", "./setup bench", "apache2-utils"];
    fails_with(weir().args(["bench", "--smoke"]).env("PATH", folder.path()), 1, &texts)
}

fn no_report() -> Tested {
    let folder = tempfile::tempdir()?;
    let [missing, bad] = ["missing.json", "bad.json"].map(|name| folder.path().join(name));
    fs::write(&bad, "{\"version\": 99}")?;
    fails_with(weir().args(["bench", "compare"]).args([&bad, &missing]), 1, &["bad.json is no report", "version 99"])?;
    fails_with(
        weir().args(["bench", "compare"]).args([&missing, &bad]),
        1,
        &["cannot read", "missing.json", "help: "],
    )?;
    fails_with(weir().args(["bench", "compare", "--quick"]), 2, &["Usage:"])
}

/// Both guests boot, serve and are counted; nothing is left of it but the report.
fn one_cell_becomes_a_report() -> Tested {
    let folder = tempfile::tempdir()?;
    let output = weir()
        .args(["bench", "--smoke", "--only", "counts", "--output"])
        .arg(folder.path())
        .arg("--base")
        .arg(&lab()?.base_path)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("no Linux kernel in") || said.contains("not found: ") {
        return Err(CannotTest("the benchmark's tools are missing: run './setup bench'").into());
    }
    ensure(output.status.success(), || said.clone())?;
    let report = folder.path().join("report.json");
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let [weir_count, linux_count] = ["httpd", "nginx"].map(|service| instructions(&value, service));
    let (weir_count, linux_count) = (weir_count?, linux_count?);
    ensure(weir_count > 500.0 && weir_count * 2.0 < linux_count, || format!("{weir_count} and {linux_count}"))?;
    ensure(folder.path().join("report.md").is_file(), || "no report.md".into())?;
    let same = weir().args(["bench", "compare"]).args([&report, &report]).output()?;
    ensure(same.status.success(), || String::from_utf8_lossy(&same.stderr).into_owned())?;
    let scratch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/scratch");
    ensure(!scratch.exists() || fs::read_dir(&scratch)?.next().is_none(), || "temporary files are left".into())
}

fn instructions(report: &serde_json::Value, service: &str) -> Result<f64, Failed> {
    let counts = report["counts"].as_array().ok_or("no counts")?;
    let count = counts.iter().find(|count| count["service"] == service).ok_or_else(|| format!("no {service}"))?;
    count["windows"][0]["instructions"].as_f64().ok_or_else(|| "no number".into())
}
