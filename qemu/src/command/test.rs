//! `weir test`: everything that `make test` promises, in one go, with one count at the end.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use weir_image::base;

use super::{Outcome, say};
use crate::cli;
use crate::failure::Failure;

/// Set for the system tests when the long variants are wanted.
pub const LONG_VARIABLE: &str = "WEIR_TEST_LONG";

/// One run of cargo.
struct Step {
    title: &'static str,
    arguments: &'static [&'static str],
    /// Flags of the compiler, for runs with a build of their own.
    flags: Option<&'static str>,
    /// What the run counts as.
    kind: Kind,
    /// Longer than this it may not take: a test that hangs is a test that fails.
    minutes_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As many tests as its own summaries say.
    Tests,
    /// One test, which passes if the run does. Left out when a filter asks for certain tests.
    Check,
}

/// From the cheap to the dear.
const STEPS: [Step; 10] = [
    Step { title: "format", arguments: &["fmt", "--all", "--check"], flags: None, kind: Kind::Check, minutes_max: 1 },
    Step {
        title: "lints",
        arguments: &["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"],
        flags: None,
        kind: Kind::Check,
        minutes_max: 10,
    },
    // These are not run with the units, which leaves them out of `--all-targets` too.
    Step {
        title: "lints of the system tests",
        arguments: &["clippy", "--quiet", "--package", "weir", "--test", "system", "--", "-D", "warnings"],
        flags: None,
        kind: Kind::Check,
        minutes_max: 5,
    },
    Step {
        title: "lints of the guest",
        arguments: &["clippy", "--quiet", "--package", "weir-runtime", "--", "-D", "warnings"],
        flags: None,
        kind: Kind::Check,
        minutes_max: 5,
    },
    Step {
        title: "units and tree",
        arguments: &["test", "--quiet", "--no-fail-fast"],
        flags: None,
        kind: Kind::Tests,
        minutes_max: 15,
    },
    Step {
        title: "units of the kernel",
        arguments: &["test", "--quiet", "--package", "weir-kernel"],
        flags: None,
        kind: Kind::Tests,
        minutes_max: 10,
    },
    Step {
        title: "units of the runtime",
        arguments: &["test", "--quiet", "--package", "weir-runtime", "--lib"],
        flags: None,
        kind: Kind::Tests,
        minutes_max: 10,
    },
    Step {
        title: "models of what cores share",
        arguments: &[
            "test",
            "--quiet",
            "--package",
            "weir-packet",
            "--package",
            "weir-runtime",
            "--lib",
            "--target-dir",
            "target/loom",
        ],
        flags: Some("--cfg loom"),
        kind: Kind::Tests,
        minutes_max: 10,
    },
    Step {
        title: "nothing shared",
        arguments: &["test", "--quiet", "--package", "weir-meter", "--test", "lockless"],
        flags: None,
        kind: Kind::Tests,
        minutes_max: 10,
    },
    Step {
        title: "systems",
        arguments: &["test", "--quiet", "--package", "weir", "--test", "system"],
        flags: None,
        kind: Kind::Tests,
        minutes_max: 30,
    },
];

/// How much longer each run may take with the long variants: four transfers of 1 GiB take half an hour each.
const LONG_FACTOR: u64 = 6;

/// How long the output of what was killed is waited for.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Exit status after an interrupt, as shells have it.
const INTERRUPTED: u8 = 130;

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

pub(super) fn run(options: &cli::Test) -> Outcome {
    if base::find_workspace().is_none() {
        return Err(Failure::new("no Weir source tree here or above").help("run the tests inside of a clone"));
    }
    let (sender, events) = mpsc::channel();
    forward_signals(sender.clone())?;
    let mut total = Count::default();
    let mut failed_steps = Vec::new();
    for step in &STEPS {
        if step.kind == Kind::Check && options.filter.is_some() {
            continue;
        }
        say(&format!("test: {}", step.title));
        let Some(count) = step.run(options, &sender, &events)? else { return Ok(ExitCode::from(INTERRUPTED)) };
        if count.failed > 0 {
            failed_steps.push(step.title);
        }
        total += count;
    }
    if !failed_steps.is_empty() {
        println!("failures in: {}", failed_steps.join(", "));
    }
    println!("{}", total.summary());
    Ok(if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Count {
    /// The last line of all.
    fn summary(self) -> String {
        let skipped = if self.skipped > 0 { format!(", {} skipped", self.skipped) } else { String::new() };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }

    /// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let number = |word: &str| {
            let field = counts.split(';').map(str::trim).find_map(|field| field.strip_suffix(word))?;
            field.trim().parse().ok()
        };
        Some(Self { passed: number("passed")?, failed: number("failed")?, skipped: number("ignored")? })
    }
}

/// What happens while a step runs.
enum Event {
    Line(String),
    Closed,
    Interrupt,
}

fn forward_signals(sender: Sender<Event>) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
    thread::spawn(move || signals.forever().try_for_each(|_| sender.send(Event::Interrupt)));
    Ok(())
}

impl Step {
    /// Runs the step and lets the user watch; `None` after an interrupt.
    fn run(
        &self,
        options: &cli::Test,
        sender: &Sender<Event>,
        events: &Receiver<Event>,
    ) -> Result<Option<Count>, Failure> {
        let mut child =
            self.command(options).spawn().map_err(|error| Failure::new(format!("cannot start cargo: {error}")))?;
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).split(b'\n');
        let sender = sender.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(Event::Line(String::from_utf8_lossy(&line).into_owned()));
            }
            let _ = sender.send(Event::Closed);
        });
        let patience = if options.long { LONG_FACTOR } else { 1 };
        let minutes_max = self.minutes_max * patience;
        let mut deadline = Instant::now() + Duration::from_secs(60 * minutes_max);
        let mut killed = false;
        let mut count = Count::default();
        loop {
            match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Line(line)) => {
                    println!("{line}");
                    count += Count::parse(&line).unwrap_or_default();
                }
                Ok(Event::Closed) => break,
                Ok(Event::Interrupt) => {
                    kill(&mut child);
                    return Ok(None);
                }
                Err(_) if killed => break,
                Err(_) => {
                    say(&format!("test: {} took longer than {minutes_max} minutes and was ended", self.title));
                    kill(&mut child);
                    (killed, deadline) = (true, Instant::now() + KILL_GRACE);
                }
            }
        }
        let status = child.wait().map_err(|error| Failure::new(format!("cannot wait for cargo: {error}")))?;
        Ok(Some(self.judge(count, status)))
    }

    fn command(&self, options: &cli::Test) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        command.args(self.arguments).stdout(Stdio::piped()).process_group(0);
        if let Some(workspace) = base::find_workspace() {
            command.current_dir(workspace);
        }
        if let Some(filter) = &options.filter {
            command.args(["--", filter]);
        }
        if let Some(flags) = self.flags {
            command.env("RUSTFLAGS", flags);
        }
        if options.long {
            command.env(LONG_VARIABLE, "1");
        }
        command
    }

    fn judge(&self, mut count: Count, status: ExitStatus) -> Count {
        match (self.kind, status.success()) {
            (Kind::Check, true) => count.passed += 1,
            // What does not compile, or was ended, has no summary.
            (Kind::Check | Kind::Tests, false) if count.failed == 0 => count.failed += 1,
            _ => {}
        }
        count
    }
}

/// Ends cargo and all that it started.
fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s";
        assert_eq!(Count::parse(line), Some(Count { passed: 12, failed: 3, skipped: 1 }));
        for line in ["", "test result: ok.", "test result: ok. x passed; 0 failed; 0 ignored", "running 3 tests"] {
            assert_eq!(Count::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_line_is_plain() {
        assert_eq!(Count { passed: 7, failed: 0, skipped: 0 }.summary(), "7 passed, 0 failed");
        assert_eq!(Count { passed: 7, failed: 1, skipped: 2 }.summary(), "7 passed, 1 failed, 2 skipped");
    }
}
