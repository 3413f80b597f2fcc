//! How a thread blocks and is woken: the moves on its state and on the
//! request to park, and the loop of a per-CPU thread over them.
//!
//! ```text
//!   thread                                   waker, any CPU
//!   ──────                                   ──────────────
//!   under the lock: Blocking                 queue the work, store the count
//!   anything to do? ──yes──► Running again   under the lock:
//!   under the lock: Blocking ► Blocked         Blocking ► Running
//!   gives the CPU away                         Blocked  ► run queue
//! ```
//! "The lock" is that of the thread's run queue.
//!
//! # Invariants
//! - **says-then-looks**: a thread says that it is about to wait *before* it looks
//!   whether it need wait, and waits only if no waker has come since. So either it sees
//!   what was stored before the wake, or the wake finds it Blocking or Blocked.
//! - **parks-if-still-asked**: a thread parks only if the request still stands under
//!   the lock: an unpark that came earlier found it Running and did nothing.
//! - **wake-is-no-unpark**: a wake does nothing to a parking or parked thread, which
//!   would look at the request again and park once more; an unpark does nothing to a
//!   waiting one (`unpark-only` of [`sched`](crate::sched)).
//! - **park-request-first**: the loop of a per-CPU thread looks for a request to park
//!   first, and last before it waits. Once it has seen one it parks with nothing in
//!   between but its service's `park`.
//!
//! # Memory ordering
//! The state is decided under the run-queue lock, which orders it and what a waker
//! stored before. The request to park is read without the lock: what was done
//! before [`BlockState::ask_to_park`] or [`BlockState::unpark`] is visible to the thread once
//! it sees that (Release, Acquire).
//!
//! That a thread is Dead says that its CPU is about to leave it. That it has *ended* says
//! that its CPU has left it: [`BlockState::end`] releases, and [`BlockState::has_ended`] acquires, all
//! that the thread did. Only this may stand in for a join.
//!
//! `tests/loom_stopper.rs` model-checks this file, with a mutex for the run-queue
//! lock and a thread of the model for each thread. The switch itself and the order
//! of the run queue are not in it: `tests/host_sched.rs` and the kernels in QEMU
//! show those.

#![forbid(unsafe_code)]

use crate::sched::ThreadState;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What a waker of a thread has to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// Nothing: it doesn't wait for this.
    Nothing,
    /// Nothing more: it was about to wait, and goes on.
    GoesOn,
    /// Put it on its run queue.
    Enqueue,
}

/// Whether a thread runs or waits, and whether it has been asked to park.
#[derive(Debug)]
pub struct BlockState {
    /// Changed and decided upon under the run-queue lock (`state-under-lock` of
    /// [`sched`](crate::sched)); Relaxed, because
    /// that lock orders it. Read elsewhere for display, and by the thread itself.
    state: AtomicU32,
    /// Stored Release, loaded Acquire.
    park: AtomicBool,
    /// Stored Release by the CPU that has left the dead thread, loaded Acquire.
    ended: AtomicBool,
}

impl BlockState {
    /// In `state`; asked to park if that is Parked.
    pub fn new(state: ThreadState) -> BlockState {
        BlockState {
            state: AtomicU32::new(state as u32),
            park: AtomicBool::new(state == ThreadState::Parked),
            ended: AtomicBool::new(false),
        }
    }

    /// The state.
    #[inline]
    pub fn state(&self) -> ThreadState {
        ThreadState::from_word(self.state.load(Ordering::Relaxed))
    }

    /// The run queue's own moves. Under the lock.
    #[inline]
    pub fn set_state(&self, state: ThreadState) {
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// The thread gives its CPU away: what it was about to do, it does. Under the
    /// lock.
    #[inline]
    pub fn settle(&self) {
        match self.state() {
            ThreadState::Blocking => self.set_state(ThreadState::Blocked),
            ThreadState::Parking => self.set_state(ThreadState::Parked),
            _ => {}
        }
    }

    /// Says that the thread, which is dead, is off its CPU and will touch nothing any more.
    ///
    /// # Context
    /// The CPU that ran it, after the switch to the next thread.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Returns whether the thread is dead and off its CPU. All that it did is visible to
    /// the caller then.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Somebody wakes the thread. Under the lock.
    #[inline]
    pub fn wake(&self) -> Wakeup {
        self.wakeup_from(ThreadState::Blocking, ThreadState::Blocked)
    }

    /// Whether the thread has been asked to park.
    #[inline]
    pub fn should_park(&self) -> bool {
        self.park.load(Ordering::Acquire)
    }

    /// Asks the thread to park. `wake_fn` takes the lock and wakes it, in case it
    /// waits.
    #[inline]
    pub fn ask_to_park(&self, wake_fn: impl FnOnce()) {
        self.park.store(true, Ordering::Release);
        wake_fn();
    }

    /// Takes the request back. `wake_fn` takes the lock and makes the move
    /// [`BlockState::end_park`].
    #[inline]
    pub fn unpark(&self, wake_fn: impl FnOnce()) {
        self.park.store(false, Ordering::Release);
        wake_fn();
    }

    /// Somebody unparks the thread. Under the lock.
    #[inline]
    pub fn end_park(&self) -> Wakeup {
        self.wakeup_from(ThreadState::Parking, ThreadState::Parked)
    }

    #[inline]
    fn wakeup_from(&self, going: ThreadState, gone: ThreadState) -> Wakeup {
        // From these two states and no other (wake-is-no-unpark).
        let state = self.state();
        if state == going {
            self.set_state(ThreadState::Running);
            Wakeup::GoesOn
        } else if state == gone {
            Wakeup::Enqueue
        } else {
            Wakeup::Nothing
        }
    }
}

/// The running thread, as far as it needs a scheduler to block.
pub trait Blocker {
    /// Its state.
    fn block_state(&self) -> &BlockState;

    /// Calls `move_fn` under the lock of its run queue.
    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R;

    /// Gives the CPU away: to wait, if it is about to, else as a yield.
    fn schedule(&self);

    /// Says that it is about to wait: from here on a wake is not lost
    /// (says-then-looks).
    fn about_to_block(&self) {
        self.under_lock(|state| state.set_state(ThreadState::Blocking));
    }

    /// Takes [`Blocker::about_to_block`] back.
    fn cancel_block(&self) {
        self.under_lock(|state| state.set_state(ThreadState::Running));
    }

    /// Parks until it is unparked.
    fn park(&self) {
        while self.block_state().should_park() {
            self.under_lock(|state| {
                if state.should_park() {
                    state.set_state(ThreadState::Parking); // (parks-if-still-asked)
                }
            });
            if self.block_state().state() == ThreadState::Parking {
                self.schedule();
            }
        }
    }
}

/// What a per-CPU thread does next.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KthreadStep {
    /// Parks (park-request-first).
    Park,
    /// Runs.
    Run,
    /// It has blocked, or was about to: looks again.
    Again,
}

/// One look of the loop of a per-CPU thread; blocks if there is nothing to do.
pub fn next_step(thread: &impl Blocker, should_run_fn: impl Fn() -> bool) -> KthreadStep {
    if thread.block_state().should_park() {
        return KthreadStep::Park;
    }
    if should_run_fn() {
        return KthreadStep::Run;
    }
    thread.about_to_block();
    if thread.block_state().should_park() || should_run_fn() {
        thread.cancel_block();
    } else {
        thread.schedule();
    }
    KthreadStep::Again
}
