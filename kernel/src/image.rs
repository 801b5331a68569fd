//! Where the running image lies, from the symbols of the linker script.

use crate::memory::ranges::Range;

#[cfg(feature = "bare")]
mod symbols {
    unsafe extern "C" {
        pub static __image_start: u8;
        pub static __image_end: u8;
        pub static __text_start: u8;
        pub static __text_end: u8;
        pub static __rodata_start: u8;
        pub static __rodata_end: u8;
        pub static weir_boot_guard: u8;
        pub static weir_boot_stack: u8;
        pub static weir_boot_stack_top: u8;
    }
}

macro_rules! range {
    ($(#[$doc:meta])* $name:ident, $start:ident, $end:ident) => {
        $(#[$doc])*
        pub(crate) fn $name() -> Range {
            #[cfg(feature = "bare")]
            return Range { start: &raw const symbols::$start as u64, end: &raw const symbols::$end as u64 };
            #[cfg(not(feature = "bare"))]
            return Range { start: 0, end: 0 };
        }
    };
}

range!(/** All of it, cleared memory included. */ all, __image_start, __image_end);
range!(/** Program text. */ text, __text_start, __text_end);
range!(/** Read-only data. */ rodata, __rodata_start, __rodata_end);
range!(/** The page below the boot stack. */ boot_guard, weir_boot_guard, weir_boot_stack);
range!(/** The stack until the boot core has its area. */ boot_stack, weir_boot_stack, weir_boot_stack_top);
