//! What befalls a host besides its network: its clock jumps, its memory is taken.

use crate::random::Random;

/// Something that happens to a host at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disturbance {
    /// When, in milliseconds.
    pub at_ms: u64,
    /// To which host.
    pub host: usize,
    /// What.
    pub kind: DisturbanceKind,
}

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisturbanceKind {
    /// The machine slept for so many milliseconds, as its clock has it: all that was due meanwhile is due at once.
    ClockForward(u64),
    /// The clock is set back by so many milliseconds.
    ClockBack(u64),
    /// Somebody else takes all buffers but so many.
    TakeBuffers(usize),
    /// They come back.
    GiveBuffers,
}

/// What befalls the two hosts of a seed's world: nothing in most of them.
pub(crate) fn disturbances(random: &mut Random) -> Vec<Disturbance> {
    let mut all = Vec::new();
    for host in 0..2 {
        if random.chance_ppm(200_000) {
            for _ in 0..1 + random.below(3) {
                let at_ms = random.below(5_000);
                let kind = if random.chance_ppm(700_000) {
                    DisturbanceKind::ClockForward(random.pick(&[1, 50, 1_000, 30_000]))
                } else {
                    DisturbanceKind::ClockBack(random.pick(&[1, 100, 5_000]))
                };
                all.push(Disturbance { at_ms, host, kind });
            }
        }
        if random.chance_ppm(200_000) {
            let at_ms = random.below(3_000);
            let for_ms = random.pick(&[20, 500, 3_000]);
            let leave = random.pick(&[0, 1, 8, 40]);
            all.push(Disturbance { at_ms, host, kind: DisturbanceKind::TakeBuffers(leave) });
            all.push(Disturbance { at_ms: at_ms + for_ms, host, kind: DisturbanceKind::GiveBuffers });
        }
    }
    all.sort_by_key(|disturbance| disturbance.at_ms);
    all
}
