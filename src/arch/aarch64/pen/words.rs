//! The words of the parking pen: what control and a parked CPU write for each other.

use core::mem::offset_of;

use crate::arch::aarch64::{cache, hint};
use crate::coherency::words::{Clean, Command, Invalidate, Read, Signal, Status, Write};
use crate::config::{CACHE_LINE, MAX_PEN_CPUS};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The bit that makes a slot's affinity one: 0 is an empty slot.
pub(super) const TAKEN: u64 = 1 << 63;

/// The bit that says that its CPU came by itself, and not from firmware's pen.
pub(super) const ADMITTED: u64 = 1 << 62;

/// The status of a CPU that is in the pen.
pub(super) const PARKED: u64 = 1;

/// [`Command`] (`separate-lines` of [`coherency::pen`](crate::coherency::pen)). The
/// CPU forgets the first word before it parks; control writes the first two while it is
/// parked (`one-command-one-release` of [`coherency::pen`](crate::coherency::pen)).
#[repr(C, align(128))]
pub(super) struct CommandLine {
    /// Where a released CPU goes; 0: it stays.
    pub(super) entry: AtomicU64,
    /// What it finds in x0 there; 0 until control has released it for the first time,
    /// which is control's to remember.
    pub(super) context: AtomicU64,
    /// The affinity of the CPU that owns the slot; 0: free. Set once: with the MMU off at
    /// boot, or by the CPU itself before its first parking. The parked CPU doesn't read it.
    pub(super) mpidr: AtomicU64,
}

/// [`Status`]. Written past the caches, by the CPU alone.
#[repr(C, align(128))]
pub(super) struct StatusLine {
    pub(super) status: AtomicU64,
}

/// One CPU's words.
#[repr(C, align(128))]
pub(super) struct Slot {
    pub(super) command: CommandLine,
    pub(super) status: StatusLine,
}

const _: () = assert!(size_of::<CommandLine>() == CACHE_LINE);
const _: () = assert!(size_of::<StatusLine>() == CACHE_LINE);
const _: () = assert!(offset_of!(CommandLine, context) == offset_of!(CommandLine, entry) + 8);

/// All slots. No static of the pure layers, because the CPUs find them with no
/// more than their own affinity. What orders these accesses for CPUs without
/// caches is cache maintenance and DSB: all of them are Relaxed, but those of `mpidr`
/// ([`Pen::admit`](super::Pen::admit)).
pub(super) static SLOTS: [Slot; MAX_PEN_CPUS] = [const {
    Slot {
        command: CommandLine {
            entry: AtomicU64::new(0),
            context: AtomicU64::new(0),
            mpidr: AtomicU64::new(0),
        },
        status: StatusLine {
            status: AtomicU64::new(0),
        },
    }
}; MAX_PEN_CPUS];

/// The command that [`pen::release`] gives.
pub(super) struct Release<'a> {
    pub(super) line: &'a CommandLine,
    pub(super) entry: u64,
    pub(super) context: u64,
}

impl Write<Command> for Release<'_> {
    type Outcome = ();

    fn write(&mut self, _: Command) {
        self.line.context.store(self.context, Ordering::Relaxed);
        // Release, which pairs with the CPU's loads in `park!`, Device accesses that stay
        // in order: should the line go to memory between the two, it finds no entry
        // without its context.
        self.line.entry.store(self.entry, Ordering::Release);
    }
}

impl Clean<Command> for Release<'_> {
    fn clean(&mut self, _: Command) {
        cache::clean_to_poc(cache::range_of(self.line));
    }
}

impl Signal for Release<'_> {
    /// The cleaning has ended with a DSB.
    fn signal(&mut self) {
        hint::send_event();
    }
}

/// The status that [`pen::look`] reads.
pub(super) struct Look<'a> {
    pub(super) line: &'a StatusLine,
}

impl Invalidate<Status> for Look<'_> {
    fn invalidate(&mut self, _: Status) {
        // SAFETY: this line is never written through a cache (cpu-writes-status).
        unsafe { cache::invalidate_to_poc(cache::range_of(self.line)) };
    }
}

impl Read<Status> for Look<'_> {
    type Value = u64;

    fn read(&mut self, _: Status) -> u64 {
        self.line.status.load(Ordering::Relaxed)
    }
}
