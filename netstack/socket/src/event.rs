//! What happened to a flow or a listener.

use core::ops::{BitOr, BitOrAssign};

use crate::flow::{FlowId, ListenerId, Token};

/// Something that the application should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Flows wait to be accepted.
    Acceptable {
        /// Where.
        listener: ListenerId,
        /// The listener's token.
        token: Token,
    },
    /// A flow became ready for something.
    Flow {
        /// Which.
        flow: FlowId,
        /// The flow's token.
        token: Token,
        /// For what: all that came together since the last event of the flow.
        ready: Readiness,
    },
}

/// A set of edges of one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Bytes or the peer's end of stream arrived.
    pub const READABLE: Self = Self(1);
    /// A connect succeeded, or a full send queue has room again.
    pub const WRITABLE: Self = Self(2);
    /// The flow is gone: reset, timed out, unreachable, or a connect failed. The reason comes from any call on the flow.
    pub const CLOSED: Self = Self(4);
    /// The flow's timer fired.
    pub const TIMER: Self = Self(8);

    /// Whether all of `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[inline]
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Without what is in `other`.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Readiness {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}
