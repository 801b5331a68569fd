//! Which instructions of x86-64 are worth counting by themselves, told from their bytes.
//!
//! The processor's mode is not known here, and 64-bit mode is assumed: in the 16-bit and 32-bit code of the first moments of
//! a boot, an `inc` may be taken for a prefix. Nobody measures those moments.

/// An instruction that costs more than others, or leaves the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Takes a cache line for itself: a `lock` prefix, or `xchg` with memory, which implies it.
    Locked,
    /// Waits for all stores before: `mfence`.
    Barrier,
    /// Accesses an I/O port, which leaves a virtual machine.
    Port,
    /// Reads or writes a model-specific register, which often leaves a virtual machine.
    Msr,
}

impl Kind {
    /// Its name for the client.
    pub fn name(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Barrier => "barrier",
            Self::Port => "port",
            Self::Msr => "msr",
        }
    }
}

/// The kind of an instruction, or `None` for the many that are not special.
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    let opcode_at = bytes.iter().position(|byte| !is_prefix(*byte))?;
    let (prefixes, opcode) = bytes.split_at(opcode_at);
    if prefixes.contains(&LOCK) {
        return Some(Kind::Locked);
    }
    match *opcode {
        // xchg r/m, r: both operands are registers when the two high bits of the ModR/M byte are set.
        [0x86 | 0x87, modrm, ..] if modrm < 0xc0 => Some(Kind::Locked),
        [0x0f, 0xae, 0xf0..=0xf7] if !prefixes.iter().any(|prefix| OTHER_MEANING.contains(prefix)) => {
            Some(Kind::Barrier)
        }
        // ins, outs; in, out with the port in the instruction; in, out with the port in dx.
        [0x6c..=0x6f | 0xe4..=0xe7 | 0xec..=0xef, ..] => Some(Kind::Port),
        [0x0f, 0x30 | 0x32, ..] => Some(Kind::Msr),
        _ => None,
    }
}

const LOCK: u8 = 0xf0;

/// Prefixes that make other instructions out of `0f ae /6`: `tpause`, `umwait`, `umonitor`.
const OTHER_MEANING: [u8; 3] = [0x66, 0xf2, 0xf3];

/// Prefixes of old, and REX.
fn is_prefix(byte: u8) -> bool {
    matches!(byte, LOCK | 0xf2 | 0xf3 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0x66 | 0x67 | 0x40..=0x4f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(kind_wanted: Option<Kind>, instructions: &[&[u8]]) {
        for bytes in instructions {
            assert_eq!(kind(bytes), kind_wanted, "{bytes:x?}");
        }
    }

    #[test]
    fn a_lock_prefix_counts_wherever_it_stands() {
        // lock inc [rax]; lock cmpxchg [rdi], rcx; lock xadd word [rdi], ax with the prefixes swapped; lock or [rsp], 0
        all(
            Some(Kind::Locked),
            &[
                &[0xf0, 0xff, 0x00],
                &[0xf0, 0x48, 0x0f, 0xb1, 0x0f],
                &[0x66, 0xf0, 0x0f, 0xc1, 0x07],
                &[0xf0, 0x83, 0x0c, 0x24, 0x00],
            ],
        );
    }

    #[test]
    fn xchg_is_locked_with_memory_and_not_between_registers() {
        all(Some(Kind::Locked), &[&[0x87, 0x07], &[0x48, 0x87, 0x47, 0x08], &[0x86, 0x04, 0x24]]);
        all(None, &[&[0x48, 0x87, 0xc3], &[0x86, 0xe0], &[0x48, 0x93]]);
    }

    #[test]
    fn mfence_is_a_barrier_and_its_neighbours_are_not() {
        all(Some(Kind::Barrier), &[&[0x0f, 0xae, 0xf0]]);
        // lfence, sfence, tpause, umonitor, umwait, xsaveopt
        all(
            None,
            &[
                &[0x0f, 0xae, 0xe8],
                &[0x0f, 0xae, 0xf8],
                &[0x66, 0x0f, 0xae, 0xf0],
                &[0xf3, 0x0f, 0xae, 0xf0],
                &[0xf2, 0x0f, 0xae, 0xf0],
                &[0x0f, 0xae, 0x37],
            ],
        );
    }

    #[test]
    fn ports_and_registers_of_the_model() {
        all(Some(Kind::Port), &[&[0xee], &[0x66, 0xef], &[0xe6, 0x80], &[0xf3, 0x6e]]);
        all(Some(Kind::Msr), &[&[0x0f, 0x30], &[0x0f, 0x32]]);
    }

    #[test]
    fn the_rest_is_nothing_special() {
        // ret; mov rax, [rdi]; cpuid; rep movsb; vzeroupper (VEX); only prefixes; nothing
        all(
            None,
            &[&[0xc3], &[0x48, 0x8b, 0x07], &[0x0f, 0xa2], &[0xf3, 0xa4], &[0xc5, 0xf8, 0x77], &[0x66, 0x48], &[]],
        );
    }
}
