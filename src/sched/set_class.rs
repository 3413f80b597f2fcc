//! Changing how urgent a thread is, and how large its share, while it lives.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::time::Duration;

use crate::sched::class::NORMAL_LEVEL;
use crate::sched::{Class, Nice, SchedHost, Scheduler, Thread};
use crate::sync::IrqGuard;
use crate::sync::atomic::Ordering;

/// How long [`Scheduler::give_way`] sleeps: a realtime thread that wakes and soon sleeps again
/// needs less.
const WAY: Duration = Duration::from_micros(5);

/// While it exists, the thread that made it is as urgent as the kernel's own threads:
/// [`Scheduler::lend_urgency`].
///
/// Not `Send`: it belongs to that thread.
#[must_use]
#[derive(Debug)]
pub struct LentUrgency<P: SchedHost>(PhantomData<(*const (), P)>);

impl<P: SchedHost> Drop for LentUrgency<P> {
    fn drop(&mut self) {
        P::sched().lend(false);
        P::sched().say_parted();
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Makes the running thread as urgent as the kernel's own threads, until the guard is
    /// dropped: for work that other threads wait for. Its class and what it inherits may
    /// change meanwhile. Doesn't nest. The drop logs the threads whose CPUs have gone.
    ///
    /// # Context
    /// Thread.
    pub fn lend_urgency(&self) -> LentUrgency<P> {
        self.lend(true);
        LentUrgency(PhantomData)
    }

    /// Sleeps for 5 us if a realtime thread waits on this CPU: for a thread with lent urgency,
    /// between parts of its work that need the CPU without a break. No realtime thread can make
    /// that longer, because this thread keeps its level.
    ///
    /// # Context
    /// Thread, preemption on.
    pub fn give_way(&self) {
        let first = self.most_urgent_ready();
        if first.is_some_and(|level| level < NORMAL_LEVEL) {
            self.sleep_until(P::deadline(WAY));
        }
    }

    /// Does what [`Scheduler::change`] would do, for the running thread: it is on this CPU, in
    /// no queue, and waits for nothing.
    fn lend(&self, lent: bool) {
        let masked = IrqGuard::<P>::new();
        let cpu = P::this_cpu();
        let mut queue = self.queue(cpu).lock_masked(&masked);
        // Relaxed: a hint.
        let clock = || self.clock.load(Ordering::Relaxed);
        queue.change_current(clock, |thread| thread.urgency.lend(lent));
        let queued = self.note_queue(cpu, &mut queue);
        drop(queue);
        if queued.uneven {
            self.even_out(cpu, &masked);
        }
    }

    /// Returns whether another thread is ready on this CPU. For a thread that polls: it keeps no
    /// other from running.
    ///
    /// # Context
    /// Thread.
    pub fn is_awaited(&self) -> bool {
        self.most_urgent_ready().is_some()
    }

    /// Returns the level of the most urgent thread that is ready on this CPU, if one is.
    fn most_urgent_ready(&self) -> Option<usize> {
        let masked = IrqGuard::<P>::new();
        let queue = self.queue(P::this_cpu()).lock_masked(&masked);
        queue.ready.most_urgent_level()
    }

    /// Gives `thread` the class `class`, from now on. If another thread is more urgent
    /// then, that gets the CPU.
    ///
    /// # Context
    /// Any.
    pub fn set_class(&self, thread: &Arc<Thread<P>>, class: Class) {
        self.change(thread, |thread| thread.urgency.set_class(class));
    }

    /// Gives `thread` the niceness `nice`, from now on. It counts as long as the thread
    /// is an ordinary one.
    ///
    /// # Context
    /// Any.
    pub fn set_nice(&self, thread: &Arc<Thread<P>>, nice: Nice) {
        self.change(thread, |thread| thread.share.set_nice(nice));
    }

    /// Changes what decides about the thread's place, and puts the thread there.
    pub(super) fn change(&self, thread: &Arc<Thread<P>>, change_fn: impl FnOnce(&Thread<P>)) {
        self.change_place(thread, change_fn);
        if thread.place.waits() {
            self.wake(thread); // (`change-wakes` of `lock::inherit`)
        }
    }

    fn change_place(&self, thread: &Arc<Thread<P>>, change_fn: impl FnOnce(&Thread<P>)) {
        let masked = IrqGuard::<P>::new();
        let mut queue = self.lock_queue_of(thread, &masked);
        let cpu = thread.cpu();
        // Relaxed: a hint.
        let clock = || self.clock.load(Ordering::Relaxed);
        // What the other CPUs know of that queue may stay the same.
        let mut uneven = false;
        if Arc::ptr_eq(queue.current(), thread) {
            queue.change_current(clock, change_fn);
        } else if let Some(queued) = queue.ready.remove(thread) {
            // Out of the queue (`level-while-queued` of `ready`).
            queue.depart(&queued);
            change_fn(&queued);
            uneven = queued.level() < NORMAL_LEVEL;
            queue.enqueue_as_it_is(queued, clock);
        } else {
            change_fn(thread);
            return;
        }
        let here = cpu == P::this_cpu();
        let mut queued = self.note_queue(cpu, &mut queue);
        queued.uneven |= uneven;
        // If its thread is less urgent than it was, that CPU may have to pull one.
        queued.must_tell |= !here && queued.uneven;
        drop(queue);
        if here && queued.uneven {
            self.even_out(cpu, &masked);
        } else {
            self.complete(cpu, queued, &masked);
        }
    }
}
