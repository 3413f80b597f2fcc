//! Naming the CPU that keeps the machine in a still point for too long.
//!
//! All CPUs have masked IRQs there, so no CPU is interrupted to look at the time. But the
//! timer's interrupt passes the closed priority mask, and a pending interrupt ends a WFI
//! whether it is masked or not. So two CPUs of a stop, the caller's and another one, have
//! their timers armed while they wait: whichever CPU doesn't come, one of them waits for it.
//! Alone on a machine a CPU waits for nobody, and nobody sees that it doesn't come.

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
    /// DISABLE_IRQ: some CPUs have not masked IRQs, or run what was called there before.
    /// RUN: some run the function.
    pub state: MultiStopState,
    /// Those CPUs.
    pub cpus: CpuMask,
    /// The function of the stop.
    pub name: &'static str,
    /// The thread that has called for it.
    pub caller: &'a ThreadName,
}

/// One CPU's look at the time in a still point.
pub(super) struct LateWatch<'a, 'b, P: StopHost> {
    job: &'a Job<'b, P>,
    cpu: CpuId,
    /// When it is too late; never, for a CPU that doesn't watch.
    late_at: Instant,
    /// Its timer has come due, and is off.
    timer_is_off: bool,
}

impl<P: StopHost> Job<'_, P> {
    /// Begins the watch of `cpu`, which has masked IRQs just now, at `off`.
    #[inline]
    pub(super) fn watch(&self, cpu: CpuId, off: Instant) -> LateWatch<'_, '_, P> {
        let mut late = Instant::FOREVER;
        if Some(cpu) == self.watcher {
            late = off.after_ticks(self.patience);
            P::arm_timer_by(late);
        } else if cpu == self.caller {
            // Its timer is armed: it has been watching for CPUs that come late.
            late = off.after_ticks(self.patience);
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
    /// What ended a sleep was `woken`.
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
        // By then all others sleep, but those that are waited for.
        let here = CpuMask::of(self.cpu);
        let asleep = CpuMask::from_bits(self.job.machine.point.sleepers_racy());
        let state = self.job.stop.state();
        let missing = match state {
            MultiStopState::Run => *self.job.runners,
            _ => *self.job.participants,
        };
        let cpus = missing.without(&asleep).without(&here);
        if cpus.is_empty() {
            // They have come just now: if not, the next look tells.
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
            caller: &self.job.caller_name,
        });
    }

    /// The CPU is about to open its priority mask. What its timer was set to has passed, so
    /// it interrupts at once: its handler arms it for what is next.
    #[inline]
    pub(super) fn end(self) {
        if self.timer_is_off {
            P::arm_timer(Some(P::now()));
        }
    }
}
