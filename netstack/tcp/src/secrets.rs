//! What an attacker must not guess: initial sequence numbers (RFC 6528) and timestamp offsets (RFC 7323, 5.4).

use core::hash::Hasher;

use siphasher::sip::SipHasher13;
use weir_socket::Instant;

use crate::seq::SeqNumber;
use crate::tuple::Tuple;

/// One core's keys.
pub(crate) struct Secrets {
    seed: [u64; 4],
    table_key: [u64; 4],
}

/// What is derived from a flow's pair of endpoints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Derived {
    /// Initial send sequence number.
    pub iss: SeqNumber,
    /// Added to the clock of all timestamps that we send on this flow.
    pub timestamp_offset: u32,
}

impl Secrets {
    /// The table's key is derived: its hash multiplies, and would keep neighbours together under a seed of few bits.
    pub fn new(seed: [u64; 4]) -> Self {
        let [a, b, c, d] = seed;
        let table_key = [1, 2, 3, 4].map(|word| {
            let mut hasher = SipHasher13::new_with_keys(a ^ c.rotate_left(29), b ^ d.rotate_left(7));
            hasher.write_u64(word);
            hasher.finish()
        });
        Self { seed, table_key }
    }

    /// The key of the flow table's hash.
    #[inline(always)]
    pub fn table_key(&self) -> &[u64; 4] {
        &self.table_key
    }

    /// ISN = M + F(tuple, key), with M the clock of 4 µs ticks; the timestamp offset comes from the same F. Both go on
    /// monotonically when a pair of endpoints is used again.
    pub fn derive(&self, tuple: &Tuple, now: Instant) -> Derived {
        let hash = self.hash(tuple, 0);
        let ticks = (now.as_micros() / 4) as u32;
        Derived { iss: SeqNumber((hash as u32).wrapping_add(ticks)), timestamp_offset: (hash >> 32) as u32 }
    }

    /// SipHash-1-3 of the tuple and a word. The key is another mix of the seed than the table's.
    pub fn hash(&self, tuple: &Tuple, word: u64) -> u64 {
        let [a, b, c, d] = self.seed;
        let hasher = SipHasher13::new_with_keys(a.rotate_left(17) ^ c, b.rotate_left(41) ^ d);
        let ports = u64::from(tuple.header_word());
        let ([l0, l1], [r0, r1]) = (tuple.local.halves(), tuple.remote.halves());
        // All at once: the hasher takes what comes piece by piece apart.
        let mut message = [0; 6 * size_of::<u64>()];
        for (bytes, word) in message.as_chunks_mut().0.iter_mut().zip([l0, l1, r0, r1, ports, word]) {
            *bytes = word.to_le_bytes();
        }
        hasher.hash(&message)
    }
}
