//! Switching threads: a call that returns in another thread.
//!
//! Because the switch is a call, the compiler has already saved the registers that a call
//! may destroy. The switch saves the registers that AAPCS64 requires a callee to keep: x19
//! to x30, SP, d8 to d15, and FPCR, which a thread may have set for itself. All of them
//! go onto the thread's own stack, so a [`Context`] is one word.
//!
//! No ISB is needed. SP_EL0 and FPCR are Special-purpose registers, whose writes take
//! effect in program order (Arm ARM, "Synchronization requirements for AArch64 System
//! registers"), and a thread has no other system registers of its own.

use core::mem::offset_of;
use core::ops::Range;

use crate::arch::assembly::global_asm;

use super::cpu_local::offsets as local;
use super::thread_head::ThreadHead;
use super::traced_call::traced_return_entry;

/// The place of the saved registers of a thread that doesn't run.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    /// The address of the thread's [`SwitchFrame`], on its stack.
    sp: usize,
}

/// The registers that the switch pushes.
#[repr(C)]
struct SwitchFrame {
    /// x19 to x28.
    x: [u64; 10],
    frame_pointer: u64,
    link: u64,
    /// The low halves of v8 to v15.
    d: [u64; 8],
    fpcr: u64,
    _pad: u64,
}

const FRAME_SIZE: usize = size_of::<SwitchFrame>();
const _: () = assert!(FRAME_SIZE.is_multiple_of(16));
const _: () = assert!(offset_of!(SwitchFrame, frame_pointer) == 80);
const _: () = assert!(offset_of!(Context, sp) == 0);

// The assembly takes only the address of a `ThreadHead`, so the field that a debug build
// adds needs no C layout.
#[cfg_attr(debug_assertions, allow(improper_ctypes))]
unsafe extern "C" {
    fn context_switch(
        previous: *mut Context,
        next: *const Context,
        next_head: *const ThreadHead,
        next_limit: usize,
    );
    fn context_first_switch();

    /// Records that this CPU has gone over to the running thread; defined in `kernel`.
    ///
    /// # Context
    /// The end of a context switch, everything masked.
    #[allow(dead_code, reason = "called from assembly; declared for its contract")]
    fn stillpoint_switch_traced();
}

impl Context {
    /// Returns the context of a new thread. The first switch to it calls
    /// `entry(argument)` with interrupts masked, at the top of `stack` and as the
    /// outermost call in backtraces.
    ///
    /// # Safety
    /// `stack` is writable, its ends are multiples of 16, and only this thread uses it as
    /// long as the thread lives.
    pub unsafe fn new(
        stack: Range<usize>,
        entry: extern "C" fn(usize) -> !,
        argument: usize,
    ) -> Context {
        let sp = stack.end - FRAME_SIZE;
        let frame = SwitchFrame {
            x: [
                (entry as *const ()).expose_provenance() as u64,
                argument as u64,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ],
            frame_pointer: 0,
            link: (context_first_switch as *const ()).expose_provenance() as u64,
            d: [0; 8],
            fpcr: 0,
            _pad: 0,
        };
        // SAFETY: the frame lies at the top of a stack that the caller promises is unused,
        // and is aligned because the top is.
        unsafe { core::ptr::with_exposed_provenance_mut::<SwitchFrame>(sp).write(frame) };
        Context { sp }
    }
}

/// Saves the running thread in `previous`, and goes on in the thread of
/// `next` and `next_head`. Returns when another switch comes back to `previous`,
/// possibly on another CPU.
///
/// As soon as `previous` is saved, another CPU can go on with it. The scheduler keeps
/// other CPUs from it until the switch is over.
///
/// # Safety
/// 1. Interrupts are masked, and this is not an IRQ or overflow stack.
/// 2. `next` was made by [`Context::new`] or saved here, and has not been
///    switched to since; `next_head` is that thread's, and both live as long as
///    it does.
/// 3. `previous` is the running thread's.
pub unsafe fn switch_to(
    previous: *mut Context,
    next: *const Context,
    next_head: *const ThreadHead,
) {
    // SAFETY: rule 2 says that the head is alive.
    let limit = unsafe { (*next_head).stack_limit() };
    // SAFETY: the assembly keeps the registers that a callee must keep. It changes stack,
    // head and limit together, and by rule 1 no interrupt comes in between.
    unsafe { context_switch(previous, next, next_head, limit) };
}

global_asm!(
    r#"
    .section .text.context, "ax"
    // x0: previous; x1: next; x2: next thread's head; x3: its stack's limit.
    .global context_switch
    .type context_switch, %function
context_switch:
        sub     sp, sp, #{FRAME_SIZE}
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #{FRAME_POINTER}]
        stp     d8, d9, [sp, #{D} + 0]
        stp     d10, d11, [sp, #{D} + 16]
        stp     d12, d13, [sp, #{D} + 32]
        stp     d14, d15, [sp, #{D} + 48]
        mrs     x9, fpcr
        str     x9, [sp, #{FPCR}]
        mov     x10, sp
        str     x10, [x0]

        // From here on this CPU runs the next thread.
        ldr     x10, [x1]
        mrs     x11, tpidr_el1
        str     x3, [x11, #{STACK_LIMIT}]
        msr     sp_el0, x2
        mov     sp, x10

        ldr     x10, [sp, #{FPCR}]
        cmp     x10, x9
        b.eq    1f                          // Writing FPCR is slow on some cores.
        msr     fpcr, x10
1:      ldp     d8, d9, [sp, #{D} + 0]
        ldp     d10, d11, [sp, #{D} + 16]
        ldp     d12, d13, [sp, #{D} + 32]
        ldp     d14, d15, [sp, #{D} + 48]
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #{FRAME_POINTER}]
        add     sp, sp, #{FRAME_SIZE}
771:    ret
    "#,
    traced_return_entry!("context_switch_traced"),
    r#"
    .size context_switch, . - context_switch

    // How the switch ends while scheduling events are recorded.
    .type context_switch_traced, %function
context_switch_traced:
        stp     x29, x30, [sp, #-16]!
        mov     x29, sp
        bl      stillpoint_switch_traced
        ldp     x29, x30, [sp], #16
        ret
    .size context_switch_traced, . - context_switch_traced

    // The first switch to a thread returns here. x19: entry; x20: argument; x29 is 0.
    // With x30 0 too, the entry's own frame record ends the chain.
    .global context_first_switch
    .type context_first_switch, %function
context_first_switch:
        mov     x0, x20
        mov     x30, xzr
        br      x19
    .size context_first_switch, . - context_first_switch
    "#,
    FRAME_SIZE = const FRAME_SIZE,
    FRAME_POINTER = const offset_of!(SwitchFrame, frame_pointer),
    D = const offset_of!(SwitchFrame, d),
    FPCR = const offset_of!(SwitchFrame, fpcr),
    STACK_LIMIT = const local::STACK_LIMIT,
);
