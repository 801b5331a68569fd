//! A virtual machine as a value: what the `weir` command, the instrument and the benchmark share.
//!
//! [`vm`] is a running virtual machine, [`machine`] its description, [`accel`] the choice between KVM and TCG, [`qemu`] the
//! program that runs it all, [`tether`] what makes every child die with us, [`failure`] how a command fails, [`interrupt`] how it is ended. Everything here
//! treats the guest as a file, a wire and a serial line.
#![forbid(unsafe_code)]

pub mod accel;
pub mod failure;
pub mod interrupt;
pub mod machine;
pub mod memfile;
pub mod probe;
pub mod qemu;
pub mod qmp;
pub mod tether;
pub mod vm;
