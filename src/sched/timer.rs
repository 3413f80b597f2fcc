//! Timers that programs and the kernel set: a function that is called at an instant,
//! once or again and again.
//!
//! # Invariants
//! - **called-when-due**: a timer is called not before its instant, and once for each
//!   time that it comes due, whatever becomes of the CPU that it was set on.
//! - **cancel-ends-calls**: after [`Timer::cancel`] has returned the timer's function
//!   is not running, and will not be called until the timer is set again.
//! - **dropped-where-timer-is**: what the function owns is dropped where the timer is,
//!   and not by the interrupt handler that has called it.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::sched::due::{Due, DueLink, HasDue};
use crate::sched::lock::WaitQueue;
use crate::sched::{CallCount, SchedHost, late_at, patience};
use crate::sync::atomic::AtomicU64;
use crate::sync::{CallName, might_sleep};
use crate::time::Instant;

/// What a timer calls.
type Call = Box<dyn Fn() + Send + Sync>;

/// What the queue of a CPU keeps of a timer.
pub(crate) struct TimerNode<P: SchedHost> {
    pub(super) link: DueLink,
    pub(super) due: Due,
    /// Ticks from one time to the next; 0: once. Relaxed: queue lock.
    pub(super) period: AtomicU64,
    calls: Arc<Calls<P>>,
    pub(super) call_fn: Call,
    /// What its function is called, for messages.
    pub(super) name: &'static CallName,
}

/// The calls of a timer's function. They live apart from the function, because a handler
/// lets go of that before it says that the call has ended
/// (dropped-where-timer-is).
struct Calls<P: SchedHost> {
    count: CallCount,
    done: WaitQueue<P>,
}

impl<P: SchedHost> TimerNode<P> {
    /// Its function is about to be called. Under the lock of the queue that it leaves.
    pub(super) fn begin_call(&self) {
        self.calls.count.begin();
    }

    /// Its function has returned.
    pub(super) fn end_call(self: Arc<Self>) {
        let calls = Arc::clone(&self.calls);
        // Not the last count of the function: the timer has one until the call has ended.
        drop(self);
        calls.count.end();
        calls.done.wake_all();
    }
}

impl<P: SchedHost> HasDue for TimerNode<P> {
    fn due(&self) -> &Due {
        &self.due
    }
}

/// A function that is called at an instant. Dropping it cancels it, and drops the function
/// with all that it owns, in the thread that drops the timer: it waits as [`Timer::cancel`]
/// does, and panics where that does.
pub struct Timer<P: SchedHost> {
    node: Arc<TimerNode<P>>,
}

impl<P: SchedHost> Timer<P> {
    /// A timer that is not set. `call_fn` is called in an interrupt handler, IRQs
    /// masked: it may wake threads and set timers, and neither waits nor frees much.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(call_fn: impl Fn() + Send + Sync + 'static) -> Timer<P> {
        Timer {
            node: Arc::new(TimerNode {
                name: CallName::of_val(&call_fn),
                link: DueLink::new(),
                due: Due::new(),
                period: AtomicU64::new(0),
                calls: Arc::new(Calls {
                    count: CallCount::new(),
                    done: WaitQueue::new(),
                }),
                call_fn: Box::new(call_fn),
            }),
        }
    }

    /// Has it called once, at `at` or as soon as it can be after that. If it is set
    /// already this replaces that. What a timer's function sets is called by a later
    /// interrupt than that function, also if `at` is over.
    ///
    /// # Context
    /// Any.
    pub fn start(&self, at: Instant) {
        P::sched().set_timer(&self.node, at, 0);
    }

    /// Has it called at `first`, and then again each `period`. Times that were missed
    /// altogether are left out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `period` is less than a tick of the counter.
    pub fn start_periodic(&self, first: Instant, period: Duration) {
        let period = P::frequency().duration_to_ticks(period);
        assert!(period > 0, "BUG: a periodic timer without a period");
        P::sched().set_timer(&self.node, first, period);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.node.due.queue().is_some()
    }

    /// Takes it back without waiting: its function may be running. Returns whether it
    /// was set.
    ///
    /// # Context
    /// Any, its own function included.
    pub fn try_cancel(&self) -> bool {
        P::sched().unset_timer(&self.node)
    }

    /// Takes it back, and waits until its function is not running (cancel-ends-calls).
    /// Returns whether it was set.
    ///
    /// # Context
    /// Thread, preemption on; so not its own function, nor another timer's.
    ///
    /// # Panics
    /// Elsewhere, whether its function is running or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cancel(&self) -> bool {
        let node = &self.node;
        assert!(
            !P::sched().runs_timer_here(node),
            "BUG: the function of the timer {} waits for its own end",
            node.name.as_str()
        );
        might_sleep::<P>();
        let mut was_set = false;
        loop {
            was_set |= self.try_cancel();
            if node.calls.count.is_at_rest(node.due.claim()) {
                return was_set;
            }
            let ended = || node.calls.count.has_ended();
            while !node.calls.done.wait_until(late_at::<P>(), ended) {
                log::warn!(
                    "the function of the timer {} has been running for {} s",
                    node.name.as_str(),
                    patience::<P>().as_secs()
                );
            }
            // It may have set itself again.
        }
    }
}

impl<P: SchedHost> Drop for Timer<P> {
    fn drop(&mut self) {
        // Then this has the only count of the function (dropped-where-timer-is).
        self.cancel();
    }
}
