//! Measuring the time stamp counter against a timer of known rate.
//!
//! Reading a timer leaves the virtual machine and may take long, so each end of the window takes the fastest of several
//! tries. The window overlaps the rest of the boot; what is left of it is waited for.

use x86_64::instructions::port::Port;

use super::{Scale, Source};
use crate::cpu;

/// Long enough that a microsecond of jitter at both ends is below 0.1 %.
const WINDOW_NS: u64 = 3_000_000;
const TRIES: usize = 5;
/// Cycles of a window at most: seconds at any rate.
const CYCLES_MAX: u64 = 20_000_000_000;
/// Windows in which the machine may stand still for longer than the timer counts.
const ATTEMPTS: usize = 5;
/// Used when even the measurement fails: a usual rate is better than none.
const FALLBACK_HERTZ: u64 = 2_500_000_000;

const ACPI_TIMER_HERTZ: u64 = 3_579_545;
const PIT_HERTZ: u64 = 1_193_182;

/// A running measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    timer: Timer,
    start: Sample,
}

#[derive(Clone, Copy, Debug)]
enum Timer {
    Acpi { port: u16, mask: u32 },
    Interval,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    tsc: u64,
    count: u32,
}

impl Measurement {
    pub(crate) fn begin(acpi_timer: Option<(u16, bool)>) -> Measurement {
        let timer = match acpi_timer {
            Some((port, wide)) => Timer::Acpi { port, mask: if wide { u32::MAX } else { 0xff_ffff } },
            None => Timer::start_interval(),
        };
        Measurement { timer, start: timer.sample() }
    }

    pub(crate) fn finish(mut self) -> (Source, Scale) {
        let source = self.timer.source();
        for _ in 0..ATTEMPTS {
            let scale = self.wait();
            if !self.timer.has_wrapped() {
                return (source, scale.unwrap_or_else(fallback));
            }
            self = Measurement { timer: Timer::start_interval(), start: self.timer.sample() };
        }
        (source, fallback())
    }

    /// The rate, once the window is over.
    fn wait(&self) -> Option<Scale> {
        let window = WINDOW_NS * self.timer.hertz() / 1_000_000_000;
        let mut end = self.timer.sample();
        // Bounded: a timer that stands still must not stop the boot.
        let give_up = self.start.tsc.wrapping_add(CYCLES_MAX);
        while u64::from(self.timer.ticks(self.start, end)) < window && end.tsc < give_up {
            end = self.timer.sample();
        }
        let ticks = u64::from(self.timer.ticks(self.start, end));
        scale(end.tsc.wrapping_sub(self.start.tsc), ticks, self.timer.hertz())
    }
}

fn fallback() -> Scale {
    Scale::ratio(1_000_000_000, FALLBACK_HERTZ).unwrap_or(Scale::from_bits(1 << 48))
}

/// Whether a channel's output, which goes up when a count of mode 0 ends, is up, by the channel's status.
const fn has_ended(status: u8) -> bool {
    status & 0x80 != 0
}

/// Nanoseconds for each of `cycles` that passed in `ticks` of a timer.
fn scale(cycles: u64, ticks: u64, timer_hertz: u64) -> Option<Scale> {
    let window_ns = u128::from(ticks) * 1_000_000_000 / u128::from(timer_hertz);
    Scale::ratio(u64::try_from(window_ns).ok()?, cycles)
}

impl Timer {
    /// Lets channel 2 of the interval timer, the one for the speaker, count down from the top.
    fn start_interval() -> Timer {
        // SAFETY: ports of the interval timer and of the speaker gate, which nothing else uses: gate on, speaker off; then
        // channel 2, both bytes, mode 0, from 0xffff.
        unsafe {
            let mut gate = Port::<u8>::new(0x61);
            let value = gate.read();
            gate.write(value & !2 | 1);
            Port::<u8>::new(0x43).write(0xb0);
            Port::<u8>::new(0x42).write(0xff);
            Port::<u8>::new(0x42).write(0xff);
        }
        Timer::Interval
    }

    fn read(self) -> u32 {
        match self {
            // SAFETY: the port is the power-management timer's by the FADT; reading it has no effect.
            Timer::Acpi { port, .. } => unsafe { Port::<u32>::new(port).read() },
            // SAFETY: latches and reads channel 2 of the interval timer, which nothing else uses.
            Timer::Interval => unsafe {
                Port::<u8>::new(0x43).write(0x80);
                let mut data = Port::<u8>::new(0x42);
                let low = data.read();
                u32::from(u16::from_le_bytes([low, data.read()]))
            },
        }
    }

    /// Whether the timer began anew since it was started: what was measured with it is worth nothing. The ACPI timer has
    /// seconds until then; the interval timer 55 ms, during which a busy host need not run us.
    fn has_wrapped(self) -> bool {
        match self {
            Timer::Acpi { .. } => false,
            // SAFETY: latches and reads the status of channel 2 of the interval timer, which nothing else uses.
            Timer::Interval => unsafe {
                Port::<u8>::new(0x43).write(0xe8);
                has_ended(Port::new(0x42).read())
            },
        }
    }

    fn sample(self) -> Sample {
        let mut best = (u64::MAX, Sample { tsc: 0, count: 0 });
        for _ in 0..TRIES {
            let before = cpu::tsc();
            let count = self.read();
            let took = cpu::tsc().wrapping_sub(before);
            if took < best.0 {
                best = (took, Sample { tsc: before + took / 2, count });
            }
        }
        best.1
    }

    fn ticks(self, start: Sample, end: Sample) -> u32 {
        match self {
            Timer::Acpi { mask, .. } => end.count.wrapping_sub(start.count) & mask,
            Timer::Interval => start.count.wrapping_sub(end.count) & 0xffff,
        }
    }

    fn hertz(self) -> u64 {
        match self {
            Timer::Acpi { .. } => ACPI_TIMER_HERTZ,
            Timer::Interval => PIT_HERTZ,
        }
    }

    fn source(self) -> Source {
        match self {
            Timer::Acpi { .. } => Source::AcpiTimer,
            Timer::Interval => Source::IntervalTimer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_the_acpi_timer_gives_the_rate() {
        // 3 ms at 3 GHz.
        let measured = scale(9_000_000, 10_739, ACPI_TIMER_HERTZ).unwrap().hertz();
        assert!(measured.abs_diff(3_000_000_000) < 1_000_000, "{measured}");
    }

    #[test]
    fn a_timer_that_stands_still_gives_no_rate() {
        assert_eq!(scale(9_000_000, 0, ACPI_TIMER_HERTZ), None);
        assert_eq!(scale(0, 10_739, ACPI_TIMER_HERTZ), None);
    }

    #[test]
    fn a_count_that_has_ended_shows_in_the_status() {
        // Both bytes, mode 0, binary: while it counts, and when it has ended.
        assert!(!has_ended(0x30));
        assert!(has_ended(0xb0));
    }

    #[test]
    fn ticks_survive_the_wrap_of_a_narrow_timer() {
        let narrow = Timer::Acpi { port: 0x608, mask: 0xff_ffff };
        let at = |count| Sample { tsc: 0, count };
        assert_eq!(narrow.ticks(at(0xff_fff0), at(0x10)), 0x20);
        assert_eq!(Timer::Interval.ticks(at(0x10), at(0xfff0)), 0x20);
    }
}
