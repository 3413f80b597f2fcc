//! How control starts CPUs: calls each, sees it ALIVE, and releases one or several at once.
//!
//! # Invariants
//! - **limit-from-last**: a CPU is given up when its limit has passed since the last CPU was
//!   called or has arrived, whichever was later. CPUs that are started together may wait for
//!   each other: for firmware, and for the host that runs them.
//! - **online-under-one-hold**: the CPUs that control releases together join `online` while it
//!   holds the stop mutex: the participants of a stop don't become more in the middle.

use core::iter;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::control_steps::{LOOK, limit};
use crate::hotplug::table::CALLED;
use crate::hotplug::verdict::release_all;
use crate::hotplug::{
    Hotplug, HotplugHost, Quarantine, StepContext, StepError, SyncState, WalkError,
};
use crate::platform::PsciError;
use crate::sched::{Patience, patience};
use crate::sync::atomic::Ordering;
use crate::time::{Instant, WaitLimit};
use crate::trace::{Direction, Event};

impl<P: HotplugHost> Hotplug<P> {
    /// `prep:hardware`, startup: the boot record is ready, and the CPU is called, unless
    /// [`Hotplug::call_late`] does that.
    pub(super) fn ready_and_call(&self, context: &StepContext) -> Result<(), StepError> {
        let cpu = context.cpu;
        self.handshake(cpu).may_kick().map_err(StepError::NotDead)?;
        // A CPU without a quarantine is off, or was never started. A quarantined one may
        // still read its record, and write there why it refuses itself: the record that it
        // was started with serves the retry as it is.
        let quarantined = self.quarantine(cpu).is_some();
        if !quarantined {
            P::prepare_boot_record(cpu)?;
        }
        if context.called_late {
            return Ok(());
        }
        self.call(cpu, quarantined)
    }

    /// The second part of `prep:hardware` for a CPU that is called late: calls it, when the steps
    /// that follow are up. The trace shows the step once more.
    ///
    /// # Errors
    /// As from that step.
    pub(super) fn call_late(&self, cpu: CpuId) -> Result<(), WalkError> {
        let step = u8::try_from(CALLED).expect("BUG: the table has under 256 steps");
        let direction = Direction::Up;
        P::trace(Event::StepBegin {
            cpu,
            step,
            direction,
        });
        let called = self.call(cpu, self.quarantine(cpu).is_some());
        P::trace(Event::StepEnd {
            cpu,
            step,
            direction,
            ok: called.is_ok(),
        });
        called.map_err(|error| WalkError {
            step: CALLED,
            error,
        })
    }

    /// Calls `cpu`, whose boot record is ready and which is `quarantined` or off.
    #[inline]
    fn call(&self, cpu: CpuId, quarantined: bool) -> Result<(), StepError> {
        let handshake = self.handshake(cpu);
        let before = handshake.kick().map_err(StepError::NotDead)?;
        if cpu == P::this_cpu() {
            assert!(handshake.arrive(), "BUG: the boot CPU is not wanted");
            return Ok(());
        }
        let record = self.cpus.get(cpu);
        *record.on_refused.lock() = None;
        let life = self.life(cpu).next();
        let mut limit = limit::<P>(&self.limits.off);
        let mut turns = 0;
        loop {
            match P::cpu_on(cpu, life) {
                Ok(()) => {
                    // It was off then, whatever was known of it before.
                    record.life.store(life.number(), Ordering::Relaxed);
                    if quarantined && before == SyncState::Dead {
                        *record.quarantine.lock() = None;
                    }
                    return Ok(());
                }
                // An earlier bring-up gave the CPU up after CPU_ON: the CPU is still on its way.
                Err(PsciError::AlreadyOn | PsciError::OnPending)
                    if before == SyncState::Cancelled =>
                {
                    return Ok(());
                }
                // An earlier call has brought it here after all: the word decides.
                Err(_) if handshake.state() != SyncState::Kicked => return Ok(()),
                // Firmware has not finished turning it off.
                Err(PsciError::AlreadyOn | PsciError::OnPending) if !limit.is_over(P::now()) => {
                    self.pause(&mut turns);
                }
                Err(error) => {
                    return match handshake.take_back(before) {
                        Ok(()) => {
                            // Of a quarantined one the quarantine says more.
                            if self.quarantine(cpu).is_none() {
                                *record.on_refused.lock() = Some(error);
                            }
                            Err(StepError::Psci(error))
                        }
                        // Refused, and here nevertheless: the word decides.
                        Err(_) => Ok(()),
                    };
                }
            }
        }
    }

    /// Returns until when a CPU may arrive, if the last one was called or has arrived now.
    pub(super) fn arrival_limit(&self) -> WaitLimit {
        limit::<P>(&self.limits.arrive)
    }

    /// Waits until all of `cpus`, which were called, have arrived or refused themselves, or are
    /// late. Returns from when on they are (limit-from-last). Calls `seen_fn` with each when it is
    /// not waited for any more.
    pub(super) fn wait_arrivals(&self, cpus: &CpuMask, seen_fn: impl Fn(CpuId)) -> Instant {
        let is_awaited = |cpu: CpuId| self.handshake(cpu).state() == SyncState::Kicked;
        let mut awaited = *cpus;
        let mut limit = self.arrival_limit();
        loop {
            let before = awaited;
            awaited = awaited.iter().filter(|cpu| is_awaited(*cpu)).collect();
            let seen = before.without(&awaited);
            if !seen.is_empty() {
                seen.iter().for_each(&seen_fn);
                limit = self.arrival_limit();
            }
            if awaited.is_empty() {
                return limit.end();
            }
            let look_again = limit.next_look().min(P::deadline(LOOK));
            let has_moved = || !awaited.iter().all(is_awaited);
            let moved = self.wait_event(&self.talk.start, look_again, has_moved);
            if moved {
                continue;
            }
            // Those that have refused themselves are seen off one by one, in their steps.
            let may_come = |cpu: &CpuId| self.refusal(*cpu).is_none();
            let before = awaited;
            awaited = awaited.iter().filter(may_come).collect();
            before.without(&awaited).iter().for_each(&seen_fn);
            if limit.is_over(P::now()) {
                awaited.iter().for_each(&seen_fn);
                return limit.end();
            }
        }
    }

    /// `sync:alive`, startup: the CPU has said ALIVE.
    pub(super) fn wait_alive(&self, context: &StepContext) -> Result<(), StepError> {
        let cpu = context.cpu;
        // Most often it has come while control prepared the rest: then no limit is reckoned.
        if self.handshake(cpu).state() == SyncState::Kicked {
            self.wait_arrival(cpu, context.until)?;
        }
        // Also at the last moment.
        *self.cpus.get(cpu).quarantine.lock() = None;
        Ok(())
    }

    /// Waits until the CPU has said ALIVE, until `until` or else within its limit.
    #[cold]
    fn wait_arrival(&self, cpu: CpuId, until: Instant) -> Result<(), StepError> {
        let handshake = self.handshake(cpu);
        let now = P::now();
        let mut limit = WaitLimit::until(now, until.min(self.arrival_limit().end()));
        loop {
            let look_again = limit.next_look().min(P::deadline(LOOK));
            let has_moved = || handshake.state() != SyncState::Kicked;
            if self.wait_event(&self.talk.start, look_again, has_moved) {
                return Ok(());
            }
            if let Some(reason) = self.refusal(cpu) {
                if self.wait_off(cpu, None) {
                    if handshake.seen_off(SyncState::Kicked).is_ok() {
                        *self.cpus.get(cpu).quarantine.lock() = None;
                        return Err(StepError::RefusedItself(reason));
                    }
                } else if handshake.give_up().is_ok() {
                    self.note_not_off(cpu);
                    return Err(StepError::RefusedItself(reason));
                }
            } else if limit.is_over(P::now()) && handshake.give_up().is_ok() {
                *self.cpus.get(cpu).quarantine.lock() = Some(Quarantine::NeverArrived);
                return Err(StepError::NeverArrived);
            }
        }
    }

    /// Releases `cpus`, which are ALIVE, and waits until all are online. No other thread's stop can
    /// begin meanwhile (online-under-one-hold). If one of the steps that follow stops the machine,
    /// each CPU is released when the one before is online (`one-borrower` of
    /// [`Loan`](crate::stop_machine::Loan)).
    #[inline]
    pub(super) fn release(&self, cpus: impl Iterator<Item = CpuId> + Clone) {
        let still = P::stop_machine().lock();
        if self.slots.stop_the_machine() {
            cpus.for_each(|cpu| {
                P::stop_machine().lend(&still, cpu, || self.release_now(iter::once(cpu)));
            });
        } else {
            self.release_now(cpus);
        }
        drop(still);
    }

    /// Does the same for CPUs that go on together. The stop mutex is held.
    #[inline]
    fn release_now(&self, cpus: impl Iterator<Item = CpuId> + Clone) {
        let waiting = cpus.clone().map(|cpu| {
            let point = &self.cpus.get(cpu).arrival;
            (cpu, self.handshake(cpu), point)
        });
        let asleep = release_all(waiting);
        if !asleep.is_empty() {
            P::send_wake(asleep.bits());
        }
        // From here nothing can fail, so control doesn't give up.
        let are_online = || cpus.clone().all(|cpu| P::masks().is_online(cpu));
        let mut late = Patience::begin::<P>();
        while !self.wait_event(&self.talk.start, late.next_look(), are_online) {
            if late.is_out(P::now()) {
                self.warn_of_late(cpus.clone());
            }
        }
    }

    #[cold]
    fn warn_of_late(&self, released: impl Iterator<Item = CpuId>) {
        for cpu in released.filter(|cpu| !P::masks().is_online(*cpu)) {
            log::warn!(
                "CPU{cpu} was released {} s ago and is not online; it is at step {}",
                patience::<P>().as_secs(),
                self.state(cpu).state()
            );
        }
    }
}
