//! Masking interrupts on this CPU.
//!
//! IRQ, FIQ and SError are masked and unmasked together, so that code which relies on
//! "interrupts are off" is safe from all three. The mask of debug exceptions stays as it
//! is. All functions are compiler barriers; otherwise the compiler could move code out of
//! a critical section.
//!
//! # Ordering
//! Masking needs no ISB: the side effect of a write to PSTATE "is guaranteed to be
//! visible to later instructions in the Execution stream" (Arm ARM, "Process state,
//! PSTATE"), so no interrupt comes after it. Unmasking promises less: an interrupt that
//! is pending by then is taken in finite time, and no later than the next context
//! synchronization event ([`crate::sync::Wait::serve_interrupts`]).

use crate::arch::assembly::asm;
use crate::sync::IrqFlags;

/// `DAIF.I`, and `ISR_EL1.I`.
const IRQ_MASKED: u64 = 1 << 7;

/// Masks interrupts and returns the mask from before.
#[inline]
pub fn irq_save() -> IrqFlags {
    let flags: u64;
    // SAFETY: masking interrupts breaks nothing on which other code relies.
    unsafe {
        asm!(
            "mrs {flags}, daif",
            "msr daifset, #7",
            flags = out(reg) flags,
            options(nostack, preserves_flags)
        );
    }
    IrqFlags(flags)
}

/// Restores the mask that [`irq_save`] returned.
///
/// # Safety
/// As [`crate::sync::LocalCpu::irq_restore`].
#[inline]
pub unsafe fn irq_restore(flags: IrqFlags) {
    // SAFETY: `flags` was read from DAIF. The caller promises that interrupts which this
    // unmasks were unmasked before the section that ends here.
    unsafe {
        asm!("msr daif, {flags}", flags = in(reg) flags.0, options(nostack, preserves_flags));
    }
}

/// Unmasks interrupts.
///
/// # Safety
/// As [`crate::sync::LocalCpu::irq_enable`].
#[inline]
pub unsafe fn irq_enable() {
    // SAFETY: handlers keep every register of the code that they interrupt. The caller
    // promises that there are handlers.
    unsafe { asm!("msr daifclr, #7", options(nostack, preserves_flags)) }
}

/// Returns whether an IRQ is pending on this CPU, masked by [`irq_save`] or not: `ISR_EL1.I`. An
/// interrupt that the priority mask of the interrupt controller holds back isn't.
#[inline]
pub fn is_pending() -> bool {
    let pending: u64;
    // SAFETY: Reads a register.
    unsafe {
        asm!("mrs {pending}, isr_el1", pending = out(reg) pending, options(nostack, preserves_flags))
    }
    pending & IRQ_MASKED != 0
}

/// Returns whether this CPU takes IRQs now.
#[inline]
pub fn irqs_enabled() -> bool {
    let flags: u64;
    // SAFETY: Reads a register.
    unsafe { asm!("mrs {flags}, daif", flags = out(reg) flags, options(nostack, preserves_flags)) }
    flags & IRQ_MASKED == 0
}
