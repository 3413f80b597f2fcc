//! Instructions that wait or synchronise, and the compiler barrier.
//!
//! `aarch64-cpu` declares that its `wfi` doesn't touch memory, so the compiler may
//! move loads and stores across it. But a CPU that sleeps until a word changes must not
//! load that word before or after its sleep at the compiler's choice. So all functions
//! here are compiler barriers. They are no barriers for the CPU, unless they say so: a
//! protocol that needs a `DSB` has to execute one.

use aarch64_cpu::asm::barrier;

use crate::arch::assembly::asm;
use crate::sync::atomic::AtomicUsize;

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

/// Loads `word` and sets this core's exclusive monitor on it (`LDXR`). When another CPU stores to
/// it from then on, that clears the monitor, which is an event for [`wfe`]: no `SEV` is needed.
///
/// # Sources
/// Arm ARM (DDI 0487), "Wait for Event mechanism and Send event": what sets the Event Register;
/// and the example of a spin lock that uses WFE, whose unlock is a plain STLR.
#[inline]
pub fn load_watched(word: &AtomicUsize) -> usize {
    let value;
    // SAFETY: it reads a word that the reference keeps readable. Other CPUs may store to it.
    unsafe {
        asm!(
            "ldxr {value}, [{word}]",
            value = out(reg) value,
            word = in(reg) word.as_ptr(),
            options(nostack, preserves_flags)
        );
    }
    value
}

/// Sleeps until there is an event, takes it, and returns at once if one came before (`WFE`). The
/// event stream of [`super::timer`] ends it, too.
#[inline]
pub fn wfe() {
    // SAFETY: WFE changes no state but time and the event register.
    unsafe { asm!("wfe", options(nostack, preserves_flags)) }
}

/// Wakes all CPUs that sleep in WFE (`SEV`).
#[inline]
pub fn send_event() {
    // SAFETY: SEV changes no state but the event registers.
    unsafe { asm!("sev", options(nostack, preserves_flags)) }
}

/// Waits until all earlier accesses are complete (`DSB SY`). It comes before a `WFI`, so
/// that the write that is to cause the wake-up has arrived.
#[inline]
pub fn complete_accesses() {
    barrier::dsb(barrier::SY);
}

/// Orders earlier accesses, an acknowledged interrupt among them, before all later
/// instructions: `DSB SY`, `ISB`.
#[inline]
pub fn synchronize() {
    barrier::dsb(barrier::SY);
    barrier::isb(barrier::SY);
}

/// Makes a context synchronization event (`ISB`): the CPU takes pending interrupts that
/// are unmasked before this returns.
#[inline]
pub fn synchronize_context() {
    barrier::isb(barrier::SY);
}

/// Keeps the compiler from moving memory accesses across this point.
#[inline]
pub fn compiler_barrier() {
    // SAFETY: it contains no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) }
}
