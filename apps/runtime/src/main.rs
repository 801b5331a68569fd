//! The image's entry point; all else is in the library.

#![no_std]
#![forbid(unsafe_code)]
#![no_main]

weir_kernel::entry!(weir_runtime::run);
