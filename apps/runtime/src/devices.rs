//! Finds the devices and opens them.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use spin::Once;
use weir_drivers::block::Disk;
use weir_drivers::net::{KEY_BYTES, NetDevice, Options};
use weir_drivers::pci::{self, Found, Function, Window};
use weir_drivers::virtio::{AnyTransport, DeviceType, InterruptLine, MmioTransport, PciTransport, Transport};
use weir_drivers::{DeviceError, rng};
use weir_hal::{CoreId, MmioDevice, MsiMessage};
use weir_kernel::boot::BootInfo;
use weir_kernel::memory::Machine;
use weir_kernel::{cores, entropy, interrupts, pci as config_space, warn};

/// Bytes asked of the entropy device.
const ENTROPY_BYTES: usize = 64;

/// Why there is no network.
#[derive(Debug)]
pub enum NetworkError {
    /// Nothing on the PCI bus and nothing without a bus is a virtio network device.
    NoDevice {
        /// PCI functions that were looked at.
        functions: usize,
        /// Places for devices without a bus.
        places: usize,
    },
    /// There is one, and it cannot be used.
    Device(DeviceError),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice { functions, places } => {
                write!(f, "no network device among {functions} PCI functions and {places} places without a bus: ")?;
                f.write_str(
                    "give the VM a virtio-net device (QEMU: -device virtio-net-pci, on microvm virtio-net-device)",
                )
            }
            Self::Device(error) => write!(f, "the network device cannot be used: {error}"),
        }
    }
}

/// What the machine has.
pub struct Devices {
    functions: Vec<Found>,
    mmio: Vec<MmioDevice>,
}

/// Looks at the PCI bus, and at what firmware and loader tell of devices without a bus.
pub fn scan(boot: &BootInfo) -> Devices {
    let told = boot.mmio_devices.into_iter().flatten().chain(boot.command_line.mmio_devices());
    Devices { functions: pci::scan(&config_space::access()), mmio: told.collect() }
}

/// Opens the disks, one after the other.
pub fn disks(found: &Devices) -> impl Iterator<Item = Result<Disk<AnyTransport>, DeviceError>> {
    transports(found, DeviceType::Block).map(|transport| Disk::open(transport?, &Machine))
}

/// Mixes what the entropy device gives into the kernel's pool. Without one the processor's instruction has to do.
pub fn gather_entropy(found: &Devices) {
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
pub fn open_network(found: &Devices, cores: usize) -> Result<NetDevice, NetworkError> {
    let Some(transport) = transports(found, DeviceType::Network).next() else {
        return Err(NetworkError::NoDevice { functions: found.functions.len(), places: found.mmio.len() });
    };
    let mut key = [0; KEY_BYTES];
    let spread_key = entropy::fill(&mut key).is_ok().then_some(key);
    let options =
        Options { pairs_max: cores, spread_key, segmentation: true, large_receive: true, ..Options::default() };
    if let Ok(AnyTransport::Mmio(transport)) = &transport
        && let Some(line) = transport.interrupt_line()
    {
        LINE.call_once(|| line);
    }
    let opened = transport.and_then(|transport| {
        if has_messages_for_all(&transport, cores) {
            NetDevice::open(transport, &Machine, options, &mut wake)
        } else {
            NetDevice::open(transport, &Machine, options, &mut interrupt)
        }
    });
    let device = opened.map_err(NetworkError::Device)?;
    if device.report.vectors < device.report.pairs {
        PAIRS.store(device.report.pairs, Ordering::Relaxed);
        SHARED_MESSAGES.store(device.report.vectors, Ordering::Relaxed);
    }
    Ok(device)
}

/// Whether each core gets a message of its own, so that nothing but the end of its halt is to be done.
fn has_messages_for_all(transport: &AnyTransport, cores: usize) -> bool {
    let has_vectors = matches!(transport, AnyTransport::Pci(_)) && usize::from(transport.vectors()) >= cores;
    has_vectors && (0..cores).all(|core| wake(core).is_some())
}

/// The message that ends the halt of the core that owns pair `pair`.
fn wake(pair: usize) -> Option<MsiMessage> {
    interrupts::wake_message(CoreId(u16::try_from(pair).ok()?)).ok()
}

/// The same, by way of [`pass_on`].
fn interrupt(pair: usize) -> Option<MsiMessage> {
    let core = CoreId(u16::try_from(pair).ok()?);
    interrupts::allocate(core, pass_on, pair).ok()
}

/// Messages that the device has, when there are fewer than pairs; zero while each pair has its own.
static SHARED_MESSAGES: AtomicUsize = AtomicUsize::new(0);
/// The pairs that share them.
static PAIRS: AtomicUsize = AtomicUsize::new(0);

/// The interrupt line of a device without a bus, which stays raised until it is acknowledged.
static LINE: Once<InterruptLine> = Once::new();

/// The interrupt of message `message`. The halt of its own core ends by the interrupt itself; cores that share the
/// message are woken.
fn pass_on(message: usize) {
    if let Some(line) = LINE.get() {
        line.acknowledge();
    }
    let messages = SHARED_MESSAGES.load(Ordering::Relaxed);
    if messages == 0 {
        return;
    }
    let sharers = (message + messages..PAIRS.load(Ordering::Relaxed)).step_by(messages);
    sharers.filter_map(|core| u16::try_from(core).ok()).for_each(|core| cores::wake(CoreId(core)));
}

/// All devices of a type, those on the PCI bus first.
fn transports(found: &Devices, wanted: DeviceType) -> impl Iterator<Item = Result<AnyTransport, DeviceError>> {
    let config = config_space::access();
    let on_pci = found.functions.iter().filter_map(move |each| {
        let function = Function::new(&config, each.place);
        (PciTransport::probe(&function) == Some(wanted))
            .then(|| PciTransport::open(&function, &Machine, &mut Window::empty()).map(AnyTransport::Pci))
    });
    let route = |line, message| interrupts::ioapic::route(line, message).is_ok();
    let on_none = found.mmio.iter().filter_map(move |&device| match MmioTransport::open(device, &Machine, route) {
        Ok(None) => None,
        Ok(Some(transport)) => (transport.device_type() == wanted).then_some(Ok(AnyTransport::Mmio(transport))),
        Err(error) => {
            warn!("virtio-mmio at {:#x}: {error}", device.at.0);
            None
        }
    });
    on_pci.chain(on_none)
}
