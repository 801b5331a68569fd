//! A device that does anything in any order, honest most of the time, as a string of bytes tells it.

use std::collections::VecDeque;
use std::vec::Vec;

use weir_packet::BUFFER_BYTES;

use super::world::{LEN, World};
use super::{ALL, FakeDevice};
use crate::net::{ControlEvent, Counters, Options, feature};
use crate::virtio::features::{EVENT_IDX, INDIRECT_DESC};

/// What has happened in a play.
#[derive(Debug, Clone, Copy)]
pub struct Played {
    /// What the pair counted.
    pub counters: Counters,
    /// Lies that the device told.
    pub lies: usize,
}

/// Plays what `script` says: each byte is a choice, and the play ends with the script.
///
/// # Panics
/// When a frame is lost, changed or comes twice while the device is honest, when a buffer does not come home after the reset
/// at the end, or when the driver itself panics: each is a bug of the driver.
#[must_use]
pub fn play(script: &[u8]) -> Played {
    let mut run = Run::new(Choices(script));
    while !run.choices.are_over() {
        run.step();
    }
    let played = Played { counters: run.world.pair.counters(), lies: run.lies };
    run.end();
    played
}

/// What is left of a script. Behind its end every choice is 0.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn are_over(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn below(&mut self, limit: usize) -> usize {
        if limit > 256 { usize::from(self.word()) % limit } else { usize::from(self.byte()) % limit }
    }
}

/// A world with what is under way in it.
struct Run<'a> {
    world: World,
    choices: Choices<'a>,
    /// Frames on their way to the guest, as long as the device is honest.
    inbound: VecDeque<Vec<u8>>,
    outbound: VecDeque<Vec<u8>>,
    /// Makes every frame another one.
    frames: u64,
    /// Since the last reset.
    honest: bool,
    lies: usize,
}

/// Payload pieces of a frame, some of them empty: enough for tables, and with them nearly the whole ring.
const PIECES_MAX: usize = 14;

impl<'a> Run<'a> {
    fn new(mut choices: Choices<'a>) -> Self {
        let device = FakeDevice::network(1, LEN);
        let mut offered = ALL;
        for bit in [EVENT_IDX, INDIRECT_DESC, feature::MRG_RXBUF] {
            if choices.below(4) == 3 {
                offered = offered.without(bit);
            }
        }
        device.lock().offered = offered;
        // Interrupts are counted in the ring; where their message goes is nothing that a device lies about.
        let world = World::new(device, Options::default(), 0);
        let (inbound, outbound) = (VecDeque::new(), VecDeque::new());
        Self { world, choices, inbound, outbound, frames: 0, honest: true, lies: 0 }
    }

    fn step(&mut self) {
        match self.choices.below(40) {
            0..10 => self.deliver(),
            10..20 => self.send(),
            20..25 => self.receive(),
            25..30 => self.take_sent(),
            30..35 => self.world.turn(),
            35 => drop(self.world.pair.arm()),
            36 => self.world.pair.disarm(),
            37 => self.control(),
            38 if self.choices.below(6) == 0 => self.lie(),
            _ => self.world.pair.flush(),
        }
    }

    /// Bytes that no other frame of the play has.
    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        let len = 1 + self.choices.below(limit);
        self.frames += 1;
        let mut state = self.frames.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        noise.take(len).collect()
    }

    fn deliver(&mut self) {
        if !self.honest {
            return;
        }
        let merge = self.world.report.features.has(feature::MRG_RXBUF);
        let parts = if merge { 1 + self.choices.below(4) } else { 1 };
        let frame = self.bytes(parts * (BUFFER_BYTES - 12) - 4);
        // The first part holds the whole header.
        let parts = if frame.len() < 40 { 1 } else { parts };
        let flags = self.choices.below(3) as u8;
        if self.world.device.deliver(0, flags, &frame, parts) {
            self.inbound.push_back(frame);
        }
    }

    fn send(&mut self) {
        static BODY: [u8; 64] = [0x77; 64];
        let head = self.bytes(100);
        let pieces: Vec<&'static [u8]> = (0..self.choices.below(PIECES_MAX)).map(|n| &BODY[..n % 4 * 20]).collect();
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
        let number = self.choices.below(2);
        let (id, len) = (self.choices.below(2 * usize::from(LEN)) as u32, self.choices.below(4000) as u32);
        let jump = self.choices.word();
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
    fn end(mut self) {
        if self.lies == 0 {
            self.all_arrives();
        }
        // A reset that is already under way ends first.
        let begun = (0..3).any(|_| {
            self.world.device.lock().status |= 0x40;
            self.world.control.check().expect("a good configuration");
            let event = self.world.control.poll();
            self.world.turn();
            event == ControlEvent::ResetBegun
        });
        assert!(begun, "the device asked for a reset");
        assert_eq!(self.world.pool.in_use(), 0, "buffers that did not come home");
    }

    /// With an honest device nothing is lost.
    fn all_arrives(&mut self) {
        self.world.turn();
        self.receive();
        self.take_sent();
        assert!(self.inbound.is_empty() && self.outbound.is_empty(), "frames are lost");
        assert_eq!(self.world.pair.counters().ring_errors, 0, "an honest device is blamed");
    }
}
