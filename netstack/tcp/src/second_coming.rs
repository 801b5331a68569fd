//! What keeps a flood of SYNs from buying an answer each: once nobody completes the handshakes that were offered, a SYN is answered
//! when it comes again, which a forged one does not and a client's does (RFC 9293, 3.8.1).
//!
//! An answer costs more than the SYN: a SYN-ACK on its way out and, where the source exists, the RST that comes back. What is offered
//! is paid for by what is completed: a handshake that a peer completes earns the next two. Besides, so many are free per second.
//! A crowd of clients, however large, pays for itself; who has no credit left notes the SYN and waits for its second coming.
//!
//! Notes are bits of two Bloom filters, the current one and the one before it. They forget what is old by being exchanged. When they
//! are so full that strangers look like acquaintances, more SYNs are answered at once: what fails is the saving, not the client.

use alloc::boxed::Box;
use alloc::vec;
use core::mem;

use weir_socket::Instant;

use crate::config::Config;
use crate::limiter::RateLimiter;
use crate::secrets::Secrets;
use crate::seq::SeqNumber;
use crate::time::{Nanoseconds, SECOND_NS};
use crate::tuple::Tuple;

/// Answers that a completed handshake pays for: its own, and one more.
const EARNED: u32 = 2;

/// How long notes are kept at least, and at most twice that when they are many: a client's first attempts are one to four seconds apart.
const KEPT_NS: u64 = 4 * SECOND_NS;
/// The same when they are few, for a client's late attempts.
const KEPT_WHEN_FEW_NS: u64 = 64 * SECOND_NS;
/// Notes are few as long as there are at least so many bits for each.
const BITS_PER_NOTE: usize = 32;

pub(crate) struct SecondComing {
    /// SYNs that may be answered at once.
    credit: u32,
    credit_max: u32,
    free: RateLimiter,
    notes: Notes,
}

impl SecondComing {
    pub fn new(config: &Config) -> Self {
        let credit_max = config.syn_credit_max.min(u32::MAX - EARNED);
        Self {
            credit: credit_max,
            credit_max,
            free: RateLimiter::new(config.syns_free_per_second),
            notes: Notes::new(config.syn_notes_bytes),
        }
    }

    /// Whether a SYN is answered now.
    #[inline(always)]
    pub fn may_answer(&mut self, tuple: &Tuple, irs: SeqNumber, secrets: &Secrets, now: Instant) -> bool {
        if self.credit == 0 {
            return self.is_free_or_known(tuple, irs, secrets, now);
        }
        self.credit -= 1;
        true
    }

    /// A peer completed a handshake.
    #[inline(always)]
    pub fn earn(&mut self) {
        self.credit = (self.credit + EARNED).min(self.credit_max);
    }

    #[cold]
    fn is_free_or_known(&mut self, tuple: &Tuple, irs: SeqNumber, secrets: &Secrets, now: Instant) -> bool {
        // No other hash of a tuple has such a word: initial sequence numbers have 0, cookies their bit 3.
        self.free.allow(now) || self.notes.know(secrets.hash(tuple, u64::from(irs.0) << 32 | 1), now)
    }
}

/// SYNs that were not answered.
struct Notes {
    current: Box<[u64]>,
    former: Box<[u64]>,
    /// Notes in the current filter, and since when it is that.
    len: usize,
    begun_at: Instant,
}

impl Notes {
    /// Notes in at most `bytes` of memory.
    fn new(bytes: usize) -> Self {
        let words = (bytes / 2 / size_of::<u64>()).max(1);
        let filter = || vec![0; words].into_boxed_slice();
        Self { current: filter(), former: filter(), len: 0, begun_at: Instant::default() }
    }

    /// Whether a SYN with this hash was noted before; it is from now on.
    fn know(&mut self, hash: u64, now: Instant) -> bool {
        self.forget_old(now);
        let word = (((hash >> 32) * self.current.len() as u64) >> 32) as usize;
        // Two bits of one word: one place of memory per filter.
        let bits = 1 << (hash & 63) | 1 << (hash >> 6 & 63);
        let known = self.current[word] & bits == bits || self.former[word] & bits == bits;
        if !known {
            self.current[word] |= bits;
            self.len += 1;
        }
        known
    }

    fn forget_old(&mut self, now: Instant) {
        let age_ns = now.since_ns(self.begun_at);
        let is_full = self.len * BITS_PER_NOTE > self.current.len() * u64::BITS as usize;
        if age_ns >= KEPT_WHEN_FEW_NS || is_full && age_ns >= KEPT_NS {
            if age_ns >= 2 * KEPT_WHEN_FEW_NS {
                self.current.fill(0);
            }
            mem::swap(&mut self.current, &mut self.former);
            self.current.fill(0);
            (self.len, self.begun_at) = (0, now);
        }
    }
}
