//! Turns of QEMU's CPUs in virtual time.
//!
//! With a count of instructions for a clock QEMU runs the CPUs one after the other, each until
//! the next timer of any CPU, divided by the number of CPUs. Without a timer that is
//! milliseconds, for which an SGI to another CPU would wait. So a CPU that computes sets its
//! physical timer, which the kernel doesn't use, and whose interrupt stays masked.

use core::arch::asm;

/// Has QEMU run the next CPU after `ticks` of the counter, divided by the number of CPUs.
///
/// # Context
/// Any.
pub fn next_after(ticks: u64) {
    const ENABLED_MASKED: u64 = 0b11;
    // SAFETY: the kernel uses the virtual timer only. This one's interrupt is masked.
    unsafe {
        asm!(
            "msr cntp_tval_el0, {ticks}",
            "msr cntp_ctl_el0, {ctl}",
            ticks = in(reg) ticks,
            ctl = in(reg) ENABLED_MASKED,
            options(nomem, nostack, preserves_flags)
        );
    }
}
