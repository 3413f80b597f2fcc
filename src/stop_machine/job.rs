//! One stop, as each participant's stopper goes through it.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::ThreadName;
use crate::smp::call::{Calls, Inside};
use crate::stop_machine::{Acked, MultiStop, MultiStopState, StopHost, StopMachine, Work};
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    /// The name of `call_fn` in messages.
    pub(super) name: &'static str,
    pub(super) caller: CpuId,
    /// A CPU other than the caller's, if there is one. In the still point it and the
    /// caller's CPU look at the time.
    pub(super) watcher: Option<CpuId>,
    pub(super) caller_name: &'a ThreadName,
    /// How many turns a CPU spins before it sleeps.
    pub(super) spins: u32,
    /// When the CPUs that have not arrived are named. The timer of the caller's CPU is
    /// armed for this instant.
    pub(super) late_at: Instant,
    /// How long the still point may take before it is called late, in ticks.
    pub(super) patience: u64,
    /// Whether a CPU has reported that the still point takes long. Relaxed: it guards no
    /// data.
    pub(super) told: AtomicBool,
    /// When `call_fn` began, in ticks. Relaxed, as `fn_ended`: written by a runner inside
    /// the still point, read by the caller after the stop, which orders it.
    pub(super) fn_began: AtomicU64,
    pub(super) fn_ended: AtomicU64,
}

impl<P: StopHost> Job<'_, P> {
    fn ack(&self, state: MultiStopState) {
        if let Acked::Last(next) = self.stop.ack(state) {
            // Only the runners act on RUN: the other CPUs sleep on until EXIT.
            let waiting = match next {
                MultiStopState::Run => self.runners,
                _ => self.participants,
            };
            self.machine
                .point
                .publish::<P>(waiting.bits(), || self.stop.publish(next));
        }
    }

    /// Waits in PREPARE, IRQs on, until all have arrived.
    fn wait_for_all(&self, cpu: CpuId) {
        let mut late_at = self.late_at;
        self.machine
            .point
            .wait_open::<P, ()>(cpu.index(), self.spins, || {
                if self.stop.state() > MultiStopState::Prepare {
                    return Some(());
                }
                // Every interrupt that ends the sleep leads here; on the caller's CPU a
                // timer is armed for `late_at`.
                if cpu == self.caller && P::now() >= late_at {
                    late_at = Instant::FOREVER;
                    let missing = self.missing();
                    if !missing.is_empty() {
                        P::stop_is_late(&missing, MultiStopState::Prepare);
                    }
                }
                None
            });
    }

    /// Returns the participants whose stoppers have not taken the work yet.
    fn missing(&self) -> CpuMask {
        self.participants
            .iter()
            .filter(|cpu| self.machine.stoppers.get(*cpu).has_work())
            .collect()
    }

    /// Leaves the stop: the last thing that a participant does. `leave` is its last access
    /// to the caller's frame (`frame-outlives-stop` of [`stop_machine`](crate::stop_machine));
    /// what follows uses only the machine, which is static.
    fn finish(&self) {
        // Before it leaves (leave-is-last).
        let (machine, caller) = (self.machine, self.caller);
        if self.stop.leave() && machine.left.sleeps_after_store(caller.index()) {
            P::send_wake(CpuMask::of(caller).bits());
        }
    }
}

fn reached_event(state: MultiStopState) -> Event {
    Event::Stop { state: state as u8 }
}

impl<P: StopHost> Work for Job<'_, P> {
    fn run(&self, cpu: CpuId) {
        let machine = self.machine;
        let stopper = machine.stoppers.get(cpu);
        stopper.set_still(false);
        P::trace(reached_event(MultiStopState::Prepare));
        self.ack(MultiStopState::Prepare);
        self.wait_for_all(cpu); // (all-arrive-first)

        let masked = IrqGuard::<P>::new();
        P::set_priority_mask_closed(true);
        let off = P::now();
        let mut watch = self.watch(cpu, off);
        // Calls that were queued to this CPU before it arrived run before fn.
        self.calls.run_queued(cpu);
        stopper.set_still(true);
        self.ack(MultiStopState::DisableIrq);
        let mut reached = |state: MultiStopState| {
            machine.point.wait_masked_until_late::<P, ()>(
                cpu.index(),
                self.spins,
                || (self.stop.state() >= state).then_some(()),
                |woken| watch.look(woken),
            );
        };
        if self.runners.contains(cpu) {
            reached(MultiStopState::Run);
            self.fn_began.store(P::now().0, Ordering::Relaxed);
            self.calls
                .run_inside(cpu, Inside::Stop, || (self.call_fn)(cpu));
            self.fn_ended.store(P::now().0, Ordering::Relaxed);
            self.ack(MultiStopState::Run);
        }
        reached(MultiStopState::Exit);
        P::trace_masked(&masked, cpu, P::now(), reached_event(MultiStopState::Exit));
        watch.end();
        machine.times.note(cpu, off, P::now());
        P::set_priority_mask_closed(false);
        drop(masked);
        self.finish();
    }
}
