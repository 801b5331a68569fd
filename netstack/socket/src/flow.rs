//! Names of flows and listeners, and why a flow ended.

use core::fmt;

/// One flow of this core. The generation makes a stale id harmless: it names no later flow of the same slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

impl FlowId {
    /// The id of slot `index` in its `generation`-th use. For implementations of [`crate::Sockets`].
    #[inline]
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot.
    #[inline]
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which use of the slot.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// One listener of this core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// A word of the application's that comes back in events: as a rule, an index into a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Token(pub u64);

/// Why a flow is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The application gave the id back, or it never named a flow.
    Released,
    /// Our direction was shut down: nothing more can be sent.
    Shutdown,
    /// Both directions ended in order.
    Finished,
    /// The peer reset the flow.
    Reset,
    /// The peer refused the connection (RST to our SYN).
    Refused,
    /// The peer did not answer in time.
    TimedOut,
    /// ICMP or a missing neighbour says that the peer cannot be reached.
    Unreachable,
    /// Memory ran short and this flow was given up.
    OutOfMemory,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Released => "released",
            Self::Shutdown => "shut down for sending",
            Self::Finished => "finished",
            Self::Reset => "reset by peer",
            Self::Refused => "refused",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
            Self::OutOfMemory => "out of memory",
        })
    }
}
