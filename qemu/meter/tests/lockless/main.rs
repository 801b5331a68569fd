//! No shared lock, proven: while two cores serve, no instruction is locked and no cache line that one core writes is touched by
//! the other, outside of the few places where cores may meet ([`weir_meter::sharing`]).
//!
//! A counter that two cores share, added anywhere in the path of a request, fails these tests and is named by them. The device
//! has RSS, so that no packet needs to be handed from core to core.

use std::env;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Completion, Failed as TestFailed, Trial};
use weir_host::qemu::Qemu;
use weir_host::tether;
use weir_image::{base, elf, payload};
use weir_meter::lab::guest::{Detail, Guest, Plan};
use weir_meter::lab::load::Load;
use weir_meter::lab::servers::Server;
use weir_meter::lab::tap::Tap;
use weir_meter::lab::{self, Failed, namespace};
use weir_meter::names::Names;
use weir_meter::symbols::Symbols;
use weir_meter::{plugin, sharing};

/// Paths of what was built outside of the namespace.
const PLUGIN: &str = "WEIR_LOCKLESS_PLUGIN";
const BASE: &str = "WEIR_LOCKLESS_BASE";

const CORES: u32 = 2;
const SERVER_PORTS: [u16; 2] = [8001, 8002];
/// Until the connections to servers are open and the tables have grown.
const WARM_UP_SECONDS: u32 = 2;
const SECONDS: u32 = 3;
/// Times that a load is watched until it shares nothing. A segment that comes when its flow has ended is asked around, and with it
/// packets and sleeping cores meet, now and then; what every request shares is seen each time.
const WINDOWS: usize = 4;
/// A load that makes fewer requests than this proves little.
const REQUESTS_MIN: u64 = 500;

fn main() -> ExitCode {
    tether::enter_if_asked();
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    if !arguments.list && !namespace::is_inside() {
        return match enter() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let house: Arc<Mutex<Option<House>>> = Arc::default();
    let trials = [
        ("httpd_keep_alive", 80, Load::Wrk),
        ("httpd_connection_per_request", 80, Load::Ab),
        ("proxy_keep_alive", 81, Load::Wrk),
        ("proxy_connection_per_request", 81, Load::Ab),
    ];
    let trials = trials.map(|(name, port, load)| {
        let house = Arc::clone(&house);
        Trial::ignorable_test(name, move || shares_nothing(&house, port, load))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.into());
    drop(house);
    conclusion.exit_code()
}

/// Builds, and starts this program again inside of a namespace. Returns without an error when this machine cannot do that.
fn enter() -> Result<(), Failed> {
    if let Err(error) = Qemu::find() {
        eprintln!("skipped: {error}");
        return Ok(());
    }
    let variables = [(PLUGIN, plugin::build()?.into()), (BASE, base::build_with_lines()?.into())];
    Err(namespace::enter(variables))
}

/// A guest with servers behind it. All tests use one: it takes longer to boot than to serve.
struct House {
    guest: Guest,
    names: Names,
    _servers: Vec<Server>,
    _tap: Tap,
}

impl House {
    fn new() -> Result<Self, Failed> {
        namespace::set_up()?;
        let path = |name| env::var_os(name).map(PathBuf::from).ok_or("started without what it needs");
        let (plugin, base_path) = (path(PLUGIN)?, path(BASE)?);
        let base = base::read(&base_path)?;
        let tap = Tap::new(CORES)?;
        let guest = Guest::boot(Plan {
            image: &elf::attach(&base, &payload::pack(lab::CONFIG, None)?)?,
            plugin: &plugin,
            cores: CORES,
            nic: tap.nic(),
            nic_properties: vec!["rss=on".into()],
            detail: Detail { devices: false, lines: true },
        })?;
        let names = Names::with_lines(Symbols::read(&base)?, &base_path);
        let servers = SERVER_PORTS.iter().map(|port| Server::start(*port)).collect::<Result<_, _>>()?;
        Ok(Self { guest, names, _servers: servers, _tap: tap })
    }

    /// Serves for a while and tells what was shared.
    fn findings(&mut self, port: u16, load: Load) -> Result<Vec<String>, Failed> {
        let at = SocketAddrV4::new(lab::GUEST, port);
        load.run(at, "/", WARM_UP_SECONDS)?;
        let before = self.guest.meter.mark()?;
        let outcome = load.run(at, "/", SECONDS)?;
        let work = self.guest.meter.read()?.since(&before);
        println!("{outcome:?}");
        if outcome.errors > 0 || outcome.requests < REQUESTS_MIN {
            return Err(format!("no clean load: {outcome:?}").into());
        }
        let busy = work.by_vcpu().iter().filter(|counts| counts.instructions / 1_000 > outcome.requests / 10).count();
        if busy < CORES as usize {
            return Err(format!("only {busy} of {CORES} cores have served").into());
        }
        Ok(sharing::findings(&work, &self.names))
    }
}

fn shares_nothing(house: &Mutex<Option<House>>, port: u16, load: Load) -> Result<Completion, TestFailed> {
    let mut house = house.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if house.is_none() {
        *house = Some(House::new().map_err(|error| error.to_string())?);
    }
    let Some(house) = house.as_mut() else { return Err("no guest".into()) };
    let mut findings = Vec::new();
    for _ in 0..WINDOWS {
        findings = house.findings(port, load).map_err(|error| error.to_string())?;
        if findings.is_empty() {
            return Ok(Completion::Completed);
        }
        println!("{} lines or instructions are shared", findings.len());
    }
    Err(findings.join("\n").into())
}
