//! The smallest image: boots, says what it found, tries what the kernel offers, and ends.

#![no_std]
#![no_main]

use weir_kernel::{BootInfo, cores, hooks, info, power, time};

weir_kernel::entry!(main);

fn main(boot: &'static BootInfo) -> ! {
    info!("boot: command line \"{}\"", boot.command_line.0);
    info!("boot: memory {} KiB, free {} KiB", boot.memory.installed_bytes >> 10, boot.memory.free_bytes >> 10);
    info!("boot: clock {:?}, wall {} s", boot.clock, time::wall_unix_ns() / 1_000_000_000);
    info!("boot: payload of {:?} bytes", boot.payload.map(<[u8]>::len));
    hooks::run(boot.command_line);
    info!("ready cores={}", cores::present());
    power::exit(0)
}
