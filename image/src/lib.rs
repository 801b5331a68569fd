//! Builds bootable images: the base ELF (the guest program, the same for everybody) plus a payload (one configuration
//! and the files it serves). The library behind `weir build`.
//!
//! - [`base`] finds or builds the base ELF;
//! - [`payload`] packs the configuration and the files into a tar archive;
//! - [`elf`] attaches the archive to the base, so that every loader that understands program headers puts it into memory;
//! - [`disk`] puts GRUB in front of it, for machines that boot from a disk or a CD;
//! - [`seed`] makes the disk that brings another configuration to an image.
//!
//! The same inputs give the same bytes: nothing of the machine, the user or the time gets in.
#![forbid(unsafe_code)]

pub mod base;
pub mod disk;
pub mod elf;
pub mod payload;
pub mod seed;
