//! What the tokens of flows and listeners say.

use weir_socket::Token;

use crate::slab::{GENERATION_BITS, Key};

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The listener of this number.
    Listener(u32),
    /// A connection from a client.
    Front(Key),
    /// A connection to a server.
    Back(Key),
    /// A health check: number of the server's checks, and of the check.
    Check(Key),
}

/// Kind in the two highest bits, then the generation, then the index.
const KIND_SHIFT: u32 = 32 + GENERATION_BITS;

const FRONT: u64 = 1;
const BACK: u64 = 2;
const CHECK: u64 = 3;

/// The token of flows that are none of the service's: it leaves them alone.
pub const NOBODY: Token = Token(0);

impl Owner {
    #[inline]
    pub(crate) fn token(self) -> Token {
        let word = |kind: u64, key: Key| kind << KIND_SHIFT | u64::from(key.generation) << 32 | u64::from(key.index);
        Token(match self {
            Self::Listener(index) => index.into(),
            Self::Front(key) => word(FRONT, key),
            Self::Back(key) => word(BACK, key),
            Self::Check(key) => word(CHECK, key),
        })
    }

    #[inline]
    pub(crate) fn of(token: Token) -> Self {
        let index = token.0 as u32;
        let key = Key { index, generation: (token.0 >> 32) as u32 & ((1 << GENERATION_BITS) - 1) };
        match token.0 >> KIND_SHIFT {
            FRONT => Self::Front(key),
            BACK => Self::Back(key),
            CHECK => Self::Check(key),
            _ => Self::Listener(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_were() {
        let key = Key { index: u32::MAX, generation: (1 << GENERATION_BITS) - 1 };
        for owner in [Owner::Listener(7), Owner::Front(key), Owner::Back(key), Owner::Check(key)] {
            assert_eq!(Owner::of(owner.token()), owner);
        }
    }
}
