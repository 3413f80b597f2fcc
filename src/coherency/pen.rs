//! How a CPU is parked and released where firmware can't turn it off: the
//! protocol of the parking pen, and that of the boot record which a released CPU
//! reads.
//!
//! A parked CPU runs a few instructions of the kernel with MMU and caches off, and
//! sleeps. It is *parked*, not powered off. Its accesses bypass its own caches and
//! those of other CPUs. So each line of words has one side that accesses it like this,
//! and the other side writes its cached copy back, or drops it, at the right moment.
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
//! - **one-command-one-release**: control writes the command when it has found the CPU
//!   parked, and the CPU clears it before it parks. So one command is one release.
//!   Control never reads the command, because its cached copy may be older than the
//!   CPU's write, which bypasses the caches.
//! - **cpu-writes-status**: only the CPU writes the status, bypassing its caches.
//!   Control never writes it, and drops its own copy before each look.
//! - **handover-first**: the handover is clean in memory before the command is written.
//! - **no-copy-of-failure**: no cache keeps a copy of the failure line that could be
//!   written back over the CPU's write, which bypasses the caches.
//! - **separate-lines**: lines are never shared: each has 128 bytes of its own.
//!
//! The sequences below are the protocol: see [`crate::coherency::steps`]. The CPU's
//! sequences are lists, from which its assembly is made. Control's sequences are functions.
//!
//! # Sources
//! Arm ARM, "Caches and memory hierarchy" (maintenance to the point of coherency);
//! Linux, Documentation/arch/arm64/booting.rst (spin-table).

#![forbid(unsafe_code)]

use super::steps::{CacheStep, steps};
use super::words::{
    Clean, CleanInvalidate, Command, Failure, Handover, Invalidate, Read, Signal, Status, Write,
};

/// Passes the sequence of a CPU that parks, caches on or off, to the macro `$with!`.
macro_rules! park {
    ($with:ident) => {
        $with! { Write(Command), Clean(Command), CachesOff, Write(Status) }
    };
}

/// Passes the sequence of a CPU in the pen, from its sleep to the code at which it goes on,
/// to the macro `$with!`.
macro_rules! arrive {
    ($with:ident) => {
        $with! { Await, Write(Status) }
    };
}

/// Passes the sequence of a CPU that can't use its handover, caches on or off, to the macro
/// `$with!`. The caches go off first, because control drops the failure line from all caches
/// whenever it looks.
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

/// The sequence of a CPU that parks, and clears its command (one-command-one-release).
pub const PARK: &[CacheStep] = park!(steps);

/// The sequence of a parked CPU that waits for its command and leaves the pen.
pub const ARRIVE: &[CacheStep] = arrive!(steps);

/// The sequence of a started CPU that refuses itself.
pub const REFUSE: &[CacheStep] = refuse!(steps);

/// Drops the failure line of a new boot record from all caches, because control may look at
/// the line before it prepares the record.
pub fn make<M>(record: &mut M)
where
    M: CleanInvalidate<Failure>,
{
    record.clean_invalidate(Failure);
}

/// Prepares the boot record of a CPU that is off or parked (handover-first,
/// no-copy-of-failure).
pub fn prepare<M>(record: &mut M)
where
    M: Write<Handover> + Clean<Handover> + Write<Failure> + CleanInvalidate<Failure>,
{
    record.write(Handover);
    record.clean(Handover);
    record.write(Failure);
    // A dirty copy, written back later, would overwrite the CPU's write, which bypasses
    // the caches.
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
