//! Which configuration holds. Of the places where one can stand ([`sources`]) the later wins:
//!
//! ```text
//! the image  <  a cidata disk  <  fw_cfg  <  the kernel command line
//! ```
//!
//! One that is wrong is reported with its place, and the next best is used: a balancer that comes up with yesterday's routes
//! is better than one that does not come up. The boot log says in one line which one holds, and what became of each other.

mod base64;
mod sources;
#[cfg(test)]
mod tests;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::str;

use weir_config::Config;
use weir_httpd::Archive;
use weir_kernel::{BootInfo, error, info, warn};

use crate::devices::Devices;

/// The configuration and the files that go with it.
pub struct Chosen {
    /// What holds.
    pub config: Config,
    /// The image's archive; empty without one.
    pub archive: Archive,
    /// Where it came from and what was wrong with others, for people.
    pub origin: String,
}

/// A place where a configuration can stand, and what was found there.
struct Source<'a> {
    /// What the boot log calls it.
    name: &'static str,
    offer: Offer<'a>,
}

/// What a source has.
enum Offer<'a> {
    /// There is no such thing.
    Absent,
    /// There is something, and it cannot be read: why.
    Unreadable(String),
    /// A text, to be read as TOML.
    Text(Cow<'a, [u8]>),
}

/// What is made of the sources.
struct Decision {
    /// What holds, if anything can.
    config: Option<Config>,
    /// What is wrong with those that would have come first.
    complaints: Vec<String>,
    /// Who won, and why the others did not.
    summary: String,
}

/// Finds the configuration that holds.
pub fn choose(boot: &BootInfo, found: &Devices) -> Chosen {
    let archive = boot.payload.map(Archive::new).transpose().unwrap_or_else(|error| {
        error!("configuration: the image's archive cannot be read: {error}");
        None
    });
    let archive = archive.unwrap_or_default();
    let decision = decide(&[
        Source { name: "kernel command line", offer: sources::command_line(boot.command_line) },
        Source { name: "fw_cfg", offer: sources::fw_cfg() },
        Source { name: "cidata disk", offer: sources::disks(found) },
        Source { name: "image", offer: sources::image(&archive) },
    ]);
    decision.complaints.iter().for_each(|complaint| error!("configuration: {complaint}"));
    info!("configuration: {}", decision.summary);
    let origin = decision.told();
    Chosen { config: decision.config.unwrap_or_else(fallback), archive, origin }
}

impl Decision {
    /// The whole of it, for the admin port.
    fn told(&self) -> String {
        let complaints: String = self.complaints.iter().map(|line| format!("{line}\n")).collect();
        format!("{}\n{complaints}", self.summary)
    }
}

/// Takes the first of the sources, the strongest first, that has a good configuration.
fn decide(sources: &[Source<'_>]) -> Decision {
    let mut decision = Decision { config: None, complaints: Vec::new(), summary: String::new() };
    let mut winner = String::from("no source has one");
    let mut others = String::new();
    for Source { name, offer } in sources {
        let fate = match offer {
            Offer::Absent => "absent",
            Offer::Unreadable(reason) => {
                decision.complaints.push(format!("{name}: {reason}"));
                "unreadable"
            }
            Offer::Text(_) if decision.config.is_some() => "overruled",
            Offer::Text(text) => match parse(name, text) {
                Ok(config) => {
                    decision.config = Some(config);
                    winner = format!("{name}, {} bytes", text.len());
                    continue;
                }
                Err(lines) => {
                    decision.complaints.extend(lines);
                    "invalid"
                }
            },
        };
        let separator = if others.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(others, "{separator}{name} {fate}");
    }
    decision.summary = format!("{winner} ({others})");
    decision
}

/// # Errors
/// What is wrong, line by line.
fn parse(name: &str, text: &[u8]) -> Result<Config, Vec<String>> {
    let complain = |lines: String| lines.lines().map(String::from).collect();
    if text.starts_with(b"#cloud-config") {
        return Err(complain(format!(
            "{name}:1:1: #cloud-config is for cloud-init, which Weir is not\n\
             help: give the TOML of the configuration as the whole of user-data"
        )));
    }
    let text = str::from_utf8(text).map_err(|error| {
        complain(format!("{name}: not UTF-8 at byte {}\nhelp: configurations are text in TOML", error.valid_up_to()))
    })?;
    Config::parse(text).map_err(|error| complain(format!("{}", error.in_file(name))))
}

fn fallback() -> Config {
    warn!("configuration: none that is usable; serving the demo");
    // A test of the configuration crate parses it.
    Config::parse(weir_config::DEMO).unwrap_or_else(|error| {
        let message: String = format!("the demo configuration is broken: {error}");
        panic!("{message}")
    })
}
