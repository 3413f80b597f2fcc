//! Callbacks: the threads that serve them, and the callers that pay for them. Grace periods
//! that also wait for preempted threads.
//!
//! # Two threads
//! `rcu` waits for grace periods. It is of the kernel's class, so that no thread of a
//! program delays a grace period. It runs no code of a program. After each grace period it
//! rests for several times as long, so that it takes a small part of one CPU at most.
//!
//! `rcuc` runs callbacks. Its class is set at boot, and is the normal one if it isn't: a
//! callback that computes takes no more of a CPU than any other thread.
//!
//! `rcuc` is one thread for all CPUs, and runs where the scheduler places it. A thread for
//! each CPU would run callbacks on the CPU that queued them, whose caches still have what
//! they free. But it would take 20 KiB of stack for each CPU, and each `cpu_down` would
//! have to park it and each `cpu_up` to unpark it. These are two switches and a wake-up
//! each, a tenth of the instructions of a `cpu_up`. And a CPU that a realtime thread keeps
//! would keep its callbacks, while a thread that may move runs them elsewhere. The order of
//! each CPU's callbacks is that of its queue in either case. The price is that callbacks run
//! on one CPU at a time, so callers that queue more than one CPU can run have to pay.
//!
//! # Callers that pay
//! A caller that finds its queue above the mark waits until it is shorter, but no longer
//! than 10 ms. The limit is for a caller that holds a lock that a callback needs: it goes
//! on, slowly, and nothing stands still for ever. A caller that may not wait is not held
//! up: in a section, in a handler, in a callback.

use core::time::Duration;

use crate::cpu::{CpuId, PerCpu};
use crate::rcu::callback::node;
use crate::rcu::callbacks::Queues;
use crate::rcu::{GraceHost, GracePeriods};
use crate::sched::lock::WaitQueue;
use crate::sched::{Class, SchedHost, SpawnError, ThreadName};
use crate::sched::{late_at, patience};
use crate::sync::{Once, PreemptGuard};
use crate::time::Instant;

/// Interval at which a wait for threads checks again: the first, and the longest.
const LOOK_AGAIN: Duration = Duration::from_micros(50);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(10);
/// After a grace period the thread `rcu` rests for so many times as long as that took, but
/// no longer than this.
const REST: u64 = 8;
const LONGEST_REST: Duration = Duration::from_millis(10);
/// How long a caller of `call_rcu` that may wait waits at most for each callback.
const LONGEST_PAY: Duration = Duration::from_millis(10);

/// Callbacks, and the threads `rcu` and `rcuc`.
pub(super) struct Deferred<P: SchedHost> {
    pub(super) queues: Queues<P>,
    /// Where `rcu` waits for callbacks.
    fresh: WaitQueue<P>,
    /// Where `rcuc` waits for the end of a grace period.
    ready: WaitQueue<P>,
    /// Where barriers wait until callbacks have run.
    passed: WaitQueue<P>,
    /// Where callers wait that have found the queue of a CPU full.
    room: PerCpu<WaitQueue<P>>,
    /// The address of the thread `rcuc`, to recognise it.
    thread: Once<usize>,
}

impl<P: SchedHost> Deferred<P> {
    pub(super) fn new(cpus: usize) -> Self {
        Deferred {
            queues: Queues::new(cpus),
            fresh: WaitQueue::new(),
            ready: WaitQueue::new(),
            passed: WaitQueue::new(),
            room: PerCpu::new(cpus, |_| WaitQueue::new()),
            thread: Once::new(),
        }
    }

    /// Waits for the grace periods that callbacks need, for ever.
    fn wait_for_grace(&self, grace_periods: &GracePeriods<P>) {
        let queues = &self.queues;
        loop {
            self.fresh
                .wait_until(Instant::FOREVER, || queues.wants_grace());
            let began = P::now();
            let gathered = queues.gather();
            grace_periods.synchronize(|late| {
                log::warn!("rcu: callbacks wait for CPUs {late}");
            });
            queues.release(&gathered);
            self.ready.wake_one();
            // A callback may queue itself, and this thread is more urgent than all others.
            let now = P::now();
            let rest = now.after_ticks(now.ticks_since(began).saturating_mul(REST));
            P::sched().sleep_until(rest.min(P::deadline(LONGEST_REST)));
        }
    }

    /// Runs callbacks whose grace period is over, for ever.
    fn run_callbacks(&self) {
        self.thread.call_once(P::thread_word);
        loop {
            let is_ready = || !self.queues.ready().is_empty();
            self.ready.wait_until(Instant::FOREVER, is_ready);
            for cpu in self.queues.ready().iter() {
                let ran = self.queues.run_some(cpu);
                if ran.wants_grace {
                    self.fresh.wake_one();
                }
                if ran.made_room {
                    self.room.get(cpu).wake_all();
                }
                self.passed.wake_all();
            }
        }
    }

    /// Waits until the queue of `cpu`, which was full, has room, if the caller may wait.
    fn pay(&self, cpu: CpuId) {
        let may_wait = P::preempt_count() == 0 && P::irqs_enabled();
        // While the kernel boots there is no thread yet that would make room.
        let is_callback = self
            .thread
            .get()
            .is_none_or(|thread| *thread == P::thread_word());
        if may_wait && !is_callback {
            let has_room = || self.queues.has_room(cpu);
            self.room
                .get(cpu)
                .wait_until(P::deadline(LONGEST_PAY), has_room);
        }
    }
}

impl<P: SchedHost> GracePeriods<P> {
    /// Makes the thread `rcuc` run `call_fn` once, after a grace period that begins after
    /// this call. Callbacks that are queued on one CPU run in order. `call_fn` may wait, but
    /// delays all callbacks behind it.
    ///
    /// A caller that may wait, and queues callbacks faster than they run, waits up to 10 ms
    /// each time.
    ///
    /// # Context
    /// Any in which memory may be allocated, in a still point too. Waits only in a thread
    /// with preemption and IRQs on.
    pub fn call_rcu(&self, call_fn: impl FnOnce() + Send + 'static) {
        let node = node(call_fn);
        let here = PreemptGuard::<P>::new();
        let cpu = P::this_cpu();
        let pushed = self.deferred.queues.push(cpu, node);
        drop(here);
        if pushed.wants_grace {
            self.deferred.fresh.wake_one();
        }
        if pushed.is_full {
            self.deferred.pay(cpu);
        }
    }

    /// Sets above how many waiting callbacks of one CPU a caller of
    /// [`GracePeriods::call_rcu`] waits.
    pub fn set_callback_mark(&self, mark: u64) {
        self.deferred.queues.set_mark(mark);
    }

    /// Waits until every callback that was queued before has run. It doesn't
    /// wait for those that are queued later.
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
        let era = deferred.queues.begin_era();
        for cpu in P::masks().possible().iter() {
            let done = || deferred.queues.is_past(cpu, era);
            while !deferred.passed.wait_until(late_at::<P>(), done) {
                let (queued, ran) = deferred.queues.totals();
                log::warn!(
                    "rcu: a barrier has waited {} s; {ran} of {queued} callbacks have run",
                    patience::<P>().as_secs(),
                );
            }
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
    /// Starts the threads of callbacks. Callbacks run in a thread of `class`.
    ///
    /// # Context
    /// Thread; once, when a CPU is active.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start_threads(&self, class: Class) -> Result<(), SpawnError> {
        let anywhere = P::masks().possible();
        let waits = || {
            let all = P::grace_periods();
            all.deferred.wait_for_grace(all);
        };
        let runs = || P::grace_periods().deferred.run_callbacks();
        let name = ThreadName::new(format_args!("rcu"));
        P::sched().spawn(name, Class::KERNEL, anywhere, waits)?;
        let name = ThreadName::new(format_args!("rcuc"));
        P::sched().spawn(name, class, anywhere, runs)?;
        Ok(())
    }
}
