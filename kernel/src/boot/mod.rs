//! From the first Rust instruction to the runtime.
//!
//! In order: console, exceptions, what the loader left (memory map, command line, modules), ACPI, page tables, the boot core's own
//! area, heap, clock, interrupt controller, PCI. Then the image's `main` runs on core 0's own stack.

use core::arch::asm;

use spin::Once;

use crate::acpi::{self, Fadt, Tables};
use crate::console::{self, Level};
use crate::cores::{self, Area};
use crate::memory::map::MemoryMap;
use crate::memory::phys::{Identity, PhysMemory};
use crate::memory::ranges::Range;
use crate::memory::{self, heap};
use crate::time::{self, Clock, Rate};
use crate::{cpu, interrupts, panic, pci, power, symbols};

mod command_line;
#[cfg(feature = "bare")]
pub(crate) mod entry;
pub mod multiboot2;
mod payload;
pub mod pvh;

pub use command_line::{CommandLine, CommandLineOption};
use pvh::Handover;

/// What the runtime is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// The kernel command line.
    pub command_line: CommandLine<'static>,
    /// Installed and free memory.
    pub memory: memory::Totals,
    /// What the image library attached, or the first PVH module.
    pub payload: Option<&'static [u8]>,
    /// Cores that the machine has.
    pub cores: usize,
    /// Devices without a bus, as the firmware tells of them; the command line may tell of more
    /// ([`CommandLine::mmio_devices`]).
    pub mmio_devices: acpi::MmioDevices,
    /// The clock.
    pub clock: Clock,
    /// From the kernel's first instruction to the runtime's.
    pub kernel_ns: u64,
}

/// The longest command line that is kept.
const COMMAND_LINE_BYTES_MAX: usize = 4096;
/// What the boot page tables map.
const BOOT_MAPPED: u64 = 4 << 30;

/// What is known before there is memory to put it in.
struct Early {
    command_line: CommandLine<'static>,
    payload: Option<Range>,
    cores: acpi::Cores,
    config_window: Option<acpi::ConfigWindow>,
    io_apics: [Option<acpi::IoApic>; 8],
    mmio_devices: acpi::MmioDevices,
    fadt: Option<Fadt>,
    rate: Rate,
    end_of_memory: u64,
    start_tsc: u64,
}

static EARLY: spin::Mutex<Option<Early>> = spin::Mutex::new(None);

/// The first Rust function. `start_info` is the address that the loader left in EBX.
pub(crate) extern "C" fn weir_start(start_info: u64) -> ! {
    let start_tsc = cpu::tsc();
    console::init();
    // SAFETY: the first instructions of the only running core, interrupts off, called once.
    unsafe {
        cores::enter_boot_area();
        interrupts::init();
    }
    cpu::enable_extended_state();
    // SAFETY: the boot page tables map this much, and the addresses asked for come from loader and firmware.
    let firmware = unsafe { Identity::new(BOOT_MAPPED) };
    *EARLY.lock() = Some(take_over(&firmware, start_info, start_tsc));
    let apic_id = cpu::apic_id();
    let area = Area::allocate(weir_hal::CoreId::BOOT, apic_id).expect("memory for the boot core");
    // SAFETY: this is the boot core with interrupts off; the stack is new, mapped and large; nothing on the old one is used
    // any more.
    unsafe {
        area.enter();
        asm!(
            "mov rsp, {stack}", "xor ebp, ebp", "call {go_on}", "ud2",
            stack = in(reg) area.main_stack_top(), go_on = sym go_on, options(noreturn),
        );
    }
}

/// Reads everything that loader and firmware left, and takes possession of memory.
fn take_over(firmware: &impl PhysMemory, start_info: u64, start_tsc: u64) -> Early {
    let Handover { command_line, rsdp, module, map } = handover(firmware, start_info);
    let command_line = copy_command_line(firmware, command_line);
    apply(command_line);
    let tables = Tables::find(firmware, rsdp);
    if let Err(error) = tables {
        crate::warn!("acpi: no tables ({error:?}): one core, no power-off");
    }
    let tables = tables.ok();
    let fadt = tables.and_then(|tables| Fadt::read(&tables, firmware));
    let rate = time::begin(fadt.as_ref());
    let apic_id = cpu::apic_id();
    let payload = payload::range(module);
    let early = Early {
        command_line,
        payload,
        cores: tables.map_or(acpi::Cores::single(apic_id), |tables| acpi::madt_cores(&tables, firmware, apic_id)),
        config_window: tables.and_then(|tables| acpi::config_window(&tables, firmware)),
        io_apics: acpi::madt_io_apics(tables.as_ref(), firmware),
        mmio_devices: tables.map_or([None; _], |tables| acpi::mmio_devices(&tables, firmware)),
        fadt,
        rate,
        end_of_memory: map.end_of_memory(),
        start_tsc,
    };
    // From here on the firmware's tables are not mapped any more.
    reserve_and_map(map, payload);
    early
}

/// What the loader left, whichever it was: an odd address is Multiboot2's.
fn handover(firmware: &impl PhysMemory, start_info: u64) -> Handover {
    if start_info & 1 == 1 {
        return match multiboot2::parse(firmware, start_info & !1) {
            Ok(handover) => handover,
            Err(error) => panic!("started by Multiboot2 and not told what is needed: {error:?}"),
        };
    }
    match pvh::StartInfo::parse(firmware, start_info).and_then(|info| info.follow(firmware)) {
        Ok(handover) => handover,
        Err(error) => panic!("not started through PVH: {error:?}"),
    }
}

fn reserve_and_map(map: MemoryMap, payload: Option<Range>) {
    let nothing = Range { start: 0, end: 0 };
    let [symbols, names] = symbols::ranges().unwrap_or([nothing; 2]);
    // SAFETY: called once, by the boot core, on the boot page tables; the map is the loader's, and what is needed later is
    // the image itself and these ranges. Everything else that the loader left has been copied.
    unsafe { memory::init(map, &[payload.unwrap_or(nothing), symbols, names]) };
}

/// On the boot core's own stack, with own page tables.
extern "C" fn go_on() -> ! {
    let Some(early) = EARLY.lock().take() else { panic!("boot state is missing") };
    if !heap::init(early.end_of_memory) {
        panic!("no memory for the heap's table");
    }
    cores::set_present(early.cores);
    power::init(early.fadt);
    if interrupts::apic::init().is_err() {
        panic!("the interrupt controller cannot be mapped");
    }
    interrupts::ioapic::init(early.io_apics);
    pci::init(early.config_window);
    power::find_panic_device();
    let clock = time::finish(early.rate);
    time::measure_interrupt_timer();
    static INFO: Once<BootInfo> = Once::new();
    let info = INFO.call_once(|| BootInfo {
        command_line: early.command_line,
        memory: memory::totals(),
        payload: early.payload.map(payload_bytes),
        cores: cores::present(),
        mmio_devices: early.mmio_devices,
        clock,
        kernel_ns: time::ns_since(early.start_tsc),
    });
    run_main(info)
}

fn payload_bytes(range: Range) -> &'static [u8] {
    // SAFETY: loaded by the loader, checked to lie in mapped memory outside the image, reserved at boot and never written.
    unsafe { core::slice::from_raw_parts(range.start as *const u8, range.len() as usize) }
}

fn copy_command_line(firmware: &impl PhysMemory, at: u64) -> CommandLine<'static> {
    static LINE: Once<([u8; COMMAND_LINE_BYTES_MAX], usize)> = Once::new();
    let (bytes, len) = LINE.call_once(|| {
        let mut bytes = [0; COMMAND_LINE_BYTES_MAX];
        let len = command_line::copy(firmware, at, &mut bytes);
        (
            bytes,
            len.unwrap_or_else(|_| {
                crate::warn!("command line: cut off behind {COMMAND_LINE_BYTES_MAX} bytes");
                COMMAND_LINE_BYTES_MAX
            }),
        )
    });
    let line = core::str::from_utf8(&bytes[..*len]).unwrap_or_else(|_| {
        crate::warn!("command line: not UTF-8, all of it is ignored");
        ""
    });
    CommandLine(line)
}

/// Follows the options that concern the kernel itself.
fn apply(line: CommandLine<'_>) {
    for option in line.options() {
        match option.key {
            "weir.log" => match Level::from_name(option.value) {
                Some(level) => console::set_level(level),
                None => crate::warn!("weir.log={}: expected error, warn, info or debug", option.value),
            },
            "weir.panic" => match panic::Policy::from_name(option.value) {
                Some(policy) => panic::set_policy(policy),
                None => crate::warn!("weir.panic={}: expected reboot, halt or exit", option.value),
            },
            _ => {}
        }
    }
}

fn run_main(info: &'static BootInfo) -> ! {
    #[cfg(feature = "bare")]
    {
        unsafe extern "Rust" {
            safe fn weir_main(info: &'static BootInfo) -> !;
        }
        weir_main(info)
    }
    #[cfg(not(feature = "bare"))]
    {
        let _ = info;
        cpu::halt_forever()
    }
}
