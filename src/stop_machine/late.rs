//! Naming the CPU that keeps the machine in a still point for too long.
//!
//! All CPUs have masked IRQs there, so no CPU is interrupted to look at the time. But the
//! timer's interrupt passes the closed priority mask, and a pending interrupt ends a WFI
//! whether it is masked or not. So two CPUs of a stop, its watchers, have
//! their timers armed while they wait: whichever CPU is late, one of these two waits for it
//! and names it. In a stop of one CPU no other CPU waits, so a function that never returns
//! is not named.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::{ThreadName, late_at};
use crate::stop_machine::job::Job;
use crate::stop_machine::{MultiStopState, StopHost};
use crate::sync::Woken;
use crate::sync::atomic::Ordering;
use crate::time::Instant;

/// A still point that takes long, for a message.
#[derive(Debug)]
pub struct LateStillPoint<'a> {
    /// DISABLE_IRQ: `cpus` have not masked IRQs yet, or run calls that were queued before.
    /// RUN: `cpus` run the function.
    pub state: MultiStopState,
    /// The CPUs that the others wait for.
    pub cpus: CpuMask,
    /// The name of the stop's function.
    pub name: &'static str,
    /// The thread that called for the stop.
    pub caller: &'a ThreadName,
}

/// One CPU's look at the time in a still point.
pub(super) struct LateWatch<'a, 'b, P: StopHost> {
    job: &'a Job<'b, P>,
    cpu: CpuId,
    /// When this CPU reports; [`Instant::FOREVER`] on a CPU that doesn't watch.
    late_at: Instant,
    /// Whether this CPU's timer has come due, and is off.
    timer_is_off: bool,
}

impl<P: StopHost> Job<'_, P> {
    /// Begins the watch of `cpu`, which has masked IRQs at `off`.
    #[inline]
    pub(super) fn watch(&self, cpu: CpuId, off: Instant) -> LateWatch<'_, '_, P> {
        let mut late = Instant::FOREVER;
        if self.watchers.contains(&cpu) {
            late = off.after_ticks(self.patience);
            P::arm_timer_by(late);
        }
        LateWatch {
            job: self,
            cpu,
            late_at: late,
            timer_is_off: false,
        }
    }
}

impl<P: StopHost> LateWatch<'_, '_, P> {
    /// Looks at the time if the timer ended a sleep: `woken` is what ended it.
    #[inline]
    pub(super) fn look(&mut self, woken: Woken) {
        if woken == Woken::Timer {
            self.timer_came();
        }
    }

    #[cold]
    fn timer_came(&mut self) {
        self.timer_is_off = true;
        if P::now() < self.late_at {
            if self.late_at != Instant::FOREVER {
                P::arm_timer(Some(self.late_at));
            }
            return;
        }
        let here = CpuMask::of(self.cpu);
        let machine = self.job.machine;
        let state = self.job.stop.state();
        let cpus = match state {
            // The patience is far longer than the spin, so every CPU that only waits is
            // asleep.
            MultiStopState::Run => {
                let asleep = CpuMask::from_bits(machine.point.sleepers_racy());
                self.job.runners.without(&asleep)
            }
            // A CPU that an interrupt has taken out of its sleep in PREPARE is still
            // counted as asleep, however long the handler takes.
            _ => {
                let participants = self.job.participants.iter();
                participants
                    .filter(|cpu| !machine.stoppers.get(*cpu).is_still_racy())
                    .collect()
            }
        };
        let cpus = cpus.without(&here);
        if cpus.is_empty() {
            // The missing CPUs may have come just now; if not, the next look names them.
            self.late_at = late_at::<P>();
            P::arm_timer(Some(self.late_at));
            return;
        }
        self.late_at = Instant::FOREVER;
        if self.job.told.swap(true, Ordering::Relaxed) {
            return;
        }
        P::still_point_is_late(&LateStillPoint {
            state,
            cpus,
            name: self.job.name,
            caller: self.job.caller_name,
        });
    }

    /// Ends the watch, just before the CPU opens its priority mask. If the timer has come
    /// due it is set to the past, so that it interrupts at once: its handler arms it for the
    /// next timer.
    #[inline]
    pub(super) fn end(self) {
        if self.timer_is_off {
            P::arm_timer(Some(P::now()));
        }
    }
}
