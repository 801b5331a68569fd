//! The machine, the programs, and how each side is tuned.

use std::fs;
use std::process::Command;

use weir_host::accel::Accelerator;
use weir_image::base;

use crate::check::{self, field_kib};
use crate::guest::{Images, MEMORY_MIB};
use crate::model::Fact;

/// What the reader of a report wants to know about the machine.
#[must_use]
pub fn all(images: &Images) -> Vec<Fact> {
    let cpuinfo = read("/proc/cpuinfo");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field_kib(&read("/proc/meminfo"), "MemTotal").unwrap_or_default() >> 20;
    let accelerator = match images.accelerator {
        Accelerator::Kvm => "KVM for rates, TCG for counts",
        Accelerator::Tcg => "TCG, multi-threaded",
    };
    [
        ("processor", field(&cpuinfo, "model name").unwrap_or("unknown").to_owned()),
        ("processors", format!("{processors}, shared by guests, client and servers")),
        ("memory", format!("{memory} GiB")),
        ("kernel of the host", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load before the start", load("").value),
        ("QEMU", format!("{}, {accelerator}, q35, -cpu max, {MEMORY_MIB} MiB for each guest", images.qemu.version)),
        ("network", "virtio-net on a TAP without vhost, a queue pair for each vCPU".into()),
        ("Weir", format!("{}, {}", env!("CARGO_PKG_VERSION"), commit())),
        ("Linux guest", images.linux.kernel_name.clone()),
        ("nginx", version("nginx", "-v")),
        ("HAProxy", version("haproxy", "-v")),
        ("clients", format!("{}; {}", version("wrk", "-v"), version("ab", "-V"))),
    ]
    .into_iter()
    .map(|(name, value)| Fact { name: name.into(), value })
    .collect()
}

/// How many processes want a processor, averaged over the last minute.
#[must_use]
pub fn load(name: &str) -> Fact {
    Fact { name: name.into(), value: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned() }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim()))
}

/// The commit, and whether the tree differs from it.
fn commit() -> String {
    let Some(workspace) = base::find_workspace() else { return "no source tree".into() };
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&workspace).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "commit unknown".into() };
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| text.is_empty());
    if is_clean { format!("commit {commit}") } else { format!("commit {commit} with changes") }
}

/// The first line that a program says about its version, on either output.
fn version(program: &str, flag: &str) -> String {
    let Some(path) = check::find(program) else { return format!("{program} not found") };
    let Ok(output) = Command::new(path).arg(flag).output() else { return format!("{program} does not start") };
    let said = [output.stdout, output.stderr].concat();
    first_line(&String::from_utf8_lossy(&said))
}

/// Without what nobody wants to know: copyright and addresses.
fn first_line(said: &str) -> String {
    let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown");
    line.split([',', '<', '['])
        .next()
        .unwrap_or(line)
        .split(" - ")
        .next()
        .unwrap_or(line)
        .split(" Copyright")
        .next()
        .unwrap_or(line)
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_one_line() {
        assert_eq!(first_line("nginx version: nginx/1.22.1\n"), "nginx version: nginx/1.22.1");
        assert_eq!(
            first_line("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer\n"),
            "wrk debian/4.1.0-3+b2"
        );
        assert_eq!(first_line("This is ApacheBench, Version 2.3 <$Revision: 1 $>\n"), "This is ApacheBench");
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(field("processor\t: 0\nmodel name\t: AMD EPYC\n", "model name"), Some("AMD EPYC"));
    }
}
