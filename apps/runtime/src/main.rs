//! The image.

#![no_std]
#![no_main]

use weir_kernel::{BootInfo, cores, hooks, info, power};

weir_kernel::entry!(main);

fn main(boot: &'static BootInfo) -> ! {
    info!("boot: {} KiB of memory, clock from {:?}", boot.memory.installed_bytes >> 10, boot.clock.source);
    hooks::run(boot.command_line);
    info!("ready cores={}", cores::present());
    power::off()
}
