//! The walk over the buses.

use alloc::vec::Vec;

use weir_hal::{PciConfig, PciFunction};

use super::{Found, Function};

/// More functions than this are not looked at (with [`scan`]).
pub const FUNCTIONS_MAX: usize = 1024;

const HEADER_TYPE: u16 = 0x0e;
const HEADER_MULTIFUNCTION: u8 = 0x80;
const HEADER_BRIDGE: u8 = 1;
const SECONDARY_BUS: u16 = 0x19;

/// All functions on bus 0 and on the buses behind bridges, as the firmware numbered them, in the order of the walk.
///
/// At most [`FUNCTIONS_MAX`]; a bus is visited once, whatever the bridges claim.
pub fn scan<C: PciConfig>(config: &C) -> Vec<Found> {
    let mut walk = Walk { config, found: Vec::new(), pending: Vec::new(), seen: [false; 256] };
    walk.want(0);
    while let Some(bus) = walk.pending.pop() {
        for device in 0..32 {
            walk.device(bus, device);
        }
    }
    walk.found
}

struct Walk<'a, C> {
    config: &'a C,
    found: Vec<Found>,
    pending: Vec<u8>,
    seen: [bool; 256],
}

impl<C: PciConfig> Walk<'_, C> {
    /// Notes a bus for a visit, once.
    fn want(&mut self, bus: u8) {
        let seen = &mut self.seen[usize::from(bus)];
        if !*seen {
            *seen = true;
            self.pending.push(bus);
        }
    }

    fn device(&mut self, bus: u8, device: u8) {
        let multifunction = self.function(PciFunction { bus, device, function: 0 });
        if multifunction == Some(true) {
            for function in 1..8 {
                self.function(PciFunction { bus, device, function });
            }
        }
    }

    /// Looks at one function; the answer says whether its device has several, or none when nothing is there.
    fn function(&mut self, place: PciFunction) -> Option<bool> {
        let function = Function::new(self.config, place);
        let identity = function.identity()?;
        let header = function.read8(HEADER_TYPE);
        if header & !HEADER_MULTIFUNCTION == HEADER_BRIDGE {
            self.want(function.read8(SECONDARY_BUS));
        }
        if self.found.len() < FUNCTIONS_MAX {
            self.found.push(Found { place, identity });
        }
        Some(header & HEADER_MULTIFUNCTION != 0)
    }
}
