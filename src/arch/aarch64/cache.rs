//! Data cache maintenance by address.
//!
//! A CPU whose MMU is off reads and writes memory directly. It bypasses its own caches
//! and doesn't see what other CPUs have in theirs. Both see the same memory at the
//! point of coherency (PoC). Before a CPU with the MMU off *reads* a word that another CPU
//! wrote, the writer cleans it to the PoC. Before a CPU *reads* a word that a CPU with the
//! MMU off wrote, the reader invalidates it, so that no older copy in a cache hides it.
//! Words written with the MMU off never share a cache line with other data, because
//! writing back a line for one of them would overwrite the other.
//!
//! QEMU has no caches. Under it these instructions do nothing, so a test there never
//! finds a missing one. So each use says why it is needed.
//!
//! # Ordering
//! With the MMU on, these instructions execute in program order relative to accesses to
//! the same line. With it off, accesses are Device accesses, and the instructions may
//! overtake them unless a DMB stands between (Arm ARM, "Ordering and completion of data
//! and instruction cache instructions"). So each function begins with a DMB. The DSB at
//! its end completes the instructions.

use core::ops::Range;

use crate::arch::assembly::asm;

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

/// Returns the addresses of all cache lines that hold part of `range`.
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
/// return.
///
/// # Context
/// Any. The range is mapped, or the MMU is off.
pub fn clean_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: Cleaning changes nothing that this CPU can read.
        unsafe { asm!("dc cvac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}

/// Writes the cached content of `range` back to the point of coherency and drops it from
/// the caches; done on return.
///
/// # Context
/// Any. The range is mapped, or the MMU is off.
pub fn clean_invalidate_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: Dirty lines are written back first, so nothing is lost.
        unsafe { asm!("dc civac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}

/// Drops the cached content of `range`; done on return.
///
/// # Context
/// Any. The range is mapped, or the MMU is off.
///
/// # Safety
/// The program no longer needs any value that was written to the lines of `range` through
/// a cache: such a value may be lost.
pub unsafe fn invalidate_to_poc(range: Range<usize>) {
    barrier::dmb(barrier::SY);
    for line in lines(range) {
        // SAFETY: the caller doesn't need the cached values of these lines.
        unsafe { asm!("dc ivac, {line}", line = in(reg) line, options(nostack, preserves_flags)) }
    }
    barrier::dsb(barrier::SY);
}
