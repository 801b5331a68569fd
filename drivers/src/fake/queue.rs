//! The device's side of one split ring.

use alloc::vec::Vec;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// The other side does not want to be told.
const QUIET: u16 = 1;

/// One ring, as the device knows it from its registers.
pub(crate) struct Queue {
    pub len_max: u16,
    pub len: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    pub vector: u16,
    pub enabled: bool,
    pub notify_off: u16,
    /// Doorbells heard.
    pub doorbells: usize,
    /// Interrupts raised.
    pub interrupts: usize,
    /// Chains that were in tables.
    pub tables: usize,
    /// `INDIRECT_DESC` was negotiated.
    pub takes_tables: bool,
    next_available: u16,
    pub used_index: u16,
    /// The used index when the driver was told last.
    told: u16,
}

/// A chain of descriptors that the device took from the ring.
pub(crate) struct Chain {
    pub head: u16,
    /// Address, length, and whether the device may write.
    buffers: Vec<(u64, u32, bool)>,
}

impl Queue {
    pub(crate) fn new(len_max: u16) -> Self {
        Self {
            len_max,
            len: len_max,
            descriptors: 0,
            available: 0,
            used: 0,
            vector: 0xffff,
            enabled: false,
            notify_off: 0,
            doorbells: 0,
            interrupts: 0,
            tables: 0,
            takes_tables: false,
            next_available: 0,
            used_index: 0,
            told: 0,
        }
    }

    /// What a device forgets in a reset.
    pub(crate) fn reset(&mut self) {
        let Self { doorbells, interrupts, tables, notify_off, .. } = *self;
        *self = Self { doorbells, interrupts, tables, notify_off, ..Self::new(self.len_max) };
    }

    /// Chains that wait for the device.
    pub(crate) fn available(&self) -> usize {
        if !self.enabled {
            return 0;
        }
        read16(self.available + 2).wrapping_sub(self.next_available).into()
    }

    /// Takes the next chain, and those of a table if it is one.
    pub(crate) fn pop(&mut self) -> Option<Chain> {
        if self.available() == 0 {
            return None;
        }
        let position = u64::from(self.next_available % self.len);
        let head = read16(self.available + 4 + 2 * position);
        self.next_available = self.next_available.wrapping_add(1);
        assert!(head < self.len, "the driver names descriptor {head} of {}", self.len);
        let at = self.descriptors + 16 * u64::from(head);
        let (address, len, flags) = (read64(at), read32(at + 8), read16(at + 12));
        let buffers = if flags & INDIRECT == 0 {
            self.walk(self.descriptors, self.len, head)
        } else {
            // 2.7.5.3.1: offered, alone, whole descriptors, and no longer than the ring.
            assert!(self.takes_tables, "a table that was not negotiated");
            assert!(flags == INDIRECT && len > 0 && len.is_multiple_of(16), "no table: flags {flags}, {len} bytes");
            let table_len = u16::try_from(len / 16).expect("a short table");
            let buffers = self.walk(address, table_len, 0);
            assert_eq!(buffers.len(), table_len.into(), "a table with more than its chain");
            self.tables += 1;
            buffers
        };
        Some(Chain { head, buffers })
    }

    /// The buffers of the chain that begins at `index` of `len` descriptors.
    fn walk(&self, descriptors: u64, len: u16, mut index: u16) -> Vec<(u64, u32, bool)> {
        let mut buffers = Vec::new();
        loop {
            assert!(index < len, "the driver names descriptor {index} of {len}");
            let at = descriptors + 16 * u64::from(index);
            let (bytes, flags) = (read32(at + 8), read16(at + 12));
            assert!(bytes > 0, "an empty buffer");
            assert!(flags & INDIRECT == 0, "a table within a table or a chain");
            buffers.push((read64(at), bytes, flags & WRITE != 0));
            assert!(buffers.len() <= self.len.into(), "the driver's chain is a circle, or longer than the ring");
            if flags & NEXT == 0 {
                return buffers;
            }
            index = read16(at + 14);
        }
    }

    /// Says that `id` is used and `len` bytes were written.
    pub(crate) fn push(&mut self, id: u32, len: u32) {
        let at = self.used + 4 + 8 * u64::from(self.used_index % self.len);
        write(at, id);
        write(at + 4, len);
        self.set_used_index(self.used_index.wrapping_add(1));
    }

    /// Sets the used index, to whatever.
    pub(crate) fn set_used_index(&mut self, index: u16) {
        self.used_index = index;
        write(self.used + 2, index);
    }

    /// Raises an interrupt if the driver asked for one, and says when the device wants to hear of new chains: at once.
    pub(crate) fn notify(&mut self, event_index: bool) {
        let (old, new) = (self.told, self.used_index);
        self.told = new;
        let wanted = if event_index {
            assert_eq!(read16(self.available), 0, "flags of a ring with event indexes (2.7.7.1)");
            let event = read16(self.available + 4 + 2 * u64::from(self.len));
            // In plain numbers: is the event among old, old + 1, ..., new - 1?
            (0..new.wrapping_sub(old)).any(|step| old.wrapping_add(step) == event)
        } else {
            new != old && read16(self.available) & QUIET == 0
        };
        self.interrupts += usize::from(wanted);
        write(self.used + 4 + 8 * u64::from(self.len), self.next_available);
    }

    /// Whether the device asks for doorbells at all (without event index).
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        write(self.used, if quiet { QUIET } else { 0 });
    }
}

impl Chain {
    /// Fills the chain's writable buffers from the front; returns how much fitted.
    pub(crate) fn write(&self, mut bytes: &[u8]) -> u32 {
        let mut written = 0;
        for &(address, len, writable) in &self.buffers {
            let part = bytes.len().min(len as usize);
            if part == 0 {
                break;
            }
            assert!(writable, "the device was given a buffer to read, not to write");
            // SAFETY: the driver under test says that `len` bytes at `address` are the device's.
            unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, part) };
            bytes = &bytes[part..];
            written += part as u32;
        }
        written
    }

    /// Bytes that the chain has room for.
    pub(crate) fn room(&self) -> u32 {
        self.buffers.iter().filter(|buffer| buffer.2).map(|buffer| buffer.1).sum()
    }

    /// Fills the room of a chain that begins with buffers to read.
    pub(crate) fn fill(&self, bytes: &[u8]) {
        let buffers = self.buffers.iter().filter(|buffer| buffer.2).copied().collect();
        Self { head: self.head, buffers }.write(bytes);
    }

    /// Writes one byte to the first writable buffer: the answer to a command.
    pub(crate) fn answer(&self, byte: u8) {
        let writable = self.buffers.iter().find(|buffer| buffer.2);
        let &(address, ..) = writable.expect("a command has room for its answer");
        write(address, byte);
    }

    /// What the chain's readable buffers hold.
    pub(crate) fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(address, len, _) in self.buffers.iter().filter(|buffer| !buffer.2) {
            // SAFETY: the driver under test says that `len` bytes at `address` are the device's.
            bytes.extend_from_slice(unsafe { core::slice::from_raw_parts(address as *const u8, len as usize) });
        }
        bytes
    }
}

fn read<T: Copy>(at: u64) -> T {
    // SAFETY: an address within a ring that the driver under test gave to the device, aligned as the rings are.
    unsafe { (at as *const T).read_volatile() }
}

fn read16(at: u64) -> u16 {
    read(at)
}

fn read32(at: u64) -> u32 {
    read(at)
}

fn read64(at: u64) -> u64 {
    read(at)
}

fn write<T>(at: u64, value: T) {
    // SAFETY: as in `read`.
    unsafe { (at as *mut T).write_volatile(value) }
}
