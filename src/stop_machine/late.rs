//! Naming the CPU that keeps the machine in a still point for too long.
//!
//! All CPUs have masked IRQs there, so no CPU is interrupted to look at the time. But the
//! timer's interrupt passes the closed priority mask, and a pending interrupt ends a WFI
//! whether it is masked or not. So two CPUs of a stop (`first-look` of `late_stop`) have
//! their timers armed while they wait: whichever CPU is late, one of these two waits for it
//! and names it. In a stop of one CPU no other CPU waits, so a function that never returns
//! is not named.

#![forbid(unsafe_code)]

use crate::sched::Patience;
use crate::stop_machine::StopHost;
use crate::stop_machine::job::Job;
use crate::sync::Woken;
use crate::time::Instant;

/// One CPU's look at the time in a still point.
pub(super) struct LateWatch<'a, 'b, P: StopHost> {
    job: &'a Job<'b, P>,
    /// When this CPU reports; `None` on a CPU that doesn't watch.
    late: Option<Patience>,
    /// Whether this CPU's timer has come due, and is off.
    timer_is_off: bool,
}

impl<P: StopHost> Job<'_, P> {
    /// Begins the watch of this CPU, which has masked IRQs at `off`, if it `looks`.
    #[inline]
    pub(super) fn watch(&self, looks: bool, off: Instant) -> LateWatch<'_, '_, P> {
        let late = looks.then(|| {
            let late = self.patience.again(off);
            P::arm_timer_by(late.next_look());
            late
        });
        LateWatch {
            job: self,
            late,
            timer_is_off: false,
        }
    }
}

impl<P: StopHost> LateWatch<'_, '_, P> {
    /// Begins anew at `off`, when all have come: what they have taken to come doesn't count.
    /// A timer that comes due earlier finds that, and is armed again.
    ///
    /// # Context
    /// A CPU that watches.
    pub(super) fn restart(&mut self, off: Instant) {
        self.late = Some(self.job.patience.again(off));
    }

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
        let Some(late) = &mut self.late else {
            return;
        };
        // The missing CPUs may have come just now, and others be late in the next state.
        if late.is_out(P::now()) {
            self.job.tell_late_once(P::still_point_is_late);
        }
        P::arm_timer(Some(late.next_look()));
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
