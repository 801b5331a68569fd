//! A guest of a few instructions, each executed a known number of times.

/// Turns of each of two loops.
pub const TURNS: u32 = 1000;

/// What the guest prints when it has done its turns.
pub const DONE: &str = "ok";

/// Physical address the guest is loaded at.
const BASE: u32 = 0x10_0000;

/// Offset of the first instruction, behind the ELF header, two program headers and the note.
const ENTRY: usize = 64 + 2 * 56 + 20;

/// Port of the serial console.
const CONSOLE: u16 = 0x3f8;

/// A register of the local interrupt controller: device memory at every machine.
const DEVICE: u32 = 0xfee0_0030;

/// `sub ecx, 1`
const DECREMENT: [u8; 3] = [0x83, 0xe9, 0x01];

/// Addresses of the instructions that are to be counted.
#[derive(Debug, Default)]
pub struct Known {
    /// The file.
    pub elf: Vec<u8>,
    /// `lock inc`.
    pub lock: u64,
    /// `xchg` with memory.
    pub xchg: u64,
    /// `mfence`.
    pub fence: u64,
    /// The last instruction of their loop.
    pub jump: u64,
    /// A load from a device, in a loop of its own: it makes QEMU leave the block and come back behind it.
    pub device: u64,
    /// `out`, one for each byte of a line.
    pub outs: Vec<u64>,
}

impl Known {
    /// Writes the guest: an ELF with a PVH note, which is entered in 32-bit protected mode without paging.
    pub fn new() -> Self {
        let mut known = Self::default();
        let code = known.code();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        let (base, entry, note) = (u64::from(BASE), u64::from(BASE) + ENTRY as u64, (ENTRY - 20) as u64);
        let len = (ENTRY + code.len()) as u64;
        // Header: executable for x86-64, program headers at 64, no sections.
        put(&mut file, &[(2, 2), (2, 62), (4, 1), (8, entry), (8, 64), (8, 0), (4, 0)]);
        put(&mut file, &[(2, 64), (2, 56), (2, 2), (2, 0), (2, 0), (2, 0)]);
        // PT_LOAD of everything, PT_NOTE of the note.
        put(&mut file, &[(4, 1), (4, 7), (8, 0), (8, base), (8, base), (8, len), (8, len), (8, 4096)]);
        put(&mut file, &[(4, 4), (4, 4), (8, note), (8, base + note), (8, base + note), (8, 20), (8, 20), (8, 4)]);
        // Note "Xen", type 18 (XEN_ELFNOTE_PHYS32_ENTRY): the entry's physical address.
        put(&mut file, &[(4, 4), (4, 4), (4, 18), (4, u64::from(u32::from_le_bytes(*b"Xen\0"))), (4, entry)]);
        file.extend(code);
        known.elf = file;
        known
    }

    fn code(&mut self) -> Vec<u8> {
        let mut code = Vec::new();
        let at = |code: &Vec<u8>| u64::from(BASE) + (ENTRY + code.len()) as u64;
        // The first loop writes into the ELF header, which nobody needs any more.
        let counter = BASE.to_le_bytes();
        let set_turns = |code: &mut Vec<u8>| {
            code.push(0xb9); // mov ecx, TURNS
            code.extend(TURNS.to_le_bytes());
        };
        let turn_again = |code: &mut Vec<u8>, start: usize| {
            let back = code.len() + 2 - start;
            code.extend([0x75, (back as u8).wrapping_neg()]); // jnz start
        };
        set_turns(&mut code);
        let start = code.len();
        self.lock = at(&code);
        code.extend([0xf0, 0xff, 0x05]); // lock inc dword [counter]
        code.extend(counter);
        self.xchg = at(&code);
        code.extend([0x87, 0x05]); // xchg [counter], eax
        code.extend(counter);
        self.fence = at(&code);
        code.extend([0x0f, 0xae, 0xf0]); // mfence
        code.extend(DECREMENT);
        self.jump = at(&code);
        turn_again(&mut code, start);
        set_turns(&mut code);
        let start = code.len();
        self.device = at(&code);
        code.push(0xa1); // mov eax, [DEVICE]
        code.extend(DEVICE.to_le_bytes());
        code.extend(DECREMENT);
        turn_again(&mut code, start);
        code.push(0xba); // mov edx, CONSOLE
        code.extend(u32::from(CONSOLE).to_le_bytes());
        for byte in DONE.bytes().chain([b'\n']) {
            code.extend([0xb0, byte]); // mov al, byte
            self.outs.push(at(&code));
            code.push(0xee); // out dx, al
        }
        code.extend([0xfa, 0xf4, 0xeb, 0xfd]); // cli; hlt; jmp to the hlt
        code
    }
}

/// Appends little-endian numbers, each given as its size in bytes and its value.
fn put(file: &mut Vec<u8>, fields: &[(usize, u64)]) {
    for (size, value) in fields {
        file.extend(&value.to_le_bytes()[..*size]);
    }
}
