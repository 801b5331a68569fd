//! Time: the time stamp counter, scaled.
//!
//! [`now_ns`] is a counter read, a multiplication and a shift. The rate comes from kvmclock, from CPUID, or from a short
//! measurement against the ACPI timer or the PIT; it is taken once at boot. The wall clock is read once, from kvmclock
//! or the real-time clock, and counted on.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::acpi::Fadt;
use crate::cpu;

mod pvclock;
mod reference;
mod rtc;
mod scale;

pub(crate) use pvclock::kvm_features;
pub use scale::Scale;

/// Where the rate of the time stamp counter came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// KVM's clock page.
    KvmClock,
    /// CPUID leaf 0x15 (and 0x16).
    Processor,
    /// CPUID leaf 0x40000010.
    Hypervisor,
    /// Measured against the ACPI timer.
    AcpiTimer,
    /// Measured against the programmable interval timer.
    IntervalTimer,
}

/// What was found at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Where the rate came from.
    pub source: Source,
    /// Rate of the time stamp counter.
    pub hertz: u64,
    /// From the start of the VM to the start of this clock, where the counter began at zero with the VM.
    pub since_vm_start_ns: Option<u64>,
}

/// Read together at every `now_ns`; written at boot only.
#[repr(align(64))]
struct Base {
    tsc: AtomicU64,
    multiplier: AtomicU64,
    /// Ticks per nanosecond, for deadlines.
    inverse: AtomicU64,
    /// Wall clock at `tsc`.
    wall_ns: AtomicU64,
}

static BASE: Base = Base {
    tsc: AtomicU64::new(0),
    multiplier: AtomicU64::new(0),
    inverse: AtomicU64::new(0),
    wall_ns: AtomicU64::new(0),
};

/// A machine whose counter stands higher than this was not started with it.
const PLAUSIBLE_START_NS: u64 = 600_000_000_000;

/// Nanoseconds since boot; never steps back on one core. 0 until the clock runs.
#[inline]
pub fn now_ns() -> u64 {
    let scale = Scale::from_bits(BASE.multiplier.load(Ordering::Relaxed));
    scale.apply(cpu::tsc().wrapping_sub(BASE.tsc.load(Ordering::Relaxed)))
}

/// Nanoseconds since the counter stood at `tsc`, before or after the clock began.
pub(crate) fn ns_since(tsc: u64) -> u64 {
    Scale::from_bits(BASE.multiplier.load(Ordering::Relaxed)).apply(cpu::tsc().saturating_sub(tsc))
}

/// Nanoseconds since 1970, UTC.
pub fn wall_unix_ns() -> u64 {
    BASE.wall_ns.load(Ordering::Relaxed).saturating_add(now_ns())
}

/// The counter's value `delta_ns` from now.
pub(crate) fn tsc_after(delta_ns: u64) -> u64 {
    let ticks_per_ns = Scale::from_bits(BASE.inverse.load(Ordering::Relaxed));
    cpu::tsc().saturating_add(ticks_per_ns.apply(delta_ns))
}

/// A measurement that may still be running.
pub(crate) enum Rate {
    Kvm(pvclock::Reading),
    Known(Source, Scale),
    Measuring(reference::Measurement),
}

/// Finds the rate, or begins to measure it.
pub(crate) fn begin(fadt: Option<&Fadt>) -> Rate {
    if let Some(reading) = pvclock::read() {
        return Rate::Kvm(reading);
    }
    let hypervisor = cpu::cpuid(0x4000_0010, 0).eax;
    let known = [(Source::Hypervisor, u64::from(hypervisor) * 1000), (Source::Processor, processor_hertz())];
    for (source, hertz) in known {
        if let Some(scale) = plausible(hertz).and_then(|hertz| Scale::ratio(1_000_000_000, hertz)) {
            return Rate::Known(source, scale);
        }
    }
    Rate::Measuring(reference::Measurement::begin(fadt.and_then(|fadt| fadt.timer_port)))
}

/// Starts the clock, waiting for the measurement if need be.
pub(crate) fn finish(rate: Rate) -> Clock {
    let (source, scale, system_ns) = match rate {
        Rate::Kvm(reading) => (Source::KvmClock, reading.scale, Some(reading.system_ns_at(cpu::tsc()))),
        Rate::Known(source, scale) => (source, scale, None),
        Rate::Measuring(measurement) => {
            let (source, scale) = measurement.finish();
            (source, scale, None)
        }
    };
    let tsc = cpu::tsc();
    let wall_ns = system_ns.and_then(pvclock::wall_ns).or_else(rtc::unix_ns).unwrap_or(0);
    BASE.tsc.store(tsc, Ordering::Relaxed);
    BASE.wall_ns.store(wall_ns, Ordering::Relaxed);
    let inverse = Scale::ratio(1 << 48, scale.bits());
    BASE.inverse.store(inverse.map_or(0, Scale::bits), Ordering::Relaxed);
    BASE.multiplier.store(scale.bits(), Ordering::Release);
    let counted = Some(scale.apply(tsc)).filter(|ns| cpu::under_hypervisor() && *ns < PLAUSIBLE_START_NS);
    Clock { source, hertz: scale.hertz(), since_vm_start_ns: system_ns.or(counted) }
}

/// Measures the rate of this core's interrupt timer against the clock, unless it is armed by time stamps.
pub(crate) fn measure_interrupt_timer() {
    use crate::interrupts::apic;
    const WINDOW_NS: u64 = 500_000;
    if apic::uses_tsc_deadline() {
        return;
    }
    apic::start_timer_measurement();
    let start = now_ns();
    let first = apic::measured_timer_ticks();
    while now_ns() - start < WINDOW_NS {
        core::hint::spin_loop();
    }
    let ticks = apic::measured_timer_ticks().wrapping_sub(first);
    apic::finish_timer_measurement(Scale::ratio(ticks.into(), now_ns() - start));
}

/// The counter's rate as the processor tells it (Intel SDM volume 3, 19.7.3): leaf 0x15, with leaf 0x16's base frequency
/// in place of a crystal that it does not name.
fn processor_hertz() -> u64 {
    let ratio = cpu::cpuid(0x15, 0);
    if ratio.eax == 0 || ratio.ebx == 0 {
        return 0;
    }
    if ratio.ecx == 0 {
        return u64::from(cpu::cpuid(0x16, 0).eax & 0xffff) * 1_000_000;
    }
    u64::from(ratio.ecx) * u64::from(ratio.ebx) / u64::from(ratio.eax)
}

fn plausible(hertz: u64) -> Option<u64> {
    (100_000_000..=20_000_000_000).contains(&hertz).then_some(hertz)
}
