//! Bare metal: boot, cores, memory, interrupts, time, console, PCI access.
//!
//! The kernel takes over the machine from a PVH loader and hands it to the image's `main` ([`entry!`]) with everything
//! switched on. It knows neither devices nor the network. Its vocabulary for drivers is `weir-hal`.
//!
//! # Building an image
//!
//! A binary that depends on this crate with feature `bare`, is `#![no_std] #![no_main]`, links with
//! `-nostartfiles -nostdlib -static -no-pie -Wl,-T,kernel/link.ld` (a build script passes these), and is built
//! on its own:
//!
//! ```text
//! RUSTFLAGS="-C relocation-model=static -C force-frame-pointers=yes" \
//!     cargo build -p weir-runtime --release --target x86_64-unknown-linux-gnu
//! ```
//!
//! # Rules for code that runs on it
//!
//! Interrupts are off except inside [`cores::idle`]. Memory is mapped one to one. A core's stack has 256 KiB
//! ([`cores::MAIN_STACK_BYTES`]). The heap is for cold objects. A panic ends the image by the policy of the command line
//! (`weir.panic=reboot|halt|exit`).

#![no_std]
// Without an image nothing starts the machine; the hosts' tests use the pure parts.
#![cfg_attr(not(feature = "bare"), allow(dead_code))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acpi;
mod backtrace;
pub mod boot;
pub mod console;
pub mod cores;
pub mod cpu;
pub mod entropy;
pub mod fw_cfg;
pub mod hooks;
mod image;
pub mod interrupts;
pub mod memory;
pub mod panic;
pub mod pci;
pub mod power;
pub mod symbols;
pub mod time;

pub use boot::{BootInfo, CommandLine};

/// Names the function that runs on core 0 when the machine is ready: `fn(&'static BootInfo) -> !`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "Rust" fn weir_main(info: &'static $crate::BootInfo) -> ! {
            let main: fn(&'static $crate::BootInfo) -> ! = $main;
            main(info)
        }
    };
}
