//! From the kernel's hands to a core's life.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use weir_config::PanicPolicy;
use weir_drivers::net::{NetDevice, ParkedPair};
use weir_hal::CoreId;
use weir_kernel::panic::{self, Policy};
use weir_kernel::{BootInfo, cores, entropy, error, hooks, memory, power};
use weir_plan::{Plan, TooLittleMemory};
use weir_stack::PassiveOwner;

use crate::bed::Bed;
use crate::board::Board;
use crate::configuration::{self, Chosen};
use crate::relay::{self, Outlet};
use crate::seat::{self, Common, Seat};
use crate::wire::ParkedWire;
use crate::{devices, mesh};

/// Exit code, with QEMU's debug exit device, of an image that cannot begin.
const EXIT_CANNOT_START: u8 = 2;

/// Runs the image on core 0, for ever.
pub fn run(boot: &'static BootInfo) -> ! {
    hooks::run(boot.command_line);
    let found = devices::scan(boot);
    let chosen = configuration::choose(boot, &found);
    if boot.command_line.get("weir.panic").is_none() {
        panic::set_policy(match chosen.config.tuning.panic {
            PanicPolicy::Reboot => Policy::Reboot,
            PanicPolicy::Halt => Policy::Halt,
        });
    }
    let cores = cores::start_all(cores::CORES_MAX, seat::wait);
    devices::gather_entropy(&found);
    let device = devices::open_network(&found, cores).unwrap_or_else(|error| give_up(&error));
    seat_cores(chosen, device, cores).unwrap_or_else(|error| give_up(&error));
    seat::wait(CoreId::BOOT)
}

/// Divides memory and the device's queue pairs among the cores.
fn seat_cores(chosen: Chosen, device: NetDevice, cores: usize) -> Result<(), CannotStart> {
    let NetDevice { pairs, control, report } = device;
    let plan = Plan::new(memory::free_bytes(), cores, chosen.config.limits.connections).map_err(CannotStart::Memory)?;
    let passive = if pairs.len() < cores {
        let [first, second, ..] = random_seed()?;
        PassiveOwner::Hash([first, second])
    } else {
        PassiveOwner::Arrival
    };
    let board = Board::new(cores, weir_proxy::Counters::named_values(&chosen.config));
    let common = Arc::new(Common {
        config: chosen.config,
        archive: chosen.archive,
        origin: chosen.origin,
        plan,
        board,
        beds: (0..cores).map(|_| Bed::default()).collect(),
        report,
        passive,
    });
    let mut seats: Vec<Seat> = Vec::with_capacity(cores);
    for (wire, links) in wires(pairs, cores).into_iter().zip(mesh::connect(cores)) {
        let pool_memory = memory::large_alloc(plan.pool_bytes).ok_or(CannotStart::Fragmented)?.into_slice();
        let seed = random_seed()?;
        seats.push(Seat { wire, links, pool_memory, seed, control: None, common: Arc::clone(&common) });
    }
    if let Some(first) = seats.first_mut() {
        first.control = Some(control);
    }
    for (id, seat) in (0..).map(CoreId).zip(seats) {
        seat::give(id, seat);
    }
    Ok(())
}

/// A way to the wire for each core: the first ones get the pairs, the others share them evenly.
fn wires(pairs: Vec<ParkedPair>, cores: usize) -> Vec<ParkedWire> {
    let mut relays = Vec::new();
    let mut outlets: Vec<Vec<Outlet>> = pairs.iter().map(|_| Vec::new()).collect();
    for core in pairs.len()..cores {
        let (number, to) = (core as u16, core % pairs.len());
        let (relay, outlet) = relay::connect(number, *pairs[to].capabilities());
        relays.push(ParkedWire::Relay(relay, to as u16));
        outlets[to].push(outlet);
    }
    let own = pairs.into_iter().zip(outlets).map(|(pair, outlets)| ParkedWire::Pair(pair, outlets));
    own.chain(relays).collect()
}

fn random_seed() -> Result<[u64; 4], CannotStart> {
    let mut bytes = [0; 32];
    entropy::fill(&mut bytes).map_err(|_| CannotStart::NoEntropy)?;
    let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    Ok([(); 4].map(|()| words.next().unwrap_or_default()))
}

/// Why the cores cannot begin.
#[derive(Debug)]
enum CannotStart {
    /// There is too little memory.
    Memory(TooLittleMemory),
    /// There is enough memory, but not in one piece per core.
    Fragmented,
    /// There is no randomness for secrets.
    NoEntropy,
}

impl fmt::Display for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Fragmented => f.write_str("no piece of memory is large enough for a packet pool"),
            Self::NoEntropy => f.write_str(
                "no source of randomness: give the VM RDRAND (-cpu max) or an entropy device (-device virtio-rng-pci)",
            ),
        }
    }
}

/// Says why nothing can be served, and ends.
fn give_up(error: &dyn fmt::Display) -> ! {
    error!("cannot start: {error}");
    power::exit(EXIT_CANNOT_START)
}
