//! `weir-meter`: what Weir executes per request.
//!
//! ```text
//! cargo run --release -p weir-meter                            # the table of the documentation
//! cargo run --release -p weir-meter -- --cores 1 --port 80 --load wrk --profile
//! cargo run --release -p weir-meter -- --cores 2 --shared      # which cache lines two cores write and read
//! ```
//!
//! Needs QEMU 9.1 or newer, `ip`, `unshare`, `wrk`, `ab` and `nginx`. Everything happens in a network namespace of its own.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use weir_host::tether;
use weir_image::{base, elf, payload};
use weir_meter::lab::guest::{Detail, Guest, Plan};
use weir_meter::lab::load::{self, Load};
use weir_meter::lab::servers::Server;
use weir_meter::lab::tap::Tap;
use weir_meter::lab::{self, Failed, namespace};
use weir_meter::names::Names;
use weir_meter::plugin;
use weir_meter::report::{self, Measurement};
use weir_meter::symbols::Symbols;

/// Paths of what was built outside of the namespace, where cargo may have to fetch something.
const PLUGIN: &str = "WEIR_METER_PLUGIN";
const BASE: &str = "WEIR_METER_BASE";

/// Ports of the servers behind the proxy.
const SERVER_PORTS: [u16; 2] = [8001, 8002];

/// Seconds of load before anything is counted: caches fill, connections to the servers open, code is translated.
const WARM_UP_SECONDS: u32 = 1;

/// Counts what Weir executes per request, by vCPU and by function.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// The guest's program with its symbols; built from the sources by default.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// A ready image with the address 10.77.0.2, instead of one with the meter's own configuration; --base names its symbols
    /// if it has none.
    #[arg(long, value_name = "FILE")]
    elf: Option<PathBuf>,
    /// Another configuration; the host is 10.77.0.1, with servers on ports 8001 and 8002.
    #[arg(long, value_name = "FILE", conflicts_with = "elf")]
    config: Option<PathBuf>,
    /// Numbers of vCPUs, each with a queue pair.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    cores: Vec<u32>,
    /// Queue pairs, if not one for each vCPU.
    #[arg(long)]
    queues: Option<u32>,
    /// Properties added to the network device, such as rss=on.
    #[arg(long, value_name = "PROPERTY=VALUE")]
    nic: Vec<String>,
    /// Ports of the guest: 80 is its server, 81 its proxy.
    #[arg(long, value_delimiter = ',', default_value = "80,81")]
    port: Vec<u16>,
    /// wrk keeps its connections alive, ab opens one for each request.
    #[arg(long, value_delimiter = ',', default_value = "wrk,ab")]
    load: Vec<Load>,
    /// Requests under way at any time, shared by all cores.
    #[arg(long, value_name = "NUMBER", default_value_t = load::CONNECTIONS)]
    connections: u32,
    /// Requests under way at any time for each core: so each has the same load, however many there are.
    #[arg(long, value_name = "NUMBER", conflicts_with = "connections")]
    connections_per_core: Option<u32>,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// How long each load lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Show so many functions, and the places of locked instructions and device accesses.
    #[arg(long, value_name = "ROWS", num_args = 0..=1, default_missing_value = "25")]
    profile: Option<usize>,
    /// Show so many lines of the source.
    #[arg(long, value_name = "ROWS", num_args = 0..=1, default_missing_value = "40")]
    lines: Option<usize>,
    /// Do not count device accesses, which makes the guest faster.
    #[arg(long)]
    no_devices: bool,
    /// Find cache lines that several vCPUs share. Slow.
    #[arg(long)]
    shared: bool,
}

fn main() -> ExitCode {
    tether::enter_if_asked();
    let options = Options::parse();
    let result = if namespace::is_inside() { measure_all(&options) } else { Err(prepare(&options)) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds what has to be built and goes into the namespace; returns only when something fails.
fn prepare(options: &Options) -> Failed {
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    match plugin::build() {
        Ok(path) => variables.push((PLUGIN, path.into())),
        Err(error) => return error.into(),
    }
    if options.base.is_none() && options.elf.is_none() {
        let explains = options.profile.is_some() || options.lines.is_some() || options.shared;
        match if explains { base::build_with_lines() } else { base::build() } {
            Ok(path) => variables.push((BASE, path.into())),
            Err(error) => return error.into(),
        }
    }
    namespace::enter(variables)
}

fn measure_all(options: &Options) -> Result<(), Failed> {
    namespace::set_up()?;
    let image = Image::read(options)?;
    let mut rows = Vec::new();
    for &cores in &options.cores {
        let tap = Tap::new(options.queues.unwrap_or(cores))?;
        let mut guest = Guest::boot(Plan {
            image: &image.bytes,
            plugin: &PathBuf::from(env::var_os(PLUGIN).ok_or("no plugin was built")?),
            cores,
            nic: tap.nic(),
            nic_properties: options.nic.clone(),
            detail: Detail { devices: !options.no_devices, lines: options.shared },
        })?;
        println!("{}\n", guest.ready);
        let _servers = SERVER_PORTS.iter().map(|port| Server::start(*port)).collect::<Result<Vec<_>, _>>()?;
        for &port in &options.port {
            for &load in &options.load {
                let measurement = measure(options, &mut guest, cores, port, load)?;
                println!("{}", tell(options, &measurement, &image.names));
                rows.push(report::summary_row(&measurement));
            }
        }
    }
    println!("{}\n{}", report::SUMMARY_HEADER, rows.join("\n"));
    Ok(())
}

/// What is booted, and its names.
struct Image {
    bytes: Vec<u8>,
    names: Names,
}

impl Image {
    fn read(options: &Options) -> Result<Self, Failed> {
        let base_path = options.base.clone().or_else(|| env::var_os(BASE).map(PathBuf::from));
        let base = base_path.as_deref().map(base::read).transpose()?;
        let bytes = match (&options.elf, &base) {
            (Some(path), _) => fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?,
            (None, Some(base)) => {
                let config = match &options.config {
                    Some(path) => fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
                    None => lab::CONFIG.to_owned(),
                };
                elf::attach(base, &payload::pack(&config, None)?)?
            }
            (None, None) => return Err("no guest was built".into()),
        };
        let symbols = Symbols::read(base.as_deref().unwrap_or(&bytes))?;
        let names = match base_path.as_ref().or(options.elf.as_ref()) {
            Some(path) => Names::with_lines(symbols, path),
            None => Names::from_symbols(symbols),
        };
        Ok(Self { bytes, names })
    }
}

fn measure(options: &Options, guest: &mut Guest, cores: u32, port: u16, load: Load) -> Result<Measurement, Failed> {
    let at = SocketAddrV4::new(lab::GUEST, port);
    let connections = options.connections_per_core.map_or(options.connections, |each| each.saturating_mul(cores));
    load.run_wide(at, &options.path, WARM_UP_SECONDS, connections)?;
    let before = guest.meter.mark()?;
    let outcome = load.run_wide(at, &options.path, options.seconds, connections)?;
    let work = guest.meter.read()?.since(&before);
    let service = match port {
        80 if options.elf.is_none() && options.config.is_none() => "httpd".into(),
        81 if options.elf.is_none() && options.config.is_none() => "proxy".into(),
        other => format!("port {other}"),
    };
    Ok(Measurement {
        title: format!("{service}, {load}, {cores} vCPU"),
        requests: outcome.requests,
        errors: outcome.errors,
        rate: outcome.rate,
        work,
        has_devices: !options.no_devices,
    })
}

fn tell(options: &Options, measurement: &Measurement, names: &Names) -> String {
    let mut text = format!("## {}\n\n", measurement.title);
    text += &format!("{} requests, {} errors\n\n", measurement.requests, measurement.errors);
    text += &report::balance(measurement);
    if measurement.work.unplaced.iter().any(|runs| *runs > 0) {
        text += "\nThe plugin had too few counters: all figures are too low.\n";
    }
    if let Some(rows) = options.profile {
        text += &format!("\n{}", report::profile(measurement, names, rows));
    }
    if let Some(rows) = options.lines {
        text += &format!("\n{}", report::source_lines(measurement, names, rows));
    }
    if options.shared {
        text += &format!("\n{}", report::lines(measurement, names));
    }
    text
}
