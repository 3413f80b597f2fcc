//! One stop, as each participant's stopper goes through it.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::lock::Completion;
use crate::sched::{Patience, ThreadName};
use crate::smp::call::{Calls, Inside};
use crate::stop_machine::disable_irq::publish_disable_irq;
use crate::stop_machine::flushed::Flush;
use crate::stop_machine::late::LateWatch;
use crate::stop_machine::spins::StateSpins;
use crate::stop_machine::{
    Acked, MultiStop, MultiStopState, StopHost, StopMachine, StopReport, Stopper, Work,
};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{AtomicBits, IrqGuard, SpinBudget};
use crate::time::Instant;
use crate::trace::Event;

/// One stop, in its caller's frame.
pub(super) struct Job<'a, P: StopHost> {
    pub(super) machine: &'static StopMachine<P>,
    pub(super) calls: &'static Calls<P>,
    pub(super) stop: MultiStop,
    pub(super) participants: &'a CpuMask,
    pub(super) runners: &'a CpuMask,
    pub(super) call_fn: &'a (dyn Fn(CpuId) + Sync),
    /// What each CPU calls as it leaves the still point.
    pub(super) release_fn: Option<&'a (dyn Fn(CpuId) + Sync)>,
    /// The participants that `call_fn` takes offline.
    pub(super) leaving: Option<&'a CpuMask>,
    /// The name of `call_fn` in messages.
    pub(super) name: &'static str,
    /// How the caller waits for the end.
    pub(super) end: End<'a, P>,
    pub(super) caller_name: &'a ThreadName,
    /// How long a CPU spins before it sleeps.
    pub(super) spins: &'a StateSpins,
    /// How long the CPUs may take to arrive, and the still point may last, until a participant that
    /// looks names those that are late.
    pub(super) patience: Patience,
    pub(super) notes: Notes,
}

/// What is noted of a stop while it goes on.
pub(super) struct Notes {
    /// In which states a CPU has reported that the stop takes long: a bit for each. Relaxed: it
    /// guards no data.
    pub(super) told: AtomicU32,
    /// When the function began, in ticks. Relaxed, as `fn_ended`: written by a runner inside
    /// the still point, read by the caller after the stop, which orders it.
    fn_began: AtomicU64,
    fn_ended: AtomicU64,
    /// The participants whose works were taken back. Relaxed: read after the stop, which orders
    /// it.
    pub(super) not_come: AtomicBits,
    /// Whether a cancel gave the stop up, and not its deadline. Relaxed: the caller reads it when the
    /// timer and the token have let go of the stop, which orders it (`frame-outlives-giver-up` of
    /// `give_up`).
    pub(super) cancelled: AtomicBool,
}

/// How a CPU leaves PREPARE: `Some(true)` to become still, `Some(false)` because the stop has been
/// given up, `None` counted as still already (`counted-stays-masked` of
/// [`Resting`](crate::sync::Resting)). An enum made a stop some instructions longer on each CPU.
type GoesOn = Option<bool>;

impl Notes {
    #[inline(always)] // Into the job: else it is made aside, and copied.
    pub(super) fn new() -> Self {
        Notes {
            told: AtomicU32::new(0),
            fn_began: AtomicU64::new(0),
            fn_ended: AtomicU64::new(0),
            not_come: AtomicBits::new(),
            cancelled: AtomicBool::new(false),
        }
    }
}

/// How the caller of a stop waits for its end.
pub(super) enum End<'a, P: StopHost> {
    /// It has the stop mutex, and waits on this CPU, which takes part.
    Caller(CpuId),
    /// It sleeps until this is completed, and the stop begins with a flush.
    Flushed(&'a Flush<P>),
    /// It stops two CPUs, and sleeps until the last one completes this.
    Pair(&'a PairEnd<P>),
}

/// The end of a stop of two CPUs, in its caller's frame.
pub(super) struct PairEnd<P: StopHost> {
    pub(super) done: Completion<P>,
    /// Which of the two have come. Relaxed: for messages.
    pub(super) come: AtomicBits,
}

impl<P: StopHost> Job<'_, P> {
    /// Acknowledges `state`; returns how many other CPUs have not.
    fn ack(&self, state: MultiStopState) -> u32 {
        match self.stop.ack(state) {
            Acked::More(left) => left,
            Acked::Last(next) => {
                self.publish(next);
                0
            }
        }
    }

    /// Publishes `next`, and wakes the CPUs that act on it.
    fn publish(&self, next: MultiStopState) {
        // Only the runners act on RUN: the other CPUs sleep on until EXIT.
        let waiting = match next {
            MultiStopState::DisableIrq => return self.publish_disable_irq(),
            MultiStopState::Run => self.runners,
            _ => self.participants,
        };
        if P::traces_states() {
            self.trace_state(next); // Before another CPU acts on it.
        }
        let stop = &self.stop;
        (self.machine.point).publish::<P>(waiting.bits(), || stop.publish(next));
    }

    /// Publishes DISABLE_IRQ. Out of line: of all the CPUs that acknowledge a state one does this.
    #[inline(never)]
    fn publish_disable_irq(&self) {
        let machine = self.machine;
        publish_disable_irq::<P>(
            &self.stop,
            (&machine.point, &machine.resting),
            self.participants,
            || P::now().0,
            |cpu| self.calls.has_queued(cpu),
            |cpu| machine.stoppers.get(cpu).set_still(true),
        );
        // This CPU has not acknowledged it yet: RUN comes later.
        if P::traces_states() && self.stop.is_in(MultiStopState::DisableIrq) {
            self.trace_state(MultiStopState::DisableIrq);
        }
    }

    /// Records that this CPU publishes `state`.
    #[cold]
    fn trace_state(&self, state: MultiStopState) {
        let me = P::this_cpu();
        let mut others = self.participants.iter().filter(|cpu| *cpu != me);
        let is_pair = matches!(self.end, End::Pair(_));
        P::trace_state(state, is_pair.then(|| others.next()).flatten());
    }

    /// Waits in PREPARE, IRQs on, until all have arrived. Returns with IRQs masked.
    #[inline]
    fn wait_for_all(&self, cpu: CpuId) -> (IrqGuard<P>, GoesOn) {
        self.wait_at_rest(cpu, || self.leaves_prepare())
    }

    /// Does as [`Job::wait_for_all`], and looks at the time meanwhile, to name those that don't
    /// come. Out of line: two CPUs do this.
    #[cold]
    #[inline(never)]
    fn wait_for_all_and_look(&self, cpu: CpuId) -> (IrqGuard<P>, GoesOn) {
        if let End::Pair(pair) = self.end {
            pair.come.set(cpu.index(), Ordering::Relaxed);
        }
        if let Some(goes_on) = self.leaves_prepare() {
            return (IrqGuard::new(), Some(goes_on));
        }
        let watch = P::sched().watch(cpu);
        let mut late = match self.end {
            End::Flushed(_) => self.patience.again(P::now()), // The flush was no wait for these.
            _ => self.patience,
        };
        let waited = self.wait_at_rest(cpu, || {
            // Every interrupt that ends the sleep leads here.
            if late.is_out(P::now()) {
                self.tell_late_once(P::stop_is_late);
            }
            self.leaves_prepare()
        });
        drop(watch);
        waited
    }

    #[inline]
    fn wait_at_rest(
        &self,
        cpu: CpuId,
        check_fn: impl FnMut() -> Option<bool>,
    ) -> (IrqGuard<P>, GoesOn) {
        let machine = self.machine;
        let spins = &self.spins.arrival;
        machine
            .point
            .wait_open_at_rest::<P, bool>(cpu.index(), spins, &machine.resting, check_fn)
    }

    /// Returns whether the stop goes on after PREPARE, when that is over.
    #[inline]
    fn leaves_prepare(&self) -> Option<bool> {
        if self.stop.is_in(MultiStopState::Prepare) {
            None
        } else {
            Some(!self.stop.is_in(MultiStopState::Abort))
        }
    }

    /// Leaves the stop: the last thing that a participant does, and the thread that has queued
    /// the works. The leave, or the completion, is its last access
    /// to the caller's frame (`frame-outlives-stop` of [`stop_machine`](crate::stop_machine));
    /// what follows uses only the machine, which is static.
    #[inline]
    pub(super) fn finish(&self) {
        self.finish_for(1);
    }

    /// Does as [`Job::finish`] for `count` participants.
    #[inline]
    pub(super) fn finish_for(&self, count: u32) {
        // Before it leaves (leave-is-last).
        let machine = self.machine;
        match self.end {
            End::Caller(caller) => {
                if self.stop.leave_for(count) && machine.left.sleeps_after_store(caller.index()) {
                    P::send_wake(CpuMask::of(caller).bits());
                }
            }
            End::Pair(_) | End::Flushed(_) => self.finish_for_sleeper(count),
        }
    }

    /// Does as [`Job::finish_for`] where the caller sleeps. Out of line: no stop of the machine
    /// without a flush comes here.
    #[cold]
    #[inline(never)]
    fn finish_for_sleeper(&self, count: u32) {
        // The frame stays until the completion, which is done once. The caller sees what all have
        // done, because the last to leave does.
        match self.end {
            End::Caller(_) => panic!("BUG: the caller of this stop doesn't sleep"),
            End::Pair(pair) => {
                if self.leaves_last(count) {
                    pair.done.complete();
                }
            }
            End::Flushed(flush) => {
                if self.leaves_last(count) {
                    // Over, if it was given up in FLUSH.
                    let _how = flush.end(); // (mode-ends-before-caller)
                    flush.done.complete();
                }
            }
        }
    }

    /// Counts the stop, which is over and was called for at `called`, and returns what it cost.
    #[inline]
    pub(super) fn report(&self, called: Instant) -> StopReport {
        self.machine.stops.fetch_add(1, Ordering::Relaxed);
        StopReport {
            called,
            // Relaxed: `is_over` has ordered them.
            fn_began: Instant(self.notes.fn_began.load(Ordering::Relaxed)),
            fn_ended: Instant(self.notes.fn_ended.load(Ordering::Relaxed)),
            ended: P::now(),
        }
    }

    /// Leaves for `count` participants; returns whether they were the last.
    fn leaves_last(&self, count: u32) -> bool {
        let last = self.stop.leave_for(count);
        assert!(
            !last || self.stop.is_over(),
            "BUG: the last to leave was not the last"
        );
        last
    }

    /// Arrives in PREPARE; returns whether this CPU looks at the time (`first-look` of `late_stop`).
    #[inline]
    pub(super) fn arrive(&self) -> bool {
        P::trace(reached_event(MultiStopState::Prepare));
        let left = self.ack(MultiStopState::Prepare);
        left + self.stop.runners() + 1 >= self.stop.participants() // (`first-look` of `late_stop`)
    }

    /// Acknowledges DISABLE_IRQ.
    ///
    /// # Context
    /// The CPU of `stopper`, IRQs masked.
    #[inline]
    pub(super) fn become_still(&self, stopper: &Stopper<P>) {
        stopper.set_still(true);
        self.ack(MultiStopState::DisableIrq);
    }

    /// Goes from DISABLE_IRQ, which has been acknowledged for `cpu`, to EXIT.
    ///
    /// * `off` — since when IRQs are masked for it
    ///
    /// # Context
    /// `cpu` itself, which `masked` and `watch` are about, priority mask closed.
    #[inline(always)] // Into both of its callers: it is most of what a stop costs a CPU.
    pub(super) fn stay_still(
        &self,
        cpu: CpuId,
        masked: &IrqGuard<P>,
        off: Instant,
        watch: &mut LateWatch<'_, '_, P>,
    ) {
        let (machine, stop) = (self.machine, &self.stop);
        let mut reached = |state: MultiStopState, spins: &SpinBudget| {
            machine.point.wait_masked_until_late::<P, ()>(
                cpu.index(),
                spins,
                move || stop.is_in(state).then_some(()),
                |woken| watch.look(woken),
            );
        };
        if self.runners.contains(cpu) {
            // Its own acknowledgement is still missing, so this state stays until it is seen.
            reached(MultiStopState::Run, &self.spins.run);
            self.notes.fn_began.store(P::now().0, Ordering::Relaxed);
            self.calls
                .run_inside(cpu, Inside::Stop, || (self.call_fn)(cpu));
            self.notes.fn_ended.store(P::now().0, Ordering::Relaxed);
            self.ack(MultiStopState::Run);
        }
        reached(MultiStopState::Exit, &self.spins.exit);
        if let Some(release_fn) = self.release_fn {
            self.calls.run_inside(cpu, Inside::Stop, || release_fn(cpu));
        }
        let on = P::now();
        P::trace_masked(masked, cpu, || on, reached_event(MultiStopState::Exit));
        machine.times.note(cpu, off, on);
    }
}

fn reached_event(state: MultiStopState) -> Event {
    Event::Stop { state: state as u8 }
}

impl<P: StopHost> Work for Job<'_, P> {
    fn run(&self, cpu: CpuId) {
        let looks = self.arrive();
        // (all-arrive-first)
        let (masked, goes_on) = if looks {
            self.wait_for_all_and_look(cpu)
        } else {
            self.wait_for_all(cpu)
        };
        if goes_on == Some(false) {
            drop(masked);
            P::trace(reached_event(MultiStopState::Abort));
            self.finish();
            return;
        }

        let stopper = self.machine.stoppers.get(cpu);
        P::set_priority_mask_closed(true);
        let was_counted = goes_on.is_none();
        let off = if was_counted {
            Instant(self.machine.resting.counted_at())
        } else {
            P::now()
        };
        // One that was counted is woken to leave, or by the timer of its look in PREPARE.
        let looks = looks && !(was_counted && self.stop.is_in(MultiStopState::Exit));
        let mut watch = self.watch(looks, off);
        if was_counted {
            watch.look(P::take_wake());
        } else {
            // Calls that were queued to this CPU before it arrived run before fn.
            self.calls.run_queued(cpu);
            self.become_still(stopper);
        }
        self.stay_still(cpu, &masked, off, &mut watch);
        watch.end();
        P::set_priority_mask_closed(false);
        drop(masked);
        stopper.set_still(false);
        self.finish();
    }

    fn flushed(&self) {
        self.queue_if_flushed();
    }
}
