//! What a guest executes between two moments: instructions, locked instructions, accesses to devices, halts, and cache lines
//! that several vCPUs share; in total, by vCPU, and by function.
//!
//! Times on a shared machine are noise, while the same code executes the same instructions everywhere. QEMU's translator
//! (TCG) lets a plugin count them:
//!
//! - [`plugin`] finds or builds the plugin and gives the arguments for QEMU;
//! - [`meter`] talks to it while the guest runs: [`Meter::mark`](meter::Meter::mark), then some work, then
//!   [`Meter::read`](meter::Meter::read);
//! - [`tally`] is what it answers: the difference of two tallies is the work between them;
//! - [`symbols`] and [`names`] give names to addresses, [`profile`] says which function did it, [`report`] prints it, and [`sharing`] finds
//!   what cores should not share.
//!
//! The program `weir-meter` puts this into a laboratory of its own ([`lab`]): network namespace, TAP, backends, load.
//!
//! What is not seen: the work of devices (QEMU's own threads) and of the host; what KVM would do instead of TCG. What is not
//! exact: of a block that is left early, by an exception or an access to device memory, the rest counts as executed, too. QEMU
//! 10 counts a whole `rep movsb` as one instruction, QEMU 9 each of its turns. A guest that is slower (because more is
//! counted, or the host is busy) finds larger bursts in its queues and needs fewer instructions for each request; a guest
//! with time to spare polls, and that is work, too. Compare figures of the same options on the same machine.
#![forbid(unsafe_code)]

pub mod lab;
pub mod meter;
pub mod names;
pub mod plugin;
pub mod profile;
pub mod report;
pub mod sharing;
pub mod symbols;
pub mod tally;
