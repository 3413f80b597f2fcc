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
//!   prepare: handover, failure
//!   release: command ─────────────► awaits the command
//!                                   ARRIVE: status = running, reads the handover
//!                                   (cannot use it: REFUSE, then PARK)
//!   ... ALIVE, ONLINE, DEAD: the handshake, with caches on ...
//!                                   PARK: forgets its command, caches off
//!   look: status = parked ◄──────── status = parked
//! ```
//!
//! # Invariants
//! - **one-command-one-release**: the command is written by control when it has found
//!   the CPU parked, and forgotten by the CPU before it parks: so one command is one
//!   release. Control never reads it: its copy may be older than what the CPU wrote
//!   past it.
//! - **cpu-writes-status**: the status is written by the CPU alone, past its caches.
//!   Control never writes it, and drops its own copy before each look.
//! - **handover-first**: the handover is clean in memory before the command is there.
//! - **no-copy-of-failure**: no copy of the failure line is left in a cache that could
//!   be written back over what the CPU writes past it.
//! - **separate-lines**: lines are never shared: each has 128 bytes of its own.
//!
//! The sequences below are the protocol: [`crate::coherency::steps`]. The CPU's are
//! assembly, made of lists; control's are functions.
//!
//! # Sources
//! Arm ARM, "Caches and memory hierarchy" (maintenance to the point of coherency);
//! Linux, Documentation/arch/arm64/booting.rst (spin-table).

#![forbid(unsafe_code)]

use super::steps::{CacheStep, steps};
use super::words::{
    Clean, CleanInvalidate, Command, Failure, Handover, Invalidate, Read, Signal, Status, Write,
};

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

/// The sequence of a CPU that can't use what it was handed, caches on or off. They
/// go off first: control drops the line from all caches whenever it looks.
macro_rules! refuse {
    ($with:ident) => {
        $with! { CachesOff, Write(Failure) }
    };
}

#[allow(
    unused_imports,
    reason = "the assembly made of them is for the target alone"
)]
pub(crate) use {arrive, park, refuse};

/// A CPU parks, and forgets its command (one-command-one-release).
pub const PARK: &[CacheStep] = park!(steps);

/// A parked CPU waits, and leaves the pen.
pub const ARRIVE: &[CacheStep] = arrive!(steps);

/// A started CPU refuses itself.
pub const REFUSE: &[CacheStep] = refuse!(steps);

/// Leaves nothing of a new boot record's failure line in a cache: control may look at it
/// before it readies the record.
pub fn make<M>(record: &mut M)
where
    M: CleanInvalidate<Failure>,
{
    record.clean_invalidate(Failure);
}

/// Readies the boot record of a CPU that is off or parked (handover-first,
/// no-copy-of-failure).
pub fn prepare<M>(record: &mut M)
where
    M: Write<Handover> + Clean<Handover> + Write<Failure> + CleanInvalidate<Failure>,
{
    record.write(Handover);
    record.clean(Handover);
    record.write(Failure);
    // A dirty line here, written back later, would undo what the CPU writes past its
    // caches.
    record.clean_invalidate(Failure);
}

/// Releases a parked CPU.
pub fn release<M>(slot: &mut M)
where
    M: Write<Command> + Clean<Command> + Signal,
{
    slot.write(Command);
    slot.clean(Command);
    slot.signal();
}

/// Returns the status of a CPU: whether it is parked.
pub fn look<M>(slot: &mut M) -> <M as Read<Status>>::Value
where
    M: Invalidate<Status> + Read<Status>,
{
    slot.invalidate(Status);
    slot.read(Status)
}

/// Returns the failure line of a CPU: why it has refused itself.
pub fn look_why<M>(record: &mut M) -> <M as Read<Failure>>::Value
where
    M: Invalidate<Failure> + Read<Failure>,
{
    record.invalidate(Failure);
    record.read(Failure)
}
