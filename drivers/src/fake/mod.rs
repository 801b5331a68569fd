//! A virtio device played in the same memory, for tests and the fuzzer: it answers the registers of the common configuration, walks
//! the rings like a device does, and lies when it is told to.
//!
//! An address that a driver writes into a descriptor is a pointer here. Nothing runs by itself: a test says what the
//! device does next, only commands of the control queue are answered at the doorbell.
#![allow(unsafe_code)]

#[cfg(feature = "fake")]
pub(crate) mod burst;
pub(crate) mod config;
pub(crate) mod play;
mod queue;
mod registers;
pub(crate) mod world;

use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard};

use weir_hal::{DmaAddr, DmaRegion, Machine, MapError, Mmio, PhysAddr};

use crate::net::feature;
use crate::pci::MsixTable;
use crate::virtio::features::{EVENT_IDX, INDIRECT_DESC, VERSION_1};
use crate::virtio::{DeviceType, Features, PciTransport};

pub(crate) use queue::Queue;
pub(crate) use registers::{FakeDoorbell, FakeRegisters};

/// A machine whose memory is the test's, for ever.
pub(crate) struct FakeMachine;

/// A machine whose memory ends with it, for worlds by the million.
#[derive(Default)]
pub(crate) struct FakeMemory {
    regions: Mutex<Vec<(NonNull<u8>, Layout)>>,
}

impl Machine for FakeMemory {
    fn dma_alloc(&self, bytes: usize, align: usize) -> Option<DmaRegion> {
        let region = FakeMachine.dma_alloc(bytes, align)?;
        let start = NonNull::new(region.as_ptr())?;
        let layout = Layout::from_size_align(bytes, align).ok()?;
        self.regions.lock().expect("nobody fails while holding it").push((start, layout));
        Some(region)
    }

    fn map_mmio(&self, at: PhysAddr, len: usize) -> Result<Mmio, MapError> {
        FakeMachine.map_mmio(at, len)
    }
}

impl Drop for FakeMemory {
    fn drop(&mut self) {
        for (start, layout) in self.regions.lock().expect("nobody fails while holding it").drain(..) {
            // SAFETY: allocated by `dma_alloc` with this layout, and taken off the list; a world lets go of its device and driver
            // before its memory, and nobody else has one.
            unsafe { std::alloc::dealloc(start.as_ptr(), layout) };
        }
    }
}

impl Machine for FakeMachine {
    fn dma_alloc(&self, bytes: usize, align: usize) -> Option<DmaRegion> {
        let layout = Layout::from_size_align(bytes, align).ok()?;
        // SAFETY: no caller asks for zero bytes.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })?;
        let address = DmaAddr(start.addr().get() as u64);
        // SAFETY: freshly allocated and zeroed, never freed, and given to this region alone.
        Some(unsafe { DmaRegion::new(start, address, bytes) })
    }

    fn map_mmio(&self, _at: PhysAddr, _len: usize) -> Result<Mmio, MapError> {
        Err(MapError::BadRange)
    }
}

/// Registers of plain memory, all zero.
pub(crate) fn plain_registers(bytes: usize) -> Mmio {
    let words = Vec::leak(std::vec![0u64; bytes.div_ceil(8)]);
    // SAFETY: leaked, so mapped for ever, and nothing else refers to it.
    unsafe { Mmio::new(NonNull::from(&mut words[0]).cast(), bytes) }
}

/// What the device is and does, all of it changeable by a test.
pub(crate) struct State {
    pub offered: Features,
    pub chosen: Features,
    pub status: u8,
    pub config: Vec<u8>,
    pub queues: Vec<Queue>,
    /// Commands of the control queue: class, command, data.
    pub commands: Vec<(u8, u8, Vec<u8>)>,
    /// The answer to them.
    pub ack: u8,
    /// They are left where they are.
    pub ignores_commands: bool,
    /// Resets that the driver asked for.
    pub resets: usize,
    /// The status register never shows the end of a reset.
    pub hangs_in_reset: bool,
    /// The device takes FEATURES_OK back.
    pub refuses_features: bool,
    /// The device has no resources for interrupts.
    pub refuses_vectors: bool,
    /// What the device does when a doorbell rings.
    pub at_doorbell: Option<fn(&mut State)>,
    /// The generation changes at every look.
    pub unstable: bool,
    generation: u8,
    feature_select: u32,
    queue_select: u16,
}

/// The device's side of the test.
#[derive(Clone)]
pub(crate) struct FakeDevice {
    state: Arc<Mutex<State>>,
}

/// Everything that a good network device offers.
pub(crate) const ALL: Features = Features::of(&[
    feature::CSUM,
    feature::GUEST_CSUM,
    feature::MTU,
    feature::MAC,
    feature::GUEST_TSO4,
    feature::GUEST_TSO6,
    feature::HOST_TSO4,
    feature::HOST_TSO6,
    feature::MRG_RXBUF,
    feature::STATUS,
    feature::CTRL_VQ,
    feature::GUEST_ANNOUNCE,
    feature::MQ,
    feature::RSS,
    INDIRECT_DESC,
    EVENT_IDX,
    VERSION_1,
]);

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

impl FakeDevice {
    /// A network device with `pairs` queue pairs of `len` descriptors per ring.
    pub(crate) fn network(pairs: u16, len: u16) -> Self {
        let mut config = Vec::from(MAC);
        config.extend_from_slice(&1u16.to_le_bytes());
        config.extend_from_slice(&pairs.to_le_bytes());
        config.extend_from_slice(&1500u16.to_le_bytes());
        // Speed and duplex; then key length, table length and hash types of RSS.
        config.extend_from_slice(&[0; 5]);
        config.push(40);
        config.extend_from_slice(&128u16.to_le_bytes());
        config.extend_from_slice(&0x1ffu32.to_le_bytes());
        let queues = (0..2 * pairs).map(|_| Queue::new(len)).chain([Queue::new(64)]).collect();
        Self::new(ALL, config, queues)
    }

    /// An entropy device.
    pub(crate) fn entropy() -> Self {
        Self::new(Features::of(&[VERSION_1, EVENT_IDX]), Vec::new(), std::vec![Queue::new(8)])
    }

    /// A disk of so many sectors.
    pub(crate) fn block(sectors: u64) -> Self {
        Self::new(Features::of(&[VERSION_1, EVENT_IDX]), sectors.to_le_bytes().into(), std::vec![Queue::new(8)])
    }

    fn new(offered: Features, config: Vec<u8>, queues: Vec<Queue>) -> Self {
        let state = State {
            offered,
            chosen: Features::NONE,
            status: 0,
            config,
            queues,
            commands: Vec::new(),
            ack: 0,
            ignores_commands: false,
            resets: 0,
            hangs_in_reset: false,
            refuses_features: false,
            refuses_vectors: false,
            at_doorbell: None,
            unstable: false,
            generation: 0,
            feature_select: 0,
            queue_select: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The driver's way to the device, with `vectors` interrupts.
    pub(crate) fn transport(&self, device_type: DeviceType, vectors: u16) -> PciTransport<FakeRegisters> {
        let registers = |kind| FakeRegisters::new(kind, Arc::clone(&self.state));
        let msix = (vectors > 0).then(|| MsixTable::over(plain_registers(16 * usize::from(vectors)), vectors));
        PciTransport::from_parts(
            device_type,
            [registers::Kind::Common, registers::Kind::Notify, registers::Kind::Device].map(registers),
            4,
            msix,
        )
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test holds it while it fails")
    }

    /// Receives a frame on `pair` for the guest: `header` flags, and `frame` cut into `parts` buffers. False if no
    /// buffer is left.
    pub(crate) fn deliver(&self, pair: usize, flags: u8, frame: &[u8], parts: usize) -> bool {
        let mut state = self.lock();
        let event_index = state.chosen.has(EVENT_IDX);
        let queue = &mut state.queues[2 * pair];
        if queue.available() < parts {
            return false;
        }
        let mut bytes = std::vec![0u8; 12];
        bytes[0] = flags;
        bytes[10..].copy_from_slice(&(parts as u16).to_le_bytes());
        bytes.extend_from_slice(frame);
        for part in bytes.chunks(bytes.len().div_ceil(parts)) {
            let chain = queue.pop().expect("counted above");
            let written = chain.write(part);
            queue.push(chain.head.into(), written);
        }
        queue.notify(event_index);
        true
    }

    /// Sends everything that `pair` has queued, and returns it, each with its virtio header.
    pub(crate) fn sent(&self, pair: usize) -> Vec<Vec<u8>> {
        let mut state = self.lock();
        let event_index = state.chosen.has(EVENT_IDX);
        let queue = &mut state.queues[2 * pair + 1];
        let mut frames = Vec::new();
        while let Some(chain) = queue.pop() {
            frames.push(chain.read());
            queue.push(chain.head.into(), 0);
        }
        queue.notify(event_index);
        frames
    }
}
