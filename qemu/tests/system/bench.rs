//! `weir bench`: one cell of a benchmark, and what it says when it cannot.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use weir_host::qemu::Qemu;

use crate::command::fails_with;
use crate::lab::{lab, weir};
use crate::{CannotTest, Failed, Tested, Tests, ensure};

pub const TESTS: Tests = &[
    ("bench::tools_missing", tools_missing),
    ("bench::no_report", no_report),
    ("bench::one_cell_becomes_a_report", one_cell_becomes_a_report),
    ("bench::a_guest_that_ends_is_accounted_for", a_guest_that_ends_is_accounted_for),
    ("bench::an_interrupt_leaves_nothing_behind", an_interrupt_leaves_nothing_behind),
];

/// Time for the benchmark to begin, and to be gone.
const SOON: Duration = Duration::from_secs(60);

/// A variable of the environment that all programs of a benchmark inherit.
const MARK: &str = "WEIR_TEST_MARK";

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

/// One cell's instructions.
fn smoke(output: &Path) -> Result<Command, Failed> {
    let mut command = weir();
    command.args(["bench", "--smoke", "--only", "counts", "--output"]).arg(output);
    command.arg("--base").arg(&lab()?.base_path);
    Ok(command)
}

/// What a benchmark has said, unless it is that this machine has not got what it needs.
fn said(stderr: &[u8]) -> Result<String, Failed> {
    let said = String::from_utf8_lossy(stderr).into_owned();
    if said.contains("no Linux kernel in") || said.contains("not found: ") {
        return Err(CannotTest("the benchmark's tools are missing: run './setup bench'").into());
    }
    Ok(said)
}

/// Both guests boot, serve and are counted; nothing is left of it but the report.
fn one_cell_becomes_a_report() -> Tested {
    let folder = tempfile::tempdir()?;
    let output = smoke(folder.path())?.output()?;
    let said = said(&output.stderr)?;
    ensure(output.status.success(), || said)?;
    let report = folder.path().join("report.json");
    let value: serde_json::Value = serde_json::from_str(&fs::read_to_string(&report)?)?;
    let [weir_count, linux_count] = ["httpd", "nginx"].map(|service| instructions(&value, service));
    let (weir_count, linux_count) = (weir_count?, linux_count?);
    ensure(weir_count > 500.0 && weir_count * 2.0 < linux_count, || format!("{weir_count} and {linux_count}"))?;
    ensure(folder.path().join("report.md").is_file(), || "no report.md".into())?;
    let same = weir().args(["bench", "compare"]).args([&report, &report]).output()?;
    ensure(same.status.success(), || String::from_utf8_lossy(&same.stderr).into_owned())?;
    nothing_in_scratch()
}

fn nothing_in_scratch() -> Tested {
    let scratch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/scratch");
    ensure(!scratch.exists() || fs::read_dir(&scratch)?.next().is_none(), || "temporary files are left".into())
}

/// A QEMU that says something and ends by a signal: the report tells both.
fn a_guest_that_ends_is_accounted_for() -> Tested {
    let folder = tempfile::tempdir()?;
    let fake = folder.path().join("qemu-system-x86_64");
    let real = Qemu::find()?.path;
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || exec {} --version\necho 'a deliberate end' >&2\nkill -ABRT $$\n",
        real.display()
    );
    fs::write(&fake, script)?;
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    let report = folder.path().join("report");
    let output = smoke(&report)?.env("PATH", path).output()?;
    let said = said(&output.stderr)?;
    ensure(output.status.code() == Some(1), || format!("{}: {said}", output.status))?;
    let report = fs::read_to_string(report.join("report.md"))?;
    let why = "did not boot: the machine ended first: QEMU ended (signal: 6 (SIGABRT)";
    for text in ["attempt 1 of 4", why, "it said: a deliberate end", "- everything with 1 vCPU"] {
        ensure(report.contains(text), || format!("no {text:?} in {report}"))?;
    }
    Ok(())
}

/// No program that the benchmark has started is there when it has been interrupted, and none of its files.
fn an_interrupt_leaves_nothing_behind() -> Tested {
    let folder = tempfile::tempdir()?;
    let mark = folder.path().display().to_string();
    let mut child = smoke(folder.path())?.env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines().map_while(Result::ok);
    let begun = lines.find(|line| line.starts_with("weir: part 1") || line.contains("not found: "));
    if !begun.is_some_and(|line| line.starts_with("weir: part 1")) {
        child.wait()?;
        return Err(CannotTest("the benchmark does not begin here: run './setup bench'").into());
    }
    wait_until(|| Ok(marked(&mark)?.iter().any(|name| name.starts_with("qemu"))), "no QEMU")?;
    kill_process(Pid::from_raw(child.id().try_into()?).ok_or("no process id")?, Signal::INT)?;
    child.wait()?;
    wait_until(|| Ok(marked(&mark)?.is_empty()), "programs are left")?;
    nothing_in_scratch()
}

fn wait_until(mut holds: impl FnMut() -> Result<bool, Failed>, otherwise: &str) -> Tested {
    let deadline = Instant::now() + SOON;
    while !holds()? {
        ensure(Instant::now() < deadline, || otherwise.into())?;
        thread::yield_now();
    }
    Ok(())
}

/// The names of all processes that have inherited the mark.
fn marked(mark: &str) -> Result<Vec<String>, Failed> {
    let mut names = Vec::new();
    for process in fs::read_dir("/proc")?.map_while(Result::ok) {
        // One that has ended meanwhile, or is another user's, has nothing to read.
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let wanted = format!("{MARK}={mark}");
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            names.push(fs::read_to_string(process.path().join("comm")).unwrap_or_default());
        }
    }
    Ok(names)
}

fn instructions(report: &serde_json::Value, service: &str) -> Result<f64, Failed> {
    let counts = report["counts"].as_array().ok_or("no counts")?;
    let count = counts.iter().find(|count| count["service"] == service).ok_or_else(|| format!("no {service}"))?;
    count["windows"][0]["instructions"].as_f64().ok_or_else(|| "no number".into())
}
