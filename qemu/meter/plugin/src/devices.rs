//! Accesses to device memory: by vCPU, instruction and device.

use std::collections::HashMap;

/// Kinds of access that are told apart; a guest has a few dozen.
const PLACES_MAX: usize = 4096;

/// Who accessed what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Which vCPU.
    pub vcpu: usize,
    /// Virtual address of the instruction.
    pub at: u64,
    /// What QEMU calls the memory region, such as `virtio-pci-notify-virtio-net`.
    pub device: String,
}

/// How often each place was accessed.
#[derive(Debug, Default)]
pub struct Devices {
    counts: HashMap<Place, u64>,
}

impl Devices {
    /// Counts an access. In the unlikely case of too many places, those of a vCPU and device are put together.
    pub fn count(&mut self, place: Place) {
        let is_new = !self.counts.contains_key(&place);
        let place = if is_new && self.counts.len() >= PLACES_MAX { Place { at: 0, ..place } } else { place };
        *self.counts.entry(place).or_default() += 1;
    }

    /// All places and how often each was accessed.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, u64)> {
        self.counts.iter().map(|(place, count)| (place, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_access_is_lost() {
        let mut devices = Devices::default();
        for at in 0..2 * PLACES_MAX as u64 {
            devices.count(Place { vcpu: 0, at: 1 + at, device: "bell".into() });
            devices.count(Place { vcpu: 0, at: 1, device: "bell".into() });
        }
        assert_eq!(devices.iter().map(|(_, count)| count).sum::<u64>(), 4 * PLACES_MAX as u64);
        assert!(devices.iter().count() <= PLACES_MAX + 1);
    }
}
