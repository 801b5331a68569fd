//! One machine from its start to its end, in front of the user: console, URLs, rates, `^C`.

use std::fs::File;
use std::io::Write;
use std::process::{ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::source::Source;
use super::{Outcome, rates, say};
use crate::accel::{self, Accelerator};
use crate::cli::{self, MachineOptions};
use crate::failure::Failure;
use crate::machine::{Machine, MachineType, Nic};
use crate::memfile::MemFile;
use crate::net;
use crate::qemu::Qemu;
use crate::qmp::Order;
use crate::vm::{Event, READY, Vm};

/// How long the guest may take to switch itself off after its power button was pressed.
const POWER_DOWN_GRACE: Duration = Duration::from_secs(3);

/// How long QEMU may take to quit before it is killed.
const QUIT_GRACE: Duration = Duration::from_secs(2);

/// What is to be booted.
pub struct Plan {
    /// The configuration.
    pub source: Source,
    /// What else goes into the image.
    pub image: cli::Source,
    /// Virtual processors.
    pub cores: u32,
    /// The network.
    pub nic: Nic,
    /// What to tell the user once the guest serves.
    pub urls: Vec<String>,
    /// Host processors that QEMU may use.
    pub host_cpus: Option<(usize, usize)>,
    /// Address of a metrics page to print requests per second from.
    pub rates_from: Option<std::net::SocketAddr>,
    /// The rest, from the command line.
    pub options: MachineOptions,
}

/// Boots it and stays until the end.
///
/// # Errors
/// When something is missing, when QEMU refuses, or when the guest fails.
pub fn run(plan: Plan) -> Outcome {
    let qemu = Qemu::find()?;
    if let Some(disk) = &plan.options.cidata {
        let unreadable =
            |error| Failure::new(format!("cannot read the configuration disk {}: {error}", disk.display()));
        File::open(disk).map_err(unreadable)?;
    }
    let image = plan.source.image(&plan.image)?;
    let choice = accel::choose(plan.options.accel, &qemu)?;
    if let Some(remark) = choice.remark {
        say(&remark);
    }
    let image = MemFile::new(&image).map_err(|error| Failure::new(format!("no memory for the image: {error}")))?;
    let machine = Machine {
        machine_type: plan.options.machine,
        append: plan.options.append,
        cores: plan.cores,
        memory_mib: plan.options.memory,
        nic: plan.nic,
        host_cpus: plan.host_cpus,
        cidata: plan.options.cidata,
        extra: plan.options.qemu,
        ..Machine::new(image.path().to_owned(), choice.accelerator)
    };
    say(&format!("starting QEMU {} with {} ({})", qemu.version, cores(plan.cores), name(choice.accelerator)));
    let vm = Vm::start(&qemu, &machine).map_err(|error| Failure::new(format!("cannot start QEMU: {error}")))?;
    forward_signals(&vm)?;
    let has_power_button = machine.machine_type == MachineType::Q35;
    let (urls, rates_from) = (plan.urls, plan.rates_from);
    let mut session = Session { vm, has_power_button, urls, rates_from, phase: Phase::Booting, reason: None };
    let status = session.follow();
    session.verdict(status, &machine.nic)
}

fn cores(count: u32) -> String {
    if count == 1 { "1 core".into() } else { format!("{count} cores") }
}

fn name(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "KVM",
        Accelerator::Tcg => "TCG",
    }
}

/// `^C`, `kill` and a closed terminal all mean: end it.
fn forward_signals(vm: &Vm) -> Result<(), Failure> {
    let sender = vm.sender();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(Event::Interrupt).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// How far a machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Booting,
    Serving,
    /// The power button was pressed; the guest has until then.
    PoweringDown(Instant),
    /// QEMU was told to quit; it has until then.
    Quitting(Instant),
}

struct Session {
    vm: Vm,
    /// Whether the guest can be asked to switch itself off.
    has_power_button: bool,
    urls: Vec<String>,
    rates_from: Option<std::net::SocketAddr>,
    phase: Phase,
    /// The last thing QEMU told about the machine's end.
    reason: Option<String>,
}

impl Session {
    /// Shows what the machine says until it has ended; `None` if it had to be killed.
    fn follow(&mut self) -> Option<ExitStatus> {
        loop {
            let deadline = match self.phase {
                Phase::Booting | Phase::Serving => None,
                Phase::PoweringDown(deadline) | Phase::Quitting(deadline) => Some(deadline),
            };
            match self.vm.next_event(deadline) {
                Some(Event::Console(line)) => self.console_line(&line),
                Some(Event::Complaint(line)) => eprintln!("qemu: {line}"),
                Some(Event::Machine(event)) if event.starts_with("SHUTDOWN") => self.reason = Some(event),
                Some(Event::Machine(_)) => {}
                Some(Event::Interrupt) => self.end_sooner(),
                Some(Event::Ended) => return self.vm.wait_end(QUIT_GRACE),
                None if matches!(self.phase, Phase::Quitting(_)) => return None,
                None => self.end_sooner(),
            }
        }
    }

    fn console_line(&mut self, line: &str) {
        if writeln!(std::io::stdout(), "{line}").is_err() {
            // Nobody looks any more.
            self.end_sooner();
            return;
        }
        if self.phase == Phase::Booting && line.starts_with(READY) {
            self.phase = Phase::Serving;
            for url in &self.urls {
                say(url);
            }
            say("press ^C to end");
            if let Some(address) = self.rates_from {
                rates::print_from(address);
            }
        }
    }

    /// The next step towards the end: a guest that serves is asked, everything else is made.
    fn end_sooner(&mut self) {
        self.phase = match self.phase {
            Phase::Serving if self.has_power_button => {
                say("switching off; press ^C again to end at once");
                self.vm.order(Order::PowerDown);
                Phase::PoweringDown(Instant::now() + POWER_DOWN_GRACE)
            }
            Phase::Booting | Phase::Serving | Phase::PoweringDown(_) => {
                self.vm.order(Order::Quit);
                Phase::Quitting(Instant::now() + QUIT_GRACE)
            }
            Phase::Quitting(_) => Phase::Quitting(Instant::now()),
        };
    }

    fn verdict(mut self, status: Option<ExitStatus>, nic: &Nic) -> Outcome {
        if matches!(self.phase, Phase::PoweringDown(_) | Phase::Quitting(_)) {
            return Ok(ExitCode::SUCCESS);
        }
        let complaints = self.vm.complaints();
        let code = status.and_then(|status| status.code());
        match (code, self.reason.as_deref()) {
            (Some(0), Some("SHUTDOWN guest-reset")) => {
                Err(Failure::new("the guest reset itself; its last lines say why"))
            }
            (Some(0), _) => Ok(ExitCode::SUCCESS),
            (Some(code), _) if self.vm.lines().is_empty() && !complaints.is_empty() => Err(explain(&complaints, nic)
                .unwrap_or_else(|| Failure::new(format!("QEMU refuses, with exit status {code}")))),
            (Some(code), _) => {
                Err(Failure::new(format!("the guest failed (exit status {code}); its last lines say why")))
            }
            (None, _) => Err(Failure::new("QEMU was killed")),
        }
    }
}

/// What QEMU's complaints mean, when we know better words.
fn explain(complaints: &str, nic: &Nic) -> Option<Failure> {
    match nic {
        Nic::Tap { name, queues } => net::explain_tap(complaints, name, *queues),
        Nic::User { .. } if complaints.contains("host forwarding") => {
            Some(Failure::new("a port was taken while QEMU started").help("try again, or choose one with --port"))
        }
        Nic::User { .. } | Nic::None => None,
    }
}
