//! The exception vectors: from an exception to Rust and back.
//!
//! # The test of the stack
//!
//! An entry that pushed onto a stack without room would fault again, at once and
//! for ever. So every entry tests `SP` before it pushes. It has one register for that:
//! x0, which it saves in `TPIDRRO_EL0`, a register without another use in a kernel without
//! EL0. No ISB is needed between the write and the read of that register, because both
//! use the same name. One subtraction and one test of bits detect everything that can be
//! wrong with `SP`:
//!
//! ```text
//! SP - stack_limit:  below the limit   → high bits set (it wraps)
//!                    far above         → bits 16 and up set: no stack is larger than 64 KiB
//!                    misaligned        → bits 0 to 3 set (limits are multiples of 16)
//! ```
//!
//! `stack_limit` is the stack's bottom plus a frame, so a frame fits if the test
//! passes. Every exception but an IRQ may be reported, so its entry asks for
//! `REPORT_ROOM` more. An exception that fails the test goes to the CPU's overflow stack,
//! where it is reported with the name of the thread. If it was taken on the overflow
//! stack itself, the CPU stops with [`BootFailure::DoubleStackOverflow`].
//!
//! # An interrupt
//!
//! ```text
//!  thread's stack: | frame: x0-x30, ELR, SPSR, q0-q31, FPSR, FPCR |
//!                      ▲ x29 → record {interrupted x29, ELR}, for backtraces
//!  IRQ stack:          └── stillpoint_irq()
//!  thread's stack:         stillpoint_irq_exit()      may switch threads
//!                          restore, ERET              maybe on another CPU
//! ```
//!
//! Interrupts are masked from entry to `ERET`. The FP registers are saved because
//! handlers are compiled code, which may move any data through them. FPCR is saved but
//! not changed: a handler does no floating-point arithmetic, so the rounding mode of the
//! interrupted thread makes no difference.

use core::mem::offset_of;

use crate::arch::assembly::global_asm;

use super::cpu_local::offsets as local;
use super::exception::{ExceptionFrame, FRAME_SIZE};
use super::failure::BootFailure;
use super::traced_call::traced_call_entry;

unsafe extern "C" {
    static vector_table: u8;

    /// Handles the pending interrupts; defined in `kernel`.
    ///
    /// # Context
    /// The IRQ stack of this CPU, everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_irq();

    /// Does as [`stillpoint_irq`], which it takes the place of while scheduling events are recorded,
    /// and records when the handler begins and ends; defined in `kernel`.
    ///
    /// # Context
    /// As [`stillpoint_irq`].
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_irq_traced();

    /// Switches threads if needed, after [`stillpoint_irq`]; defined in `kernel`.
    ///
    /// # Context
    /// The stack of the interrupted thread, everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_irq_exit();

    /// Handles every exception but an IRQ, and an IRQ that the kernel can't take; defined in
    /// `kernel`. If it returns, the interrupted code goes on with the registers of `frame`.
    ///
    /// * `kind` — the number of the vector: see [`super::exception::Kind::from_vector`]
    ///
    /// # Context
    /// The stack of the interrupted code or the overflow stack, everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_exception(frame: &mut ExceptionFrame, kind: u64);
}

/// Bytes of stack that reporting a fault needs in addition to the frame. The assembly
/// subtracts it as a number of 4 KiB pages.
const REPORT_ROOM: usize = 4096;

/// The bits of `SP - stack_limit` that are 0 for a good SP: all except 4 to 15.
const BAD_SP: u64 = !0xfff0;

const _: () = assert!(super::boot::BOOT_STACK_SIZE <= 0x1_0000);
const _: () = assert!(crate::config::STACK_SIZE <= 0x1_0000);

/// Returns the value for `VBAR_EL1`.
pub fn table() -> usize {
    (&raw const vector_table).addr()
}

global_asm!(
    r#"
    // x0 and x1 are in the frame at sp. Saves x2 to x30 and the FP registers.
    .macro vector_save_registers
        stp     x2, x3, [sp, #16]
        stp     x4, x5, [sp, #32]
        stp     x6, x7, [sp, #48]
        stp     x8, x9, [sp, #64]
        stp     x10, x11, [sp, #80]
        stp     x12, x13, [sp, #96]
        stp     x14, x15, [sp, #112]
        stp     x16, x17, [sp, #128]
        stp     x18, x19, [sp, #144]
        stp     x20, x21, [sp, #160]
        stp     x22, x23, [sp, #176]
        stp     x24, x25, [sp, #192]
        stp     x26, x27, [sp, #208]
        stp     x28, x29, [sp, #224]
        str     x30, [sp, #240]
        mrs     x22, elr_el1
        mrs     x23, spsr_el1
        stp     x22, x23, [sp, #{ELR}]
        // A frame record, as if the interrupted code had called us.
        stp     x29, x22, [sp, #{RECORD}]
        add     x29, sp, #{RECORD}
        mrs     x22, fpsr
        mrs     x23, fpcr
        stp     x22, x23, [sp, #{FPSR}]
        add     x24, sp, #{VECTOR_REGISTERS}
        stp     q0, q1, [x24, #0]
        stp     q2, q3, [x24, #32]
        stp     q4, q5, [x24, #64]
        stp     q6, q7, [x24, #96]
        stp     q8, q9, [x24, #128]
        stp     q10, q11, [x24, #160]
        stp     q12, q13, [x24, #192]
        stp     q14, q15, [x24, #224]
        stp     q16, q17, [x24, #256]
        stp     q18, q19, [x24, #288]
        stp     q20, q21, [x24, #320]
        stp     q22, q23, [x24, #352]
        stp     q24, q25, [x24, #384]
        stp     q26, q27, [x24, #416]
        stp     q28, q29, [x24, #448]
        stp     q30, q31, [x24, #480]
    .endm

    // Restores what vector_save_registers saved; x0 and x1 stay in the frame. No ISB is
    // needed before the ERET, because ELR_EL1 and SPSR_EL1 are Special-purpose registers.
    .macro vector_restore_registers
        add     x24, sp, #{VECTOR_REGISTERS}
        ldp     q0, q1, [x24, #0]
        ldp     q2, q3, [x24, #32]
        ldp     q4, q5, [x24, #64]
        ldp     q6, q7, [x24, #96]
        ldp     q8, q9, [x24, #128]
        ldp     q10, q11, [x24, #160]
        ldp     q12, q13, [x24, #192]
        ldp     q14, q15, [x24, #224]
        ldp     q16, q17, [x24, #256]
        ldp     q18, q19, [x24, #288]
        ldp     q20, q21, [x24, #320]
        ldp     q22, q23, [x24, #352]
        ldp     q24, q25, [x24, #384]
        ldp     q26, q27, [x24, #416]
        ldp     q28, q29, [x24, #448]
        ldp     q30, q31, [x24, #480]
        ldp     x22, x23, [sp, #{FPSR}]
        msr     fpsr, x22
        msr     fpcr, x23
        ldp     x22, x23, [sp, #{ELR}]
        msr     elr_el1, x22
        msr     spsr_el1, x23
        ldp     x2, x3, [sp, #16]
        ldp     x4, x5, [sp, #32]
        ldp     x6, x7, [sp, #48]
        ldp     x8, x9, [sp, #64]
        ldp     x10, x11, [sp, #80]
        ldp     x12, x13, [sp, #96]
        ldp     x14, x15, [sp, #112]
        ldp     x16, x17, [sp, #128]
        ldp     x18, x19, [sp, #144]
        ldp     x20, x21, [sp, #160]
        ldp     x22, x23, [sp, #176]
        ldp     x24, x25, [sp, #192]
        ldp     x26, x27, [sp, #208]
        ldp     x28, x29, [sp, #224]
        ldr     x30, [sp, #240]
    .endm

    // One entry of the table. If the entry before it is longer than 128 bytes, .org fails
    // to assemble. kind: the entry's number. room: pages of stack needed in addition to
    // the frame. target: the code to go to, with x0 = kind, and x0 and x1 of the
    // interrupted code in the frame at sp.
    .macro vector_entry kind, room, target
        .org    vector_table + \kind * 128
        msr     tpidrro_el0, x0
        mrs     x0, tpidr_el1
        ldr     x0, [x0, #{STACK_LIMIT}]
        sub     x0, sp, x0
        .if \room
        sub     x0, x0, #\room, lsl #12
        .endif
        tst     x0, #{BAD_SP}
        b.ne    1f
        mrs     x0, tpidrro_el0
        sub     sp, sp, #{FRAME_SIZE}
        stp     x0, x1, [sp]
        mov     x0, #\kind
        b       \target
        // No room: x1 and the kind go to the scratch words of the CPU.
1:      mrs     x0, tpidr_el1
        str     x1, [x0, #{SCRATCH}]
        mov     x1, #\kind
        str     x1, [x0, #{SCRATCH} + 8]
        b       vector_no_room
    .endm

    .section .text.vectors, "ax"
    .balign 2048
    .global vector_table
    .type vector_table, %object
vector_table:
        // At EL1 on SP_EL0, where nothing ever runs.
        vector_entry 0, 1, vector_exception
        vector_entry 1, 1, vector_exception
        vector_entry 2, 1, vector_exception
        vector_entry 3, 1, vector_exception
        // At EL1: synchronous, IRQ, FIQ, SError.
        vector_entry 4, 1, vector_exception
        vector_entry 5, 0, vector_irq
        vector_entry 6, 1, vector_exception
        vector_entry 7, 1, vector_exception
        // From EL0, AArch64 and AArch32, where nothing ever runs.
        vector_entry 8, 1, vector_exception
        vector_entry 9, 1, vector_exception
        vector_entry 10, 1, vector_exception
        vector_entry 11, 1, vector_exception
        vector_entry 12, 1, vector_exception
        vector_entry 13, 1, vector_exception
        vector_entry 14, 1, vector_exception
        vector_entry 15, 1, vector_exception
        .org    vector_table + 16 * 128
    .size vector_table, . - vector_table

    .type vector_irq, %function
vector_irq:
        vector_save_registers
        // Changes to the IRQ stack, with its limit. Nothing is pushed between the two.
        mrs     x19, tpidr_el1
        mov     x20, sp
        ldr     x21, [x19, #{STACK_LIMIT}]
        ldp     x0, x1, [x19, #{IRQ_TOP}]   // top, limit
        str     x1, [x19, #{STACK_LIMIT}]
        mov     sp, x0
771:    bl      stillpoint_irq
    "#,
    traced_call_entry!("stillpoint_irq_traced", "stillpoint_irq"),
    r#"
        // Changes back. This is still the same CPU, because stillpoint_irq switches no
        // threads.
        mov     sp, x20
        str     x21, [x19, #{STACK_LIMIT}]
        bl      stillpoint_irq_exit
        // This may be another CPU now; only the frame counts.
        vector_restore_registers
        ldp     x0, x1, [sp]
        add     sp, sp, #{FRAME_SIZE}
        eret
    .size vector_irq, . - vector_irq

    // x0: the kind; x0 and x1 of the interrupted code are in the frame at sp,
    // which is on its own stack.
    .type vector_exception, %function
vector_exception:
        add     x1, sp, #{FRAME_SIZE}
        str     x1, [sp, #{SP}]
        mrs     x1, tpidr_el1
        ldr     x1, [x1, #{STACK_LIMIT}]
        str     x1, [sp, #{LIMIT}]
    .size vector_exception, . - vector_exception
    // Falls through. From here on it doesn't matter on which stack the frame is.
    .type vector_report, %function
vector_report:
        vector_save_registers
        mrs     x22, esr_el1
        mrs     x23, far_el1
        stp     x22, x23, [sp, #{ESR}]
        mov     x1, x0
        mov     x0, sp
        bl      stillpoint_exception
        // The stack of the interrupted code is in use again, so its limit is too.
        ldr     x22, [sp, #{LIMIT}]
        mrs     x23, tpidr_el1
        str     x22, [x23, #{STACK_LIMIT}]
        vector_restore_registers
        ldp     x0, x1, [sp]
        msr     tpidrro_el0, x0
        ldr     x0, [sp, #{SP}]
        mov     sp, x0
        mrs     x0, tpidrro_el0
        eret
    .size vector_report, . - vector_report

    // x0: the CPU's CpuLocal, with x1 of the interrupted code and the kind in scratch;
    // x0 of the interrupted code is in TPIDRRO_EL0.
    .type vector_no_room, %function
vector_no_room:
        str     x2, [x0, #{SCRATCH} + 16]
        ldr     x1, [x0, #{STACK_LIMIT}]
        ldr     x2, [x0, #{OVERFLOW_LIMIT}]
        cmp     x1, x2
        b.eq    vector_double_overflow
        str     x2, [x0, #{STACK_LIMIT}]
        mov     x2, sp
        ldr     x0, [x0, #{OVERFLOW_TOP}]
        sub     sp, x0, #{FRAME_SIZE}
        str     x2, [sp, #{SP}]
        str     x1, [sp, #{LIMIT}]
        mrs     x2, tpidr_el1
        ldr     x1, [x2, #{SCRATCH}]
        mrs     x0, tpidrro_el0
        stp     x0, x1, [sp]
        ldr     x0, [x2, #{SCRATCH} + 8]
        ldr     x2, [x2, #{SCRATCH} + 16]
        b       vector_report
    .size vector_no_room, . - vector_no_room

    .type vector_double_overflow, %function
vector_double_overflow:
        mrs     x2, esr_el1
        mrs     x3, elr_el1
        mrs     x4, far_el1
        mov     w0, #{DOUBLE_STACK_OVERFLOW}
        b       boot_fail_with_exception
    .size vector_double_overflow, . - vector_double_overflow
    "#,
    FRAME_SIZE = const FRAME_SIZE,
    BAD_SP = const BAD_SP,
    ELR = const offset_of!(ExceptionFrame, elr),
    ESR = const offset_of!(ExceptionFrame, esr),
    RECORD = const offset_of!(ExceptionFrame, record),
    FPSR = const offset_of!(ExceptionFrame, fpsr),
    VECTOR_REGISTERS = const offset_of!(ExceptionFrame, q),
    SP = const offset_of!(ExceptionFrame, sp),
    LIMIT = const offset_of!(ExceptionFrame, stack_limit),
    STACK_LIMIT = const local::STACK_LIMIT,
    IRQ_TOP = const local::IRQ_TOP,
    OVERFLOW_TOP = const local::OVERFLOW_TOP,
    OVERFLOW_LIMIT = const local::OVERFLOW_LIMIT,
    SCRATCH = const local::SCRATCH,
    DOUBLE_STACK_OVERFLOW = const BootFailure::DoubleStackOverflow.code(),
);

// Facts on which the assembly above relies.
const _: () = assert!(REPORT_ROOM == 1 << 12);
const _: () = assert!(offset_of!(ExceptionFrame, x) == 0);
const _: () = assert!(FRAME_SIZE.is_multiple_of(16) && FRAME_SIZE < 4096);
// Ranges of the immediates of `stp`: 504 for x registers, 1008 for q registers.
const _: () = assert!(offset_of!(ExceptionFrame, fpsr) <= 504);
const _: () = assert!(offset_of!(ExceptionFrame, q).is_multiple_of(16));
