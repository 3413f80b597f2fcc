//! Protocols with CPUs whose caches are off, as sequences of steps.
//!
//! What such a CPU reads and writes goes past its caches, and past what others have
//! in theirs. Where the other side must write its copy back, and where drop it, is
//! the whole difficulty; and QEMU, which has no caches, never finds one missing. So
//! each of these protocols is written down once, as sequences. Those of the CPU without
//! caches are lists: its assembly is made from them step by step
//! (`arch/aarch64/pen/code.rs`, `secondary.rs`, `boot.rs`). Those of Rust are generic
//! functions over the traits of [`super::words`], which hardware implements.
//! `tests/host_caches.rs` notes the steps of the functions, and runs them and the lists
//! against memory with a write-back cache for each CPU, in every order. It shows that no
//! cache operation can be left out.
//!
//! [`super::pen`] has the parking pen and the boot record, [`super::boot`] the boot
//! CPU's own way to its caches.

#![forbid(unsafe_code)]

/// Words that travel together: one or more cache lines that hold nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Where a released CPU goes: 0 for a CPU that is to stay.
    Command,
    /// Whether a CPU is in the pen.
    Status,
    /// What a started CPU is given: the first part of its boot record.
    Handover,
    /// Why it refused itself: the second part.
    Failure,
    /// The device tree, where the loader has put it.
    Tree,
    /// The Image's zeroed memory, the stack and the slots of the pen in it.
    Bss,
    /// The words of the Image that are relocated.
    Relocated,
    /// The page tables.
    Tables,
}

/// One step. What is written and read is up to the sequence that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheStep {
    /// Stores to the line: through the cache, or past it if caches are off.
    Write(Line),
    /// Loads from the line, likewise.
    Read(Line),
    /// Writes cached content back to memory.
    Clean(Line),
    /// Writes it back, and drops it from all caches.
    CleanInvalidate(Line),
    /// Drops it from all caches.
    Invalidate(Line),
    /// From here on accesses of this CPU go past its caches.
    CachesOff,
    /// From here on they go through them.
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
