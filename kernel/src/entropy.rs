//! Random bytes, or an honest refusal.
//!
//! Sources are the processor's RDSEED and RDRAND and whatever is mixed in from outside (virtio-rng). They feed a key; output
//! blocks are SHA-256 of key and counter, and after every request the key is replaced by a hash of itself, so that earlier
//! output cannot be computed from a later key. Without any source, [`fill`] refuses: keys are never invented.

use core::arch::asm;

use sha2::{Digest, Sha256};
use spin::Mutex;

use crate::cpu;

const KEY_BYTES: usize = 32;
/// Bytes from outside that count as a source of their own.
pub const SEED_BYTES_MIN: usize = 32;
/// Words from the processor at the first request, and at each later one.
const FIRST_WORDS: usize = 8;
const NEXT_WORDS: usize = 2;
/// Intel's guidance: a source that fails this often in a row is broken.
const RETRIES: usize = 10;

/// There is no source of randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoEntropy;

static POOL: Mutex<Pool> = Mutex::new(Pool::new());

/// Fills `into` with random bytes. Cold: a lock and a few hashes.
pub fn fill(into: &mut [u8]) -> Result<(), NoEntropy> {
    POOL.lock().fill(into, processor_word)
}

/// Mixes in bytes from a hardware source. They add to what is there and cannot take away; from
/// [`SEED_BYTES_MIN`] bytes on they suffice alone.
pub fn mix(bytes: &[u8]) {
    POOL.lock().mix(bytes);
}

struct Pool {
    key: [u8; KEY_BYTES],
    mixed_bytes: usize,
    used_before: bool,
}

impl Pool {
    const fn new() -> Pool {
        Pool { key: [0; KEY_BYTES], mixed_bytes: 0, used_before: false }
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.key = hash(&self.key, b"mix", bytes);
        self.mixed_bytes = self.mixed_bytes.saturating_add(bytes.len());
    }

    fn fill(&mut self, into: &mut [u8], source: impl Fn() -> Option<u64>) -> Result<(), NoEntropy> {
        let wanted = if self.used_before { NEXT_WORDS } else { FIRST_WORDS };
        let words = gather(wanted, source);
        if let Some(words) = words {
            for word in &words[..wanted] {
                self.key = hash(&self.key, b"processor", &word.to_le_bytes());
            }
        } else if self.mixed_bytes < SEED_BYTES_MIN {
            return Err(NoEntropy);
        }
        self.used_before = true;
        for (counter, block) in (0u64..).zip(into.chunks_mut(KEY_BYTES)) {
            block.copy_from_slice(&hash(&self.key, b"output", &counter.to_le_bytes())[..block.len()]);
        }
        self.key = hash(&self.key, b"next", b"");
        Ok(())
    }
}

fn hash(key: &[u8; KEY_BYTES], purpose: &[u8], bytes: &[u8]) -> [u8; KEY_BYTES] {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(purpose);
    hash.update(bytes);
    hash.finalize().into()
}

/// `wanted` words, or `None` if the source fails or repeats itself: some processors answer all ones for ever.
fn gather(wanted: usize, source: impl Fn() -> Option<u64>) -> Option<[u64; FIRST_WORDS]> {
    let mut words = [0; FIRST_WORDS];
    for index in 0..wanted {
        words[index] = source()?;
        if index > 0 && words[index] == words[index - 1] {
            return None;
        }
    }
    Some(words)
}

/// A word from RDSEED, else from RDRAND.
fn processor_word() -> Option<u64> {
    let has_seed = cpu::cpuid(7, 0).ebx & 1 << 18 != 0;
    let has_random = cpu::cpuid(1, 0).ecx & 1 << 30 != 0;
    let seed = || (0..RETRIES).find_map(|_| rdseed());
    let random = || (0..RETRIES).find_map(|_| rdrand());
    has_seed.then(seed).flatten().or_else(|| has_random.then(random).flatten())
}

fn rdseed() -> Option<u64> {
    let (word, good): (u64, u8);
    // SAFETY: called only where CPUID names the instruction.
    unsafe { asm!("rdseed {}", "setc {}", out(reg) word, out(reg_byte) good, options(nomem, nostack)) };
    (good != 0).then_some(word)
}

fn rdrand() -> Option<u64> {
    let (word, good): (u64, u8);
    // SAFETY: called only where CPUID names the instruction.
    unsafe { asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) good, options(nomem, nostack)) };
    (good != 0).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    fn counting() -> impl Fn() -> Option<u64> {
        let next = Cell::new(1);
        move || Some(next.replace(next.get() + 1))
    }

    #[test]
    fn without_a_source_keys_are_refused() {
        let mut pool = Pool::new();
        let mut bytes = [0; 16];
        assert_eq!(pool.fill(&mut bytes, || None), Err(NoEntropy));
        pool.mix(&[7; SEED_BYTES_MIN - 1]);
        assert_eq!(pool.fill(&mut bytes, || None), Err(NoEntropy));
        assert_eq!(bytes, [0; 16]);
    }

    #[test]
    fn enough_bytes_from_outside_are_a_source() {
        let mut pool = Pool::new();
        pool.mix(&[7; SEED_BYTES_MIN]);
        let mut bytes = [0; 16];
        assert_eq!(pool.fill(&mut bytes, || None), Ok(()));
        assert_ne!(bytes, [0; 16]);
    }

    #[test]
    fn a_processor_that_repeats_itself_is_no_source() {
        let mut pool = Pool::new();
        assert_eq!(pool.fill(&mut [0; 16], || Some(u64::MAX)), Err(NoEntropy));
        assert_eq!(pool.fill(&mut [0; 16], counting()), Ok(()));
    }

    #[test]
    fn no_two_requests_give_the_same_bytes() {
        let mut pool = Pool::new();
        pool.mix(&[7; SEED_BYTES_MIN]);
        let (mut first, mut second) = ([0; 100], [0; 100]);
        pool.fill(&mut first, || None).unwrap();
        pool.fill(&mut second, || None).unwrap();
        assert_ne!(first, second);
        assert_ne!(first[..32], first[32..64]);
    }
}
