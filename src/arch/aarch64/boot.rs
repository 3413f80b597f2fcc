//! The first instruction of the Image, and the boot CPU's path from there to Rust.
//!
//! The loader puts the Image anywhere on a page boundary, points x0 at the
//! device tree, and jumps to its first byte with MMU and data cache off. The Image begins
//! with Linux's header (Linux, Documentation/arch/arm64/booting.rst). The assembly then:
//!
//! 1. keeps x0, brings the CPU to a known EL1 (`entry.rs`), and keeps the exception level
//!    at which the loader entered;
//! 2. zeroes bss, bypassing the caches;
//! 3. relocates the Image, which is linked at 0 and lists every word that holds an
//!    address as `R_AARCH64_RELATIVE`;
//! 4. sets up a stack without a caller's frame, and calls `stillpoint_boot`.
//!
//! Steps 2 and 3 are assembled from [`crate::coherency::boot`], which says what cache
//! maintenance they need.
//!
//! `stillpoint_boot` runs with the MMU off. Until [`super::mmu`] has turned it
//! on, all memory is Device memory, where no unaligned and no exclusive access is
//! allowed. So there is no lock and no read-modify-write atomic; loads and stores are
//! fine. Accesses bypass the caches, too. The boot protocol makes the loader clean the
//! Image to memory, but not the device tree. So `stillpoint_boot` cleans the tree
//! ([`super::cache::clean_to_poc`]) before it reads it.
//!
//! If something fails before there is a console, the reason goes to
//! `boot_failure_reason`, and ESR, ELR and FAR of an exception to the three words behind
//! it. Then the CPU sleeps in `boot_halt`.

use super::failure::BootFailure;
use super::image;
use crate::arch::assembly::{asm, global_asm};
use crate::coherency::boot;

unsafe extern "C" {
    /// Does the rest of booting; defined in `boot`.
    ///
    /// * `device_tree` — the loader's x0, the address of the device tree
    /// * `entry_level` — the exception level at which the loader entered, 1 or 2
    ///
    /// # Context
    /// Called once, on the boot stack, with MMU and caches off and everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_boot(device_tree: usize, entry_level: u64) -> !;
}

/// Size of the stack that the boot CPU starts on, in bytes.
///
/// It is large, because the device tree is parsed and the address map built on it. No
/// stack may be larger (see [`super::vectors`]).
pub const BOOT_STACK_SIZE: usize = 64 * 1024;

/// Size of the stack on which the boot CPU reports faults until it gets one from the pool,
/// in bytes.
const BOOT_OVERFLOW_STACK_SIZE: usize = 16 * 1024;

/// Type of the only relocations that a position-independent Image needs
/// (ELF for the Arm 64-bit Architecture, R_AARCH64_RELATIVE).
const R_AARCH64_RELATIVE: u64 = 1027;

/// `flags` of the Image header: little-endian, 4 KiB pages, at any address.
const IMAGE_FLAGS: u64 = 0b1010;

/// `SCTLR_EL1.I`, `C` and `M`.
const SCTLR_CACHES_AND_MMU: u64 = 1 << 12 | 1 << 2 | 1;

/// Stores `reason` in `boot_failure_reason` and stops this CPU for good.
///
/// For a CPU that can't print: it needs no stack, no lock and no heap.
pub fn halt_with_reason(reason: BootFailure) -> ! {
    // SAFETY: `boot_fail` takes its reason in w0 and never returns.
    unsafe {
        asm!("b boot_fail", in("w0") u32::from(reason.code()), options(noreturn));
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    // SAFETY: `boot_halt` takes nothing and never returns.
    unsafe {
        asm!("b boot_halt", options(noreturn));
    }
}

/// Boots again: jumps to the Image's first byte as a loader does, everything
/// masked, MMU and caches off, `device_tree` in x0.
///
/// It doesn't restore variables whose initial value isn't zero: they keep their present
/// values. So it is only for a device tree that boot refuses, which boot does before it
/// uses such a variable.
///
/// # Safety
/// This is the only CPU that runs, and no code needs this kernel's threads, heap or locks
/// any more: they are left as they are.
pub unsafe fn restart(device_tree: usize) -> ! {
    let image = image::image();
    // SAFETY: `boot_restart` takes the tree's address in x0 and the bounds of the
    // Image in x1 and x2, uses no stack, and never returns.
    unsafe {
        asm!(
            "b boot_restart",
            in("x0") device_tree,
            in("x1") image.start,
            in("x2") image.end,
            options(noreturn)
        );
    }
}

/// A step of [`boot::BSS`] and [`boot::RELOCATE`] in assembly.
macro_rules! step {
    // x1 to x2: bss.
    (Invalidate(Bss)) => {
        "mrs x3, ctr_el0
         ubfx x3, x3, #16, #4 // DminLine, log2 of words
         mov x4, #4
         lsl x4, x4, x3
         mov x0, x1
1:       dc ivac, x0
         add x0, x0, x4
         cmp x0, x2
         b.lo 1b
         dsb sy\n"
    };
    // Sixteen bytes at a time.
    (Write(Bss)) => {
        "mov x0, x1
2:       stp xzr, xzr, [x0], #16
         cmp x0, x2
         b.lo 2b\n"
    };
    // x5: the base; x6 to x7: the relocations; w0: the reason if one is unknown.
    (Write(Relocated)) => {
        "
3:       cmp x6, x7
         b.hs 4f
         ldp x8, x9, [x6], #16 // r_offset, r_info
         ldr x10, [x6], #8 // r_addend
         cmp x9, #{R_AARCH64_RELATIVE}
         b.ne boot_fail
         add x10, x10, x5
         str x10, [x5, x8]
         b 3b
4:\n"
    };
}

/// The assembly of a sequence.
macro_rules! assemble {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(step!($step $(($line))?)),*)
    };
}

global_asm!(
    r#"
    .section .head.text, "ax"
    .global _start
    .type _start, %function
_start:
        b       boot_primary                // code0
        .long   0                           // code1
        .quad   0                           // text_offset: on the boundary itself
        .quad   __image_size                // image_size: with bss
        .quad   {IMAGE_FLAGS}               // flags
        .quad   0                           // res2
        .quad   0                           // res3
        .quad   0                           // res4
        .ascii  "ARM\x64"                   // magic
        .long   0                           // res5: no PE header
    .size _start, . - _start

    .section .text.boot, "ax"
    .type boot_primary, %function
boot_primary:
        // 1. Mask everything. The device tree is kept in x19.
        msr     daifset, #0xf
        mov     x19, x0

        // 2. adrp counts in pages: code linked at 0 works on a page boundary only.
        adr     x1, _start
        mov     w0, #{MISPLACED_IMAGE}
        tst     x1, #0xfff
        b.ne    boot_fail

        // 3. Known EL1. The exception level of the entry is kept in x20.
        bl      entry_to_el1
        cbnz    x0, boot_fail
        mov     x20, x1
        msr     tpidr_el1, xzr
        bl      entry_reset_el1
        cbnz    x0, boot_fail
        mov     x0, xzr                     // Any physical address range suffices.
        bl      entry_check_features
        cbnz    x0, boot_fail

        // 4. bss. The symbols of the linker script are weak: see image.rs.
        .weak   __bss_start, __bss_end, __image_start, __image_size, __rela_start, __rela_end
        adrp    x1, __bss_start
        add     x1, x1, :lo12:__bss_start
        adrp    x2, __bss_end
        add     x2, x2, :lo12:__bss_end
    "#,
    boot::bss!(assemble),
    r#"
        // 5. Relocation: *(base + offset) = base + addend.
        adrp    x5, __image_start
        add     x5, x5, :lo12:__image_start
        adrp    x6, __rela_start
        add     x6, x6, :lo12:__rela_start
        adrp    x7, __rela_end
        add     x7, x7, :lo12:__rela_end
        mov     w0, #{UNKNOWN_RELOCATION}
    "#,
    boot::relocate!(assemble),
    r#"
        // 6. Compiled code comes next. Before it runs, the stores above complete, and
        // the instruction cache drops instructions of an earlier image.
        dsb     sy
        ic      iallu
        dsb     sy
        isb

        // 7. Set up a stack, end the chain of frame records, and call Rust.
        adrp    x0, boot_stack_top
        add     x0, x0, :lo12:boot_stack_top
        mov     sp, x0
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x19
        mov     x1, x20
        bl      stillpoint_boot
        mov     w0, #{RETURNED}
        b       boot_fail
    .size boot_primary, . - boot_primary

    // x0: the device tree; x1, x2: where the Image begins and ends. Stores nothing,
    // because from the cleaning on a store may stay in a cache: it would be lost, or be
    // written back later over a store of boot that bypassed the caches.
    .global boot_restart
    .type boot_restart, %function
boot_restart:
        msr     daifset, #0xf
        mrs     x3, ctr_el0
        ubfx    x3, x3, #16, #4             // DminLine, log2 of words
        mov     x4, #4
        lsl     x4, x4, x3
1:      dc      civac, x1
        add     x1, x1, x4
        cmp     x1, x2
        b.lo    1b
        dsb     sy
        // Turns the MMU off. The next instruction has the same address, because VA = PA.
        mrs     x3, sctlr_el1
        mov     x4, #{SCTLR_CACHES_AND_MMU}
        bic     x3, x3, x4
        msr     sctlr_el1, x3
        isb
        tlbi    vmalle1
        ic      iallu
        dsb     nsh
        isb
        b       _start
    .size boot_restart, . - boot_restart

    // w0: the reason; x2, x3, x4: ESR, ELR, FAR.
    .global boot_fail_with_exception
    .type boot_fail_with_exception, %function
boot_fail_with_exception:
        adrp    x1, boot_failure_reason
        add     x1, x1, :lo12:boot_failure_reason
        stp     x2, x3, [x1, #8]
        str     x4, [x1, #24]
    .size boot_fail_with_exception, . - boot_fail_with_exception
    // Falls through. w0: the reason.
    .global boot_fail
    .type boot_fail, %function
boot_fail:
        adrp    x1, boot_failure_reason
        add     x1, x1, :lo12:boot_failure_reason
        strb    w0, [x1]
        dsb     sy
    .size boot_fail, . - boot_fail
    .global boot_halt
    .type boot_halt, %function
boot_halt:
        msr     daifset, #0xf
        // Turns this CPU's timer off, because a pending interrupt, masked or not, would
        // end each WFI at once.
        msr     cntv_ctl_el0, xzr
        isb
1:      wfi
        b       1b
    .size boot_halt, . - boot_halt

    // A cache line of its own, because writes to it may bypass the caches.
    .section .data.boot_failure, "aw"
    .balign 128
    .global boot_failure_reason
    .type boot_failure_reason, %object
boot_failure_reason:
        .quad   0                           // The reason, in the first byte.
        .quad   0                           // ESR
        .quad   0                           // ELR
        .quad   0                           // FAR
        .balign 128
    .size boot_failure_reason, . - boot_failure_reason

    .section .bss.boot_stack, "aw", @nobits
    .balign 4096
    .global boot_stack_guard
boot_stack_guard:
        .skip   4096
    .global boot_stack_bottom
boot_stack_bottom:
        .skip   {BOOT_STACK_SIZE}
    .global boot_stack_top
boot_stack_top:
    .global boot_overflow_stack_bottom
boot_overflow_stack_bottom:
        .skip   {BOOT_OVERFLOW_STACK_SIZE}
    .global boot_overflow_stack_top
boot_overflow_stack_top:
    "#,
    IMAGE_FLAGS = const IMAGE_FLAGS,
    SCTLR_CACHES_AND_MMU = const SCTLR_CACHES_AND_MMU,
    R_AARCH64_RELATIVE = const R_AARCH64_RELATIVE,
    BOOT_STACK_SIZE = const BOOT_STACK_SIZE,
    BOOT_OVERFLOW_STACK_SIZE = const BOOT_OVERFLOW_STACK_SIZE,
    MISPLACED_IMAGE = const BootFailure::MisplacedImage.code(),
    UNKNOWN_RELOCATION = const BootFailure::UnknownRelocation.code(),
    RETURNED = const BootFailure::Returned.code(),
);
