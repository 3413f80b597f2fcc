//! How long control and a CPU that comes or goes wait for each other before they sleep. Each kind
//! of wait learns by itself how long that is worth it ([`SpinBudget`]).

#![forbid(unsafe_code)]

use crate::hotplug::{Hotplug, HotplugHost};
use crate::sched::lock::Completion;
use crate::sync::{SpinBudget, Spins};
use crate::time::Instant;

/// What a sleep of control costs, in sleeps by WFI, where it waits for a CPU to start. That takes a
/// host longer than to wake one that sleeps: control polls for it as long as it has nothing else to
/// do.
const START: u32 = 16;

/// Turns between two looks whether another thread waits for control's CPU: a look takes the lock
/// of the run queue.
const AWAITED_TURNS: u32 = 10;

/// What the waits of all operations have learnt.
pub(super) struct Talk {
    /// Control, for a CPU that comes.
    pub(super) start: SpinBudget,
    /// Control, for the walks of the thread `cpuhp/N`.
    pub(super) walks: SpinBudget,
    /// Control, for a CPU that says DEAD: all CPUs have just left a still point and want to run,
    /// and the host may have fewer than they are.
    pub(super) dead: SpinBudget,
    /// A CPU that comes, for its verdict.
    pub(super) verdict: SpinBudget,
}

impl Talk {
    pub(super) fn new() -> Self {
        Talk {
            start: SpinBudget::of_eager_thread(START),
            walks: SpinBudget::of_eager_thread(START),
            dead: SpinBudget::of_thread(),
            verdict: SpinBudget::of_thread(),
        }
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Waits until `check_fn` returns true, at most until `at`; returns its last answer.
    /// Polls by `budget`, then sleeps until the event SGI. `check_fn` looks at what a CPU that
    /// comes or goes stores before it tells control ([`Hotplug::tell_control`]), with Acquire.
    pub(super) fn wait_event(
        &self,
        budget: &SpinBudget,
        at: Instant,
        check_fn: impl Fn() -> bool,
    ) -> bool {
        if self.poll(budget, &check_fn) {
            return true;
        }
        Spins::Learnt(budget).sleep::<P, bool>(|| self.sleep_until_event(at, check_fn))
    }

    /// Sleeps until `check_fn` returns true, at most until `at`; returns its last answer.
    fn sleep_until_event(&self, at: Instant, check_fn: impl Fn() -> bool) -> bool {
        let me = P::this_cpu();
        let event = self.events.get(me);
        // (`sleeper-or-state` of [`WaitPoint`](crate::sync::WaitPoint))
        self.asleep.begin_sleep(me.index());
        let is_so = loop {
            if check_fn() {
                break true;
            }
            if !event.wait_until(at) {
                break check_fn();
            }
        };
        self.asleep.end_sleep(me.index());
        is_so
    }

    /// Waits until `done` is completed by threads that walk: polls for a moment, then sleeps. Calls
    /// `late_fn` as [`Completion::wait_patiently`] does.
    pub(super) fn wait_walks(&self, done: &Completion<P>, late_fn: impl FnMut()) {
        let budget = &self.talk.walks;
        if !self.poll(budget, || done.try_wait()) {
            Spins::Learnt(budget).sleep::<P, ()>(|| done.wait_patiently(late_fn));
        }
    }

    /// Calls `check_fn` until it returns true, for the turns of `budget`; returns its last answer.
    /// It is over early if another thread is ready on this CPU.
    ///
    /// # Context
    /// Thread, preemption on. The CPU isn't idle for a grace period meanwhile.
    fn poll(&self, budget: &SpinBudget, check_fn: impl Fn() -> bool) -> bool {
        budget.begin::<P>();
        let mut turn = 0;
        let ended = Spins::Learnt(budget).spin::<P, bool>(|| {
            if check_fn() {
                return Some(true);
            }
            turn += 1;
            // With a window of CPUs a turn is long, and a thread that waits may be urgent.
            (turn % AWAITED_TURNS == 1 && P::sched().is_awaited()).then_some(false)
        });
        ended.unwrap_or(false)
    }
}
