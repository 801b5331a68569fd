//! A QEMU plugin that counts what a guest executes under TCG; the crate `weir-meter` drives it and explains the figures.
//!
//! A guest's code reaches TCG in *blocks*: instructions without a branch between them. Each block has a counter per vCPU,
//! incremented by the translated code itself, so that counting costs the guest one addition per block. Everything about
//! instructions (how many, which are locked) follows from the counters and from what the block looks like, which is noted
//! once, when it is translated. Accesses to devices, and cache lines shared between vCPUs, need a call per memory access and
//! are asked for by name.
//!
//! Arguments: `-plugin FILE,socket=PATH[,devices=on][,lines=on][,ram=BYTES]`.
//!
//! - `socket`: where to listen for a client (see [`channel`] for what it may say).
//! - `devices`: count accesses to device memory, by instruction and device.
//! - `lines`: follow which vCPUs write and read each cache line. Slow.
//! - `ram`: virtual addresses below are plain memory, mapped to the same physical address, as Weir maps its memory. Spares a
//!   lookup per access; without it, every access is looked up. Needed by `lines`, as the size of what is followed.
//!
//! From the outside in: [`install`] is what QEMU calls first, [`instrument`] what it calls later, [`api`] what we call.
//! [`blocks`], [`decode`], [`devices`] and [`lines`] know nothing of QEMU; [`answer`] and [`channel`] tell the client.

// The tests are a program of their own, without a QEMU around them that has the functions of `api`.
#![cfg_attr(test, allow(dead_code))]

mod answer;
#[cfg(not(test))]
mod api;
mod arguments;
mod blocks;
#[cfg(not(test))]
mod channel;
mod decode;
mod devices;
#[cfg(not(test))]
mod install;
#[cfg(not(test))]
mod instrument;
mod lines;

/// Virtual processors that can be told apart.
const VCPUS_MAX: usize = 32;
