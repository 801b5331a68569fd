//! The one barrier that x86 does not give for free.

use core::sync::atomic::{Ordering, compiler_fence};

/// Orders all earlier stores before all later loads, as seen by devices and other cores.
///
/// Needed once per burst, between publishing an index and reading whether the other side wants to hear of it (virtio
/// 1.2, 2.7.13.4.1 and 2.7.14), and between saying that a core sleeps and looking for work once more: the processor may
/// otherwise read first, both sides conclude that the other one is awake, and nobody moves again. Every other order that the rings need, x86 keeps by itself; release and acquire keep
/// the compiler to it.
///
/// `mfence` rather than `fence(SeqCst)`: the latter may be compiled to a locked instruction.
#[inline]
pub fn store_load() {
    compiler_fence(Ordering::SeqCst);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has SSE2, to which `mfence` belongs.
    unsafe {
        core::arch::x86_64::_mm_mfence();
    }
    #[cfg(not(target_arch = "x86_64"))]
    core::sync::atomic::fence(Ordering::SeqCst);
    compiler_fence(Ordering::SeqCst);
}
