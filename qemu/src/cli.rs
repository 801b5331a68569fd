//! The command line: what can be asked for, and in which words.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::accel;
use crate::machine::{COMMAND_LINE_BYTES_MAX, MachineType};

/// Most virtual processors of one machine.
pub const CORES_MAX: i64 = 64;

/// Least and most memory of one machine, in MiB.
const MEMORY_MIB: RangeInclusive<u64> = 32..=1 << 20;

/// Memory of a machine of which nobody says how much it has, in MiB.
pub const MEMORY_MIB_DEFAULT: u32 = 256;

/// Least and most length of a disk, in MiB.
const DISK_MIB: RangeInclusive<u64> = 1..=64 << 10;

/// Longest name of a network interface, in bytes.
const INTERFACE_LEN_MAX: usize = 15;

/// A load balancer that is its own operating system.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validates a configuration.
    Check(Check),
    /// Prints the JSON Schema of configurations, or their reference.
    Schema(Schema),
    /// Makes a bootable image with a configuration inside.
    Build(Build),
    /// Boots a configuration in QEMU and shows its console.
    Run(Run),
    /// Boots a server or proxy for measuring, with the flags of Fastsocket's demo server.
    Demo(Demo),
    /// Says what a machine will carry: connections, flows, packets.
    Sizing(Sizing),
    /// Runs the tests: units, tree, and systems in QEMU.
    Test(Test),
    /// Measures Weir and Linux in turn, and writes a report.
    Bench(weir_bench::options::Bench),
}

/// `weir check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The configuration.
    pub file: PathBuf,
    /// Also print what was understood, defaults included.
    #[arg(long)]
    pub explain: bool,
}

/// `weir schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// Instead, every key with its type, range, default and meaning, in Markdown.
    #[arg(long)]
    pub reference: bool,
}

/// `weir build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The configuration.
    pub file: PathBuf,
    /// Where the image goes.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Form of the image.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Length of a disk, such as 64M or 1G, which it is filled up to [default: as long as it must be].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u32>,
    /// Where the manifest goes: versions, limits and hashes as JSON [default: OUT.json].
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Where the image comes from.
    #[command(flatten)]
    pub source: Source,
}

/// Forms of image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For `qemu -kernel`, Cloud Hypervisor and Firecracker.
    #[default]
    Elf,
    /// A disk, for BIOS and UEFI.
    Raw,
    /// The same, compressed, in QEMU's format.
    Qcow2,
    /// A CD, for BIOS and UEFI.
    Iso,
    /// No image, but a disk that brings the configuration to one: NoCloud's, with the label `cidata`.
    Cidata,
}

/// What goes into an image beside the configuration.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// Folder of the files that the configuration serves.
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// Takes a ready base image instead of building it.
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
}

/// `weir sizing`.
#[derive(Debug, Args)]
pub struct Sizing {
    /// The configuration, for its own limits and its length.
    pub file: Option<PathBuf>,
    /// Folder of the files that the configuration serves: they take memory.
    #[arg(long, value_name = "DIR", requires = "file")]
    pub files: Option<PathBuf>,
    /// Memory, such as 256M or 1G [default: 256M; without --cores, a table of usual machines].
    #[arg(long, value_name = "M", value_parser = parse_memory)]
    pub memory: Option<u32>,
    /// Virtual processors [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CORES_MAX))]
    pub cores: Option<u32>,
}

/// `weir run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration; without it, a balancer in front of two built-in servers.
    pub file: Option<PathBuf>,
    /// Virtual processors [default: 2 on a tap, 1 otherwise, since user networking has one queue pair].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CORES_MAX))]
    pub cores: Option<u32>,
    /// Port of this machine that leads to the first listener (with --net user) [default: 8080 if free].
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Where the image comes from.
    #[command(flatten)]
    pub source: Source,
    /// The machine around it.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// What `run` and `demo` have in common.
#[derive(Debug, Clone, Args)]
pub struct MachineOptions {
    /// Memory, such as 256M or 1G.
    #[arg(long, value_name = "M", default_value = "256M", value_parser = parse_memory)]
    pub memory: u32,
    /// Network: `user` needs no privilege, `tap:NAME` takes an interface that exists.
    #[arg(long, value_name = "user|tap:NAME", default_value = "user")]
    pub net: Net,
    /// Queue pairs of the network device [default: one per core on a tap of a q35, one otherwise].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=CORES_MAX))]
    pub queues: Option<u32>,
    /// What executes guest code.
    #[arg(long, value_enum, default_value_t)]
    pub accel: accel::Request,
    /// Type of machine.
    #[arg(long, value_enum, default_value_t)]
    pub machine: MachineType,
    /// Command line for the guest's kernel.
    #[arg(long, value_name = "TEXT", value_parser = parse_append)]
    pub append: Option<String>,
    /// Attaches a configuration disk (NoCloud, label `cidata`), whose user-data wins over the image's configuration.
    #[arg(long, value_name = "DISK")]
    pub cidata: Option<PathBuf>,
    /// Arguments handed to QEMU as they are.
    #[arg(last = true, value_name = "QEMU ARGS")]
    pub qemu: Vec<OsString>,
}

/// Where the network device leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Net {
    /// QEMU's user-level network.
    User,
    /// A TAP interface.
    Tap(String),
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("tap:") {
            None if text == "user" => Ok(Self::User),
            None => Err("expected 'user' or 'tap:NAME'".into()),
            // A comma would go on as another option of QEMU.
            Some(name) if name.contains([',', '/', ' ']) || name.is_empty() || name.len() > INTERFACE_LEN_MAX => {
                Err(format!("{name:?} is no name of an interface"))
            }
            Some(name) => Ok(Self::Tap(name.into())),
        }
    }
}

/// `weir demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Workers: one core each.
    #[arg(short = 'w', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=CORES_MAX))]
    pub workers: u32,
    /// First processor of this machine that the workers may use; as many as there are workers.
    #[arg(short = 'c', value_name = "CORE")]
    pub first_cpu: Option<usize>,
    /// Listen here (more than once for several) [default: 127.0.0.1:8080].
    #[arg(short = 'a', value_name = "ADDR:PORT")]
    pub listen: Vec<SocketAddrV4>,
    /// Be a proxy in front of this server (more than once for several).
    #[arg(short = 'x', value_name = "ADDR:PORT")]
    pub backends: Vec<SocketAddrV4>,
    /// Keep connections open between requests.
    #[arg(short = 'k')]
    pub keep_alive: bool,
    /// Print requests per second, every second.
    #[arg(short = 'v')]
    pub verbose: bool,
    /// Where the image comes from.
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// The machine around it.
    #[command(flatten)]
    pub machine: MachineOptions,
}

/// `weir test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Run only the tests with this in their name.
    pub filter: Option<String>,
    /// The long variants of the system tests.
    #[arg(long)]
    pub long: bool,
}

/// What QEMU's loader would damage is refused.
fn parse_append(text: &str) -> Result<String, String> {
    if text.len() > COMMAND_LINE_BYTES_MAX {
        return Err(format!("{} bytes, and QEMU's loader takes {COMMAND_LINE_BYTES_MAX}", text.len()));
    }
    Ok(text.into())
}

/// Reads `256M`, `1G`, or a bare number of MiB.
fn parse_memory(text: &str) -> Result<u32, String> {
    parse_mib(text, &MEMORY_MIB)
}

/// Reads the length of a disk, in the same form.
fn parse_size(text: &str) -> Result<u32, String> {
    parse_mib(text, &DISK_MIB)
}

fn parse_mib(text: &str, range: &RangeInclusive<u64>) -> Result<u32, String> {
    let (number, unit) = match text.strip_suffix(['G', 'g']) {
        Some(number) => (number, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let mib = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match mib.filter(|mib| range.contains(mib)) {
        Some(mib) => Ok(u32::try_from(mib).expect("the range fits")),
        None => Err(format!("expected {}M to {}G, such as 256M", range.start(), range.end() / 1024)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_has_no_contradictions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn memory_has_units_and_limits() {
        assert_eq!(parse_memory("256M"), Ok(256));
        assert_eq!(parse_memory("2G"), Ok(2048));
        assert_eq!(parse_memory("64"), Ok(64));
        for text in ["", "M", "31M", "1025G", "1T", "-1", "18446744073709551615G"] {
            assert!(parse_memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_command_line_that_the_loader_has_no_room_for_is_refused() {
        assert!(parse_append(&"x".repeat(COMMAND_LINE_BYTES_MAX)).is_ok());
        assert!(parse_append(&"x".repeat(COMMAND_LINE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn interfaces_have_names_that_qemu_cannot_take_for_options() {
        assert_eq!("tap:t0".parse(), Ok(Net::Tap("t0".into())));
        for text in ["", "tap", "tap:", "tap:a,b", "tap:../x", "tap:sixteen-letters-", "bridge"] {
            assert!(text.parse::<Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_follows_two_dashes_is_for_qemu() {
        let cli = Cli::try_parse_from(["weir", "run", "--cores", "4", "--", "-trace", "x"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!((run.cores, run.file), (Some(4), None));
        assert_eq!(run.machine.qemu, ["-trace", "x"]);
    }

    #[test]
    fn fastsockets_flags_are_understood() {
        let words =
            ["weir", "demo", "-w", "2", "-a", "0.0.0.0:80", "-x", "10.0.0.1:80", "-x", "10.0.0.2:80", "-k", "-v"];
        let Command::Demo(demo) = Cli::try_parse_from(words).unwrap().command else { panic!("not demo") };
        assert_eq!((demo.workers, demo.listen.len(), demo.backends.len()), (2, 1, 2));
        assert!(demo.keep_alive && demo.verbose);
    }
}
