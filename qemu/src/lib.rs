//! The host side of Weir: the `weir` command.
//!
//! [`cli`] is the command line, [`command`] what each subcommand does, [`net`] what can be checked of the host's network before
//! QEMU is started. The virtual machine itself is `weir-host`'s.
#![forbid(unsafe_code)]

pub mod cli;
pub mod command;
pub mod net;

pub(crate) use weir_host::{accel, failure, interrupt, machine, memfile, qemu, qmp, vm};
