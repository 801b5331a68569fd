//! The whole instrument against a guest whose instructions are known: what the plugin counts inside of QEMU is what the guest
//! executed, to the last one.

mod guest;

use std::process::ExitCode;
use std::time::Duration;

use guest::{DONE, Known, TURNS};
use libtest_mimic::{Arguments, Failed, Trial};
use weir_host::accel::Accelerator;
use weir_host::machine::Machine;
use weir_host::memfile::MemFile;
use weir_host::qemu::Qemu;
use weir_host::tether;
use weir_host::vm::Vm;
use weir_meter::meter::Meter;
use weir_meter::plugin::{self, Options};
use weir_meter::tally::{Special, Tally};

/// Time for the guest's line.
const LINE_LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    tether::enter_if_asked();
    let arguments = Arguments::from_args();
    let qemu = Qemu::find();
    if let Err(error) = &qemu {
        eprintln!("skipped: {error}");
    }
    let is_missing = qemu.is_err();
    let test = move || {
        let qemu = qemu.map_err(|error| Failed::from(error.to_string()))?;
        every_instruction_is_counted(&qemu).map_err(|error| Failed::from(error.to_string()))
    };
    let trials = vec![Trial::test("every_instruction_is_counted", test).with_ignored_flag(is_missing)];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn every_instruction_is_counted(qemu: &Qemu) -> Result<(), Box<dyn std::error::Error>> {
    let plugin = plugin::build()?;
    let known = Known::new();
    let image = MemFile::new(&known.elf)?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("meter");
    let options = Options { devices: true, lines: true, identity_len: 32 << 20 };
    let machine = Machine {
        memory_mib: 32,
        extra: plugin::arguments(&plugin, &socket, options).into(),
        ..Machine::new(image.path().to_owned(), Accelerator::Tcg)
    };
    let mut vm = Vm::start(qemu, &machine)?;
    // The firmware talks on the same console.
    vm.wait_for(|line| line.ends_with(DONE), LINE_LIMIT).map_err(|error| format!("{error}: {}", vm.complaints()))?;
    let mut meter = Meter::connect(&socket)?;
    check(&meter.mark()?, &known);
    let halted = until_nothing_happens(&mut meter)?;
    assert!(halted.total().halts > 0, "the guest halts at its end");
    assert_eq!(halted.lines, [], "one vCPU shares nothing");
    Ok(())
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
