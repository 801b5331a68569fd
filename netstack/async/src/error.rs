//! What can go wrong, in this crate's types and in those of `embedded-io`.

use core::fmt;

use embedded_io_async::ErrorKind;
use weir_socket::CloseReason;

/// The flow is gone, or its direction has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(pub CloseReason);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self.0 {
            CloseReason::Released => ErrorKind::NotConnected,
            CloseReason::Shutdown | CloseReason::Finished => ErrorKind::BrokenPipe,
            CloseReason::Reset => ErrorKind::ConnectionReset,
            CloseReason::Refused => ErrorKind::ConnectionRefused,
            CloseReason::TimedOut => ErrorKind::TimedOut,
            CloseReason::OutOfMemory => ErrorKind::OutOfMemory,
            CloseReason::Unreachable => ErrorKind::Other,
        }
    }
}

/// Why a flow was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// Nothing was sent.
    NotSent(weir_socket::ConnectError),
    /// The peer or the network said no, or nobody answered.
    Closed(CloseReason),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => error.fmt(f),
            Self::Closed(reason) => reason.fmt(f),
        }
    }
}

impl core::error::Error for ConnectError {}

/// The time was over before the future was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("time is over")
    }
}

impl core::error::Error for Elapsed {}
