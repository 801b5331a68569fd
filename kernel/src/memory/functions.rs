//! `memcpy` and its family, which the compiler calls.
//!
//! Small sizes dominate (headers, keys, short strings): up to 128 bytes are copied by overlapping loads and stores without
//! a loop, all loads first, so the same code serves overlapping ranges. Beyond that, 128 bytes at a time, which is 20
//! instructions: a segment of 1460 bytes takes 248. `rep movsb` is left alone: it starts slowly on real processors at these
//! sizes, and under an emulator 1460 bytes took 70 times as long (98 us against 1.4 us). So is AVX, which was slower there than
//! SSE2 below 16 KiB.
//!
//! In assembly, because the compiler recognises such loops and would replace them by calls to themselves.

use core::arch::naked_asm;

/// Copies `len` bytes; the ranges must not overlap.
///
/// # Safety
/// As C's `memcpy`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "memcpy"))]
pub unsafe extern "C" fn copy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 7f",
        "cmp rdx, 32",
        "ja 2f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "2: cmp rdx, 64",
        "ja 3f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        "3: cmp rdx, 128",
        "ja 4f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "movups [rdi + rdx - 64], xmm4",
        "movups [rdi + rdx - 48], xmm5",
        "movups [rdi + rdx - 32], xmm6",
        "movups [rdi + rdx - 16], xmm7",
        "ret",
        // The last 128 bytes are loaded before anything is stored.
        "4: movups xmm8, [rsi + rdx - 128]",
        "movups xmm9, [rsi + rdx - 112]",
        "movups xmm10, [rsi + rdx - 96]",
        "movups xmm11, [rsi + rdx - 80]",
        "movups xmm12, [rsi + rdx - 64]",
        "movups xmm13, [rsi + rdx - 48]",
        "movups xmm14, [rsi + rdx - 32]",
        "movups xmm15, [rsi + rdx - 16]",
        "lea rcx, [rdi + rdx - 128]",
        "5: movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups xmm4, [rsi + 64]",
        "movups xmm5, [rsi + 80]",
        "movups xmm6, [rsi + 96]",
        "movups xmm7, [rsi + 112]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "movups [rdi + 64], xmm4",
        "movups [rdi + 80], xmm5",
        "movups [rdi + 96], xmm6",
        "movups [rdi + 112], xmm7",
        "sub rsi, -128",
        "sub rdi, -128",
        "cmp rdi, rcx",
        "jb 5b",
        "movups [rcx], xmm8",
        "movups [rcx + 16], xmm9",
        "movups [rcx + 32], xmm10",
        "movups [rcx + 48], xmm11",
        "movups [rcx + 64], xmm12",
        "movups [rcx + 80], xmm13",
        "movups [rcx + 96], xmm14",
        "movups [rcx + 112], xmm15",
        "ret",
        "7: cmp edx, 8",
        "jb 8f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "8: cmp edx, 4",
        "jb 9f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "9: test edx, edx",
        "jz 6f",
        // One to three bytes: first, middle, last.
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "mov r9d, edx",
        "shr r9d, 1",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi], cl",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "6: ret",
    )
}

/// Copies `len` bytes; the ranges may overlap.
///
/// # Safety
/// As C's `memmove`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "memmove"))]
pub unsafe extern "C" fn copy_overlapping(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    naked_asm!(
        // `copy` is right for overlapping ranges up to 128 bytes, and for longer ones unless the target begins
        // inside the source.
        "cmp rdx, 128",
        "jbe {copy}",
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, rdx",
        "jae {copy}",
        // Backwards; the first 64 bytes are loaded before anything is stored.
        "mov rax, rdi",
        "movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "2: movups xmm0, [rsi + rdx - 16]",
        "movups xmm1, [rsi + rdx - 32]",
        "movups xmm2, [rsi + rdx - 48]",
        "movups xmm3, [rsi + rdx - 64]",
        "movups [rdi + rdx - 16], xmm0",
        "movups [rdi + rdx - 32], xmm1",
        "movups [rdi + rdx - 48], xmm2",
        "movups [rdi + rdx - 64], xmm3",
        "sub rdx, 64",
        "cmp rdx, 64",
        "ja 2b",
        "movups [rdi], xmm4",
        "movups [rdi + 16], xmm5",
        "movups [rdi + 32], xmm6",
        "movups [rdi + 48], xmm7",
        "ret",
        copy = sym copy,
    )
}

/// Sets `len` bytes to the low byte of `value`.
///
/// # Safety
/// As C's `memset`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "memset"))]
pub unsafe extern "C" fn set(to: *mut u8, value: i32, len: usize) -> *mut u8 {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov rcx, 0x0101010101010101",
        "imul rsi, rcx",
        "cmp rdx, 16",
        "jb 5f",
        "movq xmm0, rsi",
        "punpcklqdq xmm0, xmm0",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "cmp rdx, 32",
        "jbe 4f",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "cmp rdx, 64",
        "jbe 4f",
        "movups [rdi + rdx - 64], xmm0",
        "movups [rdi + rdx - 48], xmm0",
        "lea rcx, [rdi + rdx - 64]",
        "3: movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, rcx",
        "jb 3b",
        "4: ret",
        "5: cmp edx, 8",
        "jb 6f",
        "mov [rdi], rsi",
        "mov [rdi + rdx - 8], rsi",
        "ret",
        "6: cmp edx, 4",
        "jb 7f",
        "mov [rdi], esi",
        "mov [rdi + rdx - 4], esi",
        "ret",
        "7: test edx, edx",
        "jz 4b",
        "mov [rdi], sil",
        "mov [rdi + rdx - 1], sil",
        "shr edx, 1",
        "mov [rdi + rdx], sil",
        "ret",
    )
}

/// Compares `len` bytes as unsigned numbers, the first difference decides.
///
/// # Safety
/// As C's `memcmp`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "memcmp"))]
pub unsafe extern "C" fn compare(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!(
        "cmp rdx, 16",
        "jb 5f",
        "sub rdx, 16",
        "xor ecx, ecx",
        "2: movdqu xmm0, [rdi + rcx]",
        "movdqu xmm1, [rsi + rcx]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb eax, xmm0",
        "sub eax, 0xffff",
        "jnz 4f",
        "add rcx, 16",
        "cmp rcx, rdx",
        "jb 2b",
        // The last 16 bytes, which may overlap those already found equal.
        "mov rcx, rdx",
        "movdqu xmm0, [rdi + rcx]",
        "movdqu xmm1, [rsi + rcx]",
        "pcmpeqb xmm0, xmm1",
        "pmovmskb eax, xmm0",
        "sub eax, 0xffff",
        "jnz 4f",
        "ret",
        // EAX is the mask of equal bytes minus 0xffff: its lowest set bit is the first unequal byte.
        "4: bsf eax, eax",
        "add rcx, rax",
        "movzx eax, byte ptr [rdi + rcx]",
        "movzx ecx, byte ptr [rsi + rcx]",
        "sub eax, ecx",
        "ret",
        "5: cmp edx, 8",
        "jb 6f",
        "mov rax, [rdi]",
        "mov rcx, [rsi]",
        "cmp rax, rcx",
        "jne 8f",
        "mov rax, [rdi + rdx - 8]",
        "mov rcx, [rsi + rdx - 8]",
        "cmp rax, rcx",
        "jne 8f",
        "xor eax, eax",
        "ret",
        "6: cmp edx, 4",
        "jb 7f",
        "mov eax, [rdi]",
        "mov ecx, [rsi]",
        "cmp eax, ecx",
        "jne 8f",
        "mov eax, [rdi + rdx - 4]",
        "mov ecx, [rsi + rdx - 4]",
        "cmp eax, ecx",
        "jne 8f",
        "xor eax, eax",
        "ret",
        "7: xor eax, eax",
        "xor r8d, r8d",
        "test edx, edx",
        "jz 9f",
        "3: movzx eax, byte ptr [rdi + r8]",
        "movzx ecx, byte ptr [rsi + r8]",
        "sub eax, ecx",
        "jnz 9f",
        "inc r8d",
        "cmp r8d, edx",
        "jb 3b",
        "9: ret",
        // Words that differ: in byte order, the larger one wins.
        "8: bswap rax",
        "bswap rcx",
        "cmp rax, rcx",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
    )
}

/// Whether two ranges of `len` bytes differ: zero if they are equal.
///
/// # Safety
/// As C's `bcmp`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "bcmp"))]
pub unsafe extern "C" fn differ(left: *const u8, right: *const u8, len: usize) -> i32 {
    naked_asm!("jmp {compare}", compare = sym compare)
}

/// Length of a NUL-terminated string.
///
/// # Safety
/// As C's `strlen`.
#[unsafe(naked)]
#[cfg_attr(feature = "bare", unsafe(export_name = "strlen"))]
pub unsafe extern "C" fn string_length(text: *const u8) -> usize {
    naked_asm!("lea rax, [rdi - 1]", "2: inc rax", "cmp byte ptr [rax], 0", "jne 2b", "sub rax, rdi", "ret")
}

#[cfg(test)]
mod tests;
