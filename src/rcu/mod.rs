//! Grace periods by SGI, and what waits for them.
//!
//! ```text
//!   unpublish X                      an SGI to each CPU that is not idle:
//!   synchronize() ── a round ──►       preempt count 0? it is quiescent
//!   free X                             else the outermost guard's drop reports
//! ```
//! A read-side section is a region with preemption off, or with IRQs masked. That makes
//! every CPU quiescent wherever a thread may be preempted, and in a still point: its
//! stopper has been switched to, so no section is under it. Microseconds, where waiting
//! for ticks takes milliseconds; and a thread that computes alone on its CPU holds
//! nothing up.
//!
//! - [`GracePeriods::synchronize`]: one grace period serves all who wait ([`Sequence`]).
//!   A CPU that is idle is in no section and isn't woken ([`Quiet`]).
//! - [`GracePeriods::call_rcu`]: a function that runs after one ([`Queues`]).
//! - [`GracePeriods::synchronize_tasks`]: also threads that were preempted.
//!
//! # CPUs that come and go
//! No grace period takes the hotplug lock, so hotplug may wait for one, and a
//! callback of hotplug too. Who begins one has preemption off until the SGI is out, and a
//! CPU leaves in a still point only: so it is sent the SGI or not waited for. If it has
//! not reported by the still point it is quiescent there, and says so itself (`init:rcu`,
//! the last step that it takes back but one); it is no longer watched by then, so the next
//! grace period doesn't wait for it either.
//! Steps below `init:rcu` may not read. A CPU that comes is watched from `init:rcu` on.
//! An SGI that is sent to it before its interrupts work may be lost, so it reports
//! unasked once it is online.
//!
//! # Invariants
//! - **reports-once**: a CPU in `pending` has been sent the SGI after the bit was set,
//!   and reports exactly once: the CPU that clears its bit counts `left` down. A stale
//!   or repeated SGI finds the bit clear, or is as good as the real one.
//! - **own-note**: the note that a CPU has still to report is written and read by that
//!   CPU only.
//! - **begun-in-a-thread**: a grace period is begun in a thread: its CPU is quiescent
//!   then, and so is not asked.
//! - **last-report-ends**: a grace period is ended by the last CPU that reports.
//!   Nothing is left to do for the thread that began it, which a more urgent thread may
//!   keep from its CPU.
//!
//! # Memory ordering
//! What a caller stored before [`GracePeriods::synchronize`] is visible to
//! every section that begins after that CPU's report: the number carries it to who
//! begins, the SGI to the CPU (DSB before the register write). What a section did
//! before it ended is visible after `synchronize`: `left` counts down with AcqRel, and
//! the number carries it from the last to the callers.
//! `tests/loom_rcu.rs` model-checks [`Pending`], [`Sequence`], [`Quiet`] and
//! [`Queues`]; the SGI and the wait queues are not in it.

#![forbid(unsafe_code)]

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
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicU64, Ordering};

pub use callbacks::{Batch, Node, Passes, Queues, node};
pub use pending::Pending;
pub use quiet::Quiet;
pub use read::ReadGuard;
pub use sequence::{Need, Sequence, Turn};

use deferred::Deferred;
use rounds::Rounds;

/// What grace periods need from their right.
pub trait GraceHost: SchedHost {
    /// The one instance.
    fn grace_periods() -> &'static GracePeriods<Self>;
}

/// What grace periods have cost so far. Counters: exact when none runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraceStats {
    /// Grace periods that have run.
    pub grace_periods: u64,
    /// CPUs that were sent an SGI.
    pub asked: u64,
    /// CPUs that were found idle, and left alone.
    pub idle: u64,
    /// Callbacks that have been queued.
    pub queued: u64,
    /// Callbacks that have run.
    pub ran: u64,
}

/// Relaxed: counters that nobody synchronises on.
#[derive(Debug, Default)]
struct Counts {
    grace_periods: AtomicU64,
    asked: AtomicU64,
    idle: AtomicU64,
}

/// Grace periods, and those who wait for them.
pub struct GracePeriods<P: SchedHost> {
    rounds: Rounds<P>,
    pending: Pending,
    quiet: PerCpu<Quiet>,
    counts: Counts,
    deferred: Deferred<P>,
    task_rounds: Rounds<P>,
}

impl<P: SchedHost> GracePeriods<P> {
    /// Nobody waits; for `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        GracePeriods {
            rounds: Rounds::new(),
            pending: Pending::new(),
            quiet: PerCpu::new(cpus, |_| Quiet::new()),
            counts: Counts::default(),
            deferred: Deferred::new(cpus),
            task_rounds: Rounds::new(),
        }
    }

    /// `init:rcu`, startup: from here on this CPU's sections count.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn startup(&self, cpu: CpuId) {
        self.pending.join(cpu);
    }

    /// This CPU is online, and in no section: reports, whether it has been asked or not.
    /// An SGI of before its interrupts worked is lost.
    ///
    /// # Context
    /// The CPU itself, IRQs masked, before its first thread.
    pub fn arrived(&self) {
        self.report();
    }

    /// `init:rcu`, teardown: this CPU is quiescent, and reads no more. If a grace period has
    /// waited for it alone that is over, but nobody hears of it before
    /// [`GracePeriods::after_teardown`].
    ///
    /// # Context
    /// `cpu` itself, in the still point that takes it down.
    pub fn teardown(&self, cpu: CpuId) {
        P::set_preempt_work(PreemptWork::GracePeriod, false);
        if self.pending.leave(cpu) {
            self.rounds.end_in_still_point();
        }
    }

    /// Wakes the threads that have waited for the grace period that a CPU's leaving has ended.
    ///
    /// # Context
    /// Thread; the caller of the still point that took the CPU down, after it.
    pub fn after_teardown(&self) {
        self.rounds.wake_after_still_point();
    }

    /// Sleeps until an interrupt is pending; meanwhile no grace period waits for
    /// this CPU.
    ///
    /// # Context
    /// The idle thread, IRQs masked.
    pub fn idle(&self) {
        let quiet = self.quiet.get(P::this_cpu());
        quiet.begin();
        P::sleep();
        quiet.end();
    }

    /// Whether `cpu` sleeps for want of work, a moment ago.
    #[inline]
    pub fn is_idle(&self, cpu: CpuId) -> bool {
        self.quiet.get(cpu).is_quiet()
    }

    /// Waits until every CPU has left the read-side section that it may be in now.
    /// Whenever ten seconds have passed it calls `late_fn` with those that hold it up,
    /// and waits on.
    ///
    /// # Context
    /// Thread, preemption on. Takes no lock of hotplug: the caller may hold any.
    ///
    /// # Panics
    /// In a read-side section: it would wait for itself.
    pub fn synchronize(&self, mut late_fn: impl FnMut(&CpuMask)) {
        assert!(
            P::preempt_count() == 0 && P::irqs_enabled(),
            "BUG: synchronize inside a read-side section"
        );
        let late = || late_fn(&self.pending.cpus_racy());
        self.rounds.share(late, || self.begin());
    }

    /// Begins a grace period; returns whether it is over by that. If not the last CPU
    /// that reports ends it.
    ///
    /// Context: preemption off.
    fn begin(&self) -> bool {
        let count = |counter: &AtomicU64, what: usize| {
            counter.fetch_add(what as u64, Ordering::Relaxed);
        };
        count(&self.counts.grace_periods, 1);
        let me = CpuMask::of(P::this_cpu()); // (begun-in-a-thread)
        let others = self.pending.watched().without(&me);
        let mut busy = others;
        for cpu in others.iter() {
            if self.quiet.get(cpu).is_quiet() {
                busy.remove(cpu);
            }
        }
        let asked = busy.count();
        count(&self.counts.idle, others.count() - asked);
        if asked == 0 {
            return true;
        }
        count(&self.counts.asked, asked);
        self.pending.begin(&busy);
        P::send_sgi(Sgi::GracePeriod, &busy);
        false
    }

    /// The SGI has arrived on this CPU.
    ///
    /// # Context
    /// Interrupt handler, before it has taken any guard: the preempt count is
    /// that of the interrupted thread.
    pub fn interrupt(&self) {
        if P::preempt_count() == 0 {
            self.report();
        } else {
            P::set_preempt_work(PreemptWork::GracePeriod, true);
        }
    }

    /// The outermost guard of this CPU has been dropped: reports, if a grace
    /// period waits for that. Called from every preemption point.
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

    /// What it has cost so far.
    pub fn stats(&self) -> GraceStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GraceStats {
            grace_periods: read(&self.counts.grace_periods),
            asked: read(&self.counts.asked),
            idle: read(&self.counts.idle),
            queued: self.deferred.queues.queued(),
            ran: read(&self.deferred.ran),
        }
    }
}
