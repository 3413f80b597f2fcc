//! One stop, as each participant's stopper goes through it.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::ThreadName;
use crate::smp::call::Inside;
use crate::stop_machine::{Acked, MultiStop, MultiStopState, StopHost, StopMachine, Work};
use crate::sync::IrqGuard;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::time::Instant;
use crate::trace::Event;

/// One stop, in its caller's frame.
pub(super) struct Job<'a, P: StopHost> {
    pub(super) machine: &'static StopMachine<P>,
    pub(super) stop: MultiStop,
    pub(super) participants: &'a CpuMask,
    pub(super) runners: &'a CpuMask,
    pub(super) call_fn: &'a (dyn Fn(CpuId) + Sync),
    /// What messages call it.
    pub(super) name: &'static str,
    pub(super) caller: CpuId,
    /// A CPU other than the caller's, if there is one: these two look at the time in the
    /// still point.
    pub(super) watcher: Option<CpuId>,
    pub(super) caller_name: ThreadName,
    /// Turns before a CPU sleeps.
    pub(super) spins: u32,
    /// When the CPUs that have not arrived are named; the caller's CPU has a timer
    /// armed for this very instant.
    pub(super) late_at: Instant,
    /// Ticks after which the still point takes too long.
    pub(super) patience: u64,
    /// Whether somebody has said that the still point takes long. Relaxed: nothing travels
    /// with it.
    pub(super) told: AtomicBool,
    /// Written by a runner inside the still point, read after the stop.
    pub(super) fn_began: AtomicU64,
    pub(super) fn_ended: AtomicU64,
}

impl<P: StopHost> Job<'_, P> {
    fn enter(&self, state: MultiStopState) {
        P::trace(Event::Stop { state: state as u8 });
    }

    fn ack(&self, state: MultiStopState) {
        if let Acked::Last(next) = self.stop.ack(state) {
            // RUN concerns the runners alone: the others sleep on until EXIT.
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
                // Looked at whenever an interrupt ends the sleep; the caller's CPU
                // has a timer armed for it.
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

    /// The participants whose stoppers have not taken the work yet.
    fn missing(&self) -> CpuMask {
        self.participants
            .iter()
            .filter(|cpu| self.machine.stoppers.get(*cpu).has_work())
            .collect()
    }

    /// The last thing that a participant does. To leave is its last access to the
    /// frame (P5); what follows is the machine's, which stays.
    fn finish(&self) {
        let machine = self.machine;
        let caller = CpuMask::of(self.caller);
        if self.stop.leave()
            && let Some(sleeper) = machine.left.sleepers_after_store(caller.bits())
        {
            P::send_wake(&sleeper);
        }
    }
}

impl<P: StopHost> Work for Job<'_, P> {
    fn run(&self, cpu: CpuId) {
        let machine = self.machine;
        self.enter(MultiStopState::Prepare);
        self.ack(MultiStopState::Prepare);
        self.wait_for_all(cpu);

        let masked = IrqGuard::<P>::new();
        P::set_priority_mask_closed(true);
        let off = P::now();
        let mut watch = self.watch(cpu, off);
        // What was called before it came here has run before fn.
        P::calls().run_queued(cpu);
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
            P::calls().run_inside(cpu, Inside::Stop, || (self.call_fn)(cpu));
            self.fn_ended.store(P::now().0, Ordering::Relaxed);
            self.ack(MultiStopState::Run);
        }
        reached(MultiStopState::Exit);
        self.enter(MultiStopState::Exit);
        watch.end();
        machine.times.note(cpu, off, P::now());
        P::set_priority_mask_closed(false);
        drop(masked);
        self.finish();
    }
}
