//! The rings between the cores: one from each core to each other, made once at boot.

use alloc::vec::Vec;

use weir_packet::handoff::{Receiver, Sender, ring};

/// Messages that wait from one core for one other. A burst of misdirected packets fits; more are dropped and counted.
const RING_LEN: usize = 256;

/// One core's ends of the rings. The entry of the core itself is none.
pub struct Links<T> {
    outgoing: Vec<Option<Sender<T>>>,
    incoming: Vec<Option<Receiver<T>>>,
    full: u64,
}

/// Rings between `cores` cores: entry `i` is for core `i`.
pub fn connect<T: Send>(cores: usize) -> Vec<Links<T>> {
    let mut all: Vec<Links<T>> = (0..cores).map(|_| Links::empty(cores)).collect();
    for from in 0..cores {
        for to in (0..cores).filter(|&to| to != from) {
            let (sender, receiver) = ring(RING_LEN);
            all[from].outgoing[to] = Some(sender);
            all[to].incoming[from] = Some(receiver);
        }
    }
    all
}

impl<T: Send> Links<T> {
    fn empty(cores: usize) -> Self {
        Self { outgoing: (0..cores).map(|_| None).collect(), incoming: (0..cores).map(|_| None).collect(), full: 0 }
    }

    /// Sends `message` to core `to`.
    ///
    /// # Errors
    /// The ring is full or the core does not exist; that is counted, and the message comes back, for what it carries must
    /// not be lost with it.
    pub fn send(&mut self, to: usize, message: T) -> Result<(), T> {
        let sent = match self.outgoing.get_mut(to).and_then(Option::as_mut) {
            Some(sender) => sender.send(message),
            None => Err(message),
        };
        if sent.is_err() {
            self.full += 1;
        }
        sent
    }

    /// How many messages core `to` has not taken yet.
    pub fn queued(&mut self, to: usize) -> usize {
        self.outgoing.get_mut(to).and_then(Option::as_mut).map_or(0, Sender::queued)
    }

    /// The next message from core `from`.
    #[inline]
    pub fn receive_from(&mut self, from: usize) -> Option<T> {
        self.incoming.get_mut(from)?.as_mut()?.receive()
    }

    /// How many cores there are.
    #[inline]
    pub fn cores(&self) -> usize {
        self.incoming.len()
    }

    /// Messages that were lost because a ring was full.
    pub fn full(&self) -> u64 {
        self.full
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_core_reaches_every_other_and_not_itself() {
        let mut links = connect::<(usize, usize)>(3);
        for (from, link) in links.iter_mut().enumerate() {
            for to in 0..3 {
                assert_eq!(link.send(to, (from, to)).is_ok(), from != to);
            }
        }
        for (to, link) in links.iter_mut().enumerate() {
            let got: Vec<_> = (0..3).filter_map(|from| link.receive_from(from)).collect();
            assert_eq!(got, (0..3).filter(|&from| from != to).map(|from| (from, to)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_full_ring_gives_the_message_back_and_counts_it() {
        let mut links = connect::<usize>(2);
        let mut sender = links.remove(0);
        assert_eq!((0..RING_LEN).filter(|&n| sender.send(1, n).is_ok()).count(), RING_LEN);
        assert_eq!(sender.send(1, 7), Err(7));
        assert_eq!(sender.send(9, 8), Err(8));
        assert_eq!((sender.full(), sender.queued(1), sender.queued(0)), (2, RING_LEN, 0));
    }
}
