//! Waiting instructions and the compiler barrier.
//!
//! `aarch64-cpu`'s `wfi` is declared not to touch memory, so the compiler may
//! move loads and stores across it; a sleep that waits for a word in memory
//! must not be crossed by the load of that word. These are barriers to the
//! compiler, and to it alone: the `DSB` that a protocol needs is its own.

use core::arch::asm;

use aarch64_cpu::asm::barrier;

/// Sleeps until an interrupt is pending, masked by `DAIF` or not (`WFI`).
/// May return early.
#[inline]
pub fn wfi() {
    // SAFETY: WFI changes no state but time.
    unsafe { asm!("wfi", options(nostack, preserves_flags)) }
}

/// Tells the core, or its emulator, that this loop is waiting (`YIELD`).
#[inline]
pub fn relax() {
    // SAFETY: YIELD is a hint and changes no state.
    unsafe { asm!("yield", options(nostack, preserves_flags)) }
}

/// Wakes all CPUs that sleep in WFE (`SEV`).
#[inline]
pub fn send_event() {
    // SAFETY: SEV changes no state but the event registers.
    unsafe { asm!("sev", options(nostack, preserves_flags)) }
}

/// Completes every access before it, then goes on: the `DSB SY` in front of a
/// `WFI`, so that what it sleeps on is not still on its way.
#[inline]
pub fn complete_accesses() {
    barrier::dsb(barrier::SY);
}

/// Takes over what other CPUs, or an acknowledged interrupt, have changed:
/// `DSB SY`, `ISB`.
#[inline]
pub fn synchronize() {
    barrier::dsb(barrier::SY);
    barrier::isb(barrier::SY);
}

/// A context synchronization event (`ISB`): unmasked interrupts that are pending are
/// taken before it returns.
#[inline]
pub fn synchronize_context() {
    barrier::isb(barrier::SY);
}

/// Keeps the compiler from moving memory accesses across this point.
#[inline]
pub fn compiler_barrier() {
    // SAFETY: No instruction at all.
    unsafe { asm!("", options(nostack, preserves_flags)) }
}
