//! Callbacks and the thread `rcu` that runs them; grace periods that also wait for
//! preempted threads.

use core::time::Duration;

use crate::rcu::callbacks::{Passes, Queues, node};
use crate::rcu::{GraceHost, GracePeriods};
use crate::sched::lock::WaitQueue;
use crate::sched::{Class, SchedHost, SpawnError, ThreadName};
use crate::sched::{late_at, patience};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Once, PreemptGuard};
use crate::time::Instant;

/// Interval at which a wait for threads checks again: the first, and the longest.
const LOOK_AGAIN: Duration = Duration::from_micros(50);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(10);
/// After a pass the thread that runs callbacks sleeps for as long as the pass took, but
/// no longer than this.
const LONGEST_REST: Duration = Duration::from_millis(10);

/// Callbacks, and the thread `rcu`.
pub(super) struct Deferred<P: SchedHost> {
    pub(super) queues: Queues<P>,
    passes: Passes,
    /// Where the thread waits for work.
    work: WaitQueue<P>,
    /// Where others wait for the end of a pass.
    passed: WaitQueue<P>,
    /// Callbacks that have run. Relaxed: a counter that only the thread writes.
    pub(super) ran: AtomicU64,
    /// The address of the thread `rcu`, to recognise it.
    thread: Once<usize>,
}

impl<P: SchedHost> Deferred<P> {
    pub(super) fn new(cpus: usize) -> Self {
        Deferred {
            queues: Queues::new(cpus),
            passes: Passes::new(),
            work: WaitQueue::new(),
            passed: WaitQueue::new(),
            ran: AtomicU64::new(0),
            thread: Once::new(),
        }
    }

    /// Runs queued callbacks, for ever.
    fn serve(&self, grace_periods: &GracePeriods<P>) {
        self.thread.call_once(P::thread_word);
        loop {
            let ready = || self.queues.has_any() || self.passes.is_asked();
            if !self.work.wait_until(Instant::FOREVER, ready) {
                continue;
            }
            let began = P::now();
            self.passes.begin();
            let possible = P::masks().possible();
            let batches: alloc::vec::Vec<_> = possible
                .iter()
                .map(|cpu| self.queues.take(cpu))
                .filter(|batch| !batch.is_empty())
                .collect();
            if !batches.is_empty() {
                grace_periods.synchronize(|late| {
                    log::warn!("rcu: callbacks wait for CPUs {late}");
                });
            }
            for batch in batches {
                let ran = batch.run();
                self.ran.fetch_add(ran, Ordering::Relaxed);
            }
            self.passes.end();
            self.passed.wake_all();
            // A callback may queue itself, and this thread is more urgent than all others.
            let now = P::now();
            let rest = now.after_ticks(now.ticks_since(began));
            P::sched().sleep_until(rest.min(P::deadline(LONGEST_REST)));
        }
    }
}

impl<P: SchedHost> GracePeriods<P> {
    /// Makes a thread run `call_fn` once, after a grace period that begins after this
    /// call. Callbacks that are queued on one CPU run in order. `call_fn` may wait, but
    /// delays all callbacks behind it.
    ///
    /// # Context
    /// Any in which memory may be allocated, in a still point too.
    pub fn call_rcu(&self, call_fn: impl FnOnce() + Send + 'static) {
        let node = node(call_fn);
        let here = PreemptGuard::<P>::new();
        let wake = self.deferred.queues.push(P::this_cpu(), node);
        drop(here);
        if wake {
            self.deferred.work.wake_one();
        }
    }

    /// Waits until every callback that was queued before has run.
    ///
    /// # Context
    /// Thread, preemption on; the boot is over.
    ///
    /// # Panics
    /// If a callback calls this: it would wait for its own end.
    pub fn barrier(&self) {
        let deferred = &self.deferred;
        assert!(
            deferred.thread.get() != Some(&P::thread_word()),
            "BUG: a callback waits for all callbacks"
        );
        let need = deferred.passes.ask();
        deferred.work.wake_one();
        let done = || deferred.passes.is_done(need);
        while !deferred.passed.wait_until(late_at::<P>(), done) {
            log::warn!(
                "rcu: a barrier has waited {} s; {} of {} callbacks have run",
                patience::<P>().as_secs(),
                deferred.ran.load(Ordering::Relaxed),
                deferred.queues.queued()
            );
        }
    }

    /// Waits until each thread has slept, parked, yielded or ended since the call, or
    /// had done so when it last left its CPU. So it also waits for a thread that was
    /// preempted, which [`Self::synchronize`] doesn't. Idle threads don't count.
    ///
    /// # Context
    /// Thread, preemption on. Waits without limit while other threads compute.
    pub fn synchronize_tasks(&self) {
        let late = || {
            log::warn!(
                "rcu: {} threads have run for {} s without a rest",
                P::sched().holdouts(),
                patience::<P>().as_secs()
            );
        };
        self.task_rounds.share_run(late, |late| {
            let mut left = P::sched().note_holdouts();
            let mut wait = LOOK_AGAIN;
            let mut limit = late_at::<P>();
            while left > 0 {
                P::sched().sleep_until(P::deadline(wait));
                wait = LOOK_AGAIN_MAX.min(wait * 2);
                left = P::sched().holdouts();
                if P::now() >= limit {
                    late();
                    limit = late_at::<P>();
                }
            }
        });
    }
}

impl<P: GraceHost> GracePeriods<P> {
    /// Starts the thread that runs callbacks.
    ///
    /// # Context
    /// Thread; once, when a CPU is active.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start_thread(&self) -> Result<(), SpawnError> {
        let name = ThreadName::new(format_args!("rcu"));
        let body = || {
            let all = P::grace_periods();
            all.deferred.serve(all);
        };
        P::sched()
            .spawn(name, Class::KERNEL, P::masks().possible(), body)
            .map(|_| ())
    }
}
