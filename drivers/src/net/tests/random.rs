//! Seeded worlds: a device that does anything in any order, honest most of the time.

use std::collections::VecDeque;
use std::vec::Vec;

use weir_packet::BUFFER_BYTES;

use super::{LEN, World, world_with};
use crate::fake::{ALL, FakeDevice};
use crate::net::{ControlEvent, Options, feature};
use crate::virtio::features::EVENT_IDX;

const SEEDS: u64 = 300;
const STEPS: usize = 400;

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }
}

/// A world with what is under way in it.
struct Run {
    world: World,
    random: Random,
    /// Frames on their way to the guest, as long as the device is honest.
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
    /// Since the last reset.
    honest: bool,
    lies: usize,
}

#[test]
fn whatever_the_device_does_the_driver_survives_and_the_buffers_come_home() {
    let mut faults = 0;
    for seed in 1..=SEEDS {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        faults += run.world.pair.counters().ring_errors;
        run.end(seed);
    }
    assert!(faults > SEEDS / 4, "the lies must be noticed: {faults}");
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let device = FakeDevice::network(1, LEN);
        let mut offered = ALL;
        for bit in [EVENT_IDX, feature::MRG_RXBUF] {
            if random.below(4) == 0 {
                offered = offered.without(bit);
            }
        }
        device.lock().offered = offered;
        let world = world_with(device, Options::default());
        Self { world, random, inbound: VecDeque::new(), outbound: VecDeque::new(), honest: true, lies: 0 }
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..10 => self.deliver(),
            10..20 => self.send(),
            20..25 => self.receive(),
            25..30 => self.take_sent(),
            30..35 => self.world.turn(),
            35 => drop(self.world.pair.arm()),
            36 => self.world.pair.disarm(),
            37 => self.control(),
            38 if self.random.below(6) == 0 => self.lie(),
            _ => self.world.pair.flush(),
        }
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let len = 1 + self.random.below(limit);
        (0..len).map(|_| self.random.next() as u8).collect()
    }

    fn deliver(&mut self) {
        if !self.honest {
            return;
        }
        let merge = self.world.report.features.has(feature::MRG_RXBUF);
        let parts = if merge { 1 + self.random.below(4) } else { 1 };
        let frame = self.bytes(parts * (BUFFER_BYTES - 12) - 4);
        // The first part holds the whole header.
        let parts = if frame.len() < 40 { 1 } else { parts };
        let flags = self.random.below(3) as u8;
        if self.world.device.deliver(0, flags, &frame, parts) {
            self.inbound.push_back(frame);
        }
    }

    fn send(&mut self) {
        static BODY: [u8; 64] = [0x77; 64];
        let head = self.bytes(100);
        let pieces: Vec<&'static [u8]> = (0..self.random.below(4)).map(|n| &BODY[..n * 20]).collect();
        if self.world.send(&head, &pieces).is_ok() {
            let mut frame = head;
            pieces.iter().for_each(|piece| frame.extend_from_slice(piece));
            self.outbound.push_back(frame);
        }
    }

    fn receive(&mut self) {
        for frame in self.world.received() {
            let expected = self.inbound.pop_front();
            assert!(!self.honest || expected == Some(frame), "another frame than was delivered");
        }
    }

    fn take_sent(&mut self) {
        if !self.honest {
            return;
        }
        for frame in self.world.device.sent(0) {
            assert_eq!(Some(&frame[12..]), self.outbound.pop_front().as_deref());
        }
    }

    /// Nonsense on one of the rings.
    fn lie(&mut self) {
        let number = self.random.below(2);
        let (id, len) = (self.random.below(2 * usize::from(LEN)) as u32, self.random.below(4000) as u32);
        let jump = self.random.next() as u16;
        let mut state = self.world.device.lock();
        let queue = &mut state.queues[number];
        if !queue.enabled {
            return;
        }
        match jump % 3 {
            0 => queue.set_used_index(jump),
            1 => queue.push(id, len),
            _ => queue.push(jump.into(), len),
        }
        self.honest = false;
        self.lies += 1;
    }

    /// The control core's turn; a reset makes a new beginning.
    fn control(&mut self) {
        match self.world.control.poll() {
            ControlEvent::Quiet => {}
            ControlEvent::ResetBegun => {
                self.inbound.clear();
                self.outbound.clear();
                self.honest = false;
            }
            ControlEvent::ResetDone => self.honest = true,
            ControlEvent::Dead(error) => panic!("{error}"),
        }
    }

    /// Resets the device at the end: then every buffer must be in the pool.
    fn end(mut self, seed: u64) {
        if self.lies == 0 {
            self.all_arrives(seed);
        }
        // A reset that is already under way ends first.
        let begun = (0..3).any(|_| {
            self.world.device.lock().status |= 0x40;
            self.world.control.check().expect("a good configuration");
            let event = self.world.control.poll();
            self.world.turn();
            event == ControlEvent::ResetBegun
        });
        assert!(begun, "seed {seed}");
        assert_eq!(self.world.pool.in_use(), 0, "seed {seed}");
    }

    /// With an honest device nothing is lost.
    fn all_arrives(&mut self, seed: u64) {
        self.world.turn();
        self.receive();
        self.take_sent();
        assert!(self.inbound.is_empty() && self.outbound.is_empty(), "seed {seed}");
        assert_eq!(self.world.pair.counters().ring_errors, 0, "seed {seed}");
    }
}
