//! How a CPU is parked and released where firmware can't turn it off: the
//! protocol of the parking pen, and that of the boot record which a released CPU
//! reads.
//!
//! A parked CPU runs a few instructions of ours with MMU and caches off, and
//! sleeps. It is *parked*, not powered off. What it reads and writes goes past its
//! caches, and past what other CPUs have in theirs: so each line of words has one
//! side that uses it so, and the other side writes its cached copy back, or drops
//! it, at the right moment.
//!
//! ```text
//!   control                         parked CPU (caches off)
//!   ───────                         ───────────────────────
//!   PREPARE: handover, failure
//!   RELEASE: command ─────────────► awaits the command
//!                                   ARRIVE: status = running, reads the handover
//!                                   (cannot use it: REFUSE, then PARK)
//!   ... ALIVE, ONLINE, DEAD: the handshake, with caches on ...
//!                                   PARK: forgets its command, caches off
//!   LOOK: status = parked ◄──────── status = parked
//! ```
//!
//! # Invariants
//! - P1: the command is written by control while the CPU is parked, and forgotten
//!   by the CPU before it parks: so one command is one release.
//! - P2: the status is written by the CPU alone, past its caches. Control never
//!   writes it, and drops its own copy before each look.
//! - P3: the handover is clean in memory before the command is there.
//! - P4: no copy of the failure line is left in a cache that could be written back
//!   over what the CPU writes past it.
//! - P5: lines are never shared: each has 128 bytes of its own.
//!
//! The sequences below are the protocol. `arch/aarch64/pen.rs` assembles those of
//! the CPU from them, step by step, and runs those of control; so does
//! `arch/aarch64/boot_record.rs`. `tests/host_caches.rs` runs the same against
//! memory with a write-back cache for each CPU, and shows each cache operation
//! needed. QEMU has no caches to catch a mistake with.
//!
//! # Sources
//! Arm ARM, "Caches and memory hierarchy" (maintenance to the point of coherency);
//! Linux, Documentation/arch/arm64/booting.rst (spin-table).

/// Words that travel together. Each line is one or more cache lines of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Line {
    /// Where a released CPU goes: 0 for a CPU that is to stay.
    Command,
    /// Whether the CPU is in the pen.
    Status,
    /// What a started CPU is given: the first part of its boot record.
    Handover,
    /// Why it refused itself: the second part.
    Failure,
}

/// One step. What is written and read is up to the sequence that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
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
    /// Wakes whoever waits for a command.
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
        $crate::smp::pen::Step::$step($crate::smp::pen::Line::$line)
    };
    (@one $step:ident) => {
        $crate::smp::pen::Step::$step
    };
}

/// The sequence of a CPU that parks, caches on or off, for `$with!` to make
/// something of.
macro_rules! park {
    ($with:ident) => {
        $with! { Write(Command), Clean(Command), CachesOff, Write(Status) }
    };
}

/// The sequence of a CPU in the pen, from its sleep to the code that it is
/// released to.
macro_rules! arrive {
    ($with:ident) => {
        $with! { Await, Write(Status) }
    };
}

/// The sequence of a CPU that can't use what it was handed, caches on or off.
macro_rules! refuse {
    ($with:ident) => {
        $with! { Write(Failure), CleanInvalidate(Failure) }
    };
}

pub(crate) use {arrive, park, refuse};

/// A CPU parks.
pub const PARK: &[Step] = park!(steps);

/// A parked CPU waits, and leaves the pen.
pub const ARRIVE: &[Step] = arrive!(steps);

/// A started CPU refuses itself.
pub const REFUSE: &[Step] = refuse!(steps);

/// Control readies the boot record of a CPU that is off or parked.
pub const PREPARE: &[Step] = steps!(
    Write(Handover),
    Clean(Handover),
    Write(Failure),
    CleanInvalidate(Failure),
);

/// Control releases a parked CPU.
pub const RELEASE: &[Step] = steps!(Write(Command), Clean(Command), Signal);

/// Control asks whether a CPU is parked.
pub const LOOK: &[Step] = steps!(Invalidate(Status), Read(Status));

/// Control asks why a CPU has refused itself.
pub const LOOK_WHY: &[Step] = steps!(Invalidate(Failure), Read(Failure));
