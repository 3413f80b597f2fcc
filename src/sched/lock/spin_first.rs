//! How a thread waits for a lock: it spins for a moment, and then it sleeps.
//!
//! It spins if the thread that has the lock gets on meanwhile on another CPU, for as long as waits
//! of this kind for this lock have been worth it lately ([`SpinBudget`]). Two wake-ups are saved by
//! that, its own and, where two threads take turns, the other one's. It spins with preemption on. It
//! has its place in line before, so a thread that is let in while it spins doesn't sleep.

#![forbid(unsafe_code)]

use crate::sched::{SchedHost, Thread, ThreadState};
use crate::sync::{SpinBudget, Spins};
use crate::time::Instant;

/// Returns whether `owner`, which has the lock, runs or is about to.
pub(super) fn gets_on<P: SchedHost>(owner: &Thread<P>) -> bool {
    matches!(
        owner.state_racy(),
        ThreadState::Running | ThreadState::Runnable
    )
}

/// Calls `sleep_fn`, which sleeps until the running thread has the lock, but no longer than until
/// `at`; returns its value. Before that it spins until `is_over_fn` returns true, which is only a
/// hint, for as long as `budget` says.
///
/// It doesn't spin if another thread is ready on this CPU, which may be the one that has the lock,
/// nor if `at` is so near that the wait would teach nothing.
///
/// # Context
/// Thread, preemption on.
pub(super) fn spin_then_sleep<P: SchedHost, R>(
    budget: &SpinBudget,
    at: Instant,
    is_over_fn: impl Fn() -> bool,
    sleep_fn: impl FnOnce() -> R,
) -> R {
    if is_too_near::<P>(budget, at) || P::sched().is_awaited() {
        return sleep_fn();
    }
    let spins = Spins::Learnt(budget);
    match spins.spin::<P, ()>(|| is_over_fn().then_some(())) {
        Some(()) => sleep_fn(),
        None => spins.sleep::<P, R>(sleep_fn),
    }
}

/// Returns whether a wait that ends at `at` may be given up within what a spin is worth: it would
/// be taken for one that was short.
fn is_too_near<P: SchedHost>(budget: &SpinBudget, at: Instant) -> bool {
    at != Instant::FOREVER && at.ticks_since(P::now()) <= budget.least_limit::<P>()
}
