//! Grace periods by SGI, and the waits and callbacks that need them.
//!
//! ```text
//!   unpublish X                      an SGI to each CPU that is not idle:
//!   synchronize() ── a round ──►       preempt count 0? it is quiescent
//!   free X                             else the outermost guard's drop reports
//! ```
//! A read-side section is a region with preemption off, or with IRQs masked. So a CPU
//! is quiescent wherever a thread may be preempted. It is also quiescent in a still
//! point: its stopper was switched to, so there is no section under it. A grace period
//! takes microseconds, where waiting for ticks takes milliseconds. A thread that
//! computes on its CPU without a pause delays no grace period.
//!
//! - [`GracePeriods::synchronize`]: one grace period serves all callers that wait
//!   ([`Sequence`]). A CPU that is idle is in no section and isn't woken ([`Quiet`]).
//! - [`GracePeriods::call_rcu`]: a function that runs after a grace period, in a thread
//!   of this CPU, of a class that is set at boot ([`Queues`]). Callers that queue faster
//!   than callbacks run have to wait.
//! - [`GracePeriods::synchronize_tasks`]: waits also for threads that were preempted.
//!
//! # CPUs that come and go
//! No grace period takes the hotplug lock, so hotplug and its callbacks may wait for
//! one. The thread that begins a grace period has preemption off until the SGI is sent,
//! and a CPU leaves in a still point only. So a CPU that leaves is either sent the SGI
//! or not waited for. If it has not reported by the still point, it is quiescent there,
//! and reports itself (`init:rcu`, the last but one of the steps that it takes back).
//! It is no longer watched by then, so the next grace period doesn't wait for it
//! either. Steps below `init:rcu` may not read. A CPU that comes is watched from
//! `init:rcu` on. An SGI that is sent to it before its interrupts work may be lost, so
//! it reports unasked once it is online.
//!
//! # Invariants
//! - **reports-once**: a CPU in `pending` has been sent the SGI after its bit was set,
//!   and reports exactly once: the CPU that clears the bit counts `left` down. A stale
//!   or repeated SGI either finds the bit clear, or serves as the expected one.
//! - **own-note**: only the CPU itself writes and reads the note that it has still to
//!   report.
//! - **begun-in-a-thread**: a grace period is begun in a thread. The CPU of that thread
//!   is quiescent then, and so is not asked.
//! - **last-report-ends**: the last CPU that reports ends the grace period. The thread
//!   that began it has nothing left to do: a more urgent thread may keep it from its
//!   CPU.
//!
//! # Memory ordering
//! What a caller stored before [`GracePeriods::synchronize`] is visible to every
//! section that begins after that CPU's report: the number of [`Sequence`] carries it
//! to the thread that begins the grace period, the SGI carries it to the CPU (DSB
//! before the register write). What a section did before it ended is visible after
//! `synchronize`: `left` counts down with AcqRel, and the number carries it from the
//! last CPU that reports to the callers. `tests/loom_rcu.rs` model-checks [`Pending`],
//! [`Sequence`] and [`Quiet`], `tests/loom_callbacks.rs` [`Queues`]; the models leave out
//! the SGI and the wait queues.

#![forbid(unsafe_code)]

mod callback;
mod callbacks;
mod deferred;
mod pending;
mod quiet;
mod read;
mod rounds;
mod sequence;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::{PreemptWork, Sgi};
use crate::sched::SchedHost;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{IrqGuard, Posted};
use crate::time::Instant;

pub use callback::{Head, Node, node};
pub use callbacks::{Pushed, Queues, Ran};
pub use pending::Pending;
pub use quiet::Quiet;
pub use read::ReadGuard;
pub use sequence::{Need, Sequence, Turn};

use deferred::Deferred;
use rounds::Rounds;

/// What grace periods need from the layers above.
pub trait GraceHost: SchedHost {
    /// Returns the one instance.
    fn grace_periods() -> &'static GracePeriods<Self>;
}

/// Counters of what grace periods have cost so far. Exact when no grace period runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraceStats {
    /// Grace periods that have run.
    pub grace_periods: u64,
    /// CPUs that were sent an SGI.
    pub asked: u64,
    /// CPUs that were found idle and were not sent an SGI.
    pub idle: u64,
    /// Callbacks that have been queued.
    pub queued: u64,
    /// Callbacks that have run.
    pub ran: u64,
}

/// Relaxed: counters on which no code synchronises.
#[derive(Debug, Default)]
struct Counts {
    grace_periods: AtomicU64,
    asked: AtomicU64,
    idle: AtomicU64,
}

/// What a CPU writes while it is idle, and its wakers read: in one cache line.
#[derive(Debug, Default)]
struct IdleCpu {
    quiet: Quiet,
    posted: Posted,
}

/// Grace periods, and the threads that wait for them.
pub struct GracePeriods<P: SchedHost> {
    rounds: Rounds<P>,
    pending: Pending,
    idle: PerCpu<IdleCpu>,
    counts: Counts,
    deferred: Deferred<P>,
    task_rounds: Rounds<P>,
}

impl<P: SchedHost> GracePeriods<P> {
    /// Returns an instance for `cpus` CPUs, without a grace period or a waiter.
    pub fn new(cpus: usize) -> Self {
        GracePeriods {
            rounds: Rounds::new(),
            pending: Pending::new(),
            idle: PerCpu::new(cpus, |_| IdleCpu::default()),
            counts: Counts::default(),
            deferred: Deferred::new(cpus),
            task_rounds: Rounds::new(),
        }
    }

    /// Startup of `init:rcu`: from here on this CPU's sections count.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn startup(&self, cpu: CpuId) {
        self.pending.join(cpu);
    }

    /// Reports this CPU, which is online and in no section, whether it was asked or
    /// not: an SGI that was sent before its interrupts worked is lost.
    ///
    /// # Context
    /// The CPU itself, IRQs masked, before its first thread.
    pub fn arrived(&self) {
        self.report();
    }

    /// Teardown of `init:rcu`: this CPU is quiescent, and reads no more. A grace period
    /// that has waited only for this CPU is over then, but its waiters are not woken
    /// before [`GracePeriods::after_teardown`].
    ///
    /// # Context
    /// `cpu` itself, in the still point that takes it down.
    pub fn teardown(&self, cpu: CpuId) {
        P::set_preempt_work(PreemptWork::GracePeriod, false);
        if self.pending.leave(cpu) {
            self.rounds.end_in_still_point();
        }
    }

    /// Wakes the threads whose grace period has ended because a CPU left.
    ///
    /// # Context
    /// Thread: the caller of the still point that took the CPU down, after it.
    pub fn after_teardown(&self) {
        self.rounds.wake_after_still_point();
    }

    /// Sleeps until an interrupt is pending or was posted, and handles those that were posted.
    /// While it sleeps no grace period waits for this CPU.
    ///
    /// # Context
    /// The idle thread, IRQs masked.
    pub fn idle(&self) {
        let idle = self.idle.get(P::this_cpu());
        idle.quiet.begin();
        let posted = idle.posted.sleep::<P>();
        idle.quiet.end();
        if posted != 0 {
            P::handle_posted(posted);
        }
    }

    /// Posts `sgi` to `cpu`, if that is idle and polls; returns whether it has. If not, `sgi` must
    /// be sent.
    #[inline]
    #[must_use]
    pub fn post(&self, sgi: Sgi, cpu: CpuId) -> bool {
        self.idle.get(cpu).posted.post(sgi.number())
    }

    /// Notes that an SGI is sent to `cpu` and to no other CPU, without being posted.
    #[inline]
    pub fn note_called_alone(&self, cpu: CpuId) {
        self.idle.get(cpu).posted.note_called_alone();
    }

    /// Returns whether `cpu` slept a moment ago because it had no work.
    #[inline]
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.idle.get(cpu).quiet.is_quiet()
    }

    /// Waits until every CPU has left the read-side section that it may be in now. Each
    /// time that ten seconds have passed it calls `late_fn` with the CPUs that have not
    /// reported, and waits on.
    ///
    /// # Context
    /// Thread, preemption on. Takes no lock of hotplug: the caller may hold any.
    ///
    /// # Panics
    /// If called in a read-side section: it would wait for its own end.
    pub fn synchronize(&self, late_fn: impl FnMut(&CpuMask)) {
        let over = self.synchronize_until(Instant::FOREVER, late_fn);
        assert!(
            over.is_ok(),
            "BUG: a grace period without a limit was given up"
        );
    }

    /// Does as [`GracePeriods::synchronize`], but waits no longer than until `until`.
    ///
    /// # Context
    /// As [`GracePeriods::synchronize`].
    ///
    /// # Errors
    /// The CPUs that had not reported a moment ago: a section may still run there.
    ///
    /// # Panics
    /// As [`GracePeriods::synchronize`].
    pub fn synchronize_until(
        &self,
        until: Instant,
        mut late_fn: impl FnMut(&CpuMask),
    ) -> Result<(), CpuMask> {
        assert!(
            P::preempt_count() == 0 && P::irqs_enabled(),
            "BUG: synchronize inside a read-side section"
        );
        let late = || late_fn(&self.pending.cpus_racy());
        if self.rounds.share(until, late, || self.begin()) {
            Ok(())
        } else {
            Err(self.pending.cpus_racy())
        }
    }

    /// Begins a grace period. Returns true if no CPU had to be asked, so that it is
    /// over already. Otherwise the last CPU that reports ends it.
    ///
    /// # Context
    /// Preemption off.
    fn begin(&self) -> bool {
        let count = |counter: &AtomicU64, what: u64| {
            counter.fetch_add(what, Ordering::Relaxed);
        };
        count(&self.counts.grace_periods, 1);
        let me = P::this_cpu(); // (begun-in-a-thread)
        let (mut busy, mut asked, mut idle) = (CpuMask::EMPTY, 0, 0);
        for cpu in self.pending.watched().iter().filter(|cpu| *cpu != me) {
            if self.idle.get(cpu).quiet.is_quiet() {
                idle += 1;
            } else {
                busy.insert(cpu);
                asked += 1;
            }
        }
        count(&self.counts.idle, idle);
        if asked == 0 {
            return true;
        }
        count(&self.counts.asked, asked);
        self.pending.begin(&busy);
        P::send_sgi(Sgi::GracePeriod, &busy);
        false
    }

    /// Handles the SGI of a grace period: reports this CPU, or notes that it has still
    /// to report.
    ///
    /// # Context
    /// Interrupt handler, before it has taken any guard: the preempt count is that of
    /// the interrupted thread.
    pub fn interrupt(&self) {
        if P::preempt_count() == 0 {
            self.report();
        } else {
            P::set_preempt_work(PreemptWork::GracePeriod, true);
        }
    }

    /// Reports this CPU, if a grace period waits for it and the outermost guard has
    /// been dropped. Every preemption point calls this.
    pub fn preempt_point(&self) {
        // (own-note)
        if P::has_preempt_work(PreemptWork::GracePeriod) {
            let _still = IrqGuard::<P>::new();
            P::set_preempt_work(PreemptWork::GracePeriod, false);
            self.report();
        }
    }

    fn report(&self) {
        if self.pending.report(P::this_cpu()) {
            self.rounds.end();
        }
    }

    /// Returns the counters of what grace periods have cost so far.
    pub fn stats(&self) -> GraceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (queued, ran) = self.deferred.queues.totals();
        GraceStats {
            grace_periods: read(&self.counts.grace_periods),
            asked: read(&self.counts.asked),
            idle: read(&self.counts.idle),
            queued,
            ran,
        }
    }
}
