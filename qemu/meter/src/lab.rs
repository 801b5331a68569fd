//! A laboratory of one's own: a network namespace with a TAP, servers, a guest with the plugin, and load.
//!
//! Nothing of it is left behind: interfaces, addresses and servers die with the process that made the namespace.

pub mod guest;
pub mod load;
pub mod namespace;
pub mod servers;
pub mod tap;

use std::net::Ipv4Addr;

use weir_host::tether;

/// The host's end of the wire.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// The guest's end, as `lab.toml` has it.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The configuration that is booted when no other is given.
pub const CONFIG: &str = include_str!("../lab.toml");

/// Why something in the laboratory does not work: a sentence.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Runs a program to its end and returns what it printed on the standard output. `line` is split at its spaces.
///
/// # Errors
/// When it cannot be started or fails.
pub fn command_line(line: &str) -> Result<String, Failed> {
    let mut words = line.split(' ');
    let output = tether::command(words.next().unwrap_or_default(), None).args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("'{line}' failed ({}): {text}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
