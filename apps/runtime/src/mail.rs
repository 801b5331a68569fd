//! What travels between cores: packets of the stack, and verdicts of health checks.

use alloc::vec::Vec;

use weir_proxy::Verdict;
use weir_stack::Message;

use crate::mesh::Links;
use crate::sleep::Calls;

/// One message in a ring.
pub enum Mail {
    /// For the stack.
    Stack(Message),
    /// For the balancer.
    Verdict(Verdict),
}

/// Verdicts on their way to the other cores. None is lost to a full ring: it waits, and a later one of the same server
/// takes its place, so that there are never more than servers.
#[derive(Default)]
pub struct News {
    /// The verdict, and the cores that were told, from the first one on.
    waiting: Vec<(Verdict, usize)>,
}

impl News {
    /// Adds a verdict for all cores.
    pub fn add(&mut self, verdict: Verdict) {
        self.waiting.retain(|(old, _)| (old.pool, old.server) != (verdict.pool, verdict.server));
        self.waiting.push((verdict, 0));
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
        wrap: impl Fn(Verdict) -> T,
    ) {
        while let Some((verdict, told)) = self.waiting.first_mut() {
            while *told < links.cores() {
                if *told != own {
                    if links.send(*told, wrap(*verdict)).is_err() {
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
        self.tell(own, links, |core| calls.add(core), Mail::Verdict);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::mesh::connect;

    const fn verdict(server: u16, is_up: bool) -> Verdict {
        Verdict { pool: 0, server, is_up }
    }

    #[test]
    fn every_other_core_is_told_also_when_a_ring_was_full() {
        let mut links = connect::<Verdict>(3);
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
