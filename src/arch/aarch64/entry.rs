//! Brings a CPU from any state that firmware leaves to a known EL1: assembly shared by
//! every entry.
//!
//! Firmware differs in the state that it leaves: `DAIF` is not always masked,
//! `SCTLR_EL2` may be 0 or hold its RES1 bits, `HCR_EL2` may be anything. So this code
//! sets each register that matters and keeps none. A CPU that firmware starts enters at
//! EL1 or EL2. The same CPU may enter at different levels at different times: from our
//! own pen it enters at EL1. So every entry runs all of this, every time.
//!
//! There are three subroutines, called with `bl` before there is a stack. They use x0 to
//! x4 and return in x0 either 0 or the [`BootFailure`] because of which the CPU can't go
//! on:
//!
//! | Subroutine | Does | Also returns |
//! |---|---|---|
//! | `entry_to_el1` | leaves EL2 if the CPU is there; its return is the `ERET` | x1: the level entered at |
//! | `entry_reset_el1` | sets the EL1 registers, MMU and caches off, FP on | |
//! | `entry_check_features` | x0: the physical address range needed, as in `TCR_EL1.IPS` | |
//!
//! Two vector tables serve until the real one is in place. An exception at EL1 stops the
//! CPU with [`BootFailure::EarlyException`]. One taken to EL2, which the CPU has left,
//! stops it with [`BootFailure::ExceptionAtEl2`].

use crate::arch::assembly::global_asm;

use super::failure::BootFailure;

/// `SCTLR_EL1` with MMU and caches off, little-endian: its bits that are RES1
/// without later extensions (LSMAOE, nTLSMD, SPAN, EIS, TSCXT, EOS, SED, ITD).
const SCTLR_EL1_OFF: u64 = super::mmu::SCTLR_RES1;

/// `SCTLR_EL2` likewise (its own set of RES1 bits).
const SCTLR_EL2_OFF: u64 =
    1 << 29 | 1 << 28 | 1 << 23 | 1 << 22 | 1 << 18 | 1 << 16 | 1 << 11 | 1 << 5 | 1 << 4;

/// `HCR_EL2`: EL1 is AArch64 (RW); pointer authentication is not trapped (API,
/// APK); nothing else, so no stage 2, no trap, interrupts stay at EL1.
const HCR_EL2: u64 = 1 << 41 | 1 << 40 | 1 << 31;

/// `CPTR_EL2` without E2H: its RES1 bits, SVE and SME trapped (TZ, TSM) because
/// nothing sets them up, FP not trapped (TFP clear).
const CPTR_EL2: u64 = 0x33ff;

/// `CNTHCTL_EL2` without E2H: EL1 may read the physical counter and use the
/// physical timer.
const CNTHCTL_EL2: u64 = 0b11;

/// `SPSR_EL2` for the `ERET`: EL1 on its own stack pointer, all masked.
const SPSR_EL1H_MASKED: u64 = 0x3c5;

/// `CPACR_EL1.FPEN`: FP and SIMD at EL1 and EL0.
const CPACR_FP_ON: u64 = 0b11 << 20;

global_asm!(
    r#"
    // Loads a constant of up to 48 bits without a literal pool: a load would be
    // a data access, which may still be big-endian here.
    .macro entry_mov register, value
        movz \register, #((\value) & 0xffff)
        movk \register, #(((\value) >> 16) & 0xffff), lsl #16
        movk \register, #(((\value) >> 32) & 0xffff), lsl #32
    .endm

    .section .text.entry, "ax"

    .global entry_to_el1
    .type entry_to_el1, %function
entry_to_el1:
        mrs     x1, CurrentEL
        ubfx    x1, x1, #2, #2
        cmp     x1, #2
        b.eq    1f
        mov     x0, #{ENTERED_AT_EL3}
        b.hi    9f
        mov     x0, xzr                     // At EL1 already.
9:      ret

        // From now on these vectors record an exception taken to EL2.
1:      adrp    x0, entry_el2_vectors
        add     x0, x0, :lo12:entry_el2_vectors
        msr     vbar_el2, x0
        entry_mov x0, {SCTLR_EL2_OFF}
        msr     sctlr_el2, x0
        isb

        // E2H has to be 0: with E2H set, CPTR_EL2 and CNTHCTL_EL2 have another layout.
        entry_mov x0, {HCR_EL2}
        msr     hcr_el2, x0
        isb
        mrs     x2, hcr_el2
        mov     x0, #{HOST_ONLY_EL2}
        tbnz    x2, #34, 9b

        // Traps neither FP nor AArch32 system registers; no stage 2.
        entry_mov x0, {CPTR_EL2}
        msr     cptr_el2, x0
        msr     hstr_el2, xzr
        msr     vttbr_el2, xzr

        // EL1 may use both timers; virtual time is physical time; EL2's timer is off.
        mov     x0, #{CNTHCTL_EL2}
        msr     cnthctl_el2, x0
        msr     cntvoff_el2, xzr
        msr     cnthp_ctl_el2, xzr

        // EL1 reads the real identification registers.
        mrs     x0, midr_el1
        msr     vpidr_el2, x0
        mrs     x0, mpidr_el1
        msr     vmpidr_el2, x0

        // Debug and performance registers are not trapped, and all counters belong to
        // EL1: HPMN is PMCR_EL0.N, if there is a PMU to read that from.
        mov     x0, xzr
        mrs     x2, id_aa64dfr0_el1
        ubfx    x2, x2, #8, #4              // PMUVer
        cbz     x2, 2f
        cmp     x2, #0xf
        b.eq    2f
        mrs     x0, pmcr_el0
        ubfx    x0, x0, #11, #5
2:      msr     mdcr_el2, x0

        // Fine-grained traps are off, if the CPU has any (FEAT_FGT).
        mrs     x2, id_aa64mmfr0_el1
        ubfx    x2, x2, #56, #4
        cbz     x2, 3f
        msr     S3_4_C1_C1_4, xzr           // HFGRTR_EL2
        msr     S3_4_C1_C1_5, xzr           // HFGWTR_EL2
        msr     S3_4_C1_C1_6, xzr           // HFGITR_EL2
        msr     S3_4_C3_C1_4, xzr           // HDFGRTR_EL2
        msr     S3_4_C3_C1_5, xzr           // HDFGWTR_EL2

        // EL1 may use the GIC by system registers, if the GIC has them and EL3 allows
        // it: sets SRE and Enable, then checks whether SRE stayed.
3:      mrs     x2, id_aa64pfr0_el1
        ubfx    x2, x2, #24, #4
        cbz     x2, 4f
        mrs     x0, S3_4_C12_C9_5           // ICC_SRE_EL2
        mov     x3, #0b1001
        orr     x0, x0, x3
        msr     S3_4_C12_C9_5, x0
        isb
        mrs     x0, S3_4_C12_C9_5
        tbz     x0, #0, 4f
        msr     S3_4_C12_C11_0, xzr         // ICH_HCR_EL2: no virtual interrupts.

        // The MMU of EL1 must be off when the ERET gets there.
4:      entry_mov x0, {SCTLR_EL1_OFF}
        msr     sctlr_el1, x0

        mov     x0, #{SPSR_EL1H_MASKED}
        msr     spsr_el2, x0
        msr     elr_el2, x30
        mov     x0, xzr
        mov     x1, #2
        // SCTLR_EL2.EOS is set: this is a context synchronization event, and all of
        // the above holds at EL1.
        eret
    .size entry_to_el1, . - entry_to_el1

    .global entry_reset_el1
    .type entry_reset_el1, %function
entry_reset_el1:
        msr     daifset, #0xf
        msr     spsel, #1

        // MMU and caches off, little-endian. A core that has only big-endian
        // data accesses keeps EE set.
        entry_mov x0, {SCTLR_EL1_OFF}
        msr     sctlr_el1, x0
        isb
        mrs     x2, sctlr_el1
        mov     x0, #{BIG_ENDIAN}
        tbnz    x2, #25, 9f

        // Compiled code uses FP registers for anything: they are on before it
        // runs. 0xf in either field means that there are none.
        mrs     x2, id_aa64pfr0_el1
        mov     x0, #{NO_FLOATING_POINT}
        ubfx    x3, x2, #16, #4
        cmp     x3, #0xf
        b.eq    9f
        ubfx    x3, x2, #20, #4
        cmp     x3, #0xf
        b.eq    9f
        entry_mov x0, {CPACR_FP_ON}
        msr     cpacr_el1, x0
        isb
        msr     fpcr, xzr
        msr     fpsr, xzr

        // Both timers and the event stream are off, and EL0 has no access to them. Debug
        // events that were on before this entry are off.
        msr     cntv_ctl_el0, xzr
        msr     cntp_ctl_el0, xzr
        msr     cntkctl_el1, xzr
        msr     mdscr_el1, xzr

        // Performance counters that ran before this entry neither count nor interrupt.
        mrs     x2, id_aa64dfr0_el1
        ubfx    x2, x2, #8, #4              // PMUVer
        cbz     x2, 1f
        cmp     x2, #0xf
        b.eq    1f
        msr     pmcr_el0, xzr
        mov     x0, #-1
        msr     pmcntenclr_el0, x0
        msr     pmintenclr_el1, x0
        msr     pmovsclr_el0, x0
        msr     pmuserenr_el0, xzr
1:
        // No thread and no CPU data yet.
        msr     sp_el0, xzr
        msr     tpidr_el0, xzr
        msr     tpidrro_el0, xzr
        msr     contextidr_el1, xzr

        // The early vectors record faults from here on.
        adrp    x0, entry_el1_vectors
        add     x0, x0, :lo12:entry_el1_vectors
        msr     vbar_el1, x0
        isb
        mov     x0, xzr
9:      ret
    .size entry_reset_el1, . - entry_reset_el1

    .global entry_check_features
    .type entry_check_features, %function
entry_check_features:
        mrs     x2, id_aa64mmfr0_el1
        ubfx    x3, x2, #0, #4              // PARange, coded as TCR_EL1.IPS
        cmp     x3, x0
        mov     x0, #{PHYSICAL_RANGE}
        b.lo    9f
        ubfx    x3, x2, #28, #4             // TGran4: 0xf is "no"
        cmp     x3, #0xf
        mov     x0, #{NO_SMALL_PAGES}
        csel    x0, x0, xzr, eq
9:      ret
    .size entry_check_features, . - entry_check_features

    // Sixteen entries that all branch to the same code.
    .macro entry_vectors name, target
    .balign 2048
    .type \name, %object
\name:
    .rept 16
        .balign 128
        b       \target
    .endr
        .balign 128
    .size \name, . - \name
    .endm

    entry_vectors entry_el1_vectors, entry_early_exception
    entry_vectors entry_el2_vectors, entry_exception_at_el2

    // TPIDR_EL1 tells which CPU this is. It is 0 on the boot CPU. On another CPU it is
    // the x0 of CPU_ON: the address of the boot record, and the life in its low bits.
entry_early_exception:
        mrs     x2, esr_el1
        mrs     x3, elr_el1
        mrs     x4, far_el1
        mov     w0, #{EARLY_EXCEPTION}
        mrs     x19, tpidr_el1
        cbz     x19, boot_fail_with_exception
        and     x24, x19, #{LIFE_MASK}
        sub     x19, x19, x24
        b       secondary_fail_with_exception

entry_exception_at_el2:
        mrs     x2, esr_el2
        mrs     x3, elr_el2
        mrs     x4, far_el2
        mov     w0, #{EXCEPTION_AT_EL2}
        b       boot_fail_with_exception
    "#,
    SCTLR_EL1_OFF = const SCTLR_EL1_OFF,
    SCTLR_EL2_OFF = const SCTLR_EL2_OFF,
    HCR_EL2 = const HCR_EL2,
    CPTR_EL2 = const CPTR_EL2,
    CNTHCTL_EL2 = const CNTHCTL_EL2,
    SPSR_EL1H_MASKED = const SPSR_EL1H_MASKED,
    CPACR_FP_ON = const CPACR_FP_ON,
    ENTERED_AT_EL3 = const BootFailure::EnteredAtEl3.code(),
    HOST_ONLY_EL2 = const BootFailure::HostOnlyEl2.code(),
    BIG_ENDIAN = const BootFailure::BigEndian.code(),
    NO_FLOATING_POINT = const BootFailure::NoFloatingPoint.code(),
    PHYSICAL_RANGE = const BootFailure::PhysicalRange.code(),
    NO_SMALL_PAGES = const BootFailure::NoSmallPages.code(),
    LIFE_MASK = const super::boot_record::LIFE_MASK,
    EARLY_EXCEPTION = const BootFailure::EarlyException.code(),
    EXCEPTION_AT_EL2 = const BootFailure::ExceptionAtEl2.code(),
);
