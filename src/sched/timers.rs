//! Sleeping with a limit: a CPU's queue of threads that wake at an instant.
//!
//! Most limits are never reached, and to program a timer is dear, under a hypervisor
//! above all. So the timer is only ever moved to an earlier instant: one that was
//! cancelled, or that something later has replaced, still interrupts, finds nothing
//! due, and arms for what is first then.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::cpu::CpuId;
use crate::sched::{Host, Scheduler, Thread};
use crate::sync::{PreemptGuard, SpinLock, might_sleep};
use crate::time::{Instant, TimerKey, TimerQueue};

/// What one CPU's timer is armed for.
pub(crate) struct Timers<P: Host> {
    /// Taken with IRQs masked; under it only the heap's, should more threads of one
    /// CPU wait with a limit than there is room for.
    inner: SpinLock<Inner<P>, P>,
}

struct Inner<P: Host> {
    sleepers: TimerQueue<Arc<Thread<P>>>,
    /// An interrupt that somebody wants for its own sake.
    alarm: Instant,
    /// What the timer itself is set to: never later than what is due first.
    armed: Instant,
}

impl<P: Host> Inner<P> {
    fn first(&self) -> Instant {
        let first = self.sleepers.next().unwrap_or(Instant::FOREVER);
        first.min(self.alarm)
    }

    /// Moves the timer to what is due first, if that is earlier than it is.
    fn bring_forward(&mut self) {
        if self.first() < self.armed {
            self.arm();
        }
    }

    /// Arms the timer for what is due first, whatever it was set to.
    fn arm(&mut self) {
        self.armed = self.first();
        P::arm_timer((self.armed != Instant::FOREVER).then_some(self.armed));
    }
}

impl<P: Host> Timers<P> {
    pub(crate) fn new() -> Self {
        Timers {
            inner: SpinLock::new(Inner {
                sleepers: TimerQueue::new(),
                alarm: Instant::FOREVER,
                armed: Instant::FOREVER,
            }),
        }
    }

    fn add(&self, at: Instant, thread: &Arc<Thread<P>>) -> TimerKey {
        let mut inner = self.inner.lock_irqsave();
        let key = inner.sleepers.insert(at, Arc::clone(thread));
        inner.bring_forward();
        key
    }

    fn cancel(&self, key: TimerKey) {
        let mut inner = self.inner.lock_irqsave();
        // Already expired is as good as cancelled: the thread is awake.
        drop(inner.sleepers.remove(key));
    }

    fn set_alarm(&self, at: Instant) {
        let mut inner = self.inner.lock_irqsave();
        inner.alarm = at;
        inner.bring_forward();
    }

    /// Takes out a thread that is due; if none is, arms the timer for what is
    /// next. An alarm that is due has gone off by that.
    fn pop_expired(&self) -> Option<Arc<Thread<P>>> {
        let mut inner = self.inner.lock_irqsave();
        let now = P::now();
        let due = inner.sleepers.pop_expired(now);
        if due.is_none() {
            if inner.alarm <= now {
                inner.alarm = Instant::FOREVER;
            }
            inner.arm();
        }
        due
    }

    fn timer_was_reset(&self) {
        self.inner.lock_irqsave().arm();
    }
}

impl<P: Host> Scheduler<P> {
    /// Waits for a wake as [`Scheduler::schedule`] does, but not past `at`.
    ///
    /// # Context
    /// Thread, IRQs on, after [`Scheduler::about_to_block`].
    pub fn schedule_until(&self, me: &Arc<Thread<P>>, at: Instant) {
        if at == Instant::FOREVER {
            self.schedule();
            return;
        }
        let timers = self.timers.get(me.cpu());
        let key = timers.add(at, me);
        self.schedule();
        timers.cancel(key);
    }

    /// Has the timer interrupt this CPU at `at`, for whoever waits with
    /// interrupts served and looks at the time then; [`Instant::FOREVER`] takes
    /// that back. There is one alarm for each CPU.
    ///
    /// # Context
    /// Thread of `cpu`, which runs here.
    pub fn set_alarm(&self, cpu: CpuId, at: Instant) {
        self.timers.get(cpu).set_alarm(at);
    }

    /// Sleeps until `at`, and not less.
    ///
    /// # Context
    /// Thread, IRQs on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn sleep_until(&self, at: Instant) {
        might_sleep::<P>();
        let me = self.current();
        while P::now() < at {
            self.about_to_block(&me);
            self.schedule_until(&me, at);
        }
    }

    /// The timer of `cpu` has lost its setting: sets it anew (`init:timer`).
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn timer_was_reset(&self, cpu: CpuId) {
        self.timers.get(cpu).timer_was_reset();
    }

    /// The timer interrupt of this CPU: wakes what is due and arms the timer
    /// for what is next.
    ///
    /// # Context
    /// Interrupt handler.
    pub fn timer_interrupt(&self) {
        let _here = PreemptGuard::<P>::new();
        let timers = self.timers.get(P::this_cpu());
        while let Some(thread) = timers.pop_expired() {
            self.wake(&thread);
        }
    }
}
