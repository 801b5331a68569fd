//! From the vector to Rust and back.
//!
//! One stub of 16 bytes for each vector pushes what the processor did not and joins the others. Everything runs on a stack of the
//! interrupt stack table: the host target's code uses the red zone below its stack pointer, which an interrupt on the same
//! stack would overwrite. Handlers are compiled for SSE2, so x87 and SSE registers are saved around them.

use core::arch::global_asm;

/// What the stubs leave on the stack, lowest address first.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frame {
    /// R15 down to RAX, in the order of [`Frame::REGISTERS`].
    pub registers: [u64; 15],
    /// Which vector.
    pub vector: u64,
    /// The processor's error code, or 0.
    pub error: u64,
    /// Where it happened.
    pub rip: u64,
    /// Code segment.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment.
    pub ss: u64,
}

impl Frame {
    /// Names of `registers`.
    pub const REGISTERS: [&'static str; 15] =
        ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rbp", "rdi", "rsi", "rdx", "rcx", "rbx", "rax"];

    /// The frame pointer.
    pub fn rbp(&self) -> u64 {
        self.registers[8]
    }
}

global_asm!(
    r#"
    .section .text.weir_interrupts, "ax"
    .balign 16
    .globl weir_vectors, weir_timer_vector, weir_wake_vector
weir_vectors:
    .set vector, 0
    .rept 256
    .balign 16
    // Vectors whose error code the processor pushes: 8, 10-14, 17, 21, 29, 30.
    .if (vector < 32) && ((0x60227d00 >> vector) & 1)
    .else
    push 0
    .endif
    push vector
    jmp weir_vector_common
    .set vector, vector + 1
    .endr

weir_vector_common:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov esi, [rsp + 15 * 8]
    cmp esi, 32
    jae 2f
    call {exception}
    ud2
2:  mov edi, esi
    // The interrupt stack starts 16-aligned and 22 words are on it, so this is aligned for FXSAVE and for the call.
    sub rsp, 512
    fxsave64 [rsp]
    call {interrupt}
    fxrstor64 [rsp]
    add rsp, 512
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq

    // Wake-ups and timers have done their work by ending HLT: end of interrupt, nothing else. A timer that fired is not
    // armed any more, though its deadline may still lie ahead (the timer's rate is measured, its range limited).
    .balign 16
weir_timer_vector:
    mov qword ptr gs:[{armed}], 0
weir_wake_vector:
    push rax
    mov rax, [rip + {eoi}]
    test rax, rax
    jz 3f
    mov dword ptr [rax], 0
    pop rax
    iretq
3:  push rcx
    push rdx
    mov ecx, 0x80b              // x2APIC end of interrupt
    xor edx, edx
    wrmsr
    pop rdx
    pop rcx
    pop rax
    iretq
"#,
    exception = sym super::exceptions::exception,
    interrupt = sym super::interrupt,
    eoi = sym super::apic::END_OF_INTERRUPT,
    armed = const crate::cores::ARMED_OFFSET,
);

unsafe extern "C" {
    static weir_vectors: u8;
    static weir_wake_vector: u8;
    static weir_timer_vector: u8;
}

/// Address of the stub of `vector`.
pub fn stub(vector: u8) -> u64 {
    &raw const weir_vectors as u64 + 16 * u64::from(vector)
}

/// Address of the handler of the timer.
pub fn timer_stub() -> u64 {
    &raw const weir_timer_vector as u64
}

/// Address of the handler that only ends the interrupt.
pub fn wake_stub() -> u64 {
    &raw const weir_wake_vector as u64
}
