//! What travels between cores: packets of the stack, and what the control core has to say of servers.

use alloc::vec::Vec;

use weir_proxy::{Loads, Moved, Trade, Verdict};
use weir_stack::Message;

use crate::bed::Calls;
use crate::mesh::Links;

/// One message in a ring.
pub enum Mail {
    /// For the stack.
    Stack(Message),
    /// For the balancer.
    Word(Word),
    /// About shares of what a server may have under way.
    Trade(Trade),
    /// About the sender's load.
    Loads(Loads),
}

/// What the control core found out, most often about a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Its health.
    Verdict(Verdict),
    /// Its address.
    Moved(Moved),
    /// Nothing at all: the machine is about to go off.
    Leave,
}

impl Word {
    /// Whether this word makes an older one worthless.
    fn replaces(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Verdict(a), Self::Verdict(b)) => (a.pool, a.server) == (b.pool, b.server),
            (Self::Moved(a), Self::Moved(b)) => (a.pool, a.server) == (b.pool, b.server),
            (Self::Leave, Self::Leave) => true,
            _ => false,
        }
    }
}

/// Words on their way to the other cores. None is lost to a full ring: it waits, and a later one of the same kind and server
/// takes its place, so that there are never more than two for each server.
#[derive(Default)]
pub struct News {
    /// The word, and the cores that were told, from the first one on.
    waiting: Vec<(Word, usize)>,
}

impl News {
    /// Adds a word for all cores.
    pub fn add(&mut self, word: Word) {
        self.waiting.retain(|(older, _)| !word.replaces(older));
        self.waiting.push((word, 0));
    }

    /// Whether a core is still to be told.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Tells cores other than `own`, until all know or a ring is full.
    pub fn tell<T: Send>(
        &mut self,
        own: usize,
        links: &mut Links<T>,
        mut call: impl FnMut(usize),
        wrap: impl Fn(Word) -> T,
    ) {
        while let Some((word, told)) = self.waiting.first_mut() {
            while *told < links.cores() {
                if *told != own {
                    if links.send(*told, wrap(*word)).is_err() {
                        return;
                    }
                    call(*told);
                }
                *told += 1;
            }
            self.waiting.remove(0);
        }
    }

    /// [`tell`](Self::tell) by mail, waking who sleeps.
    pub fn send(&mut self, own: usize, links: &mut Links<Mail>, calls: &mut Calls) {
        self.tell(own, links, |core| calls.add(core), Mail::Word);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::mesh::connect;

    const fn verdict(server: u16, is_up: bool) -> Word {
        Word::Verdict(Verdict { pool: 0, server, is_up })
    }

    #[test]
    fn a_later_word_replaces_the_older_one_of_its_kind_and_server() {
        let moved = |server, host| Word::Moved(Moved { pool: 0, server, address: ([10, 0, 0, host], 80).into() });
        let mut news = News::default();
        for word in [moved(0, 1), verdict(0, true), moved(1, 1), moved(0, 2), verdict(0, false)] {
            news.add(word);
        }
        let left: Vec<Word> = news.waiting.iter().map(|(word, _)| *word).collect();
        assert_eq!(left, [moved(1, 1), moved(0, 2), verdict(0, false)]);
    }

    #[test]
    fn every_other_core_is_told_also_when_a_ring_was_full() {
        let mut links = connect::<Word>(3);
        let mut control = links.remove(1);
        while control.send(2, verdict(9, true)).is_ok() {}
        let mut news = News::default();
        let mut called = Vec::new();
        news.add(verdict(0, false));
        news.add(verdict(1, false));
        news.tell(1, &mut control, |core| called.push(core), |verdict| verdict);
        assert!(!news.is_empty());
        assert_eq!(called, [0]);
        news.add(verdict(0, true));
        while links[1].receive_from(1).is_some() {}
        news.tell(1, &mut control, |core| called.push(core), |verdict| verdict);
        assert!(news.is_empty());
        assert_eq!(called, [0, 0, 2, 0, 2]);
        let mut got = |core: usize| core::iter::from_fn(|| links[core].receive_from(1)).collect::<Vec<_>>();
        assert_eq!(got(0), [verdict(0, false), verdict(1, false), verdict(0, true)]);
        assert_eq!(
            got(1),
            [verdict(1, false), verdict(0, true)],
            "the older verdict of server 0 is not needed any more"
        );
    }
}
