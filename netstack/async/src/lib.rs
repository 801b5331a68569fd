//! The asynchronous face of [`Sockets`](weir_socket::Sockets), with the traits of `embedded-io-async`.
//!
//! [`Net`] wraps one core's sockets. From it come [`Listener`]s, [`Flow`]s and timers, whose futures any single-threaded
//! executor can poll: they take what is there and leave a waker where there is nothing. The core's loop calls
//! [`Net::dispatch`] once a turn, which reads the events of the sockets and wakes who waits for them.
//!
//! ```text
//!   loop {                                         one turn of a core
//!       net.with(|shard| a burst of frames in)
//!       net.dispatch()                             events become wake-ups
//!       the executor polls the tasks that were woken
//!       net.with(|shard| a burst of frames out)
//!   }
//! ```
//!
//! Every future may be dropped at any time. A read or a write that was not ready has moved nothing, an accept has taken no
//! flow, and a connect that is dropped gives its flow up. Dropping a [`Flow`] closes it, and dropping a [`Listener`] ends the
//! listening.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod flow;
mod halves;
mod listener;
mod net;
mod table;
mod timer;

pub use error::{ConnectError, Elapsed, Error};
pub use flow::Flow;
pub use halves::{Reader, Writer};
pub use listener::Listener;
pub use net::Net;
pub use timer::Sleep;
