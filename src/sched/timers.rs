//! Sleeping with a limit: a CPU's queue of threads that wake at an instant.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::sched::{Host, Scheduler, Thread};
use crate::sync::{PreemptGuard, SpinLock};
use crate::time::{Instant, TimerKey, TimerQueue};

/// The sleepers of one CPU.
pub(crate) struct Timers<P: Host> {
    /// Taken with IRQs masked; no other lock is taken under it.
    queue: SpinLock<TimerQueue<Arc<Thread<P>>>, P>,
}

impl<P: Host> Timers<P> {
    pub(crate) fn new() -> Self {
        Timers {
            queue: SpinLock::new(TimerQueue::new()),
        }
    }

    fn add(&self, at: Instant, thread: &Arc<Thread<P>>) -> TimerKey {
        let mut queue = self.queue.lock_irqsave();
        let key = queue.insert(at, Arc::clone(thread));
        P::arm_timer(queue.next());
        key
    }

    fn cancel(&self, key: TimerKey) {
        let mut queue = self.queue.lock_irqsave();
        // Already expired is as good as cancelled: the thread is awake.
        drop(queue.remove(key));
        P::arm_timer(queue.next());
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
        let alarm = self.set_alarm(me, at);
        self.schedule();
        self.clear_alarm(me, alarm);
    }

    /// Sets a timer interrupt for `at` on this CPU, and a wake of `me` if it
    /// then waits. Undone by [`Scheduler::clear_alarm`].
    ///
    /// # Context
    /// Thread, which is `me`.
    pub fn set_alarm(&self, me: &Arc<Thread<P>>, at: Instant) -> TimerKey {
        self.timers.get(me.cpu()).add(at, me)
    }

    /// Takes an alarm of `me` back, if it has not gone off.
    pub fn clear_alarm(&self, me: &Arc<Thread<P>>, alarm: TimerKey) {
        self.timers.get(me.cpu()).cancel(alarm);
    }

    /// Sleeps until `at`, and not less.
    ///
    /// # Context
    /// Thread, IRQs on.
    pub fn sleep_until(&self, at: Instant) {
        let me = self.current();
        while P::now() < at {
            self.about_to_block(&me);
            self.schedule_until(&me, at);
        }
    }

    /// The timer interrupt of this CPU: wakes what is due and arms the timer
    /// for what is next.
    ///
    /// # Context
    /// Interrupt handler.
    pub fn timer_interrupt(&self) {
        let _here = PreemptGuard::<P>::new();
        let timers = self.timers.get(P::this_cpu());
        loop {
            let due = {
                let mut queue = timers.queue.lock_irqsave();
                let due = queue.pop_expired(P::now());
                if due.is_none() {
                    P::arm_timer(queue.next());
                }
                due
            };
            match due {
                Some(thread) => {
                    self.wake(&thread);
                }
                None => return,
            }
        }
    }
}
