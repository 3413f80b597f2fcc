//! Giving a stop up, before IRQs are masked: at its deadline, or because it is cancelled.
//!
//! ```text
//!   timer or cancel                    a CPU that has come   one that hasn't    caller
//!   ───────────────                    ───────────────────   ───────────────    ──────
//!   PREPARE → ABORT, or it is too late (FLUSH → ABORT: see `flushed`)
//!   wakes those that sleep ──────────► finds ABORT, leaves
//!   takes back each work that has
//!   not begun ─────────────────────────────────────────────► never hears of it
//!   notes what held that CPU up
//!   leaves for that CPU ──────────────────────────────────────────────────────► all have
//!                                                                      left: an error
//! ```
//! It is decided in one place: [`MultiStop::abort`](crate::stop_machine::MultiStop::abort), a
//! compare-exchange. Its rival is the last CPU to come, which moves from PREPARE to DISABLE_IRQ
//! (`one-way-out-of-prepare` of [`MultiStop`](crate::stop_machine::MultiStop)), and in FLUSH the last to
//! finish that. (Before there are threads `alone` just compares.) [`GiveUp::give_up`] is
//! called by what `early_end` has armed: the timer of the deadline, and the token.
//!
//! # Invariants
//! - **frame-outlives-giver-up**: the caller returns only after it has dropped the timer,
//!   which waits for its function, and has taken itself out of the token, under the lock that
//!   a cancel holds. So the frame is there for as long as the stop is being given up.
//! - **taken-or-begun**: each work that was queued is taken back once, or begins. The thread
//!   that queues looks at the state after the last one, and takes back
//!   what it has queued behind the back of an earlier abort.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::stop_machine::cancel::{GiveUp, Why};
use crate::stop_machine::job::Job;
use crate::stop_machine::{HeldUp, MultiStopState, NotCome, StopError, StopHost};
use crate::sync::atomic::Ordering;

impl<P: StopHost> GiveUp for Job<'_, P> {
    fn tell_late_flush(&self) {
        if self.stop.is_in(MultiStopState::Flush) {
            self.tell_late_once(P::stop_is_late);
        }
    }

    fn give_up(&self, why: Why) {
        let Some(state) = self.stop.abort() else {
            return; // DISABLE_IRQ is published, or it has been given up before.
        };
        let is_cancelled = why == Why::Cancel;
        self.notes.cancelled.store(is_cancelled, Ordering::Relaxed);
        if state == MultiStopState::Flush {
            return self.give_up_flush();
        }
        // ABORT carries nothing, so `abort` has stored it Relaxed. A CPU that sleeps in PREPARE sees
        // it by the fence before the look at the sleepers (sleeper-or-state).
        let sleepers = (self.machine.point).sleepers_after_store(self.participants.bits());
        if let Some(sleepers) = sleepers {
            P::send_wake(&sleepers);
        }
        self.take_back();
    }
}

impl<P: StopHost> Job<'_, P> {
    /// Takes back the works that have not begun, and leaves for them.
    fn take_back(&self) {
        let mut taken = 0;
        for cpu in self.participants.iter() {
            let stopper = self.machine.stopper(cpu);
            // Under the lock of the queue, for each CPU: a look at the number of works
            // could miss one that is queued at this moment.
            if stopper.take_back_own() {
                stopper.note_held_up(HeldUp::of::<P>(cpu));
                self.notes.not_come.set(cpu.index(), Ordering::Relaxed);
                taken += 1;
            }
        }
        if taken > 0 {
            self.finish_for(taken); // (taken-leaves-too)
        }
    }

    /// Ends the queueing of works (taken-or-begun).
    pub(super) fn end_queueing(&self) {
        // Relaxed: a giver-up that took a queue's lock before this thread did stored ABORT before
        // that; one that takes it later finds the work.
        if self.stop.state() == MultiStopState::Abort {
            self.take_back();
        }
        self.finish();
    }

    /// Returns why the stop was given up, with the CPUs that had not come, and what held each up;
    /// `None` if it was not given up.
    ///
    /// # Context
    /// The stop is over, and what might have given it up has let go of it. Allocates.
    pub(super) fn given_up(&self) -> Option<StopError> {
        if self.stop.state() != MultiStopState::Abort {
            return None;
        }
        let cpus = CpuMask::from_bits(self.notes.not_come.snapshot(Ordering::Relaxed));
        let not_come = |cpu: CpuId| {
            let held_up = self.machine.stopper(cpu).take_held_up()?;
            Some(NotCome { cpu, held_up })
        };
        let missing = cpus.iter().filter_map(not_come).collect();
        Some(if self.notes.cancelled.load(Ordering::Relaxed) {
            StopError::Cancelled(missing)
        } else {
            StopError::Late(missing)
        })
    }
}
