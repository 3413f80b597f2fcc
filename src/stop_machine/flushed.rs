//! A stop that begins with a flush of preempted threads: `StopMode::FlushPreempted`.
//!
//! ```text
//!   caller                     each CPU                       the last CPU to finish
//!   ──────                     ────────                       ──────────────────────
//!   FLUSH
//!   begins the flush ────────► runs its marked threads, each
//!   arms the deadline          until it gives the CPU away
//!   sleeps                     idles: has finished ──────────► FLUSH → PREPARE
//!                                                              queues the works, leaves
//!                              its stopper: the stop, as any
//!                              other, with every CPU in the mode
//!                              the last to leave ends the mode
//!   goes on ◄───────────────── and wakes the caller
//! ```
//! The deadline or a cancel gives it up in FLUSH by FLUSH → ABORT, in PREPARE as any other stop
//! (`give_up`). In FLUSH no work is queued, so nothing is taken back: the flush is ended, and the
//! stop is left for all participants.
//!
//! # Invariants
//! - **queuer-counts**: the last CPU to finish counts in `staying` as what queues the works. If
//!   the stop is given up in FLUSH, the end of the flush says whether that CPU was or will be told
//!   (`last-or-ended` of [`FlushWord`](crate::sched::FlushWord)): then it leaves, and finds that
//!   there is nothing to queue; else the stop is left for it too. So the frame stays until it has
//!   been told, and it is left for once.
//! - **mode-ends-before-caller**: the last to leave ends the mode before it wakes the caller. The
//!   caller sleeps, so it has no mark, and in the mode it wouldn't run.
//! - **caller-holds-flush**: the caller's thread is inside the kernel from before the flush begins,
//!   and its CPU runs it on until it sleeps. So no CPU is the last to finish before the job, the
//!   deadline and the token are in place.
//!
//! `tests/loom_flush_stop.rs` model-checks the two words together.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::lock::Completion;
use crate::sched::{FlushEnd, FlushHook, FlushId, InKernel};
use crate::stop_machine::job::{End, Job};
use crate::stop_machine::{HeldUp, StopHost, StopMachine};
use crate::sync::atomic::Ordering;

/// The flush with which a stop begins, in the frame of the stop's caller.
pub(super) struct Flush<P: StopHost> {
    id: FlushId,
    /// Where the caller sleeps until the stop is over.
    pub(super) done: Completion<P>,
}

impl<P: StopHost> Flush<P> {
    /// Begins the flush of `cpus`. The last CPU to finish tells the work that the stoppers find
    /// ([`Work::flushed`](crate::stop_machine::Work::flushed)), so the caller sets that before it sleeps.
    ///
    /// # Context
    /// Thread; the stop mutex is held. `_inside` stays until the caller has slept
    /// (caller-holds-flush).
    pub(super) fn begin(
        machine: &'static StopMachine<P>,
        cpus: &CpuMask,
        _inside: &InKernel<P>,
    ) -> Flush<P> {
        Flush {
            id: P::sched().begin_flush(cpus, machine),
            done: Completion::new(),
        }
    }

    /// Ends the flush, and the mode; returns how far it had come.
    pub(super) fn end(&self) -> FlushEnd {
        P::sched().end_flush(self.id)
    }
}

impl<P: StopHost> FlushHook for StopMachine<P> {
    fn last_finished(&self, _id: FlushId) {
        self.current_flushed();
    }
}

impl<P: StopHost> Job<'_, P> {
    /// Queues the works, unless the stop has been given up (queuer-counts).
    pub(super) fn queue_if_flushed(&self) {
        if self.stop.flushed() {
            self.machine.queue_everywhere(self, self.participants);
        } else {
            self.finish();
        }
    }

    /// Returns what keeps `cpu` from finishing the flush with which the stop begins.
    pub(super) fn unflushed(&self, cpu: CpuId) -> Option<HeldUp> {
        let End::Flushed(flush) = self.end else {
            return None;
        };
        let mut holders = P::sched().flush_holders(flush.id);
        let holder = holders.find(|holder| holder.cpu == cpu)?;
        Some(HeldUp::by_holder::<P>(&holder))
    }

    /// Gives up a stop that was in FLUSH, and is in ABORT: notes which CPUs have not finished, and
    /// what keeps each.
    pub(super) fn give_up_flush(&self) {
        let End::Flushed(flush) = self.end else {
            panic!("BUG: a stop without a flush was in FLUSH");
        };
        for holder in P::sched().flush_holders(flush.id) {
            let stopper = self.machine.stopper(holder.cpu);
            stopper.note_held_up(HeldUp::by_holder::<P>(&holder));
            self.notes
                .not_come
                .set(holder.cpu.index(), Ordering::Relaxed);
        }
        let leaving = self.stop.leaving_in_flush(flush.end());
        self.finish_for(leaving); // (queuer-counts)
    }
}
