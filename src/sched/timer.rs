//! Timers that programs and the kernel set: a function that is called at an instant,
//! once or again and again.
//!
//! # Invariants
//! - **called-when-due**: a timer's function is not called before its instant, and once
//!   for each time that the timer comes due, also if the CPU that it was set on goes
//!   down.
//! - **cancel-ends-calls**: after [`Timer::cancel`] has returned the timer's function
//!   is not running, and will not be called until the timer is set again.
//! - **dropped-with-timer**: what the function owns is dropped by the thread that
//!   drops the timer, and not by the interrupt handler that has called the function.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::time::Duration;

use crate::sched::due::{Due, DueLink, HasDue};
use crate::sched::lock::WaitQueue;
use crate::sched::{CallCount, Patience, SchedHost, patience};
use crate::sync::atomic::AtomicU64;
use crate::sync::{CallName, might_sleep_in};
use crate::time::Instant;

/// The function that a timer calls.
type Call = Box<dyn Fn() + Send + Sync>;

/// The part of a timer that a CPU's queue refers to.
pub(crate) struct TimerNode<P: SchedHost> {
    pub(super) link: DueLink,
    pub(super) due: Due,
    /// Ticks from one call to the next; 0: one call only. Relaxed: queue lock.
    pub(super) period_ticks: AtomicU64,
    calls: Arc<Calls<P>>,
    pub(super) call_fn: Call,
    /// The name of the function, for messages.
    pub(super) name: &'static CallName,
}

/// The record of the calls of a timer's function. It is separate from the function,
/// because a handler drops its reference to the function before it records that the
/// call has ended (dropped-with-timer).
struct Calls<P: SchedHost> {
    count: CallCount,
    done: WaitQueue<P>,
}

impl<P: SchedHost> TimerNode<P> {
    /// Records that the function is about to be called.
    ///
    /// # Context
    /// Under the lock of the queue that the timer leaves.
    pub(super) fn begin_call(&self) {
        self.calls.count.begin();
    }

    /// Records that the function has returned, and wakes the threads that wait for
    /// that.
    pub(super) fn end_call(self: Arc<Self>) {
        let calls = Arc::clone(&self.calls);
        // This is not the last reference to the function: the timer has one until the
        // call has ended.
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

/// A function that is called at an instant. Dropping the timer cancels it, and drops
/// the function with all that it owns, in the thread that drops the timer. The drop
/// waits as [`Timer::cancel`] does, and panics where that does.
pub struct Timer<P: SchedHost> {
    node: Arc<TimerNode<P>>,
}

impl<P: SchedHost> Timer<P> {
    /// Returns a timer that is not set. `call_fn` is called in an interrupt handler
    /// with IRQs masked: it may wake threads and set timers. It may not wait, and
    /// should not free much memory.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(call_fn: impl Fn() + Send + Sync + 'static) -> Timer<P> {
        Timer {
            node: Arc::new(TimerNode {
                name: CallName::of_val(&call_fn),
                link: DueLink::new(),
                due: Due::new(),
                period_ticks: AtomicU64::new(0),
                calls: Arc::new(Calls {
                    count: CallCount::new(),
                    done: WaitQueue::new(),
                }),
                call_fn: Box::new(call_fn),
            }),
        }
    }

    /// Sets the timer: its function is called once, at `at` or as soon after that as
    /// possible. This replaces an earlier setting. A timer that is set by a timer's
    /// function is called by a later interrupt, even if `at` has passed.
    ///
    /// # Context
    /// Any.
    pub fn start(&self, at: Instant) {
        P::sched().set_timer(&self.node, at, 0);
    }

    /// Sets the timer: its function is called at `first`, and then once every `period`.
    /// Calls that were missed altogether are left out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `period` is less than a tick of the counter.
    pub fn start_periodic(&self, first: Instant, period: Duration) {
        let period_ticks = P::frequency().duration_to_ticks(period);
        assert!(period_ticks > 0, "BUG: a periodic timer without a period");
        P::sched().set_timer(&self.node, first, period_ticks);
    }

    /// Returns whether the timer is set.
    pub fn is_set(&self) -> bool {
        self.node.due.queue().is_some()
    }

    /// Cancels the timer without waiting: its function may be running. Returns whether
    /// the timer was set.
    ///
    /// # Context
    /// Any, the timer's own function included.
    pub fn try_cancel(&self) -> bool {
        P::sched().unset_timer(&self.node)
    }

    /// Cancels the timer, and waits until its function is not running
    /// (cancel-ends-calls). Returns whether the timer was set.
    ///
    /// # Context
    /// Thread, preemption on. So neither the timer's own function nor another timer's
    /// may call this.
    ///
    /// # Panics
    /// In any other context, whether the function is running or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cancel(&self) -> bool {
        let node = &self.node;
        assert!(
            !P::sched().runs_timer_here(node),
            "BUG: the function of the timer {} waits for its own end",
            node.name.as_str()
        );
        might_sleep_in::<P>("Timer::cancel");
        let mut was_set = false;
        loop {
            was_set |= self.try_cancel();
            if node.calls.count.is_at_rest(node.due.claim()) {
                return was_set;
            }
            let ended = || node.calls.count.has_ended();
            let mut late = Patience::begin::<P>();
            while !node.calls.done.wait_until(late.next_look(), ended) {
                if late.is_out(P::now()) {
                    log::warn!(
                        "the function of the timer {} has been running for {} s",
                        node.name.as_str(),
                        patience::<P>().as_secs()
                    );
                }
            }
            // The function may have set the timer again.
        }
    }
}

impl<P: SchedHost> Drop for Timer<P> {
    fn drop(&mut self) {
        // After this the timer has the only reference to the function
        // (dropped-with-timer).
        self.cancel();
    }
}
