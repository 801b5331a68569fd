//! The whole instrument against a guest whose instructions are known: what the plugin counts inside of QEMU is what the guest
//! executed, to the last one.

mod guest;

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use guest::{DONE, Known, TURNS};
use libtest_mimic::{Arguments, Failed, Trial};
use weir_host::accel::Accelerator;
use weir_host::machine::Machine;
use weir_host::memfile::MemFile;
use weir_host::qemu::Qemu;
use weir_host::qmp::Order;
use weir_host::tether;
use weir_host::vm::Vm;
use weir_meter::meter::Meter;
use weir_meter::plugin::{self, Options};
use weir_meter::tally::{Special, Tally};

/// Time for the guest's line.
const LINE_LIMIT: Duration = Duration::from_secs(30);

/// Memory of a guest.
const MEMORY_MIB: u32 = 32;

type Tested = Result<(), Box<dyn std::error::Error>>;
type Test = fn(&Qemu) -> Tested;

fn main() -> ExitCode {
    tether::enter_if_asked();
    let arguments = Arguments::from_args();
    let qemu = Qemu::find();
    if let Err(error) = &qemu {
        eprintln!("skipped: {error}");
    }
    let qemu = qemu.ok();
    let tests: [(&str, Test); 2] = [
        ("every_instruction_is_counted", every_instruction_is_counted),
        ("accesses_are_not_looked_at_before_the_mark", accesses_are_not_looked_at_before_the_mark),
    ];
    let trial = |(name, test): (&'static str, Test)| {
        let (qemu, is_missing) = (qemu.clone(), qemu.is_none());
        let run = move || test(&qemu.ok_or("no QEMU")?).map_err(|error| Failed::from(error.to_string()));
        Trial::test(name, run).with_ignored_flag(is_missing)
    };
    libtest_mimic::run(&arguments, tests.map(trial).into()).exit_code()
}

fn every_instruction_is_counted(qemu: &Qemu) -> Tested {
    let known = Known::new();
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("meter");
    let options = Options { devices: true, lines: true, identity_len: u64::from(MEMORY_MIB) << 20 };
    let image = MemFile::new(&known.elf)?;
    let mut machine = machine(&image, &socket, options)?;
    machine.extra.push("-S".into());
    let mut vm = Vm::start(qemu, &machine)?;
    // From the guest's first instruction on.
    let mut meter = connect(&socket)?;
    meter.mark()?;
    vm.order(Order::Continue);
    is_done(&mut vm)?;
    check(&meter.mark()?, &known);
    let halted = until_nothing_happens(&mut meter)?;
    assert!(halted.total().halts > 0, "the guest halts at its end");
    assert_eq!(halted.lines, [], "one vCPU shares nothing");
    Ok(())
}

/// While a guest boots, QEMU may not survive the question where an access has led.
fn accesses_are_not_looked_at_before_the_mark(qemu: &Qemu) -> Tested {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("meter");
    let options = Options { devices: true, lines: false, identity_len: u64::from(MEMORY_MIB) << 20 };
    let image = MemFile::new(&Known::new().elf)?;
    let mut vm = Vm::start(qemu, &machine(&image, &socket, options)?)?;
    is_done(&mut vm)?;
    let tally = Meter::connect(&socket)?.mark()?;
    assert!(tally.total().instructions > u64::from(TURNS), "instructions are counted from the start");
    assert_eq!(tally.devices, [], "the firmware and the guest have asked devices");
    Ok(())
}

fn machine(image: &MemFile, socket: &Path, options: Options) -> Result<Machine, Box<dyn std::error::Error>> {
    let extra = plugin::arguments(&plugin::build()?, socket, options).into();
    Ok(Machine { memory_mib: MEMORY_MIB, extra, ..Machine::new(image.path().to_owned(), Accelerator::Tcg) })
}

/// Waits until QEMU has loaded the plugin.
fn connect(socket: &Path) -> Result<Meter, Box<dyn std::error::Error>> {
    let deadline = Instant::now() + LINE_LIMIT;
    loop {
        match Meter::connect(socket) {
            Err(_) if Instant::now() < deadline => thread::yield_now(),
            result => return Ok(result?),
        }
    }
}

fn is_done(vm: &mut Vm) -> Tested {
    // The firmware talks on the same console.
    let line = vm.wait_for(|line| line.ends_with(DONE), LINE_LIMIT);
    line.map(drop).map_err(|error| format!("{error}: {}", vm.complaints()).into())
}

fn check(tally: &Tally, known: &Known) {
    let turns = u64::from(TURNS);
    assert_eq!(tally.vcpus, 1);
    assert_eq!(tally.unplaced, [0]);
    // The firmware's code is elsewhere, so these addresses are the guest's alone.
    let locked = tally.by_address(Special::Locked);
    assert_eq!((locked.get(&known.lock), locked.get(&known.xchg)), (Some(&turns), Some(&turns)));
    assert_eq!(tally.by_address(Special::Barrier).get(&known.fence), Some(&turns));
    let ports = tally.by_address(Special::Port);
    assert!(known.outs.iter().all(|at| ports.get(at) == Some(&1)), "{ports:?}");
    let of_device = tally.devices.iter().filter(|access| access.at == known.device);
    assert_eq!(of_device.map(|access| access.count).sum::<u64>(), turns);
    let runs_with = |wanted| {
        let has_it = tally.blocks.iter().filter(|block| block.addresses().any(|at| at == wanted));
        has_it.map(|block| block.runs[0]).sum::<u64>()
    };
    assert_eq!(runs_with(known.jump), turns);
    assert_eq!(tally.total(), tally.by_vcpu()[0]);
}

/// Reads until two tallies are the same.
fn until_nothing_happens(meter: &mut Meter) -> Result<Tally, Box<dyn std::error::Error>> {
    let mut before = meter.read()?;
    for _ in 0..1000 {
        let now = meter.read()?;
        if now.since(&before).total().instructions == 0 && now.total().halts > 0 {
            return Ok(now);
        }
        before = now;
    }
    Err("a guest that has halted goes on executing".into())
}
