//! Who waits for what: an entry for each flow and each listener, found by the token that events carry.

use alloc::vec::Vec;
use core::task::{Context, Waker};

use weir_socket::{FlowId, Token};

/// Entries that are named by a token and used again. It grows to a high-water mark.
pub(crate) struct Table<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Table<T> {
    pub const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = Some(value);
        }
        Token(index as u64)
    }

    pub fn remove(&mut self, token: Token) {
        let index = token.0 as usize;
        if self.entries.get_mut(index).and_then(Option::take).is_some() {
            self.free.push(index);
        }
    }

    #[inline]
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.entries.get_mut(token.0 as usize)?.as_mut()
    }
}

/// Who waits for a flow, and what its connect waits to see.
#[derive(Default)]
pub(crate) struct FlowEntry {
    /// Whose entry it is; none until the flow exists.
    pub flow: Option<FlowId>,
    pub reader: Option<Waker>,
    pub writer: Option<Waker>,
    pub is_established: bool,
    pub is_closed: bool,
}

/// Leaves the waker of `cx`, and does not clone what is there already.
#[inline]
pub(crate) fn leave_waker(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) if waker.will_wake(cx.waker()) => {}
        _ => *place = Some(cx.waker().clone()),
    }
}
