//! The device's registers: common configuration (4.1.4.3), doorbells, device configuration.

use std::sync::{Arc, Mutex, MutexGuard};

use super::State;
use crate::net::feature;
use crate::virtio::features::{EVENT_IDX, INDIRECT_DESC};
use crate::virtio::{Doorbell, Features, Registers};

const FEATURES_OK: u8 = 8;
const MULTIPLIER: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Common,
    Notify,
    Device,
}

/// One structure of the device.
pub(crate) struct FakeRegisters {
    kind: Kind,
    state: Arc<Mutex<State>>,
}

impl FakeRegisters {
    pub(super) fn new(kind: Kind, state: Arc<Mutex<State>>) -> Self {
        Self { kind, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test holds it while it fails")
    }
}

impl Registers for FakeRegisters {
    type Doorbell = FakeDoorbell;
    type MmioDoorbell = FakeDoorbell;

    fn len(&self) -> usize {
        match self.kind {
            Kind::Common => 0x38,
            Kind::Notify => self.lock().queues.len() * MULTIPLIER,
            Kind::Device => self.lock().config.len(),
        }
    }

    fn read8(&self, offset: usize) -> u8 {
        let mut state = self.lock();
        match (self.kind, offset) {
            (Kind::Device, _) => state.config[offset],
            (_, 0x14) => state.status,
            (_, 0x15) => {
                state.generation = state.generation.wrapping_add(state.unstable.into());
                state.generation
            }
            _ => unexpected(offset),
        }
    }

    fn read16(&self, offset: usize) -> u16 {
        let state = self.lock();
        if self.kind == Kind::Device {
            return u16::from_le_bytes([state.config[offset], state.config[offset + 1]]);
        }
        let selected = state.queues.get(usize::from(state.queue_select));
        match offset {
            // As QEMU's device does it: the further queues appear with the feature.
            0x12 if !state.chosen.has(feature::MQ) => state.queues.len().min(3) as u16,
            0x12 => state.queues.len() as u16,
            0x18 => selected.map_or(0, |queue| queue.len),
            0x1a => selected.map_or(0xffff, |queue| queue.vector),
            0x1e => selected.map_or(0, |queue| queue.notify_off) + state.queue_select,
            _ => unexpected(offset),
        }
    }

    fn read32(&self, offset: usize) -> u32 {
        let state = self.lock();
        match offset {
            0x04 => (state.offered.bits() >> (32 * state.feature_select)) as u32,
            _ => unexpected(offset),
        }
    }

    fn write8(&self, offset: usize, value: u8) {
        assert_eq!(offset, 0x14, "the status is the only writable byte");
        self.lock().set_status(value);
    }

    fn write16(&self, offset: usize, value: u16) {
        let mut state = self.lock();
        if offset == 0x16 {
            state.queue_select = value;
            return;
        }
        if offset == 0x10 {
            return;
        }
        let refuses_vectors = state.refuses_vectors;
        let takes_tables = state.chosen.has(INDIRECT_DESC);
        let select = usize::from(state.queue_select);
        let queue = state.queues.get_mut(select).expect("a queue is selected");
        match offset {
            0x18 => queue.len = value,
            0x1a => queue.vector = if refuses_vectors { 0xffff } else { value },
            0x1c => {
                assert_eq!(value, 1, "a queue can only be switched on");
                queue.enabled = true;
                queue.takes_tables = takes_tables;
            }
            _ => unexpected(offset),
        }
    }

    fn write32(&self, offset: usize, value: u32) {
        let mut state = self.lock();
        match offset {
            0x00 | 0x08 => {
                state.feature_select = value;
                return;
            }
            0x0c => {
                let shift = 32 * state.feature_select;
                let others = state.chosen.bits() & !(0xffff_ffff << shift);
                state.chosen = Features::from_bits(others | u64::from(value) << shift);
                return;
            }
            _ => {}
        }
        let select = usize::from(state.queue_select);
        let queue = state.queues.get_mut(select).expect("a queue is selected");
        let field = match offset & !7 {
            0x20 => &mut queue.descriptors,
            0x28 => &mut queue.available,
            0x30 => &mut queue.used,
            _ => unexpected(offset),
        };
        let shift = 8 * (offset & 4);
        *field = *field & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    fn doorbell(&self, offset: usize, queue: u16) -> Option<FakeDoorbell> {
        (offset + 2 <= self.len()).then(|| FakeDoorbell { queue, state: Arc::clone(&self.state) })
    }

    fn mmio_doorbell(&self, _: usize, _: u16) -> Option<FakeDoorbell> {
        None
    }
}

fn unexpected(offset: usize) -> ! {
    panic!("the driver accesses {offset:#x} in the wrong way")
}

/// One queue's doorbell.
#[derive(Debug)]
pub(crate) struct FakeDoorbell {
    queue: u16,
    state: Arc<Mutex<State>>,
}

impl Doorbell for FakeDoorbell {
    fn ring(&self) {
        let mut state = self.state.lock().expect("no test holds it while it fails");
        let last = state.queues.len() - 1;
        let queue = usize::from(self.queue);
        state.queues[queue].doorbells += 1;
        if let Some(action) = state.at_doorbell {
            action(&mut state);
        }
        if queue == last && last > 0 && !state.ignores_commands {
            state.answer_commands();
        }
    }
}

impl State {
    fn set_status(&mut self, value: u8) {
        if value == 0 {
            self.resets += 1;
            self.chosen = Features::NONE;
            for queue in &mut self.queues {
                queue.reset();
            }
        }
        let refused = if self.refuses_features { FEATURES_OK } else { 0 };
        self.status = if self.hangs_in_reset { 0x40 } else { value & !refused };
    }

    /// Carries out what waits on the control queue, which is the last one.
    pub(crate) fn answer_commands(&mut self) {
        let (ack, event_index) = (self.ack, self.chosen.has(EVENT_IDX));
        let Some(queue) = self.queues.last_mut() else { return };
        while let Some(chain) = queue.pop() {
            let command = chain.read();
            chain.answer(ack);
            queue.push(chain.head.into(), 1);
            self.commands.push((command[0], command[1], command[2..].to_vec()));
        }
        queue.notify(event_index);
    }
}

impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("State")
    }
}
