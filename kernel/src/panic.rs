//! The end of the image: report once, tell the hypervisor, then do what the policy says.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::console::panic_line;
use crate::{backtrace, cores, cpu, power};

/// What to do after a panic was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Policy {
    /// Reset the machine. A load balancer that sits dead on its panic message is worse than one that comes back.
    Reboot = 0,
    /// Stop all cores, for who wants to look.
    Halt = 1,
    /// End QEMU through its debug exit device, with status 3; for tests.
    Exit = 2,
}

impl Policy {
    /// The policy named `reboot`, `halt` or `exit`.
    pub fn from_name(name: &str) -> Option<Policy> {
        Some(match name {
            "reboot" => Policy::Reboot,
            "halt" => Policy::Halt,
            "exit" => Policy::Exit,
            _ => return None,
        })
    }
}

/// What [`Policy::Exit`] writes to the debug exit device; QEMU's status is `2 * code + 1`.
pub const EXIT_CODE: u8 = 1;

static POLICY: AtomicU8 = AtomicU8::new(Policy::Reboot as u8);
const NOBODY: u32 = u32::MAX;
static PANICKING_CORE: AtomicU32 = AtomicU32::new(NOBODY);

/// Sets the policy; the kernel command line's `weir.panic=` has set it before the runtime starts.
pub fn set_policy(policy: Policy) {
    POLICY.store(policy as u8, Ordering::Relaxed);
}

fn policy() -> Policy {
    match POLICY.load(Ordering::Relaxed) {
        1 => Policy::Halt,
        2 => Policy::Exit,
        _ => Policy::Reboot,
    }
}

pub(crate) fn is_in_progress() -> bool {
    PANICKING_CORE.load(Ordering::Relaxed) != NOBODY
}

/// The first core to get here reports and stops the others; a later one stops itself. A panic inside the report ends the
/// report.
pub(crate) fn begin() {
    let core = u32::from(cores::current().0);
    match PANICKING_CORE.compare_exchange(NOBODY, core, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => cores::stop_others(),
        Err(first) if first == core => {
            panic_line(format_args!("weir: panic: core {core}: another failure while reporting"));
            finish();
        }
        Err(_) => cpu::halt_forever(),
    }
}

/// Tells the hypervisor and follows the policy.
pub(crate) fn finish() -> ! {
    power::tell_hypervisor_of_panic();
    match policy() {
        Policy::Reboot => {
            panic_line(format_args!("weir: panic: rebooting"));
            power::reboot()
        }
        Policy::Exit => power::exit(EXIT_CODE),
        Policy::Halt => {
            panic_line(format_args!("weir: panic: halted"));
            cpu::halt_forever()
        }
    }
}

/// Reports a Rust panic.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    begin();
    let core = cores::current();
    match info.location() {
        Some(place) => panic_line(format_args!("weir: panic: core {core}: {}, at {place}", info.message())),
        None => panic_line(format_args!("weir: panic: core {core}: {}", info.message())),
    }
    backtrace::print(None, backtrace::frame_pointer());
    finish()
}

#[cfg(feature = "bare")]
mod handler {
    #[panic_handler]
    fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
        super::panic(info)
    }

    /// Named by the precompiled libraries, which could unwind elsewhere; never called, since panics abort.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    /// As above.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() -> ! {
        crate::cpu::halt_forever()
    }
}
