//! A permit to go on: what the `unpark` of a program gives a thread and its `park` takes.
//! [`Scheduler::unpark`] is another thing: see "Park and permit" in
//! [`sched`](crate::sched).
//!
//! # Invariants
//! - **one-permit**: there is one permit at most: given twice it is taken once.
//! - **no-permit-lost**: no permit is lost. The giver stores it before it wakes the
//!   thread; the thread stores Blocking before it looks for the permit
//!   (`blocking-before-check` of [`BlockState`](crate::sched::BlockState)).
//!
//! `tests/loom_permit.rs` model-checks [`Permit`], with the states of
//! [`BlockState`](crate::sched::BlockState).

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::sched::{Blocker, Running, SchedHost, Scheduler, Thread};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// A permit, or none.
#[derive(Debug)]
pub struct Permit {
    /// Whether there is a permit. Stored Release in `give`, taken Acquire in `take`:
    /// what the giver did before is visible to the thread that takes it.
    given: AtomicBool,
}

impl Permit {
    const_unless_loom! {
        /// Returns a `Permit` that holds none.
        pub const fn new() -> Permit {
            Permit {
                given: AtomicBool::new(false),
            }
        }
    }

    /// Gives the permit. `wake_fn` takes the lock of the thread's run queue and wakes
    /// the thread, in case it waits.
    pub fn give(&self, wake_fn: impl FnOnce()) {
        // A swap, because loom lets a store and an access that changes both win.
        self.given.swap(true, Ordering::Release);
        wake_fn(); // Afterwards (no-permit-lost).
    }

    /// Takes the permit, if there is one. Returns whether there was (one-permit).
    pub fn take(&self) -> bool {
        self.given.swap(false, Ordering::Acquire)
    }

    /// Makes `thread`, which is running, wait for a permit and take it, until
    /// `is_late_fn` returns true. Returns whether it got one. `sleep_fn` gives the CPU
    /// away. What makes `is_late_fn` true wakes the thread afterwards.
    pub fn wait(
        &self,
        thread: &impl Blocker,
        is_late_fn: impl Fn() -> bool,
        sleep_fn: impl Fn(),
    ) -> bool {
        loop {
            if self.take() {
                return true;
            }
            if is_late_fn() {
                return false;
            }
            thread.about_to_block();
            // Relaxed: the lock of the run queue orders it, and `take` comes after it.
            if self.given.load(Ordering::Relaxed) || is_late_fn() {
                thread.cancel_block();
            } else {
                sleep_fn();
            }
        }
    }
}

impl Default for Permit {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Gives `thread` a permit. If the thread waits for one it runs on; if not, its
    /// next wait returns at once. A thread has one permit at most.
    ///
    /// # Context
    /// Any.
    pub fn give_permit(&self, thread: &Arc<Thread<P>>) {
        thread.permit.give(|| {
            self.wake(thread);
        });
    }

    /// Waits for a permit until `at`, and takes it. Returns whether it got one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_permit(&self, at: Instant) -> bool {
        might_sleep_in::<P>("park");
        let me = self.current();
        let running = Running {
            sched: self,
            me: &me,
        };
        let is_late = || at != Instant::FOREVER && P::now() >= at;
        me.permit
            .wait(&running, is_late, || self.schedule_until(&me, at))
    }
}
