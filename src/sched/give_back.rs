//! Giving threads their CPUs back when a way down turns back.
//!
//! While a CPU is on its way down, a thread that may run nowhere else goes elsewhere and may run
//! anywhere from then on, with a line in the log. If the way turns back, nothing is to have
//! changed: the thread gets its affinity again. If the CPU goes, that is final, as in Linux.
//!
//! # Invariants
//! - **lost-in-this-operation**: what threads have lost before a way down begins is forgotten
//!   then. So what is given back was lost in the operation that turns back, to a CPU that is
//!   active again.
//! - **newer-affinity-holds**: a thread that has been given another affinity since has lost
//!   nothing any more. That is looked up under the lock under which the affinity changes.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::cpu::CpuMask;
use crate::sched::{SchedHost, Scheduler, Thread};
use crate::sync::atomic::Ordering;

/// How many threads are looked up at once.
const AT_ONCE: usize = 16;

impl<P: SchedHost> Scheduler<P> {
    /// Forgets which threads have lost their CPUs in earlier operations
    /// (lost-in-this-operation).
    ///
    /// # Context
    /// Thread, with the hotplug lock.
    pub fn forget_lost_affinities(&self) {
        if self.any_lost.load(Ordering::Relaxed) {
            self.any_lost.store(false, Ordering::Relaxed);
            self.for_each_thread(|thread| thread.affinity.forget_lost());
        }
    }

    /// Lets the threads that have lost all their CPUs in this operation run there again, and
    /// nowhere else, if one of `cpus` is among them. These were on their way down, and are
    /// active again.
    ///
    /// # Context
    /// Thread, preemption on, with the hotplug lock.
    pub fn give_affinities_back(&self, cpus: &CpuMask) {
        // A CPU that has seen one of them inactive, and is about to place a thread, has a queue
        // locked until it has noted what the thread loses; one that locks a queue later sees
        // them active.
        for cpu in P::masks().possible().iter() {
            drop(self.queue(cpu).lock_irqsave());
        }
        if !self.any_lost.load(Ordering::Relaxed) {
            return;
        }
        self.say_parted(); // That they have gone comes first.
        loop {
            let losers = self.some_losers(cpus);
            if losers[0].is_none() {
                return;
            }
            for thread in losers.into_iter().flatten() {
                self.give_back(&thread);
            }
        }
    }

    /// Returns threads that have lost one of `cpus` with all others, the first of them.
    fn some_losers(&self, cpus: &CpuMask) -> [Option<Arc<Thread<P>>>; AT_ONCE] {
        let mut losers = [const { None }; AT_ONCE];
        let mut places = losers.iter_mut();
        let threads = self.threads.lock_irqsave();
        let mut at = threads.front();
        while let Some(thread) = at.get() {
            let lost = thread.affinity.lost();
            if lost.is_some_and(|lost| !lost.and(cpus).is_empty()) {
                let Some(place) = places.next() else {
                    break;
                };
                *place = at.clone_pointer();
            }
            at.move_next();
        }
        losers
    }

    fn give_back(&self, thread: &Arc<Thread<P>>) {
        let Some(lost) = thread.affinity.lost() else {
            return;
        };
        let is_lost = || thread.affinity.lost() == Some(lost); // (newer-affinity-holds)
        match self.set_affinity_if(thread, &lost, is_lost) {
            Ok(true) if !thread.moves_silently() => {
                log::warn!("thread {} affine to cpu{lost} again", thread.name());
            }
            Ok(_) => {}
            Err(error) => panic!("BUG: {thread:?} doesn't get {lost} back: {error}"),
        }
    }
}
