//! PCI configuration space: the memory window if the MCFG names one, else the two old ports.

use spin::{Mutex, Once};
use weir_hal::{Mmio, PciConfig, PciFunction, PhysAddr};
use x86_64::instructions::port::Port;

use crate::acpi::ConfigWindow;
use crate::memory;

const BUS_BYTES: u64 = 1 << 20;
const PORT_OFFSET_MAX: u16 = 0xff;

static WINDOW: Once<(Mmio, ConfigWindow)> = Once::new();
/// Address and data port are shared by all cores.
static PORTS: Mutex<()> = Mutex::new(());

/// Maps the window, if there is one.
pub(crate) fn init(window: Option<ConfigWindow>) {
    let Some(window) = window else { return };
    let first = window.base.checked_add(u64::from(window.first_bus) * BUS_BYTES);
    let buses = u64::from(window.last_bus) - u64::from(window.first_bus) + 1;
    let mapped = first.map(|first| memory::map_mmio(PhysAddr(first), (buses * BUS_BYTES) as usize));
    match mapped {
        Some(Ok(mapped)) => {
            WINDOW.call_once(|| (mapped, window));
        }
        error => crate::warn!("pci: cannot map the configuration window at {:#x}: {error:?}; using ports", window.base),
    }
}

/// Configuration space of this machine.
pub fn access() -> Access {
    Access
}

/// See [`access`].
#[derive(Clone, Copy, Debug)]
pub struct Access;

impl PciConfig for Access {
    fn read32(&self, function: PciFunction, offset: u16) -> u32 {
        if let Some((window, place)) = in_window(function, offset) {
            return window.read(place);
        }
        if offset > PORT_OFFSET_MAX {
            return u32::MAX;
        }
        let _ports = PORTS.lock();
        // SAFETY: the configuration ports of every PC, used under `PORTS`.
        unsafe {
            Port::new(0xcf8).write(port_address(function, offset));
            Port::new(0xcfc).read()
        }
    }

    fn write32(&self, function: PciFunction, offset: u16, value: u32) {
        if let Some((window, place)) = in_window(function, offset) {
            return window.write(place, value);
        }
        if offset > PORT_OFFSET_MAX {
            return;
        }
        let _ports = PORTS.lock();
        // SAFETY: as in `read32`.
        unsafe {
            Port::new(0xcf8).write(port_address(function, offset));
            Port::new(0xcfc).write(value);
        }
    }
}

fn in_window(function: PciFunction, offset: u16) -> Option<(&'static Mmio, usize)> {
    let (mapped, window) = WINDOW.get()?;
    window_offset(*window, function, offset).map(|place| (mapped, place))
}

/// Where the word lies in the window (PCI Express Base 5.0, 7.2.2).
fn window_offset(window: ConfigWindow, function: PciFunction, offset: u16) -> Option<usize> {
    let inside = window.first_bus <= function.bus && function.bus <= window.last_bus;
    let valid = function.device < 32 && function.function < 8 && offset < 4096;
    let bus = usize::from(function.bus.wrapping_sub(window.first_bus));
    let place = bus << 20 | usize::from(function.device) << 15 | usize::from(function.function) << 12;
    (inside && valid).then_some(place | usize::from(offset & !3))
}

/// The address port's value (PCI Local Bus 3.0, 3.2.2.3.2).
fn port_address(function: PciFunction, offset: u16) -> u32 {
    let device = u32::from(function.device & 31) << 11 | u32::from(function.function & 7) << 8;
    1 << 31 | u32::from(function.bus) << 16 | device | u32::from(offset & 0xfc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: PciFunction = PciFunction { bus: 3, device: 31, function: 7 };

    #[test]
    fn a_word_has_its_place_in_the_window() {
        let window = ConfigWindow { base: 0xb000_0000, first_bus: 2, last_bus: 3 };
        assert_eq!(window_offset(window, FUNCTION, 0x106), Some(0x1f_f104));
        assert_eq!(window_offset(window, PciFunction { bus: 1, ..FUNCTION }, 0), None);
        assert_eq!(window_offset(window, PciFunction { bus: 4, ..FUNCTION }, 0), None);
        assert_eq!(window_offset(window, PciFunction { device: 32, ..FUNCTION }, 0), None);
        assert_eq!(window_offset(window, FUNCTION, 4096), None);
    }

    #[test]
    fn a_word_has_its_number_at_the_ports() {
        assert_eq!(port_address(FUNCTION, 0x3e), 0x8003_ff3c);
    }
}
