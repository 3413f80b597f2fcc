//! Protocols with CPUs whose caches are off, as sequences of steps.
//!
//! The accesses of such a CPU bypass its own caches and those of other CPUs. So the other
//! side must write its cached copy back, or drop it, at the right places. QEMU emulates no
//! caches, and works without these operations too. So each protocol is written once, as
//! sequences. The sequences of the CPU without caches are lists, from which its assembly is
//! made step by step (`arch/aarch64/pen/code.rs`, `secondary.rs`, `boot.rs`). The sequences
//! in Rust are generic functions over the traits of [`super::words`], which hardware
//! implements. `tests/host_caches.rs` records the steps of the functions, and runs them and
//! the lists against memory with a write-back cache for each CPU, in every order. It shows
//! that no cache operation can be left out.
//!
//! [`super::pen`] has the parking pen and the boot record. [`super::boot`] has the sequences
//! by which the boot CPU turns its caches on.

#![forbid(unsafe_code)]

/// Words that are written back or dropped together: one or more cache lines that hold nothing
/// else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// The address at which a released CPU goes on: 0 for a CPU that must stay parked.
    Command,
    /// Whether a CPU is in the pen.
    Status,
    /// The values for a started CPU: the first part of its boot record.
    Handover,
    /// Why the CPU refused itself: the second part of its boot record.
    Failure,
    /// The device tree as the loader has put it into memory.
    Tree,
    /// The Image's zeroed memory, the stack and the slots of the pen in it.
    Bss,
    /// The words of the Image that are relocated.
    Relocated,
    /// The page tables.
    Tables,
}

/// A step of a sequence. The sequence decides which values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheStep {
    /// Stores to the line: through the cache, or bypassing it if the CPU's caches are off.
    Write(Line),
    /// Loads from the line: through the cache, or bypassing it if the CPU's caches are off.
    Read(Line),
    /// Writes the line's cached copies back to memory.
    Clean(Line),
    /// Writes the line's cached copies back to memory, and drops them from all caches.
    CleanInvalidate(Line),
    /// Drops the line from all caches.
    Invalidate(Line),
    /// Turns this CPU's caches off: from here on its accesses bypass them.
    CachesOff,
    /// Turns this CPU's caches on: from here on its accesses go through them.
    CachesOn,
    /// Wakes the CPUs that wait for a command.
    Signal,
    /// Sleeps until the command is there.
    Await,
}

/// Turns the words of a sequence into its steps.
macro_rules! steps {
    ($($step:ident $(($line:ident))?),* $(,)?) => {
        &[$(steps!(@one $step $($line)?)),*]
    };
    (@one $step:ident $line:ident) => {
        $crate::coherency::steps::CacheStep::$step($crate::coherency::steps::Line::$line)
    };
    (@one $step:ident) => {
        $crate::coherency::steps::CacheStep::$step
    };
}

pub(super) use steps;
