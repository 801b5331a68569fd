//! The benchmark: Weir and a Linux guest with nginx and HAProxy in turn, with the same QEMU, machine, queues and client.
//!
//! From the outside in: [`options`] is what can be asked for, [`check`] what must be there, [`run`] the course of it all;
//! [`baseline`] makes the Linux guest from the files beside this crate, [`guest`] boots either, [`lab`] is the network that both are in,
//! [`matrix`] what is measured; [`counts`], [`rates`], [`latency`] and [`extras`] measure it, with `wrk`, `ab`
//! and the clients of [`client`] and [`crowd`]. What comes out is a
//! [`model::Report`], which [`markdown`], [`plots`], [`usl`] and [`compare`] tell, with [`facts`] about the machine.
//!
//! Three kinds of figure, in this order of trust: what a guest executes per request, which is the same everywhere; ratios of
//! rates within one round, which cancel what the machine does meanwhile; rates, which are context.
#![forbid(unsafe_code)]

pub mod baseline;
pub mod check;
pub mod client;
pub mod compare;
pub mod counts;
pub mod crowd;
pub mod extras;
pub mod facts;
pub mod guest;
pub mod lab;
pub mod latency;
pub mod markdown;
pub mod matrix;
pub mod model;
pub mod number;
pub mod options;
pub mod plots;
pub mod rates;
pub mod run;
pub mod statistics;
pub mod svg;
pub mod usl;
