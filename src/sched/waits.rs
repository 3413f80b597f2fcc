//! How long threads wait for a CPU: while that is wanted, by a governor.
//!
//! A CPU counts the time for which movable threads were queued on it behind another one, each of
//! them for itself. It is counted where the number of them changes, so that it costs nothing while
//! it doesn't, and next to nothing while no governor runs: [`SchedHost::accounts_waits`] is a
//! static key then.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::sched::{SchedHost, Scheduler};
use crate::sync::atomic::{AtomicU64, Ordering};

/// How long threads have waited on a CPU. Relaxed: accessed under the lock of its run queue.
pub(super) struct Waits {
    /// Up to `since`, in ticks.
    ticks: AtomicU64,
    since: AtomicU64,
}

/// What a CPU has done, up to now. Times are ticks; all of them only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLoad {
    /// For how long threads other than the idle one have had it.
    pub busy: u64,
    /// For how long threads that may run elsewhere have waited there, added up, while waits are
    /// counted.
    pub waited: u64,
    /// How many such threads wait there now.
    pub waiting: u64,
}

impl Waits {
    pub(super) fn new() -> Waits {
        Waits {
            ticks: AtomicU64::new(0),
            since: AtomicU64::new(0),
        }
    }

    /// Counts the time for which `waiting` threads have waited, up to `now`. Returns how long
    /// threads have waited altogether.
    fn account(&self, waiting: u64, now: u64) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        let more = now.saturating_sub(since).saturating_mul(waiting);
        let ticks = self.ticks.load(Ordering::Relaxed).wrapping_add(more);
        self.ticks.store(ticks, Ordering::Relaxed);
        self.since.store(now, Ordering::Relaxed);
        ticks
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Counts what threads have waited on `cpu`, of which `before` waited until now, and `now`
    /// wait from now on. Tells the governor of the first.
    ///
    /// # Context
    /// Under the lock of the queue of `cpu`.
    #[cold]
    pub(super) fn account_wait(&self, cpu: CpuId, before: u64, now: u64) {
        self.cpus.get(cpu).waits.account(before, P::now().0);
        if before == 0 && now > 0 {
            P::threads_wait();
        }
    }

    /// Forgets the time before now: waits are counted from here on.
    ///
    /// # Context
    /// Thread, before [`SchedHost::accounts_waits`] begins to return true.
    pub fn begin_waits(&self) {
        for (cpu, record) in self.cpus.iter() {
            let _queue = self.queue(cpu).lock_irqsave();
            record.waits.since.store(P::now().0, Ordering::Relaxed);
        }
    }

    /// Returns what `cpu` has done up to now; `None` if it has never run. Charges its running
    /// thread.
    ///
    /// # Context
    /// Any in which a run queue may be locked; the caller keeps `cpu` online.
    pub fn load_of(&self, cpu: CpuId) -> Option<CpuLoad> {
        let mut queue = self.queue(cpu).lock_irqsave();
        let _idle = queue.idle_thread()?;
        queue.charge_current();
        let record = self.cpus.get(cpu);
        let waiting = record.waiting.load(Ordering::Relaxed);
        Some(CpuLoad {
            busy: queue.busy_ticks().unwrap_or(0),
            waited: record.waits.account(waiting, queue.charged().0),
            waiting,
        })
    }
}
