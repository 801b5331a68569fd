//! The processor: features, control registers, model-specific registers.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use x86_64::registers::model_specific::Msr;

/// The answer of `cpuid`, or zeros where the processor does not have the leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let none = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    let base = leaf & 0xffff_0000;
    // Hypervisor leaves say their own maximum in the first of them, and it means nothing without a hypervisor.
    if base == 0x4000_0000 && !under_hypervisor() {
        return none;
    }
    if leaf > __cpuid(base).eax { none } else { __cpuid_count(leaf, subleaf) }
}

/// Whether a hypervisor says that it is there.
pub fn under_hypervisor() -> bool {
    __cpuid(1).ecx & 1 << 31 != 0
}

pub(crate) fn has_gigabyte_pages() -> bool {
    cpuid(0x8000_0001, 0).edx & 1 << 26 != 0
}

pub(crate) fn has_x2apic() -> bool {
    cpuid(1, 0).ecx & 1 << 21 != 0
}

pub(crate) fn has_tsc_deadline() -> bool {
    cpuid(1, 0).ecx & 1 << 24 != 0
}

/// Width of physical addresses.
pub(crate) fn physical_address_bits() -> u32 {
    match cpuid(0x8000_0008, 0).eax & 0xff {
        0 => 36,
        bits => bits,
    }
}

/// This core's interrupt controller number, all 32 bits where the processor tells them.
pub(crate) fn apic_id() -> u32 {
    let topology = cpuid(0xb, 0);
    if topology.ebx != 0 { topology.edx } else { cpuid(1, 0).ebx >> 24 }
}

/// Lets programs that ask for it use AVX: the image itself is compiled for SSE2, but cryptographic crates look.
pub(crate) fn enable_extended_state() {
    let features = cpuid(1, 0).ecx;
    if features & 1 << 26 == 0 {
        return;
    }
    let avx = if features & 1 << 28 != 0 { 1 << 2 } else { 0 };
    // SAFETY: XSAVE exists, so CR4.OSXSAVE and XCR0 exist; x87 and SSE state are always allowed, AVX because the
    // processor has it. Handlers are compiled for SSE2 and leave the upper halves alone.
    unsafe {
        asm!("mov {t}, cr4", "or {t}, 0x40000", "mov cr4, {t}", t = out(reg) _, options(nostack));
        asm!("xsetbv", in("ecx") 0, in("eax") 3 | avx, in("edx") 0, options(nostack));
    }
}

/// Switches to the page tables at `root`.
///
/// # Safety
/// They map everything that running code, its stack and its data need, at the same addresses.
pub(crate) unsafe fn set_page_tables(root: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Forgets this core's cached translation of the page at `at`.
pub(crate) fn flush_page(at: u64) {
    // SAFETY: forgetting a translation is always allowed; the next access reads the tables.
    unsafe { asm!("invlpg [{}]", in(reg) at, options(nostack, preserves_flags)) };
}

/// The address whose access faulted last.
pub(crate) fn fault_address() -> u64 {
    let address;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Reads the time stamp counter.
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and the kernel runs at the privilege that may read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Reads a model-specific register.
///
/// # Safety
/// The register exists on this processor.
pub(crate) unsafe fn read_msr(register: u32) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { Msr::new(register).read() }
}

/// Writes a model-specific register.
///
/// # Safety
/// The register exists, and `value` does not break what running code relies on.
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { Msr::new(register).write(value) };
}

/// Stops this core for ever.
pub(crate) fn halt_forever() -> ! {
    loop {
        // SAFETY: with interrupts off the core stays in HLT until reset or NMI, and then halts again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
