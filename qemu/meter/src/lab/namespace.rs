//! The network namespace.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Failed, command_line};

/// Set inside of the namespace.
const INSIDE: &str = "WEIR_METER_NAMESPACE";

/// Limits of the host's TCP that a load would meet: few ports, short queues. They belong to the namespace.
/// A client does not get a port that a server is to have.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv4/tcp_tw_reuse", "1"),
    ("ipv4/ip_local_port_range", "1024 65000"),
    ("ipv4/ip_local_reserved_ports", "8000-9000"),
    ("core/somaxconn", "65535"),
    ("ipv4/tcp_max_syn_backlog", "65535"),
];

/// Whether this process is inside already.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Starts this program again inside of a fresh namespace, with the same arguments and these variables; returns only when
/// that fails.
pub fn enter(variables: impl IntoIterator<Item = (&'static str, OsString)>) -> Failed {
    enter_with(&[], variables)
}

/// As [`enter`], with more flags for `unshare`.
pub fn enter_with(flags: &[&str], variables: impl IntoIterator<Item = (&'static str, OsString)>) -> Failed {
    let executable = match env::current_exe() {
        Ok(path) => path,
        Err(error) => return error.into(),
    };
    let mut command = Command::new("unshare");
    command.arg("--net").args(flags);
    if !rustix::process::geteuid().is_root() {
        // In a user namespace of our own we may make network namespaces and interfaces.
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--").arg(executable).args(env::args_os().skip(1));
    // Daemons and administrators' tools are not in every user's path.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default()));
    command.env(INSIDE, "1").envs(variables);
    format!("cannot start unshare: {}; install util-linux", command.exec()).into()
}

/// Makes the fresh namespace usable.
///
/// # Errors
/// When the loopback interface cannot be brought up.
pub fn set_up() -> Result<(), Failed> {
    command_line("ip link set lo up")?;
    for (name, value) in SETTINGS {
        // Not every kernel has each of them, and some have them for the whole host only.
        let _ = fs::write(format!("/proc/sys/net/{name}"), value);
    }
    Ok(())
}
