//! Finds the devices and opens them.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use weir_drivers::net::{KEY_BYTES, NetDevice, Options};
use weir_drivers::pci::{self, Found, Function, Window};
use weir_drivers::virtio::{DeviceType, PciTransport};
use weir_drivers::{DeviceError, rng};
use weir_hal::{CoreId, MsiMessage};
use weir_kernel::memory::Machine;
use weir_kernel::{cores, entropy, interrupts, pci as config_space, warn};

/// Bytes asked of the entropy device.
const ENTROPY_BYTES: usize = 64;

/// Why there is no network.
#[derive(Debug)]
pub enum NetworkError {
    /// No function on the PCI bus is a virtio network device.
    NoDevice {
        /// Functions that were looked at.
        functions: usize,
    },
    /// There is one, and it cannot be used.
    Device(DeviceError),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { functions } => {
                write!(f, "no network device among {functions} PCI functions: ")?;
                f.write_str("give the VM a virtio-net device (QEMU: -device virtio-net-pci)")
            }
            Self::Device(error) => write!(f, "the network device cannot be used: {error}"),
        }
    }
}

/// All PCI functions of the machine.
pub fn scan() -> Vec<Found> {
    pci::scan(&config_space::access())
}

/// Mixes what the entropy device gives into the kernel's pool. Without one the processor's instruction has to do.
pub fn gather_entropy(found: &[Found]) {
    for transport in transports(found, DeviceType::Entropy) {
        let mut bytes = [0; ENTROPY_BYTES];
        match transport.and_then(|mut transport| rng::fill(&mut transport, &Machine, &mut bytes)) {
            Ok(len) => entropy::mix(bytes.get(..len).unwrap_or_default()),
            Err(error) => warn!("entropy: the device cannot be used: {error}"),
        }
    }
}

/// Opens the first network device, with a queue pair and an interrupt for each of `cores` as far as it has them.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn open_network(found: &[Found], cores: usize) -> Result<NetDevice, NetworkError> {
    let Some(transport) = transports(found, DeviceType::Network).next() else {
        return Err(NetworkError::NoDevice { functions: found.len() });
    };
    let mut key = [0; KEY_BYTES];
    let spread_key = entropy::fill(&mut key).is_ok().then_some(key);
    let options =
        Options { pairs_max: cores, spread_key, segmentation: true, large_receive: true, ..Options::default() };
    let opened = transport.and_then(|transport| NetDevice::open(transport, &Machine, options, &mut interrupt));
    let device = opened.map_err(NetworkError::Device)?;
    if device.report.vectors < device.report.pairs {
        PAIRS.store(device.report.pairs, Ordering::Relaxed);
        SHARED_MESSAGES.store(device.report.vectors, Ordering::Relaxed);
    }
    Ok(device)
}

/// The message that ends the halt of the core that owns pair `pair`.
fn interrupt(pair: usize) -> Option<MsiMessage> {
    let core = CoreId(u16::try_from(pair).ok()?);
    interrupts::allocate(core, pass_on, pair).ok()
}

/// Messages that the device has, when there are fewer than pairs; zero while each pair has its own.
static SHARED_MESSAGES: AtomicUsize = AtomicUsize::new(0);
/// The pairs that share them.
static PAIRS: AtomicUsize = AtomicUsize::new(0);

/// The interrupt of message `message`. The halt of its own core ends by the interrupt itself; cores that share the
/// message are woken.
fn pass_on(message: usize) {
    let messages = SHARED_MESSAGES.load(Ordering::Relaxed);
    if messages == 0 {
        return;
    }
    let sharers = (message + messages..PAIRS.load(Ordering::Relaxed)).step_by(messages);
    sharers.filter_map(|core| u16::try_from(core).ok()).for_each(|core| cores::wake(CoreId(core)));
}

fn transports(found: &[Found], wanted: DeviceType) -> impl Iterator<Item = Result<PciTransport, DeviceError>> {
    let config = config_space::access();
    found.iter().filter_map(move |each| {
        let function = Function::new(&config, each.place);
        (PciTransport::probe(&function) == Some(wanted))
            .then(|| PciTransport::open(&function, &Machine, &mut Window::empty()))
    })
}
