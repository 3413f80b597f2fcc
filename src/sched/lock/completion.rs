//! A completion: one thread waits until another one completes it.

#![forbid(unsafe_code)]

use crate::sched::Patience;
use crate::sched::SchedHost;
use crate::sched::lock::waiters::Waiters;
use crate::sync::{SpinLock, const_unless_loom, might_sleep_in};
use crate::time::Instant;

/// Value of `done` after [`Completion::complete_all`]: no wait sleeps any more.
const ALL: u32 = u32::MAX;

struct Inner<P: SchedHost> {
    done: u32,
    waiters: Waiters<P>,
}

/// A counter of completions that no waiter has taken yet.
///
/// The lock validator of a debug build ([`crate::sync::lockdep`]) records joins and
/// parks as waits, but no completions: it can't know which thread will complete one,
/// and a guess makes correct programs look wrong. Linux had such a guess
/// ("crossrelease", 4.14) and removed it because of its false alarms.
///
/// # Ownership
/// [`Completion::complete`] doesn't access the completion after its lock is open again,
/// and a waiter returns only after it has held that lock. So a completion may lie in
/// the waiter's frame.
pub struct Completion<P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
}

impl<P: SchedHost> Completion<P> {
    const_unless_loom! {
        /// Returns a completion that is not completed.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            Completion {
                inner: SpinLock::new(Inner {
                    done: 0,
                    waiters: Waiters::new(),
                }),
            }
        }
    }

    /// Completes it once: one waiter, now or later, continues.
    ///
    /// # Context
    /// Any.
    pub fn complete(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.done = inner.done.saturating_add(1);
        inner.waiters.wake_one();
    }

    /// Completes it for ever: no waiter sleeps any more.
    ///
    /// # Context
    /// Any.
    pub fn complete_all(&self) {
        let mut inner = self.inner.lock_irqsave();
        inner.done = ALL;
        inner.waiters.wake_all();
    }

    /// Resets it to "not completed".
    ///
    /// # Context
    /// Between two uses: no thread waits.
    ///
    /// # Panics
    /// If a thread waits.
    pub fn reset(&self) {
        let mut inner = self.inner.lock_irqsave();
        assert!(
            inner.waiters.is_empty(),
            "BUG: a completion was reset under a waiter"
        );
        inner.done = 0;
    }

    /// Takes one completion without waiting. Returns whether there was one.
    pub fn try_wait(&self) -> bool {
        take(&mut self.inner.lock_irqsave().done)
    }

    /// Waits for a completion and takes it, without limit: for waits that depend on the
    /// program. The kernel's own waits use [`Completion::wait_patiently`].
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait(&self) {
        assert!(
            self.wait_until(Instant::FOREVER),
            "BUG: a wait without limit ended without success"
        );
    }

    /// Waits for a completion and takes it. Each time that
    /// [`PATIENCE`](crate::sched::PATIENCE) has passed it calls `late_fn`, which logs
    /// what is waited for.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_patiently(&self, mut late_fn: impl FnMut()) {
        let mut late = Patience::begin::<P>();
        while !self.wait_until(late.next_look()) {
            if late.is_out(P::now()) {
                late_fn();
            }
        }
    }

    /// Waits for a completion until `at`, and takes it. Returns whether it got one.
    ///
    /// # Context
    /// Thread, preemption on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn wait_until(&self, at: Instant) -> bool {
        might_sleep_in::<P>("Completion::wait");
        if self.try_wait() {
            return true;
        }
        let sched = P::sched();
        let me = sched.current();
        loop {
            {
                let mut inner = self.inner.lock_irqsave();
                let done = take(&mut inner.done);
                let late = !done && P::now() >= at;
                if done || late {
                    inner.waiters.remove(&me);
                    return done;
                }
                inner.waiters.add(&me);
                sched.about_to_block(&me);
            }
            sched.schedule_until(&me, at);
        }
    }
}

impl<P: SchedHost> Default for Completion<P> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

fn take(done: &mut u32) -> bool {
    match *done {
        0 => false,
        ALL => true,
        _ => {
            *done -= 1;
            true
        }
    }
}
