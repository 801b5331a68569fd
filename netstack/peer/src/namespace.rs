//! A network namespace for the whole test program.

use std::env;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use crate::Failed;

/// Set once this program has been started again: to [`PRIVATE`] or [`SHARED`].
const INSIDE: &str = "WEIR_PEER_NAMESPACE";

const PRIVATE: &str = "private";
const SHARED: &str = "shared";

/// Why interfaces cannot be made here, if they cannot.
#[must_use]
pub fn obstacle() -> Option<&'static str> {
    if !env::var(INSIDE).is_ok_and(|kind| kind == PRIVATE) {
        return Some("no private network namespace can be had");
    }
    let tun = File::options().read(true).write(true).open("/dev/net/tun");
    tun.is_err().then_some("/dev/net/tun cannot be opened")
}

/// Starts this program again inside of a fresh network namespace, or returns if it is inside already.
pub fn enter_if_outside() {
    if env::var_os(INSIDE).is_some() {
        if obstacle().is_none()
            && let Err(error) = prepare()
        {
            eprintln!("cannot prepare the network namespace: {error}");
            exit(1);
        }
        return;
    }
    let executable = env::current_exe().expect("this program has a path");
    let mut unshare = vec!["unshare", "--net"];
    if !rustix::process::geteuid().is_root() {
        // In a user namespace of our own we may make network namespaces and interfaces.
        unshare.extend(["--user", "--map-root-user"]);
    }
    // Administrators' tools are not in every user's path.
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default());
    let trial = Command::new(unshare[0]).args(&unshare[1..]).args(["--", "ip", "link"]).env("PATH", &path).output();
    let (mut command, kind) = if trial.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new(unshare[0]);
        command.args(&unshare[1..]).arg("--").arg(executable);
        (command, PRIVATE)
    } else {
        (Command::new(executable), SHARED)
    };
    command.env("PATH", path).args(env::args_os().skip(1)).env(INSIDE, kind);
    eprintln!("cannot start the tests again: {}", command.exec());
    exit(1);
}

/// Runs a program of the administrator's; words are separated by spaces.
///
/// # Errors
/// It cannot be started or fails: what it said.
pub fn command_line(line: &str) -> Result<String, Failed> {
    let mut words = line.split_whitespace();
    let program = words.next().ok_or("an empty command line")?;
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn prepare() -> Result<(), Failed> {
    command_line("ip link set lo up")?;
    // Both ends offer ECN, so that its negotiation is looked at too.
    std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1")?;
    // What the kernel learned of one flow's path must not shape the next one: each cell of the matrix stands alone.
    std::fs::write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
    Ok(())
}
