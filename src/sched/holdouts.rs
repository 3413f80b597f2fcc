//! Holdouts: threads that are running, or that were preempted and have not since slept,
//! parked, yielded or ended. Code that wants to remove something that such a thread may
//! still use waits until each of them has given its CPU away by itself. Here a thread counts
//! that was preempted in the application's own code, too.

#![forbid(unsafe_code)]

use crate::sched::{SchedHost, Scheduler, Thread, ThreadState};
use crate::sync::IrqGuard;

impl<P: SchedHost> Scheduler<P> {
    /// Records every holdout, except the running thread and idle threads. Returns how
    /// many it has recorded. [`Scheduler::holdouts`] returns how many of them are left.
    ///
    /// # Context
    /// Thread; one user at a time. IRQs are masked while all threads are examined.
    pub fn note_holdouts(&self) -> usize {
        self.with_current(|me| {
            self.count_threads(|thread| {
                let on_cpu = matches!(
                    thread.state(),
                    ThreadState::Running | ThreadState::Blocking | ThreadState::Parking
                );
                let holds = (on_cpu || thread.was_preempted_racy()) && !core::ptr::eq(thread, me);
                thread.set_holdout(holds);
                holds
            })
        })
    }

    /// Returns how many of the threads that [`Scheduler::note_holdouts`] has recorded
    /// have neither slept, parked, yielded nor ended since.
    ///
    /// # Context
    /// As [`Scheduler::note_holdouts`].
    pub fn holdouts(&self) -> usize {
        self.count_threads(Thread::is_holdout)
    }

    /// Returns the number of threads for which `look_fn`, called under the thread's
    /// run-queue lock, returns true.
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
