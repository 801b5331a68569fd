//! What must be there before anything is measured; each thing missing has a name and a remedy.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use weir_host::failure::Failure;

/// Programs that are used, and the Debian packages they are in.
const PROGRAMS: [(&str, &str); 10] = [
    ("wrk", "wrk"),
    ("ab", "apache2-utils"),
    ("nginx", "nginx-light"),
    ("haproxy", "haproxy"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("dpkg", "dpkg"),
    ("hping3", "hping3"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
];

/// Memory for two guests, the client, the servers and the baseline's files, in MiB.
pub const MEMORY_MIB_MIN: u64 = 2 * crate::guest::MEMORY_MIB as u64 + 512;

/// Finds a program in the path or where administrators' programs are.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// All programs.
///
/// # Errors
/// When some are missing, with all their names.
pub fn programs() -> Result<(), Failure> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = |names: Vec<&str>| names.join(" ");
    let cause = format!("not found: {}", list(missing.iter().map(|(program, _)| *program).collect()));
    let packages = list(missing.iter().map(|(_, package)| *package).collect());
    Err(Failure::new(cause).help(format!("run './setup bench', or install these packages of Debian: {packages}")))
}

/// Room in memory.
///
/// # Errors
/// When there is too little.
pub fn memory() -> Result<(), Failure> {
    enough_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn enough_memory(meminfo: &str) -> Result<(), Failure> {
    // A system that does not tell is given the benefit of the doubt.
    let Some(mib) = field_kib(meminfo, "MemAvailable").map(|kib| kib / 1024) else { return Ok(()) };
    if mib >= MEMORY_MIB_MIN {
        return Ok(());
    }
    Err(Failure::new(format!("{mib} MiB of memory are available, and {MEMORY_MIB_MIN} are needed"))
        .help("two guests run at the same time; end something, or use a larger machine"))
}

/// A line of `/proc/meminfo`, in KiB.
#[must_use]
pub fn field_kib(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The right to make interfaces. To be asked inside of the namespace.
///
/// # Errors
/// When the device cannot be opened.
pub fn tap() -> Result<(), Failure> {
    tap_at(Path::new("/dev/net/tun"))
}

fn tap_at(device: &Path) -> Result<(), Failure> {
    File::options().read(true).write(true).open(device).map(drop).map_err(|error| {
        Failure::new(format!("no TAP interface can be made: {}: {error}", device.display()))
            .help("load the module 'tun' ('sudo modprobe tun'), or pass the device into this container")
    })
}

/// The right to a network namespace of one's own.
///
/// # Errors
/// When the system does not give it.
pub fn namespace() -> Result<(), Failure> {
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--mount"]);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let output = command.args(["--", "true"]).output();
    let output = output.map_err(|error| Failure::new(format!("cannot start unshare: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("no private network namespace can be had: {}", said.trim()))
        .help("run as root, or allow user namespaces ('sysctl kernel.unprivileged_userns_clone=1')"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_memory_is_said_in_numbers() {
        let failure = enough_memory("MemTotal: 9 kB\nMemAvailable:     614400 kB\n").unwrap_err().to_string();
        assert!(failure.contains("600 MiB") && failure.contains("help: "), "{failure}");
        assert_eq!(enough_memory("MemAvailable: 8388608 kB\n"), Ok(()));
        assert_eq!(enough_memory("nothing known"), Ok(()));
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let failure = tap_at(Path::new("/dev/net/none")).unwrap_err().to_string();
        assert!(failure.contains("/dev/net/none") && failure.contains("modprobe tun"), "{failure}");
    }
}
