//! The host side of Weir: what the `weir` command and the system tests share.
//!
//! From the outside in: [`cli`] is the command line, [`command`] what each subcommand does, [`vm`] a running virtual
//! machine, [`machine`] its description, [`accel`] the choice between KVM and TCG, [`qemu`] the program that runs it all.
//! Everything here treats the guest as a file, a wire and a serial line.
#![forbid(unsafe_code)]

pub mod accel;
pub mod cli;
pub mod command;
pub mod failure;
pub mod machine;
pub mod memfile;
pub mod net;
pub mod probe;
pub mod qemu;
pub mod qmp;
pub mod tether;
pub mod vm;
