//! Batches: several CPUs go down, or come up, in one operation. The way up is in
//! `src/hotplug/batch_up.rs`.
//!
//! The walks are per CPU. Only at *collective* steps control does for all CPUs of the batch at
//! once what it would have to do for each:
//!
//! ```text
//!   control                              each CPU of the batch, in its `cpuhp` thread
//!   ───────                              ────────────────────────────────────────────
//!   asks what may refuse, CPU by CPU
//!   posts to all                  ─────► sched:active    its bit in `active` is cleared
//!                                 ◄───── one counter
//!   sync:active: ONE grace period
//!   posts to all                  ─────► sync:active … sched:drain
//!                                 ◄───── one counter
//!   parks all `cpuhp` threads
//!   marks all as dying
//!   ONE still point               ─────► init:online … init:cpu   each on its own CPU
//!   sync:timers, for all
//!   for each: DEAD, OFF, PREP
//!   releases the hotplug lock
//!   for each: prep:post-dead
//! ```
//!
//! # Invariants
//! - **set-only-shrinks**: a CPU that is refused, or one of whose steps fails or is late, leaves
//!   the set. Its thread has walked it back, alone, to where it was; the others go on. The set of
//!   the still point is fixed before that begins. If the deadline comes first, all leave it.
//! - **time-for-the-stop**: with a deadline the walks of several CPUs end a quarter of the time
//!   before it. So a CPU that is late by itself leaves the set while there is time to stop the
//!   machine for the others. If it is in a step then, which isn't interrupted, it turns back behind
//!   that, and control waits for it before the operation ends.
//! - **batch-keeps-one**: CPUs are taken into the set in the order of their numbers, each if
//!   it may leave after those before it. So what a batch refuses is what the same CPUs would
//!   refuse one after the other: the last active CPU stays.
//! - **bits-before-grace**: the one grace period begins when all bits in `active` are
//!   cleared. From then on no thread, interrupt or work goes from one CPU of the set to
//!   another: what is handed over goes to CPUs that are active.
//! - **dying-before-still-point**: `dying` holds the whole set before the still point
//!   begins, in which its CPUs see each other leave (`dying-call-no-dying` of
//!   [`call`](crate::smp::call)).
//!
//! The invariants of one CPU's walk hold for each CPU of the set, which has a state, a command
//! and a handshake of its own.
//!
//! # Memory ordering
//! What a CPU's thread has written is visible to control when the counter has reached zero:
//! [`Countdown`]. `dying` is ordered by the stop.

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{Countdown, Hotplug, HotplugHost, WalkError};
use crate::sched::lock::Completion;
use crate::sched::patience;
use crate::time::Instant;
use crate::trace::Direction;

/// A walk of one CPU of a batch.
#[derive(Clone, Copy)]
pub(super) struct BatchWalk {
    pub(super) cpu: CpuId,
    /// How many steps are to be up.
    pub(super) target: usize,
    /// Until how many are up the CPU's thread walks back if a step fails.
    pub(super) origin: usize,
    /// Whether the operation is over for the CPU if none fails.
    pub(super) is_last: bool,
}

/// Where control waits for the CPUs of a batch.
pub(super) struct BatchWait<P: HotplugHost> {
    left: Countdown,
    /// Completed by the last CPU.
    done: Completion<P>,
}

impl<P: HotplugHost> BatchWait<P> {
    pub(super) fn new() -> Self {
        BatchWait {
            left: Countdown::new(),
            done: Completion::new(),
        }
    }

    /// Begins a batch. Control ends it with [`Hotplug::wait_together`].
    pub(super) fn begin(&self) {
        self.left.begin();
    }

    /// Counts the calling thread's CPU.
    pub(super) fn count_down(&self) {
        if self.left.count() {
            self.done.complete();
        }
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Has the threads of the CPUs of `walks` walk `direction`, all at the same time, down before
    /// `until`, and waits for the last, but not longer than until then. Calls `failed_fn` with each
    /// CPU whose walk has failed, and which its thread has walked back. Returns the CPUs that still
    /// walk: before the next batch begins, control waits for them ([`Hotplug::wait_for_all`]).
    ///
    /// # Context
    /// Control, with the hotplug lock.
    pub(super) fn walk_together(
        &self,
        walks: &[BatchWalk],
        direction: Direction,
        until: Instant,
        failed_fn: impl FnMut(CpuId, WalkError),
    ) -> CpuMask {
        self.batch.begin();
        for walk in walks {
            self.start_in_batch(*walk, direction, until);
        }
        let cpus = walks.iter().map(|walk| walk.cpu).collect();
        self.wait_together_until(&cpus, until, failed_fn)
    }

    /// Adds a CPU to the batch that is under way, and has its thread walk.
    pub(super) fn start_in_batch(&self, walk: BatchWalk, direction: Direction, until: Instant) {
        self.batch.left.add();
        self.command(walk.cpu)
            .start_in_batch(walk, direction, until);
    }

    /// Ends the batch that is under way: waits for the last of `cpus`, which walk. Calls
    /// `failed_fn` as [`Hotplug::walk_together`] does.
    pub(super) fn wait_together(&self, cpus: &CpuMask, failed_fn: impl FnMut(CpuId, WalkError)) {
        let busy = self.wait_together_until(cpus, Instant::FOREVER, failed_fn);
        assert!(busy.is_empty(), "BUG: control has waited for CPUs {busy}");
    }

    /// Does as [`Hotplug::wait_together`], but waits no longer than until `until`. Returns the CPUs
    /// that still walk.
    fn wait_together_until(
        &self,
        cpus: &CpuMask,
        until: Instant,
        mut failed_fn: impl FnMut(CpuId, WalkError),
    ) -> CpuMask {
        let mut busy = CpuMask::EMPTY;
        // (`control-counts-last` of `countdown`)
        if !self.batch.left.count() {
            if until == Instant::FOREVER {
                self.wait_for_all(cpus);
            } else if !self.batch.done.wait_until(until) {
                busy = self.busy(cpus);
                if busy.is_empty() {
                    // The last one is about to count.
                    self.wait_for_all(cpus);
                }
            }
        }
        for cpu in cpus.without(&busy).iter() {
            if let Err(failed) = self.command(cpu).result() {
                failed_fn(cpu, failed);
            }
        }
        busy
    }

    /// Waits until the last of `cpus` completes the batch, where [`Hotplug::walk_together`] has
    /// returned them, or control has counted and was not the last.
    pub(super) fn wait_for_all(&self, cpus: &CpuMask) {
        self.wait_walks(&self.batch.done, || {
            let busy = self.busy(cpus);
            if busy.is_empty() {
                let waited = patience::<P>().as_secs();
                log::warn!("CPUs {cpus} have finished their walks and not said so for {waited} s");
            }
            for cpu in busy.iter() {
                self.command(cpu).warn_of_late(cpu);
            }
        });
    }

    /// Returns those of `cpus` that still walk.
    fn busy(&self, cpus: &CpuMask) -> CpuMask {
        let busy = cpus.iter().filter(|cpu| !self.command(*cpu).is_done());
        busy.collect()
    }
}
