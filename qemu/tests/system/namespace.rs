//! A network namespace for the whole run.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use crate::lab;

/// Set once this program has been started again: to [`PRIVATE`] or [`SHARED`].
const INSIDE: &str = "WEIR_TEST_NAMESPACE";

/// Limits of the host's TCP that a crowd of clients would meet: few ports, short queues. They belong to the namespace.
///
/// No client gets the port of a test's server. It would keep the server from starting; or, waiting for it to start, connect
/// to itself (RFC 9293 3.5, simultaneous open) and wait for its own answer.
const SETTINGS: [(&str, &str); 4] = [
    ("ipv4/ip_local_port_range", "1024 65000"),
    ("ipv4/ip_local_reserved_ports", "8000-9000,18080-18081"),
    ("core/somaxconn", "65535"),
    ("ipv4/tcp_max_syn_backlog", "65535"),
];

const PRIVATE: &str = "private";
const SHARED: &str = "shared";

/// Whether interfaces may be made here.
pub fn is_private() -> bool {
    env::var(INSIDE).is_ok_and(|kind| kind == PRIVATE)
}

/// Starts this program again inside of a fresh network namespace, or returns if it is inside already.
///
/// The guest is built before, where cargo may still have to fetch something.
pub fn enter_if_outside() {
    if env::var_os(INSIDE).is_some() {
        if is_private()
            && let Err(error) = lab::command_line("ip link set lo up")
        {
            eprintln!("cannot bring the loopback interface up: {error}");
            exit(1);
        }
        if is_private() {
            for (name, value) in SETTINGS {
                // Not every kernel has each of them, and some have them for the whole host only.
                let _ = fs::write(format!("/proc/sys/net/{name}"), value);
            }
        }
        return;
    }
    let executable = env::current_exe().expect("this program has a path");
    let mut unshare = vec!["unshare", "--net"];
    if !rustix::process::geteuid().is_root() {
        // In a user namespace of our own we may make network namespaces and interfaces.
        unshare.extend(["--user", "--map-root-user"]);
    }
    let trial = Command::new(unshare[0]).args(&unshare[1..]).args(["--", "true"]).output();
    let (mut command, kind) = if trial.is_ok_and(|output| output.status.success()) {
        let mut command = Command::new(unshare[0]);
        command.args(&unshare[1..]).arg("--").arg(executable);
        (command, PRIVATE)
    } else {
        eprintln!("no private network namespace can be had: tests that need interfaces are skipped");
        (Command::new(executable), SHARED)
    };
    // Daemons and administrators' tools are not in every user's path.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default()));
    command.args(env::args_os().skip(1)).env(INSIDE, kind).envs(lab::build_base());
    eprintln!("cannot start the tests again: {}", command.exec());
    exit(1);
}
