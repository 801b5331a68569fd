//! The place of a flow's [`Reassembly`], which is taken only while something is held out of order or a duplicate remains to be
//! reported: most flows never need one, and it has 40 bytes.

use weir_packet::Packet;

use super::inbox::Inbox;
use super::reassembly::{Ranges, Reassembly, Refused};
use crate::seq::SeqNumber;
use crate::shared::Shared;
use crate::slab::{NONE, Slab};

/// What is out of order in all flows of an engine.
pub(crate) type Reassemblies = Slab<Reassembly>;

/// An index into [`Shared::reassemblies`], or NONE.
#[derive(Debug)]
pub(crate) struct OutOfOrder(u32);

impl Default for OutOfOrder {
    fn default() -> Self {
        Self(NONE)
    }
}

impl OutOfOrder {
    /// Whether nothing is held, and nothing remains to be reported.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.0 == NONE
    }

    /// Whether something is held beyond a gap.
    pub fn has_gap(&self, shared: &Shared) -> bool {
        self.get(shared).is_some_and(|reassembly| !reassembly.is_empty())
    }

    /// See [`Reassembly::has_duplicate`].
    pub fn has_duplicate(&self, shared: &Shared) -> bool {
        self.get(shared).is_some_and(Reassembly::has_duplicate)
    }

    /// See [`Reassembly::note_duplicate`]. Without memory it is not reported.
    pub fn note_duplicate(&mut self, start: SeqNumber, end: SeqNumber, shared: &mut Shared) {
        let _ = self.change(shared, |reassembly, _| reassembly.note_duplicate(start, end));
    }

    /// See [`Reassembly::was_reported`].
    pub fn was_reported(&mut self, shared: &mut Shared) {
        let _ = self.change(shared, |reassembly, ranges| reassembly.was_reported(ranges));
    }

    /// See [`Reassembly::insert`].
    pub fn insert(
        &mut self,
        start: SeqNumber,
        packet: Packet,
        window: u32,
        shared: &mut Shared,
    ) -> Result<(), Refused> {
        self.change(shared, |reassembly, ranges| reassembly.insert(ranges, start, packet, window))
            .ok_or(Refused::Full)?
    }

    /// See [`Reassembly::drain`].
    pub fn drain(&mut self, nxt: SeqNumber, inbox: &mut Inbox, shared: &mut Shared) -> SeqNumber {
        self.change(shared, |reassembly, ranges| reassembly.drain(ranges, nxt, inbox)).unwrap_or(nxt)
    }

    /// See [`Reassembly::report`].
    pub fn report(&self, nxt: SeqNumber, shared: &Shared) -> impl Iterator<Item = (SeqNumber, SeqNumber)> {
        self.get(shared).into_iter().flat_map(move |reassembly| reassembly.report(nxt))
    }

    /// Discards everything.
    pub fn clear(&mut self, shared: &mut Shared) {
        if !self.is_empty() {
            let _ = self.change(shared, Reassembly::clear);
        }
    }

    fn get<'a>(&self, shared: &'a Shared) -> Option<&'a Reassembly> {
        (self.0 != NONE).then(|| &shared.reassemblies[self.0])
    }

    /// Takes a place if there is none, and gives it back when nothing is left in it. None when there is no room.
    fn change<R>(&mut self, shared: &mut Shared, change: impl FnOnce(&mut Reassembly, &mut Ranges) -> R) -> Option<R> {
        if self.0 == NONE {
            self.0 = shared.reassemblies.insert(Reassembly::default()).ok()?;
        }
        let reassembly = &mut shared.reassemblies[self.0];
        let answer = change(reassembly, &mut shared.ranges);
        if reassembly.is_idle() {
            shared.reassemblies.release(self.0);
            self.0 = NONE;
        }
        Some(answer)
    }
}
