//! Off, reset, the power button, and telling the hypervisor how it ended.

use core::sync::atomic::{AtomicU16, Ordering};

use spin::Once;
use weir_hal::{Mmio, PhysAddr};
use x86_64::instructions::port::Port;

use crate::acpi::{Fadt, Register, RegisterSpace};
use crate::{cpu, fw_cfg, memory, time};

const BUTTON: u16 = 1 << 8;
const ACPI_MODE: u16 = 1;
const SLEEP_ENABLE: u16 = 1 << 13;
const REDUCED_SLEEP_ENABLE: u8 = 1 << 5;
/// `-device isa-debug-exit` of QEMU, at its default port.
const DEBUG_EXIT: u16 = 0x501;
/// How long the hypervisor may take to end.
const END_WAIT_NS: u64 = 1_000_000_000;
const PVPANIC_PANICKED: u8 = 1;
/// How often to look whether the machine has switched to ACPI mode.
const ACPI_MODE_READS_MAX: u32 = 10_000;

/// What the tables say, with registers in memory mapped: in a panic it is too late for that, the mapper's lock may be held
/// by a core that was stopped.
struct Controls {
    fadt: Fadt,
    sleep: Option<Place>,
    reset: Option<(Place, u8)>,
}

/// Where a register of 8 bits is.
enum Place {
    Port(u16),
    Memory(Mmio),
}

static CONTROLS: Once<Controls> = Once::new();
static PVPANIC_PORT: AtomicU16 = AtomicU16::new(0);

/// Keeps what the tables say, switches to ACPI mode and listens to the power button.
pub(crate) fn init(fadt: Option<Fadt>) {
    let Some(fadt) = fadt else { return };
    let sleep = fadt.sleep_control.and_then(Place::of);
    let reset = fadt.reset.and_then(|(register, value)| Some((Place::of(register)?, value)));
    let Controls { fadt, .. } = CONTROLS.call_once(|| Controls { fadt, sleep, reset });
    if let (Some(control), Some((port, value))) = (fadt.control_ports[0], fadt.acpi_enable)
        && read16(control) & ACPI_MODE == 0
    {
        write8(port, value);
        for _ in 0..ACPI_MODE_READS_MAX {
            if read16(control) & ACPI_MODE != 0 {
                break;
            }
        }
    }
    if let Some(event) = fadt.event_port {
        write16(event, BUTTON);
        write16(event + fadt.event_enable_offset, BUTTON);
    }
}

/// Finds QEMU's panic device, if it is there.
pub(crate) fn find_panic_device() {
    if let Some(port) = fw_cfg::read("etc/pvpanic-port")
        .ok()
        .and_then(|bytes| Some(u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?)))
    {
        PVPANIC_PORT.store(port, Ordering::Relaxed);
    }
}

/// Whether the power button was pressed since the last call. One port read.
pub fn button_pressed() -> bool {
    let Some(event) = CONTROLS.get().and_then(|controls| controls.fadt.event_port) else { return false };
    let pressed = read16(event) & BUTTON != 0;
    if pressed {
        write16(event, BUTTON);
    }
    pressed
}

/// Switches the machine off.
pub fn off() -> ! {
    if let Some(Controls { fadt, sleep, .. }) = CONTROLS.get() {
        let types = fadt.off_types.unwrap_or([0; 2]);
        if let Some(place) = sleep {
            place.write(types[0] << 2 | REDUCED_SLEEP_ENABLE);
        }
        for (port, kind) in fadt.control_ports.into_iter().zip(types) {
            if let Some(port) = port {
                write16(port, u16::from(kind) << 10 | SLEEP_ENABLE);
            }
        }
    }
    wait_for_the_end();
    crate::error!("power: the machine did not switch off; halted");
    cpu::halt_forever()
}

/// The hypervisor acts a moment after the register was written.
fn wait_for_the_end() {
    let start_ns = time::now_ns();
    while start_ns != 0 && time::now_ns() - start_ns < END_WAIT_NS {
        core::hint::spin_loop();
    }
}

/// Resets the machine: by the FADT's register, the chipset's, the keyboard controller's, and at last a triple fault.
pub fn reboot() -> ! {
    if let Some((place, value)) = CONTROLS.get().and_then(|controls| controls.reset.as_ref()) {
        place.write(*value);
    }
    write8(0xcf9, 0x02);
    write8(0xcf9, 0x06);
    write8(0x64, 0xfe);
    // SAFETY: the end: without a descriptor table the breakpoint becomes a triple fault, which resets the machine.
    unsafe {
        let nothing = [0u16; 5];
        core::arch::asm!("lidt [{}]", "int3", in(reg) &raw const nothing);
    }
    cpu::halt_forever()
}

/// Ends QEMU with status `2 * code + 1` through `-device isa-debug-exit`; switches off where there is none.
pub fn exit(code: u8) -> ! {
    // SAFETY: QEMU's debug exit device, or a port that nothing answers.
    unsafe { Port::<u8>::new(DEBUG_EXIT).write(code) };
    wait_for_the_end();
    off()
}

pub(crate) fn tell_hypervisor_of_panic() {
    match PVPANIC_PORT.load(Ordering::Relaxed) {
        0 => {}
        port => write8(port, PVPANIC_PANICKED),
    }
}

impl Place {
    fn of(register: Register) -> Option<Place> {
        match register.space {
            RegisterSpace::Port => Some(Place::Port(register.address as u16)),
            RegisterSpace::Memory => memory::map_mmio(PhysAddr(register.address), 1).ok().map(Place::Memory),
        }
    }

    fn write(&self, value: u8) {
        match self {
            Place::Port(port) => write8(*port, value),
            Place::Memory(register) => register.write(0, value),
        }
    }
}

fn read16(port: u16) -> u16 {
    // SAFETY: a power management port named by the FADT; reading it has no effect.
    unsafe { Port::new(port).read() }
}

fn write16(port: u16, value: u16) {
    // SAFETY: a power management port named by the FADT, used by this module alone.
    unsafe { Port::new(port).write(value) }
}

fn write8(port: u16, value: u8) {
    // SAFETY: a port named by the FADT or fw_cfg, or one of the PC's reset ports; used by this module alone.
    unsafe { Port::new(port).write(value) }
}
