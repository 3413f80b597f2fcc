//! Masking interrupts on this CPU.
//!
//! IRQ, FIQ and SError are masked and unmasked together: nothing that relies on
//! "interrupts are off" should have to say which. Debug exceptions keep the mask
//! they have. All functions are compiler barriers, or the code of a critical
//! section could be moved out of it.
//!
//! # Ordering
//! Masking needs no ISB: the side effect of a write to PSTATE "is guaranteed to be
//! visible to later instructions in the Execution stream" (Arm ARM, "Process state,
//! PSTATE"), so nothing behind it is interrupted. Unmasking promises less: what is
//! pending by then is taken in finite time, and for certain at the next context
//! synchronization event ([`crate::sync::Wait::serve_interrupts`]).

use core::arch::asm;

use crate::sync::IrqFlags;

/// `DAIF.I`.
const IRQ_MASKED: u64 = 1 << 7;

/// Masks interrupts and returns the mask as it was.
#[inline]
pub fn irq_save() -> IrqFlags {
    let flags: u64;
    // SAFETY: Masking interrupts breaks no promise of the code around.
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

/// Puts back the mask that [`irq_save`] returned.
///
/// # Safety
/// As [`crate::sync::LocalCpu::irq_restore`].
#[inline]
pub unsafe fn irq_restore(flags: IrqFlags) {
    // SAFETY: `flags` was read from DAIF. Interrupts that this unmasks were
    // unmasked before the section that ends here, says the caller.
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
    // SAFETY: Handlers keep every register of what they interrupt; the caller says
    // that there are some.
    unsafe { asm!("msr daifclr, #7", options(nostack, preserves_flags)) }
}

/// Returns whether this CPU takes IRQs now.
#[inline]
pub fn irqs_enabled() -> bool {
    let flags: u64;
    // SAFETY: Reads a register.
    unsafe { asm!("mrs {flags}, daif", flags = out(reg) flags, options(nostack, preserves_flags)) }
    flags & IRQ_MASKED == 0
}
