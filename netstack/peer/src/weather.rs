//! What happens to frames on their way, as `tc netem` would do it: one direction, from one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Frames that a slow link holds before it drops.
const QUEUE_FRAMES_MAX: usize = 1_000;

/// How much longer than others a frame takes that is reordered.
const REORDER_BY: Duration = Duration::from_millis(2);

/// ARP has no checksum: damage would be believed.
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];

/// The weather of a link. All zero is a clear sky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Frames lost, in thousandths.
    pub loss_per_mille: u32,
    /// Frames that arrive twice, in thousandths.
    pub duplicate_per_mille: u32,
    /// Frames that arrive later than ones sent after them, in thousandths.
    pub reorder_per_mille: u32,
    /// Frames in which one bit is flipped, in thousandths.
    pub corrupt_per_mille: u32,
    /// How long each frame takes.
    pub delay: Duration,
    /// Bits per second; none: no limit.
    pub rate: Option<u64>,
}

impl Conditions {
    /// Nothing happens to any frame.
    pub const CLEAR: Self = Self {
        loss_per_mille: 0,
        duplicate_per_mille: 0,
        reorder_per_mille: 0,
        corrupt_per_mille: 0,
        delay: Duration::ZERO,
        rate: None,
    };
}

/// One direction of a link: frames go in, and come out when and if the weather says so.
#[derive(Debug)]
pub struct Weather {
    conditions: Conditions,
    random: u64,
    /// Frames under way: when they arrive, their number, their bytes.
    under_way: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>>,
    admitted: u64,
    /// When the link has sent what was admitted so far.
    free_at_ns: u64,
}

impl Weather {
    /// The weather that `seed` makes.
    #[must_use]
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        let random = seed.wrapping_mul(2_654_435_769) | 1;
        Self { conditions, random, under_way: BinaryHeap::new(), admitted: 0, free_at_ns: 0 }
    }

    /// Whether frames just pass.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.conditions == Conditions::CLEAR
    }

    /// Changes the weather for frames that come.
    pub const fn set_conditions(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    /// A frame begins its way.
    pub fn admit(&mut self, now_ns: u64, frame: &[u8]) {
        if self.happens(self.conditions.loss_per_mille) {
            return;
        }
        let copies = 1 + usize::from(self.happens(self.conditions.duplicate_per_mille));
        for _ in 0..copies {
            let mut frame = frame.to_vec();
            if frame.get(12..14) != Some(&ETHERTYPE_ARP) && self.happens(self.conditions.corrupt_per_mille) {
                let bit = self.draw() as usize % (frame.len() * 8);
                frame[bit / 8] ^= 1 << (bit % 8);
            }
            let Some(sent_ns) = self.serialise(now_ns, frame.len()) else { return };
            let mut arrives_ns = sent_ns + self.conditions.delay.as_nanos() as u64;
            if self.happens(self.conditions.reorder_per_mille) {
                arrives_ns += REORDER_BY.as_nanos() as u64;
            }
            self.admitted += 1;
            self.under_way.push(Reverse((arrives_ns, self.admitted, frame)));
        }
    }

    /// The next frame that has arrived.
    pub fn take(&mut self, now_ns: u64) -> Option<Vec<u8>> {
        let arrives_ns = self.next_arrival()?;
        if arrives_ns > now_ns {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, frame))| frame)
    }

    /// When the next frame arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<u64> {
        self.under_way.peek().map(|Reverse((arrives_ns, _, _))| *arrives_ns)
    }

    /// When the link has sent a frame of `len` bytes; none when its queue is full.
    fn serialise(&mut self, now_ns: u64, len: usize) -> Option<u64> {
        let Some(rate) = self.conditions.rate else { return Some(now_ns) };
        let frame_ns = len as u64 * 8 * 1_000_000_000 / rate;
        let begins_ns = self.free_at_ns.max(now_ns);
        if begins_ns - now_ns > frame_ns * QUEUE_FRAMES_MAX as u64 {
            return None;
        }
        self.free_at_ns = begins_ns + frame_ns;
        Some(self.free_at_ns)
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.draw() % 1_000 < u64::from(per_mille)
    }

    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::{Conditions, Duration, Weather};

    fn arrivals(conditions: Conditions) -> Vec<(u64, Vec<u8>)> {
        let mut weather = Weather::new(conditions, 7);
        for n in 0..1_000_u64 {
            let mut frame = vec![0; 100];
            frame[20..28].copy_from_slice(&n.to_be_bytes());
            weather.admit(n * 1_000, &frame);
        }
        let mut arrived = Vec::new();
        while let Some(at) = weather.next_arrival() {
            arrived.push((at, weather.take(at).expect("it has arrived")));
        }
        arrived
    }

    #[test]
    fn each_condition_does_what_it_says_and_nothing_else() {
        let clear = arrivals(Conditions::CLEAR);
        let numbers = |frames: &[(u64, Vec<u8>)]| frames.iter().map(|(_, frame)| frame.clone()).collect::<Vec<_>>();
        assert_eq!(clear.len(), 1_000);
        let lossy = arrivals(Conditions { loss_per_mille: 50, ..Conditions::CLEAR });
        assert!((900..990).contains(&lossy.len()), "{}", lossy.len());
        let doubled = arrivals(Conditions { duplicate_per_mille: 50, ..Conditions::CLEAR });
        assert!((1_010..1_100).contains(&doubled.len()), "{}", doubled.len());
        let reordered = arrivals(Conditions { reorder_per_mille: 50, ..Conditions::CLEAR });
        assert!(reordered.len() == 1_000 && numbers(&reordered) != numbers(&clear));
        let damaged = arrivals(Conditions { corrupt_per_mille: 50, ..Conditions::CLEAR });
        let differing = damaged.iter().zip(&clear).filter(|(a, b)| a != b).count();
        assert!((10..100).contains(&differing), "{differing}");
        let delayed = arrivals(Conditions { delay: Duration::from_millis(5), ..Conditions::CLEAR });
        assert!(delayed.iter().zip(&clear).all(|(a, b)| a.0 == b.0 + 5_000_000 && a.1 == b.1));
        // 100 bytes at 8 Mbit/s take 100 us: the queue of 1,000 frames fills, and the rest is dropped.
        let slow = arrivals(Conditions { rate: Some(8_000_000), ..Conditions::CLEAR });
        assert!(slow.windows(2).all(|pair| pair[1].0 - pair[0].0 == 100_000));
    }
}
