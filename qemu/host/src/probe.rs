//! A tiny guest that finds out whether an accelerator is worth having.
//!
//! There are hosts where `/dev/kvm` opens and firmware runs, and where guest code is then interpreted a thousand times slower
//! than it should be, or where the processor lacks SSE. So: an ELF of a few hundred bytes, booted the way Weir is booted,
//! switches SSE on, uses it, counts, and ends QEMU with a status of its own. A missing instruction has no handler and resets
//! the machine; a slow one does not come to the end in time.

use std::io::{self, Read};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::machine::{DEBUG_EXIT_PORT, debug_exit_status};
use crate::memfile::MemFile;
use crate::qemu::Qemu;
use crate::tether;

/// Time for the whole probe: start of QEMU, firmware and counting. A good host needs about a fifth of a second.
pub const TIME_LIMIT: Duration = Duration::from_secs(2);

/// Turns of the counting loop: some 20 ms of a real processor, minutes of an interpreted one.
const TURNS: u32 = 20_000_000;

/// What the guest writes when it has come to the end.
const DONE: u8 = 0x10;

/// Physical address the guest is loaded at.
const BASE: u32 = 0x10_0000;

/// Offset of the first instruction, behind the ELF header, two program headers and the note.
const ENTRY: usize = 64 + 2 * 56 + 20;

/// Why an accelerator is not worth having.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The guest did not come to the end in time.
    #[error("it runs guest code too slowly (the probe guest did not finish within {TIME_LIMIT:?})")]
    TooSlow,
    /// The guest was reset: an instruction was missing.
    #[error("it does not run SSE instructions (the probe guest was reset)")]
    NoSse,
    /// QEMU itself refused.
    #[error("QEMU says: {0}")]
    Refused(String),
    /// The probe could not be carried out.
    #[error("the probe guest cannot be started: {0}")]
    NotStarted(#[from] io::Error),
}

/// Boots the probe guest under KVM.
///
/// # Errors
/// When KVM is not worth having, with the reason.
pub fn kvm(qemu: &Qemu) -> Result<(), ProbeError> {
    run(qemu, &["-accel", "kvm", "-cpu", "host"], TIME_LIMIT)
}

fn run(qemu: &Qemu, accelerator: &[&str], limit: Duration) -> Result<(), ProbeError> {
    let image = MemFile::new(&guest())?;
    let mut child = tether::command(&qemu.path, None)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "32M"])
        .args(accelerator)
        .args(["-device", &format!("isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=0x04"), "-kernel"])
        .arg(image.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stderr = child.stderr.take().expect("stderr is a pipe");
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut complaints = String::new();
        let _ = stderr.read_to_string(&mut complaints);
        let _ = sender.send(complaints);
    });
    let complaints = ended.recv_timeout(limit);
    // Harmless for one that has ended.
    let _ = child.kill();
    let status = child.wait()?;
    let Ok(complaints) = complaints else { return Err(ProbeError::TooSlow) };
    match status.code() {
        Some(code) if code == debug_exit_status(DONE) => Ok(()),
        Some(0) => Err(ProbeError::NoSse),
        _ => Err(ProbeError::Refused(complaints.lines().next().unwrap_or("nothing").trim().to_owned())),
    }
}

/// The guest: an ELF with a PVH note, loaded as a whole, which is entered in 32-bit protected mode without paging.
fn guest() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    let code = code();
    let len = (ENTRY + code.len()) as u64;
    let entry = BASE + ENTRY as u32;
    // Header: executable for x86-64, program headers at 64, no sections.
    put(&mut file, &[(2, 2), (2, 62), (4, 1), (8, u64::from(entry)), (8, 64), (8, 0), (4, 0)]);
    put(&mut file, &[(2, 64), (2, 56), (2, 2), (2, 0), (2, 0), (2, 0)]);
    // PT_LOAD of everything, PT_NOTE of the note.
    let base = u64::from(BASE);
    let note = (ENTRY - 20) as u64;
    put(&mut file, &[(4, 1), (4, 7), (8, 0), (8, base), (8, base), (8, len), (8, len), (8, 4096)]);
    put(&mut file, &[(4, 4), (4, 4), (8, note), (8, base + note), (8, base + note), (8, 20), (8, 20), (8, 4)]);
    // Note "Xen", type 18 (XEN_ELFNOTE_PHYS32_ENTRY): the entry's physical address.
    put(&mut file, &[(4, 4), (4, 4), (4, 18), (4, u64::from(u32::from_le_bytes(*b"Xen\0"))), (4, u64::from(entry))]);
    file.extend(code);
    file
}

/// Appends little-endian numbers, each given as its size in bytes and its value.
fn put(file: &mut Vec<u8>, fields: &[(usize, u64)]) {
    for (size, value) in fields {
        file.extend(&value.to_le_bytes()[..*size]);
    }
}

#[rustfmt::skip]
fn code() -> Vec<u8> {
    let mut code = vec![
        0x0f, 0x20, 0xc0,             // mov eax, cr0
        0x83, 0xe0, 0xfb,             // and eax, ~4         no emulation
        0x83, 0xc8, 0x02,             // or eax, 2           monitor the coprocessor
        0x0f, 0x22, 0xc0,             // mov cr0, eax
        0x0f, 0x20, 0xe0,             // mov eax, cr4
        0x0d, 0x00, 0x06, 0x00, 0x00, // or eax, 0x600       OSFXSR, OSXMMEXCPT
        0x0f, 0x22, 0xe0,             // mov cr4, eax
        0x66, 0x0f, 0x6e, 0xc0,       // movd xmm0, eax
        0x66, 0x0f, 0xfe, 0xc0,       // paddd xmm0, xmm0
        0xb9,                         // mov ecx, TURNS
    ];
    code.extend(TURNS.to_le_bytes());
    code.extend([
        0x49,                         // dec ecx
        0x75, 0xfd,                   // jnz -3
        0xba,                         // mov edx, DEBUG_EXIT_PORT
    ]);
    code.extend(u32::from(DEBUG_EXIT_PORT).to_le_bytes());
    code.push(0xb8);                  // mov eax, DONE
    code.extend(u32::from(DONE).to_le_bytes());
    code.extend([
        0xef,                         // out dx, eax
        0xf4,                         // hlt
        0xeb, 0xfd,                   // jmp -3
    ]);
    code
}
