//! A network namespace for the whole run.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use crate::lab;

/// Set inside of the namespace.
const INSIDE: &str = "WEIR_TEST_NAMESPACE";

/// Starts this program again inside of a fresh network namespace, or returns if it is inside already.
///
/// The guest is built before, where cargo may still have to fetch something.
pub fn enter_if_outside() {
    if env::var_os(INSIDE).is_some() {
        if let Err(error) = lab::command_line("ip link set lo up") {
            eprintln!("cannot bring the loopback interface up: {error}");
            exit(1);
        }
        return;
    }
    let executable = env::current_exe().expect("this program has a path");
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        // In a user namespace of our own we may make network namespaces and interfaces.
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--").arg(executable).args(env::args_os().skip(1));
    // Daemons and administrators' tools are not in every user's path.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default()));
    command.env(INSIDE, "1").envs(lab::build_base());
    eprintln!("cannot start unshare: {}; install util-linux ('./setup test')", command.exec());
    exit(1);
}
