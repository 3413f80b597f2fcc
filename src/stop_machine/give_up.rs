//! Giving a stop up before all CPUs have arrived: at its deadline, or because it is cancelled.
//!
//! ```text
//!   timer or cancel                    participants        caller
//!   ───────────────                    ────────────        ──────
//!   PREPARE → ABORT, or it is too late (FLUSH → ABORT: see `flushed`)
//!   wakes those that sleep ──────────► leave at once
//!   takes back each work that has
//!   not begun; notes what is in the way
//!   leaves for these ────────────────────────────────────► all have left: an error
//! ```
//!
//! # Invariants
//! - **frame-outlives-giver-up**: the caller returns only after it has dropped the timer,
//!   which waits for its function, and has taken itself out of the token, under the lock that
//!   a cancel holds. So the frame is there for as long as the stop is being given up.
//! - **taken-or-begun**: each work that was queued is taken back once, or begins. The thread
//!   that queues looks at the state after the last one, and takes back
//!   what it has queued behind the back of an earlier abort.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::stop_machine::cancel::GiveUp;
use crate::stop_machine::job::Job;
use crate::stop_machine::{HeldUp, MultiStopState, NotCome, StopHost};
use crate::sync::atomic::Ordering;

impl<P: StopHost> GiveUp for Job<'_, P> {
    fn tell_late_flush(&self) {
        if self.stop.is_in(MultiStopState::Flush) {
            self.tell_late_once(P::stop_is_late);
        }
    }

    fn give_up(&self) {
        match self.stop.abort() {
            None => return,
            Some(MultiStopState::Flush) => return self.give_up_flush(),
            Some(_) => (),
        }
        // The state is stored: wakes those that sleep in PREPARE.
        self.machine
            .point
            .publish::<P>(self.participants.bits(), || ());
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
    pub(super) fn all_are_queued(&self) {
        if self.stop.state() == MultiStopState::Abort {
            self.take_back();
        }
        self.finish();
    }

    /// Returns which CPUs had not come when the stop was given up, and what held them up; `None`
    /// if it was not given up.
    ///
    /// # Context
    /// The stop is over. Allocates.
    pub(super) fn given_up(&self) -> Option<Vec<NotCome>> {
        if self.stop.state() != MultiStopState::Abort {
            return None;
        }
        let cpus = CpuMask::from_bits(self.notes.not_come.snapshot(Ordering::Relaxed));
        let not_come = |cpu: CpuId| {
            let held_up = self.machine.stopper(cpu).take_held_up()?;
            Some(NotCome { cpu, held_up })
        };
        Some(cpus.iter().filter_map(not_come).collect())
    }
}
