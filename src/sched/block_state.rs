//! How a thread blocks and is woken: the transitions of its state and of the request to
//! park, and the loop of a per-CPU thread over them.
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
//! - **blocking-before-check**: a thread stores Blocking *before* it checks whether it must
//!   wait, and waits only if no waker has come since. So either it sees what was stored
//!   before the wake, or the wake finds it Blocking or Blocked.
//! - **parks-if-still-asked**: a thread parks only if the request still stands under
//!   the lock: an unpark that came earlier found it Running and did nothing.
//! - **wake-is-no-unpark**: a wake does nothing to a parking or parked thread: that
//!   thread would only read the request again and park once more.
//!   [`BlockState::unpark`] does nothing to a blocked thread (`unpark-only` of
//!   [`sched`](crate::sched)). The `unpark` that programs call is another one: it gives
//!   a [`Permit`](crate::sched::Permit) and is a wake.
//! - **park-request-first**: the loop of a per-CPU thread checks for a request to park
//!   first, and again last before it waits. Once it has seen a request it parks; only
//!   its service's `park` runs in between.
//!
//! # Memory ordering
//! The state changes under the run-queue lock, which orders it and the stores that a
//! waker made before. The request to park is read without the lock: what was done
//! before [`BlockState::ask_to_park`] or [`BlockState::unpark`] is visible to the
//! thread once it reads the request's new value (Release, Acquire).
//!
//! Dead means that the CPU is about to leave the thread. *Ended* means that the CPU has
//! left it: [`BlockState::end`] releases, and [`BlockState::has_ended`] acquires, all
//! that the thread did. Only `has_ended` may stand in for a join.
//!
//! `tests/loom_stopper.rs` model-checks this file, with a mutex for the run-queue lock
//! and a thread of the model for each thread. The model leaves out the switch itself
//! and the order of the run queue: `tests/host_sched/` and the kernels in QEMU test
//! those.

#![forbid(unsafe_code)]

use crate::sched::ThreadState;
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What the waker of a thread has to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// Nothing: the thread doesn't wait for this.
    Nothing,
    /// Nothing more: the thread was about to wait or to park. It runs on, or is still
    /// queued if it was preempted.
    GoesOn,
    /// Put the thread on its run queue.
    Enqueue,
}

/// Whether a thread runs or waits, and whether it has been asked to park.
#[derive(Debug)]
pub struct BlockState {
    /// A [`ThreadState`]. Relaxed: it changes under the run-queue lock
    /// (`state-under-lock` of [`sched`](crate::sched)), which orders it. Read without
    /// the lock for display, and by the thread itself.
    state: AtomicU32,
    /// Whether the thread has been asked to park. Stored Release, loaded Acquire.
    park: AtomicBool,
    /// Whether the thread is dead and off its CPU. Stored Release by the CPU that has
    /// left it, loaded Acquire.
    ended: AtomicBool,
}

impl BlockState {
    /// Returns a thread's block state, at `state`. If that is Parked, the request to
    /// park is set.
    pub fn new(state: ThreadState) -> BlockState {
        BlockState {
            state: AtomicU32::new(state as u32),
            park: AtomicBool::new(state == ThreadState::Parked),
            ended: AtomicBool::new(false),
        }
    }

    /// Returns the state.
    #[inline]
    pub fn state(&self) -> ThreadState {
        ThreadState::from_word(self.word())
    }

    #[inline]
    fn word(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    /// Returns whether the thread is about to wait or to park.
    #[inline]
    pub fn is_leaving(&self) -> bool {
        let word = self.word(); // As it is: a check that it is a state would cost as much.
        word == ThreadState::Blocking as u32 || word == ThreadState::Parking as u32
    }

    /// Stores `state`.
    ///
    /// # Context
    /// Under the lock.
    #[inline]
    pub fn set_state(&self, state: ThreadState) {
        self.state.store(state as u32, Ordering::Relaxed);
    }

    /// Completes what the thread was about to do, when it gives its CPU away: Blocking
    /// becomes Blocked, Parking becomes Parked.
    ///
    /// # Context
    /// Under the lock.
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

    /// Wakes the thread if it waits or is about to. Returns what the waker has to do.
    ///
    /// # Context
    /// Under the lock.
    #[inline]
    pub fn wake(&self) -> Wakeup {
        self.wakeup_from(ThreadState::Blocking, ThreadState::Blocked)
    }

    /// Returns whether the thread has been asked to park.
    #[inline]
    pub fn should_park(&self) -> bool {
        self.park.load(Ordering::Acquire)
    }

    /// Asks the thread to park. `wake_fn` takes the lock and wakes the thread, in case
    /// it waits.
    #[inline]
    pub fn ask_to_park(&self, wake_fn: impl FnOnce()) {
        self.park.store(true, Ordering::Release);
        wake_fn();
    }

    /// Withdraws the request to park. `wake_fn` takes the lock and calls
    /// [`BlockState::end_park`].
    #[inline]
    pub fn unpark(&self, wake_fn: impl FnOnce()) {
        self.park.store(false, Ordering::Release);
        wake_fn();
    }

    /// Wakes the thread if it has parked or is about to. Returns what the caller has to
    /// do.
    ///
    /// # Context
    /// Under the lock.
    #[inline]
    pub fn end_park(&self) -> Wakeup {
        self.wakeup_from(ThreadState::Parking, ThreadState::Parked)
    }

    #[inline]
    fn wakeup_from(&self, going: ThreadState, gone: ThreadState) -> Wakeup {
        // Only these two states change (wake-is-no-unpark).
        let state = self.word();
        if state == going as u32 {
            self.set_state(ThreadState::Running);
            Wakeup::GoesOn
        } else if state == gone as u32 {
            Wakeup::Enqueue
        } else {
            Wakeup::Nothing
        }
    }
}

/// The running thread, with what it needs of a scheduler to block.
pub trait Blocker {
    /// Returns the thread's state.
    fn block_state(&self) -> &BlockState;

    /// Calls `move_fn` under the lock of the thread's run queue.
    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R;

    /// Gives the CPU away: waits if the thread is about to, else yields.
    fn schedule(&self);

    /// Stores Blocking: from here on no wake is lost (blocking-before-check).
    fn about_to_block(&self) {
        self.under_lock(|state| state.set_state(ThreadState::Blocking));
    }

    /// Takes [`Blocker::about_to_block`] back.
    fn cancel_block(&self) {
        self.under_lock(|state| state.set_state(ThreadState::Running));
    }

    /// Parks until the request to park is withdrawn.
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
    /// It parks (park-request-first).
    Park,
    /// It runs its work.
    Run,
    /// It checks again: it has blocked, or was about to.
    Again,
}

/// Returns what the thread does next, after one round of a per-CPU thread's checks.
/// Blocks if there is nothing to do.
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
