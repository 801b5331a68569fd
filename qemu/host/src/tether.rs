//! Starts programs that die with us.
//!
//! Linux kills a child when its parent dies only if the child itself asks for it, between `fork` and `exec`. Instead of code
//! in that window, our own executable is started once more with a word that nobody else uses: it asks, checks that the
//! parent is still there, and becomes the program that was meant. So even `kill -9` of `weir` leaves no QEMU behind.
//!
//! The kernel means the parent *thread*: start tethered programs from a thread that outlives them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use rustix::process::{Pid, Signal};
use rustix::thread::CpuSet;

/// First argument of our executable when it is started as a tether.
const WORD: &str = "--weir-tether";

/// Exit status of a tether that could not become its program, as shells have it.
const NOT_STARTED: i32 = 127;

/// A command for `program`, in its own process group, so that a `^C` on the terminal reaches us and not the program.
///
/// `cpus` are the host processors the program may use, a first one and a count; without it, all.
#[must_use]
pub fn command(program: impl AsRef<OsStr>, cpus: Option<(usize, usize)>) -> Command {
    // Through /proc, so that it also works when the file has been replaced since we were started.
    let mut command = Command::new("/proc/self/exe");
    let (first, count) = cpus.unwrap_or((0, 0));
    command.arg(WORD).arg(process::id().to_string()).arg(format!("{first}+{count}")).arg(program);
    command.process_group(0);
    command
}

/// Becomes the program if this process was started as a tether; else returns. To be called first of all in `main`.
pub fn enter_if_asked() {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(WORD)) {
        return;
    }
    let error = enter(arguments.collect());
    eprintln!("{error}");
    process::exit(NOT_STARTED);
}

/// Returns only when it fails, with the reason.
fn enter(arguments: Vec<OsString>) -> String {
    let [parent, cpus, program, rest @ ..] = arguments.as_slice() else { return "tether: too few arguments".into() };
    let parent = parent.to_str().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return format!("tether: cannot ask for the signal: {error}");
    }
    // It may have died before we asked.
    if parent.is_none() || rustix::process::getppid() != parent {
        return "tether: the parent is gone".into();
    }
    if let Some((first, count)) = cpus.to_str().and_then(parse_cpus).filter(|(_, count)| *count > 0) {
        let mut set = CpuSet::new();
        (first..first + count).filter(|cpu| *cpu < CpuSet::MAX_CPU).for_each(|cpu| set.set(cpu));
        if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
            return format!("cannot run on processors {first} to {}: {error}", first + count - 1);
        }
    }
    format!("cannot start {}: {}", program.display(), Command::new(program).args(rest).exec())
}

fn parse_cpus(text: &str) -> Option<(usize, usize)> {
    let (first, count) = text.split_once('+')?;
    Some((first.parse().ok()?, count.parse().ok()?))
}
