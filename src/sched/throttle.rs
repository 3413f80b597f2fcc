//! Holding realtime threads back where they have had all that they may have of a CPU: the
//! bound of the machine, and the looks at each CPU's [`Bandwidth`].
//!
//! A CPU that holds realtime threads back says that it is as urgent as one that runs a
//! thread of the kernel. So none is pushed to it and it pulls none, and those that it holds
//! back go to where they may run, as others that wait (`most-urgent-run` of `balance`).

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::config::{REALTIME_PERIOD, REALTIME_RUNTIME};
use crate::cpu::CpuId;
use crate::sched::bandwidth::{Bandwidth, Limit};
use crate::sched::ready::Order;
use crate::sched::{RunQueue, SchedHost, Scheduler};
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::Instant;

/// Stands for: without a bound.
const UNBOUND: u64 = u64::MAX;

/// What realtime threads may take of each CPU. All fields are Relaxed: each is a value of
/// its own.
#[derive(Debug)]
pub(super) struct RealtimeBound {
    /// For how many ticks of a period they may have the CPU, or [`UNBOUND`].
    runtime: AtomicU64,
    /// The log has said that the bound has held threads back.
    said: AtomicBool,
}

impl RealtimeBound {
    pub(super) fn new<P: SchedHost>() -> RealtimeBound {
        RealtimeBound {
            runtime: AtomicU64::new(P::frequency().duration_to_ticks(REALTIME_RUNTIME)),
            said: AtomicBool::new(false),
        }
    }

    fn limit<P: SchedHost>(&self) -> Limit {
        let runtime = self.runtime.load(Ordering::Relaxed);
        Limit {
            period: P::frequency().duration_to_ticks(REALTIME_PERIOD),
            runtime: (runtime != UNBOUND).then_some(runtime),
        }
    }
}

impl<P: SchedHost> RunQueue<P> {
    /// Returns whether an ordinary thread waits behind a realtime one that the bound is
    /// for.
    #[inline]
    fn is_contested(&self) -> bool {
        Bandwidth::is_for(self.current_level()) && self.ready.weight() > 0
    }

    /// Returns whether a look at what realtime threads have had must become due.
    #[inline]
    pub(super) fn wants_look(&self) -> bool {
        self.bandwidth.due().is_none() && self.is_contested()
    }

    /// Has threads run in the order that the bound says, unless the CPU flushes.
    pub(super) fn order_as_bound(&mut self) {
        if self.ready.order() != Order::MarkedOnly {
            let order = if self.bandwidth.is_spent() {
                Order::HoldsRealtime
            } else {
                Order::ByUrgency
            };
            self.ready.set_order(order);
        }
    }

    /// Looks at what realtime threads have had, and holds them back if that is all. Returns
    /// when the next look is due.
    fn look_at_bandwidth(&mut self, limit: Limit) -> Option<Instant> {
        self.charge_current();
        let contested = self.is_contested();
        let due = self.bandwidth.look(self.charged, contested, limit);
        self.order_as_bound();
        if self.ready.holds_realtime() {
            self.reported = self.reported.of_holding();
        }
        due
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Lets realtime threads have each CPU for `runtime` of each [`REALTIME_PERIOD`], while
    /// ordinary threads want it; `None`: without a bound. No more than all of a period. On a CPU where a period has begun
    /// that holds from the next one on.
    ///
    /// # Context
    /// Any.
    pub fn set_realtime_runtime(&self, runtime: Option<Duration>) {
        let ticks = runtime.map_or(UNBOUND, |time| {
            P::frequency().duration_to_ticks(time.min(REALTIME_PERIOD))
        });
        self.bound.runtime.store(ticks, Ordering::Relaxed);
        // Where there was no bound no look is due.
        let masked = IrqGuard::<P>::new();
        for cpu in P::masks().online().iter() {
            if cpu == P::this_cpu() {
                let mut queue = self.queue(cpu).lock_masked(&masked);
                let _uneven = self.note_here(cpu, &mut queue);
            } else {
                Self::send_reschedule(cpu);
            }
        }
    }

    /// Returns for how long of each [`REALTIME_PERIOD`] realtime threads may have a CPU that
    /// ordinary threads want, or `None` if there is no bound.
    ///
    /// # Context
    /// Any.
    pub fn realtime_runtime(&self) -> Option<Duration> {
        let ticks = self.bound.limit::<P>().runtime?;
        Some(Duration::from_nanos(P::frequency().ticks_to_ns(ticks)))
    }

    /// Has the timer interrupt when realtime threads may have had all that they may have.
    /// What that is, only the interrupt looks at.
    #[inline(never)]
    pub(super) fn begin_look(&self, cpu: CpuId, queue: &mut RunQueue<P>) {
        queue.charge_current();
        let now = queue.charged();
        if let Some(due) = queue.bandwidth.begin(now, self.bound.limit::<P>()) {
            self.timers.get(cpu).set_look(due);
        }
    }

    /// Looks at what realtime threads have had, if that is due, in the timer interrupt.
    /// Returns whether they are held back from now on, or aren't any more.
    #[inline]
    pub(super) fn look_if_due(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        if queue.bandwidth.due().is_none_or(|due| P::now() < due) {
            return false;
        }
        let before = queue.bandwidth.is_spent();
        if let Some(due) = queue.look_at_bandwidth(self.bound.limit::<P>()) {
            self.timers.get(cpu).set_look(due);
        }
        queue.bandwidth.is_spent() != before
    }

    /// Says, the first time, that realtime threads are held back.
    ///
    /// # Context
    /// No queue locked.
    pub(super) fn say_throttled(&self) {
        if !self.bound.said.load(Ordering::Relaxed)
            && !self.bound.said.swap(true, Ordering::Relaxed)
        {
            // Linux's words.
            log::warn!("sched: RT throttling activated");
        }
    }

    /// Returns whether realtime threads are held back on `cpu`. For tests.
    #[cfg(any(test, feature = "internals"))]
    pub fn holds_realtime_back(&self, cpu: CpuId) -> bool {
        self.queue(cpu).lock_irqsave().bandwidth.is_spent()
    }
}
