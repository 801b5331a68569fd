//! The split ring (virtio 1.2, 2.7), the driver's side.
//!
//! [`SplitRing`] moves descriptor chains to the device and back. What the descriptors point to, and which of them are
//! free, its users know: the network queues keep the packets in tables of their own, against which every word of the
//! device is checked.
//!
//! The cost: [`offer`](SplitRing::offer) writes one entry; nothing is visible to the device until
//! [`flush`](SplitRing::flush), which publishes all of them with one store, one barrier and at most one doorbell. On
//! the way back the used index is read once for all entries that it covers.

mod bytes;
mod memory;
mod tables;
#[cfg(test)]
mod tests;

use weir_hal::{Machine, barrier};

use self::memory::RingMemory;
use super::{Doorbell, RingAddresses};
use crate::DeviceError;

pub(crate) use bytes::SharedBytes;
pub(crate) use tables::{IndirectTables, TableIndex, TableWriter};

/// The chain goes on with the descriptor that `next` names.
const DESC_NEXT: u16 = 1;
/// The device writes the buffer (otherwise it reads it).
const DESC_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
const DESC_INDIRECT: u16 = 4;

/// In the flags of either ring: the writer of the ring does not want to be told.
const RING_QUIET: u16 = 1;

/// Number of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescIndex(pub u16);

/// What the device says of a chain that it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedElement {
    /// The chain's first descriptor.
    pub id: u32,
    /// Bytes written to its buffers.
    pub len: u32,
}

/// A buffer as a descriptor names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub address: u64,
    pub len: u32,
}

/// Who writes a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    DeviceReads,
    DeviceWrites,
}

/// One ring and its doorbell.
///
/// All indexes run freely over 16 bits and wrap; differences are taken modulo 2^16, which is right as long as a ring is
/// no longer than 32768.
#[derive(Debug)]
pub(crate) struct SplitRing<D> {
    memory: RingMemory,
    doorbell: D,
    event_index: bool,
    /// Next available entry to write.
    next_available: u16,
    /// The available index as the device sees it.
    published: u16,
    /// Next used entry to read.
    next_used: u16,
    /// The used index as last read.
    used_seen: u16,
    /// The first thing that the device said and that cannot be.
    lie: Option<DeviceError>,
    /// Doorbells rung.
    pub doorbells: u64,
}

impl<D: Doorbell> SplitRing<D> {
    /// A ring of `len` descriptors, of which the device does not know yet.
    ///
    /// # Errors
    /// `len` is no power of two, or memory is exhausted.
    pub(crate) fn new<M: Machine>(machine: &M, len: u16, doorbell: D, event_index: bool) -> Result<Self, DeviceError> {
        Ok(Self {
            memory: RingMemory::allocate(machine, len)?,
            doorbell,
            event_index,
            next_available: 0,
            published: 0,
            next_used: 0,
            used_seen: 0,
            lie: None,
            doorbells: 0,
        })
    }

    /// Where the ring is for the device.
    pub(crate) const fn addresses(&self) -> RingAddresses {
        self.memory.addresses()
    }

    /// Number of descriptors.
    pub(crate) const fn len(&self) -> u16 {
        self.memory.addresses().len
    }

    /// Starts over with empty tables, for a device that was reset.
    pub(crate) fn restart(&mut self) {
        self.memory.clear();
        self.next_available = 0;
        self.published = 0;
        self.next_used = 0;
        self.used_seen = 0;
        self.lie = None;
    }

    /// Describes a buffer; `next` is the chain's next descriptor.
    #[inline]
    pub(crate) fn describe(&mut self, index: DescIndex, buffer: Buffer, access: Access, next: Option<DescIndex>) {
        let write = if access == Access::DeviceWrites { DESC_WRITE } else { 0 };
        let (chained, next) = next.map_or((0, DescIndex(0)), |next| (DESC_NEXT, next));
        self.memory.set_descriptor(index, buffer.address, buffer.len, write | chained, next);
    }

    /// Makes a descriptor of `len` bytes, that was described as one that the device reads, the last one of its chain.
    #[inline]
    pub(crate) fn end_chain(&mut self, index: DescIndex, len: u32) {
        self.memory.set_descriptor_rest(index, len, 0, DescIndex(0));
    }

    /// Describes a table of descriptors ([`IndirectTables`]), which is a chain of its own.
    #[inline]
    pub(crate) fn describe_table(&mut self, index: DescIndex, table: Buffer) {
        self.memory.set_descriptor(index, table.address, table.len, DESC_INDIRECT, DescIndex(0));
    }

    /// Points a descriptor that was described before to another buffer of the same length.
    #[inline]
    pub(crate) fn redirect(&mut self, index: DescIndex, address: u64) {
        self.memory.set_descriptor_address(index, address);
    }

    /// Puts a chain into the ring. The device sees it after [`flush`](Self::flush).
    ///
    /// The caller offers each descriptor only while it is free, so there are never more entries than the ring has.
    #[inline]
    pub(crate) fn offer(&mut self, head: DescIndex) {
        self.memory.set_available(self.next_available, head);
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device what was offered since the last time, and rings if it wants to be told. True if it rang.
    #[inline]
    pub(crate) fn flush(&mut self) -> bool {
        let (old, new) = (self.published, self.next_available);
        if old == new {
            return false;
        }
        self.memory.publish(new);
        self.published = new;
        // The index must be visible before the device's wish is read (2.7.13.4.1).
        barrier::store_load();
        let wanted = if self.event_index {
            passes(self.memory.available_event(), new, old)
        } else {
            self.memory.used_flags() & RING_QUIET == 0
        };
        if wanted {
            self.doorbells += 1;
            self.doorbell.ring();
        }
        wanted
    }

    /// Chains that [`flush`](Self::flush) will show the device.
    #[inline]
    pub(crate) fn unpublished(&self) -> u16 {
        self.next_available.wrapping_sub(self.published)
    }

    /// The next chain that the device is done with. None also if the used index lies: see [`lie`](Self::lie).
    ///
    /// The element itself is not checked: its id is the caller's to look up, who may [`accuse`](Self::accuse) as well.
    #[inline]
    pub(crate) fn next_used(&mut self) -> Option<UsedElement> {
        if self.next_used == self.used_seen && !self.look() {
            return None;
        }
        let element = self.memory.used(self.next_used);
        self.next_used = self.next_used.wrapping_add(1);
        Some(element)
    }

    /// Whether the device says that it is done with something, without believing it yet.
    #[inline]
    pub(crate) fn has_used(&self) -> bool {
        self.memory.used_index() != self.next_used
    }

    /// Reads the used index; true if there is something new.
    #[inline]
    fn look(&mut self) -> bool {
        let seen = self.memory.used_index();
        if seen == self.used_seen {
            return false;
        }
        let by = seen.wrapping_sub(self.next_used);
        let outstanding = self.outstanding();
        if by > outstanding {
            self.accuse(DeviceError::UsedIndexJumped { by, outstanding });
            return false;
        }
        self.used_seen = seen;
        true
    }

    /// Notes that the device lied. From the outside, because what is wrong with an element only the ring's user can
    /// tell, and because an error that is handed up with each element costs more than the element.
    #[cold]
    pub(crate) fn accuse(&mut self, error: DeviceError) {
        self.lie.get_or_insert(error);
    }

    /// The first lie since the ring was started. After one, the ring must not be used before its device was reset.
    #[inline]
    pub(crate) const fn lie(&self) -> Option<DeviceError> {
        self.lie
    }

    /// Chains that the device has been shown and not been seen to be done with.
    #[inline]
    pub(crate) fn outstanding(&self) -> u16 {
        self.published.wrapping_sub(self.next_used)
    }

    /// Chains that were offered and not been seen to be done with, whether the device was shown them or not.
    #[inline]
    pub(crate) fn queued(&self) -> u16 {
        self.next_available.wrapping_sub(self.next_used)
    }

    /// Asks for an interrupt once `after` more chains are used, at least one. True if so many are used already: then
    /// there may be no interrupt, and the caller looks instead of sleeping.
    pub(crate) fn arm(&mut self, after: u16) -> bool {
        let after = after.max(1);
        if self.event_index {
            self.memory.set_used_event(self.next_used.wrapping_add(after - 1));
        } else {
            self.memory.set_available_flags(0);
        }
        // The wish must be visible before the last look (2.7.14), or the interrupt falls into the gap.
        barrier::store_load();
        self.memory.used_index().wrapping_sub(self.next_used) >= after
    }

    /// Asks for no interrupt.
    ///
    /// With event indexes there is no such wish: the event is parked one entry behind, where it raises one interrupt
    /// per 65536 chains, which must be harmless.
    pub(crate) fn disarm(&mut self) {
        if self.event_index {
            self.memory.set_used_event(self.next_used.wrapping_sub(1));
        } else {
            self.memory.set_available_flags(RING_QUIET);
        }
    }
}

/// Whether an index that went from `old` to `new` has passed `event` (2.7.13.4.1), modulo 2^16.
#[inline]
const fn passes(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
