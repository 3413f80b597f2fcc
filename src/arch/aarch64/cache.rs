//! Data cache maintenance by address.
//!
//! A CPU whose MMU is off reads and writes memory past its caches, and so past
//! what other CPUs have in theirs. The point where both see the same is the
//! point of coherency (PoC). Before a CPU with the MMU off *reads* what another
//! wrote, the writer cleans to the PoC; before a CPU *reads* what one with the
//! MMU off wrote, it invalidates, so that no older copy in a cache hides it.
//! Data and such words never share a line, or the one would undo the other.
//!
//! QEMU has no caches: under it these instructions do nothing and a missing one
//! is never found. Each use is therefore argued where it stands.
//!
//! # Ordering
//! With the MMU on these instructions execute in program order relative to accesses to
//! the same line; with it off, when the accesses are Device accesses, they may overtake
//! them unless a DMB stands between (Arm ARM, "Ordering and completion of data and
//! instruction cache instructions"). So one does. The DSB at the end completes them.

use core::arch::asm;
use core::ops::Range;

use aarch64_cpu::asm::barrier;

/// Returns the number of bytes of the smallest data cache line on the way to the PoC
/// (`CTR_EL0.DminLine`, in words of four bytes).
fn line_size() -> usize {
    let ctr: usize;
    // SAFETY: Reads a register.
    unsafe {
        asm!("mrs {ctr}, ctr_el0", ctr = out(reg) ctr, options(nomem, nostack, preserves_flags));
    }
    4 << (ctr >> 16 & 0xf)
}

/// Returns the addresses of all lines that hold part of `range`.
fn lines(range: Range<usize>) -> impl Iterator<Item = usize> {
    let line = line_size();
    (range.start & !(line - 1)..range.end).step_by(line)
}

/// Returns the addresses of `words`, which have their lines for themselves.
pub fn range_of<T>(words: &T) -> Range<usize> {
    let start = (&raw const *words).addr();
    start..start + size_of::<T>()
}

/// Writes the cached content of `range` back to the point of coherency; done on
/// return. The range is mapped, or the MMU is off.
pub fn clean_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: Cleaning changes nothing that this CPU can read.
        unsafe { asm!("dc cvac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}

/// Writes the cached content of `range` back and drops it from the caches; done
/// on return. The range is mapped, or the MMU is off.
pub fn clean_invalidate_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: Dirty lines are written back first, so nothing is lost.
        unsafe { asm!("dc civac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}

/// Drops the cached content of `range`; done on return. The range is mapped, or
/// the MMU is off.
///
/// # Safety
/// Nothing that was written to the lines of `range` through a cache may be
/// needed any more: it may be lost.
pub unsafe fn invalidate_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: The caller can lose what is cached in these lines.
        unsafe { asm!("dc ivac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}
