//! Threads in the middle of something: running, or marked because they lost the CPU
//! there. Who wants to take something away that they may be in the middle of waits
//! until each has given its CPU away by itself.

#![forbid(unsafe_code)]

use crate::sched::{SchedHost, Scheduler, Thread, ThreadState};
use crate::sync::IrqGuard;

impl<P: SchedHost> Scheduler<P> {
    /// Notes every thread that is in the middle of something, but the running one and
    /// those that are idle; returns how many. [`Scheduler::holdouts`] says how many
    /// have been ever since.
    ///
    /// # Context
    /// Thread; one user at a time. IRQs are masked for as long as a look at all threads
    /// takes.
    pub fn note_holdouts(&self) -> usize {
        self.with_current(|me| {
            self.count_threads(|thread| {
                let on_cpu = matches!(
                    thread.state(),
                    ThreadState::Running | ThreadState::Blocking | ThreadState::Parking
                );
                let holds = (on_cpu || thread.is_marked_racy()) && !core::ptr::eq(thread, me);
                thread.set_holdout(holds);
                holds
            })
        })
    }

    /// How many of those that [`Scheduler::note_holdouts`] has noted have neither slept,
    /// parked, yielded nor ended since.
    ///
    /// # Context
    /// As there.
    pub fn holdouts(&self) -> usize {
        self.count_threads(Thread::is_holdout)
    }

    /// How many threads `look_fn` says yes to, each under its run-queue lock.
    fn count_threads(&self, mut look_fn: impl FnMut(&Thread<P>) -> bool) -> usize {
        let mut count = 0;
        let masked = IrqGuard::<P>::new();
        self.for_each_thread(|thread| {
            let _queue = self.lock_queue_of(thread, &masked);
            count += usize::from(look_fn(thread));
        });
        count
    }
}
