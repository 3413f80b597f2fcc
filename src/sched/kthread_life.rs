//! The life of a per-CPU thread, from its first unpark to its end.
//!
//! ```text
//!                    ┌────────────────────────────────────────────┐
//!   made, parked ──► unpark ──► set up? ── no ──► setup ── fails ─┤ parks, and isn't set up
//!                    ▲             │ yes            │             │
//!                    │             └────► works ◄───┘             │
//!                    │                      │ asked to park       │
//!                    └──────────────────── parked ◄───────────────┘
//!                                           │ unparked, and is to end
//!                                           ▼
//!                                        cleanup, if it is set up
//! ```
//! Work that goes on for ever parks inside of it, in [`stay`], and goes on there when it is
//! unparked. If the thread is to end, the work returns, and cleanup is next.
//!
//! # Invariants
//! - **set-up-once**: `setup` succeeds once in a thread's life, and `cleanup` is called once
//!   if it has, after everything else. A `setup` that fails is called again at the next unpark.
//! - **told-before-works**: whether `setup` has succeeded is told before the thread does
//!   anything else, so its CPU turns back before the service runs there.
//! - **ends-from-its-park**: the thread looks whether it is to end only after an unpark. That is
//!   set before the unpark, which orders it (`BlockState`).
//!
//! `tests/loom_services.rs` model-checks this file, with one thread that has the life begin, rest
//! and end, as hotplug does under its locks, and another that wakes the thread at any time.

#![forbid(unsafe_code)]

use crate::errno::Errno;
use crate::sched::{Blocker, KthreadStep, next_step};
use crate::sync::{LocalCpu, SpinLock};

/// How far a per-CPU thread has come in its life.
pub struct KthreadLife<E: LocalCpu>(SpinLock<Stage, E>);

struct Stage {
    is_set_up: bool,
    /// Why the last `setup` has failed.
    failed: Option<Errno>,
    /// The thread ends when it is unparked.
    ends: bool,
}

/// What the thread does at the places of its life.
pub trait Acts {
    /// The thread has been unparked, and goes on.
    fn begin(&self);
    /// Sets the service up.
    ///
    /// # Errors
    /// Why it can't work there.
    fn setup(&self) -> Result<(), Errno>;
    /// Tells that [`Acts::setup`] has returned.
    fn tell(&self);
    /// The thread goes on, set up.
    fn unpark(&self);
    /// Returns whether there is work to do.
    fn should_run(&self) -> bool;
    /// Does the work, or a part of it. Returns whether the thread goes on; not if [`stay`] has
    /// said inside that it is to end.
    fn run(&self) -> bool;
    /// The thread is about to park.
    fn park(&self);
    /// The thread parks now.
    fn rest(&self);
    /// Undoes [`Acts::setup`].
    fn cleanup(&self);
}

impl<E: LocalCpu> KthreadLife<E> {
    /// Returns the life of a thread that has not been unparked yet.
    #[cfg_attr(debug_assertions, track_caller)]
    #[must_use]
    pub fn new() -> Self {
        KthreadLife(SpinLock::new(Stage {
            is_set_up: false,
            failed: None,
            ends: false,
        }))
    }

    /// Returns whether `setup` has succeeded.
    pub fn is_set_up(&self) -> bool {
        self.0.lock().is_set_up
    }

    /// Returns and forgets why the last `setup` has failed.
    pub fn take_failure(&self) -> Option<Errno> {
        self.0.lock().failed.take()
    }

    /// Has the thread, which is parked, end when it is unparked next (ends-from-its-park).
    pub fn end(&self) {
        self.0.lock().ends = true;
    }

    fn ends(&self) -> bool {
        self.0.lock().ends
    }

    /// Sets the service up unless it is; returns whether it is now.
    fn set_up(&self, acts: &impl Acts) -> bool {
        if self.is_set_up() {
            return true;
        }
        let done = acts.setup();
        {
            let mut stage = self.0.lock();
            stage.is_set_up = done.is_ok();
            stage.failed = done.err();
        }
        acts.tell(); // (told-before-works)
        done.is_ok()
    }
}

impl<E: LocalCpu> Default for KthreadLife<E> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

/// Parks as [`live`] does, if the thread has been asked to, inside of its work. Returns whether the
/// thread goes on there; if not, it is to end (ends-from-its-park).
///
/// # Context
/// The thread itself, in [`Acts::run`], which returns `false` then.
#[must_use]
pub fn stay<E: LocalCpu>(thread: &impl Blocker, life: &KthreadLife<E>, acts: &impl Acts) -> bool {
    if !thread.block_state().should_park() {
        return true;
    }
    acts.park();
    acts.rest();
    thread.park();
    if life.ends() {
        return false;
    }
    acts.begin();
    acts.unpark();
    true
}

/// Lives the life of a per-CPU thread. The order of the checks is the same for all.
///
/// # Context
/// The thread itself, at its first unpark.
pub fn live<E: LocalCpu>(thread: &impl Blocker, life: &KthreadLife<E>, acts: &impl Acts) {
    'life: while !life.ends() {
        acts.begin();
        let works = life.set_up(acts);
        if works {
            acts.unpark();
        }
        loop {
            match next_step(thread, || works && acts.should_run()) {
                KthreadStep::Park => break,
                KthreadStep::Run if acts.run() => {}
                KthreadStep::Run => break 'life,
                KthreadStep::Again => {}
            }
        }
        if works {
            acts.park();
        }
        acts.rest();
        thread.park();
    }
    if life.is_set_up() {
        acts.cleanup(); // (set-up-once)
    }
}
