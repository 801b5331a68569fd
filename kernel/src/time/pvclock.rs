//! KVM's paravirtual clock (KVM documentation, *KVM-specific MSRs*), read once for rate and wall time.

use core::sync::atomic::{AtomicU32, Ordering};

use super::Scale;
use crate::cpu;

const SIGNATURE: [u32; 3] = [0x4b4d_564b, 0x564b_4d56, 0x4d];
const CLOCKSOURCE2: u32 = 1 << 3;
const SYSTEM_TIME: u32 = 0x4b56_4d01;
const WALL_CLOCK: u32 = 0x4b56_4d00;
const ENABLE: u64 = 1;
const TRIES: usize = 1000;

/// `struct pvclock_vcpu_time_info`: version, padding, time stamp (2), system time (2), fraction, shift and flags.
#[repr(C, align(64))]
struct Page([AtomicU32; 8]);

static PAGE: Page = Page([const { AtomicU32::new(0) }; 8]);
static WALL: Page = Page([const { AtomicU32::new(0) }; 8]);

/// KVM's feature bits (CPUID 0x40000001, or higher when Hyper-V's leaves come first); 0 without KVM.
pub(crate) fn kvm_features() -> u32 {
    if !cpu::under_hypervisor() {
        return 0;
    }
    let bases = (0x4000_0000..0x4000_1000).step_by(0x100);
    for base in bases {
        let leaf = core::arch::x86_64::__cpuid(base);
        if [leaf.ebx, leaf.ecx, leaf.edx] == SIGNATURE {
            return core::arch::x86_64::__cpuid(base + 1).eax;
        }
    }
    0
}

/// What KVM tells about its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Nanoseconds per tick of the time stamp counter.
    pub scale: Scale,
    /// Nanoseconds since the start of the VM when the counter stood at `tsc`.
    pub system_ns: u64,
    /// See `system_ns`.
    pub tsc: u64,
}

/// Reads the clock page; `None` without one.
pub(crate) fn read() -> Option<Reading> {
    if kvm_features() & CLOCKSOURCE2 == 0 {
        return None;
    }
    // SAFETY: the register exists by the feature bit; the page is a static of the right size and alignment at its
    // physical address. It is taken back below, so the host writes to it no longer.
    unsafe { cpu::write_msr(SYSTEM_TIME, PAGE.0.as_ptr() as u64 | ENABLE) };
    let read = read_stable(&PAGE, || ());
    // SAFETY: as above; without the enable bit the host stops writing.
    unsafe { cpu::write_msr(SYSTEM_TIME, 0) };
    let words = read?;
    let long = |index: usize| u64::from(words[index]) | u64::from(words[index + 1]) << 32;
    let scale = Scale::from_pvclock(words[6], words[7] as u8 as i8)?;
    Some(Reading { scale, system_ns: long(4), tsc: long(2) })
}

impl Reading {
    /// Nanoseconds since the start of the VM when the counter stands at `tsc`.
    pub(crate) fn system_ns_at(&self, tsc: u64) -> u64 {
        self.system_ns.saturating_add(self.scale.apply(tsc.saturating_sub(self.tsc)))
    }
}

/// Wall clock in nanoseconds since 1970, `since_start_ns` after the start of the VM.
pub(crate) fn wall_ns(since_start_ns: u64) -> Option<u64> {
    if kvm_features() & CLOCKSOURCE2 == 0 {
        return None;
    }
    // SAFETY: the register exists by the feature bit; the host writes the structure once for each write of the register.
    let ask = || unsafe { cpu::write_msr(WALL_CLOCK, WALL.0.as_ptr() as u64) };
    let words = read_stable(&WALL, ask)?;
    let start_ns = u64::from(words[1]) * 1_000_000_000 + u64::from(words[2]);
    Some(start_ns + since_start_ns).filter(|_| words[1] != 0)
}

/// Reads a structure whose first word is an even version when it is consistent.
fn read_stable(page: &Page, ask: impl Fn()) -> Option<[u32; 8]> {
    for _ in 0..TRIES {
        ask();
        let version = page.0[0].load(Ordering::Acquire);
        let words = core::array::from_fn(|index| page.0[index].load(Ordering::Acquire));
        if version != 0 && version.is_multiple_of(2) && page.0[0].load(Ordering::Acquire) == version {
            return Some(words);
        }
    }
    None
}
