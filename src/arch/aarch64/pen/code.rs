//! The code of the parking pen: the page of assembly that a parked CPU runs.

use core::mem::offset_of;

use super::words::{CommandLine, PARKED, SLOTS, Slot, TAKEN};
use crate::arch::aarch64::mmu::{self, caches_off};
use crate::arch::assembly::global_asm;
use crate::coherency::pen::{arrive, park};
use crate::config::MAX_PEN_CPUS;

unsafe extern "C" {
    /// Takes a CPU over from a spin-table, whose release word sends it here at EL2 or EL1,
    /// MMU off. Finds its slot and parks it.
    pub(super) fn pen_from_firmware() -> !;
    /// Parks the running CPU, MMU on or off. x0 is the address of its slot, x1 that of its
    /// GICv2 CPU interface, or 0 to sleep in WFE.
    pub(super) fn pen_park() -> !;
}

/// Expands to a step of [`PARK`](crate::coherency::pen::PARK) in assembly. x0: the slot;
/// x1: the CPU interface.
macro_rules! park_step {
    (Write(Command)) => {
        "str xzr, [x0, #{ENTRY}]\n"
    };
    (Clean(Command)) => {
        "dc cvac, x0\n dsb sy\n"
    };
    (CachesOff) => {
        // Drops all translations and instructions, so that none is left for the next life.
        concat!(
            caches_off!("x2"),
            "tlbi vmalle1
             ic iallu
             dsb nsh
             isb\n"
        )
    };
    (Write(Status)) => {
        "pen_say_parked:
         mov x2, #{PARKED}
         str x2, [x0, #{STATUS}]
         dsb sy\n"
    };
}

/// Expands to a step of [`ARRIVE`](crate::coherency::pen::ARRIVE) in assembly. x0: the
/// slot; x1: the CPU interface.
macro_rules! arrive_step {
    (Await) => {
        // The CPU acknowledges the SGI first and looks at the command afterwards, because a
        // stale SGI and a new one share a pending bit.
        "1:
         ldr x2, [x0, #{ENTRY}]
         cbnz x2, 3f
         cbz x1, 2f
         dsb sy
         wfi
         ldr w3, [x1, #{GICC_IAR}]
         and w4, w3, #0x3ff
         cmp w4, #1020
         b.hs 1b
         str w3, [x1, #{GICC_EOIR}]
         dsb sy
         b 1b
2:       wfe
         b 1b
3:\n"
    };
    (Write(Status)) => {
        "str xzr, [x0, #{STATUS}]\n dsb sy\n"
    };
}

/// Expands to the assembly of [`PARK`](crate::coherency::pen::PARK).
macro_rules! assemble_park {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(park_step!($step $(($line))?)),*)
    };
}

/// Expands to the assembly of [`ARRIVE`](crate::coherency::pen::ARRIVE).
macro_rules! assemble_arrive {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(arrive_step!($step $(($line))?)),*)
    };
}

global_asm!(
    // The code fills whole pages, so that a CPU with its caches off fetches nothing else.
    r#"
    .section .text.pen, "ax"
    .balign 4096
    .global pen_start
pen_start:
    .global pen_from_firmware
    .type pen_from_firmware, %function
pen_from_firmware:
        // Firmware hands nothing over. The CPU finds its slot by its affinity.
        msr     daifset, #0xf
        bl      entry_to_el1
        cbnz    x0, 5f
        msr     tpidr_el1, xzr
        bl      entry_reset_el1
        cbnz    x0, 5f
        mrs     x1, mpidr_el1
        mov     x2, #0xff00000000
        orr     x2, x2, #0xffffff
        and     x1, x1, x2
        orr     x1, x1, #{TAKEN}
        adrp    x0, {SLOTS}
        add     x0, x0, :lo12:{SLOTS}
        mov     x3, #{COUNT}
4:      ldr     x4, [x0, #{MPIDR}]
        cmp     x4, x1
        b.eq    6f
        add     x0, x0, #{SLOT_SIZE}
        subs    x3, x3, #1
        b.ne    4b
        b       5f
6:      mov     x1, xzr                     // Its interrupt interface is not up.
        b       pen_say_parked
        // The CPU has no slot or can't be used: it stays here for good, and counts as late
        // if control waits for it.
5:      wfe
        b       5b
    .size pen_from_firmware, . - pen_from_firmware

    .global pen_park
    .type pen_park, %function
pen_park:
        msr     daifset, #0xf
        msr     cntkctl_el1, xzr            // The event stream would end each WFE.
    "#,
    park!(assemble_park),
    arrive!(assemble_arrive),
    r#"
        ldr     x0, [x0, #{CONTEXT}]
        br      x2
    .size pen_park, . - pen_park
    .balign 4096
    .global pen_end
pen_end:
    "#,
    SCTLR_OFF = const mmu::SCTLR_RES1,
    TAKEN = const TAKEN,
    PARKED = const PARKED,
    COUNT = const MAX_PEN_CPUS,
    SLOTS = sym SLOTS,
    SLOT_SIZE = const size_of::<Slot>(),
    ENTRY = const offset_of!(CommandLine, entry),
    CONTEXT = const offset_of!(CommandLine, context),
    MPIDR = const offset_of!(CommandLine, mpidr),
    STATUS = const offset_of!(Slot, status),
    GICC_IAR = const 0xc,
    GICC_EOIR = const 0x10,
);
