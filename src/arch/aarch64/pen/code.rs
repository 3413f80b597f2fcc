//! The code of the parking pen: the page of assembly that a parked CPU runs.

use core::arch::global_asm;
use core::mem::offset_of;

use super::words::{CommandLine, PARKED, SLOTS, Slot, TAKEN};
use crate::arch::aarch64::mmu::{self, caches_off};
use crate::coherency::pen::{arrive, park};
use crate::config::MAX_PEN_CPUS;

unsafe extern "C" {
    /// Where a spin-table's release word sends a CPU: EL2 or EL1, MMU off.
    pub(super) fn pen_from_firmware() -> !;
    /// Parks this CPU, MMU on or off: x0 is its slot, x1 its GICv2 CPU interface, or
    /// 0 to sleep in WFE.
    pub(super) fn pen_park() -> !;
}

/// A step of [`pen::PARK`] in assembly. x0: the slot; x1: the CPU interface.
macro_rules! park_step {
    (Write(Command)) => {
        "str xzr, [x0, #{ENTRY}]\n"
    };
    (Clean(Command)) => {
        "dc cvac, x0\n dsb sy\n"
    };
    (CachesOff) => {
        // No translation and no instruction of this life is left for the next.
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

/// A step of [`pen::ARRIVE`] in assembly. x0: the slot; x1: the CPU interface.
macro_rules! arrive_step {
    (Await) => {
        // The SGI is taken, then the command is looked at: a stale one and a new
        // one share a pending bit.
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

/// The assembly of [`pen::PARK`].
macro_rules! assemble_park {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(park_step!($step $(($line))?)),*)
    };
}

/// The assembly of [`pen::ARRIVE`].
macro_rules! assemble_arrive {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        concat!($(arrive_step!($step $(($line))?)),*)
    };
}

global_asm!(
    // Whole pages: nothing else is fetched with the caches off.
    r#"
    .section .text.pen, "ax"
    .balign 4096
    .global pen_start
pen_start:
    .global pen_from_firmware
    .type pen_from_firmware, %function
pen_from_firmware:
        // Firmware hands over nothing but this address.
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
        // No CPU's slot, or of no use: the CPU stays, and is late if it is wanted.
5:      wfe
        b       5b
    .size pen_from_firmware, . - pen_from_firmware

    .global pen_park
    .type pen_park, %function
pen_park:
        msr     daifset, #0xf
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
