//! The entry of a started CPU, up to the point where its MMU is on.
//!
//! CPU_ON enters at `secondary_entry` with the address of the CPU's
//! [`BootRecord`] and its life in x0 ([`BootRecord::context`]), MMU and caches off. The
//! entry is all assembly, because the CPU may read nothing but its record, the code and
//! constants in the code: other memory, which compiled code might access, may be dirty
//! in another CPU's cache. The CPU loads the same values as the boot CPU, so it gets the
//! same address map. Then it calls `stillpoint_secondary`.
//!
//! A CPU that can't use that map writes the reason to its record. Then it asks firmware
//! to turn it off again, or goes to the parking pen. Control finds the reason, and that
//! the CPU is off.

use super::boot_record::{BootRecord, LIFE_MASK, OffMethod, offsets};
use super::mmu::caches_off;
use crate::arch::assembly::global_asm;
use crate::coherency::pen::refuse;

unsafe extern "C" {
    /// The entry point for CPU_ON.
    fn secondary_entry() -> !;

    /// Does the rest of bringing the CPU up, in the life of number `life`; defined in
    /// `boot`.
    ///
    /// # Context
    /// The stack of the CPU's idle thread, MMU and caches on, vectors and CPU data in
    /// place, everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_secondary(record: &'static BootRecord, life: u32) -> !;
}

/// Returns the physical address to give to CPU_ON.
pub fn entry_address() -> u64 {
    (secondary_entry as *const ()).addr() as u64
}

/// Expands to a step of [`crate::coherency::pen::REFUSE`] in assembly. w0: the reason; x2,
/// x3, x4: ESR, ELR, FAR; x19: the record; x24: the life.
macro_rules! refuse_step {
    (CachesOff) => {
        // The caches are on if the CPU took an exception between steps 5 and 6.
        caches_off!("x1")
    };
    (Write(Failure)) => {
        "stp x2, x3, [x19, #{ESR}]
         str x4, [x19, #{FAR}]
         dsb sy
         orr w0, w0, w24, lsl #8
         strh w0, [x19, #{REASON}]
         dsb sy\n"
    };
}

/// Expands to the assembly of [`crate::coherency::pen::REFUSE`].
macro_rules! assemble_refuse {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(refuse_step!($step $(($line))?)),*)
    };
}

global_asm!(
    r#"
    .section .text.secondary, "ax"
    .global secondary_entry
    .type secondary_entry, %function
secondary_entry:
        // 1. Mask everything. The record is kept in x19, the life in x24.
        msr     daifset, #0xf
        and     x24, x0, #{LIFE_MASK}
        sub     x19, x0, x24

        // 2. Known EL1. An exception from here on goes into the record.
        bl      entry_to_el1
        cbnz    x0, secondary_fail
        orr     x0, x19, x24
        msr     tpidr_el1, x0
        bl      entry_reset_el1
        cbnz    x0, secondary_fail

        // 3. Check that this core can use the common address map.
        ldp     x20, x21, [x19, #{MAIR}]    // MAIR, TCR
        ubfx    x0, x21, #32, #3            // TCR_EL1.IPS
        bl      entry_check_features
        cbnz    x0, secondary_fail

        // 4. Drop translations and instructions from before. Locally, because other CPUs
        // hold none of this CPU's.
        tlbi    vmalle1
        ic      iallu
        dsb     nsh
        isb

        // 5. Turn the MMU on. The ISB makes the map's registers take effect first.
        ldp     x22, x23, [x19, #{TTBR0}]   // TTBR0, SCTLR
        msr     mair_el1, x20
        msr     tcr_el1, x21
        msr     ttbr0_el1, x22
        msr     ttbr1_el1, xzr
        isb
        msr     sctlr_el1, x23
        isb

        // 6. Vectors, CPU data, thread, stack: from now on a fault is reported.
        ldp     x0, x1, [x19, #{VECTORS}]   // VBAR, TPIDR
        msr     vbar_el1, x0
        msr     tpidr_el1, x1
        ldp     x0, x1, [x19, #{THREAD}]    // SP_EL0, SP
        msr     sp_el0, x0
        mov     sp, x1
        isb

        // 7. End the chain of frame records, and call Rust.
        mov     x29, xzr
        mov     x30, xzr
        mov     x0, x19
        mov     x1, x24
        bl      stillpoint_secondary
        b       boot_halt
    .size secondary_entry, . - secondary_entry

    // w0: the reason; x19: the record; x24: the life.
    .type secondary_fail, %function
secondary_fail:
        mov     x2, xzr
        mov     x3, xzr
        mov     x4, xzr
    .size secondary_fail, . - secondary_fail
    // Falls through. w0: the reason; x2, x3, x4: ESR, ELR, FAR; x19: the record; x24: the
    // life.
    .global secondary_fail_with_exception
    .type secondary_fail_with_exception, %function
secondary_fail_with_exception:
    "#,
    refuse!(assemble_refuse),
    r#"
        ldr     w0, [x19, #{CPU_OFF}]
        ldrb    w1, [x19, #{OFF_METHOD}]
        cmp     w1, #{HVC}
        b.eq    1f
        cmp     w1, #{PEN}
        b.eq    2f
        cmp     w1, #{SMC}
        b.ne    boot_halt
        smc     #0
        b       boot_halt
1:      hvc     #0
        b       boot_halt
2:      ldr     x0, [x19, #{PEN_SLOT}]
        mov     x1, xzr                     // Its interrupt interface is not up.
        b       pen_park
    .size secondary_fail_with_exception, . - secondary_fail_with_exception
    "#,
    LIFE_MASK = const LIFE_MASK,
    MAIR = const offsets::MAIR,
    TTBR0 = const offsets::TTBR0,
    VECTORS = const offsets::VECTORS,
    THREAD = const offsets::THREAD,
    OFF_METHOD = const offsets::OFF_METHOD,
    CPU_OFF = const offsets::CPU_OFF,
    PEN_SLOT = const offsets::PEN_SLOT,
    REASON = const offsets::REASON,
    ESR = const offsets::ESR,
    FAR = const offsets::FAR,
    HVC = const OffMethod::Hvc as u8,
    SMC = const OffMethod::Smc as u8,
    PEN = const OffMethod::Pen as u8,
    SCTLR_OFF = const super::mmu::SCTLR_RES1,
);
