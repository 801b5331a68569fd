//! A small image that tries everything the kernel offers, says what it found, and ends with status 1 (all is well) or 3.
//!
//! Kernel command line: `weir.test=page-fault|stack-overflow|panic` fails on purpose; `weir.test=button` waits for the power
//! button and switches off.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use weir_hal::{CoreId, PciConfig, PciFunction};
use weir_kernel::{BootInfo, cores, debug, entropy, fw_cfg, hooks, info, interrupts, memory, pci, power, time};

weir_kernel::entry!(main);

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
static WAKES: AtomicU64 = AtomicU64::new(0);
static BELL: AtomicU32 = AtomicU32::new(0);
static FAILING_CORE: AtomicUsize = AtomicUsize::new(usize::MAX);
static GIFT: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());

fn main(boot: &'static BootInfo) -> ! {
    info!("boot: command line \"{}\"", boot.command_line.0);
    info!("boot: memory {} KiB, free {} KiB", boot.memory.installed_bytes >> 10, boot.memory.free_bytes >> 10);
    info!("boot: kernel took {} us", boot.kernel_ns / 1000);
    info!("boot: clock {:?}, wall {} s", boot.clock, time::wall_unix_ns() / 1_000_000_000);
    if let Some(payload) = boot.payload {
        info!(
            "boot: payload of {} bytes, sum {}",
            payload.len(),
            payload.iter().map(|byte| u64::from(*byte)).sum::<u64>()
        );
    }
    try_devices();
    if boot.command_line.get("weir.test") == Some("stack-overflow-on-last") {
        FAILING_CORE.store(cores::present() - 1, Ordering::Release);
    }
    let started_ns = time::now_ns();
    let started = cores::start_all(usize::MAX, run_core);
    info!("boot: {started} cores after {} us", (time::now_ns() - started_ns) / 1000);
    hooks::run(boot.command_line);
    if boot.command_line.get("weir.test") == Some("button") {
        wait_for_button();
    }
    try_cores(started);
    try_timer();
    try_interrupt();
    try_memory();
    info!("ready cores={started}");
    power::exit(0)
}

fn run_core(id: CoreId) -> ! {
    assert_eq!(id, cores::current());
    cores::set_local(id.index() as *mut ());
    debug!("core {id} runs");
    let gift = Box::into_raw(Box::new(u64::from(id.0)));
    if GIFT.compare_exchange(core::ptr::null_mut(), gift, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: made from a box just above and not given away.
        drop(unsafe { Box::from_raw(gift) });
    }
    ARRIVED.fetch_add(1, Ordering::AcqRel);
    if FAILING_CORE.load(Ordering::Acquire) == id.index() {
        hooks::stack_overflow();
    }
    let mut seen = 0;
    loop {
        cores::idle(None, || BELL.load(Ordering::Acquire) != seen);
        let now = BELL.load(Ordering::Acquire);
        if now != seen {
            assert_eq!(cores::local() as usize, cores::current().index());
            WAKES.fetch_add(1, Ordering::AcqRel);
        }
        seen = now;
    }
}

/// Wakes all cores and waits until each has answered, a hundred times; takes a box from another core and frees it here.
fn try_cores(started: usize) {
    let others = started - 1;
    wait_until("cores to arrive", || ARRIVED.load(Ordering::Acquire) == others);
    let start_ns = time::now_ns();
    for round in 1..=100 {
        BELL.fetch_add(1, Ordering::AcqRel);
        (1..started as u16).for_each(|id| cores::wake(CoreId(id)));
        wait_until("cores to wake", || WAKES.load(Ordering::Acquire) == round * others as u64);
    }
    info!("boot: 100 rounds of waking {others} cores took {} us", (time::now_ns() - start_ns) / 1000);
    let gift = GIFT.load(Ordering::Acquire);
    if !gift.is_null() {
        // SAFETY: another core made it from a box and gave it away.
        let gift = unsafe { Box::from_raw(gift) };
        let owner = CoreId(*gift as u16);
        drop(gift);
        info!("boot: heap of core {owner} after a foreign free: {:?}", memory::heap::usage(owner));
    }
}

fn try_timer() {
    const DELAY_NS: u64 = 5_000_000;
    for _ in 0..3 {
        let deadline_ns = time::now_ns() + DELAY_NS;
        while time::now_ns() < deadline_ns {
            cores::idle(Some(deadline_ns), || false);
        }
        info!("boot: timer late by {} us", (time::now_ns() - deadline_ns) / 1000);
    }
}

/// Raises an interrupt of our own by sending its message ourselves, as a device would.
fn try_interrupt() {
    static RAISED: AtomicUsize = AtomicUsize::new(0);
    fn note(argument: usize) {
        RAISED.fetch_add(argument, Ordering::AcqRel);
    }
    let message = interrupts::allocate(CoreId::BOOT, note, 7).expect("a vector");
    info!("boot: message {:#x} {:#x}", message.address, message.data);
    interrupts::raise_here(message);
    while RAISED.load(Ordering::Acquire) == 0 {
        cores::idle(Some(time::now_ns() + 1_000_000_000), || RAISED.load(Ordering::Acquire) != 0);
    }
    assert_eq!(RAISED.load(Ordering::Acquire), 7);
}

fn try_memory() {
    let region = memory::dma_alloc(10_000, 4096).expect("DMA memory");
    assert_eq!(region.dma_addr().0 % 4096, 0);
    let large = memory::large_alloc(5 << 20).expect("a large region");
    assert_eq!((large.len(), large.dma_addr().0 % (2 << 20)), (6 << 20, 0));
    let start_ns = time::now_ns();
    let mut boxes = vec![];
    for size in 1..200usize {
        boxes.push(vec![size as u8; size * 37]);
    }
    assert!(boxes.iter().all(|bytes| bytes.iter().all(|byte| usize::from(*byte) == bytes.len() / 37)));
    info!("boot: heap {:?} after {} us", memory::heap::usage(CoreId::BOOT), (time::now_ns() - start_ns) / 1000);
}

fn try_devices() {
    let mut bytes = [0; 16];
    match entropy::fill(&mut bytes) {
        Ok(()) => info!("boot: random {bytes:02x?}"),
        Err(error) => info!("boot: random: {error:?}"),
    }
    if let Ok(file) = fw_cfg::read("opt/weir/test") {
        info!("boot: file \"{}\"", core::str::from_utf8(&file).unwrap_or("not text"));
    }
    for device in 0..32 {
        let id = pci::access().read32(PciFunction { bus: 0, device, function: 0 }, 0);
        if id != u32::MAX {
            debug!("pci 00:{device:02x}.0 {:04x}:{:04x}", id & 0xffff, id >> 16);
        }
    }
}

fn wait_for_button() -> ! {
    info!("waiting for the power button");
    loop {
        cores::idle(Some(time::now_ns() + 10_000_000), || false);
        if power::button_pressed() {
            info!("power button");
            power::off();
        }
    }
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let start_ns = time::now_ns();
    while !done() {
        assert!(time::now_ns() - start_ns < 5_000_000_000, "waited 5 s for {what}");
        core::hint::spin_loop();
    }
}
