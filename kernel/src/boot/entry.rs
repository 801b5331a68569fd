//! From the loader's 32-bit jump to the first Rust instruction.
//!
//! PVH (the Xen project's *x86/HVM direct boot ABI*) enters in 32-bit protected mode, paging off, with the physical address
//! of `hvm_start_info` in EBX. Rust's precompiled libraries use SSE2, so SSE is switched on here, before any Rust
//! runs. Multiboot2 (GRUB's way, for disks) enters in the same state with the address of its information in EBX, which has
//! bit 0 set on the way to Rust, to be told apart. The boot page tables map the first 4 GiB one to one, writable and executable; `memory::paging` replaces them.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4                     // name size
    .long 8                     // descriptor size: QEMU reads a machine word
    .long 18                    // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad weir_pvh_entry

    // Multiboot2 specification 2.0, 3.1: within the first 32 KiB of the file, at a multiple of 8.
    .section .text.multiboot2, "ax"
    .balign 8
weir_multiboot2_header:
    .long 0xe85250d6
    .long 0                     // 32-bit protected mode
    .long weir_multiboot2_header_end - weir_multiboot2_header
    .long -(0xe85250d6 + (weir_multiboot2_header_end - weir_multiboot2_header))
    .word 3, 0                  // the entry address, instead of the file's
    .long 12
    .long weir_multiboot2_entry
    .balign 8
    .word 0, 0                  // end of tags
    .long 8
weir_multiboot2_header_end:

    .section .bss.boot, "aw", @nobits
    .balign 4096
    .globl weir_boot_pml4, weir_boot_guard, weir_boot_stack, weir_boot_stack_top
weir_boot_pml4:
    .skip 4096
weir_boot_pdpt:
    .skip 4096
weir_boot_pd:
    .skip 4096 * 4
weir_boot_guard:
    .skip 4096
weir_boot_stack:
    .skip 65536
weir_boot_stack_top:

    .section .rodata.boot, "a"
    .balign 16
    .globl weir_boot_gdt, weir_boot_gdt_end
weir_boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    // 0x08: 64-bit code
    .quad 0x00cf93000000ffff    // 0x10: data
    .quad 0x00cf9b000000ffff    // 0x18: 32-bit code
weir_boot_gdt_end:
weir_boot_gdt_pointer:
    .word weir_boot_gdt_end - weir_boot_gdt - 1
    .quad weir_boot_gdt

    .section .text.boot, "ax"
    .code32
weir_multiboot2_entry:
    cmp eax, 0x36d76289
    je 2f
    xor ebx, ebx                // somebody else: nothing that is there is believed
2:  or ebx, 1
    .globl weir_pvh_entry
weir_pvh_entry:
    cli
    cld
    // The loader need not have cleared .bss: after a reboot QEMU restores the file's bytes only.
    mov edi, offset __bss_start
    mov ecx, offset __bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd

    mov edi, offset weir_boot_pd
    mov eax, 0x83               // present, writable, 2 MiB
    mov ecx, 2048
2:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    loop 2b
    mov edi, offset weir_boot_pdpt
    mov eax, offset weir_boot_pd
    or eax, 3
    mov ecx, 4
3:  mov [edi], eax
    add edi, 8
    add eax, 0x1000
    loop 3b
    mov eax, offset weir_boot_pdpt
    or eax, 3
    mov [weir_boot_pml4], eax

    mov edi, ebx                // first argument of `weir_start`
    mov esi, offset weir_boot_pml4
    mov ebp, offset weir_boot_64
    jmp weir_enter_long_mode

    // Long mode with SSE. ESI: page tables; EBP: where to go on; EDI is kept.
    .globl weir_enter_long_mode
weir_enter_long_mode:
    mov eax, 0x6a0              // PAE, PGE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov cr3, esi
    mov ecx, 0xc0000080         // EFER
    rdmsr
    or eax, 0x900               // LME, NXE
    wrmsr
    mov eax, 0x80010033         // PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdt [weir_boot_gdt_pointer]
    .byte 0xea                  // far jump, which Intel syntax cannot spell
    .long weir_in_long_mode
    .word 8
    .code64
weir_in_long_mode:
    mov ebp, ebp
    jmp rbp

weir_boot_64:
    mov esp, offset weir_boot_stack_top
    call weir_load_segments
    mov edi, edi
    xor ebp, ebp
    call {start}
    ud2

    .globl weir_load_segments
weir_load_segments:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    fninit
    push 0x1f80                 // MXCSR: all exceptions masked, round to nearest
    ldmxcsr [rsp]
    add rsp, 8
    ret
"#,
    start = sym super::weir_start,
);

global_asm!(
    r#"
    // Copied to a page below 1 MiB, where a core begins in real mode with CS = page / 16 and IP = 0. So it uses offsets
    // from its own start, and the far jump leaves for the image, which is linked below 4 GiB.
    .section .rodata.boot, "a"
    .balign 16
weir_core_start:
    .code16
    cli
    cld
    .byte 0x2e, 0x66, 0x0f, 0x01, 0x16      // lgdt cs:[offset], 32-bit base
    .word weir_core_start_gdt - weir_core_start
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xea                        // far jump with 32-bit offset
    .long weir_core_32
    .word 0x18
    .balign 4
weir_core_start_gdt:
    .word weir_boot_gdt_end - weir_boot_gdt - 1
    .long weir_boot_gdt
weir_core_start_end:

    .section .text.boot, "ax"
    .code32
weir_core_32:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esi, [{page_table}]
    mov ebp, offset weir_core_64
    jmp weir_enter_long_mode

    // Which core is this? Leaf 0xb has 32 bits of the controller's number, leaf 1 has 8.
    .code64
weir_core_64:
    xor eax, eax
    cpuid
    cmp eax, 0xb
    jb 2f
    mov eax, 0xb
    xor ecx, ecx
    cpuid
    test ebx, ebx
    jnz 3f
2:  mov eax, 1
    cpuid
    shr ebx, 24
    mov edx, ebx
3:  mov ecx, [{count}]
    mov esi, offset {table}
4:  cmp [rsi], edx
    je 5f
    add rsi, 16
    dec ecx
    jnz 4b
6:  cli
    hlt
    jmp 6b
5:  mov edi, [rsi + 4]
    mov rsp, [rsi + 8]
    call weir_load_segments
    xor ebp, ebp
    call {arrive}
    ud2
"#,
    page_table = sym crate::cores::START_PAGE_TABLE,
    count = sym crate::cores::START_COUNT,
    table = sym crate::cores::START_TABLE,
    arrive = sym crate::cores::arrive,
);

unsafe extern "C" {
    static weir_core_start: u8;
    static weir_core_start_end: u8;
}

/// The code that other cores begin with, and its length.
pub(crate) fn start_code() -> (*const u8, usize) {
    let start = &raw const weir_core_start;
    (start, &raw const weir_core_start_end as usize - start as usize)
}
