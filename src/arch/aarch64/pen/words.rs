//! The words of the parking pen: what control and a parked CPU write for each other.

use core::mem::offset_of;

use crate::arch::aarch64::{cache, hint};
use crate::coherency::words::{Clean, Command, Invalidate, Read, Signal, Status, Write};
use crate::config::{CACHE_LINE, MAX_PEN_CPUS};
use crate::sync::atomic::{AtomicU64, Ordering};

/// The bit that marks a slot as taken; it distinguishes affinity 0 from a free slot.
pub(super) const TAKEN: u64 = 1 << 63;

/// The bit that says that the slot's CPU comes by itself, and not from the firmware's pen.
pub(super) const ADMITTED: u64 = 1 << 62;

/// The status of a CPU that is in the pen.
pub(super) const PARKED: u64 = 1;

/// [`Command`] (`separate-lines` of [`coherency::pen`](crate::coherency::pen)). The
/// CPU clears the first word before it parks; control writes the first two while the CPU
/// is parked (`one-command-one-release` of [`coherency::pen`](crate::coherency::pen)).
#[repr(C, align(128))]
pub(super) struct CommandLine {
    /// The address to which a released CPU jumps; 0 if the CPU has to stay.
    pub(super) entry: AtomicU64,
    /// The x0 of a released CPU. It is 0 until control has released the CPU for the first
    /// time, by which control knows whether it has.
    pub(super) context: AtomicU64,
    /// The affinity of the CPU that owns the slot, with [`TAKEN`]; 0 if the slot is free.
    /// It is set once: with the MMU off at boot, or by the CPU itself before its first
    /// parking. A CPU reads it only when it comes from the firmware's pen.
    pub(super) mpidr: AtomicU64,
}

/// [`Status`]. Only the CPU writes it, bypassing the caches.
#[repr(C, align(128))]
pub(super) struct StatusLine {
    pub(super) status: AtomicU64,
}

/// The words of one CPU.
#[repr(C, align(128))]
pub(super) struct Slot {
    pub(super) command: CommandLine,
    pub(super) status: StatusLine,
}

const _: () = assert!(size_of::<CommandLine>() == CACHE_LINE);
const _: () = assert!(size_of::<StatusLine>() == CACHE_LINE);
const _: () = assert!(offset_of!(CommandLine, context) == offset_of!(CommandLine, entry) + 8);

/// All slots. They are a static, because a CPU finds its slot knowing nothing but its own
/// affinity. Cache maintenance and DSB order the accesses for CPUs without caches. So
/// all accesses are Relaxed, except those that have a pairing: to `entry`, and to `mpidr`
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

/// The command that [`release`](crate::coherency::pen::release) writes.
pub(super) struct Release<'a> {
    pub(super) line: &'a CommandLine,
    pub(super) entry: u64,
    pub(super) context: u64,
}

impl Write<Command> for Release<'_> {
    type Outcome = ();

    fn write(&mut self, _: Command) {
        self.line.context.store(self.context, Ordering::Relaxed);
        // Release: pairs with the CPU's loads of both words, Device accesses that stay
        // in order. If the line is written back between the two stores, the CPU still
        // finds no entry without its context.
        self.line.entry.store(self.entry, Ordering::Release);
    }
}

impl Clean<Command> for Release<'_> {
    fn clean(&mut self, _: Command) {
        cache::clean_to_poc(cache::range_of(self.line));
    }
}

impl Signal for Release<'_> {
    /// Needs no DSB of its own: the cleaning before it has ended with one.
    fn signal(&mut self) {
        hint::send_event();
    }
}

/// The status that [`look`](crate::coherency::pen::look) reads.
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
