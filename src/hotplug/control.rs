//! The control CPU's side: whole operations, and the steps that it runs.

use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::history::Recorded;
use crate::hotplug::thread::Command;
use crate::hotplug::{
    ALIVE, CpuDownError, CpuUpError, Hotplug, HotplugHost, ONLINE, RELEASED, StepContext,
    StepError, SyncState, WalkError,
};
use crate::platform::{PowerState, PsciError};
use crate::sched::{MigrateGuard, Thread};
use crate::sched::{late_at, patience};
use crate::stop_machine::StopHost;
use crate::sync::atomic::Ordering;
use crate::time::Instant;
use crate::trace::{Direction, Event};

/// How long a CPU that was told to leave may take to say DEAD.
const DIE: Duration = Duration::from_secs(10);
/// How long firmware may take to say OFF after DEAD, and to start a CPU that it
/// still takes for on. Linux on arm64 waits 100 ms and goes on with a warning; here
/// it is an error and the CPU is quarantined, which a virtual CPU that merely
/// isn't running must not be.
const OFF: Duration = Duration::from_secs(5);
/// How long control sleeps between two questions to firmware, once it has spun: a
/// virtual CPU that leaves needs the host's time for it.
const ASK_AGAIN: Duration = Duration::from_micros(100);
/// How often control looks for what can't raise an event: a CPU that refused
/// itself before its interrupt interface was up.
const LOOK: Duration = Duration::from_millis(10);
/// Turns that control spins before it sleeps. By `make bench`: fewer cost a switch
/// where the answer is an instant away, more keep the host from whom we wait for.
const SPINS: u32 = 8;

/// Where the control thread stays for as long as an operation lasts: on a CPU that
/// does.
struct ControlPlace<P: HotplugHost> {
    /// `None` only inside `drop`.
    pin: Option<MigrateGuard<P>>,
    /// Where it may run meanwhile, if it had to move, and where when that is over.
    moved: Option<(CpuMask, CpuMask)>,
}

impl<P: HotplugHost> ControlPlace<P> {
    /// Moves the running thread away from `cpu`, if it is there, and keeps it.
    ///
    /// # Errors
    /// [`CpuDownError::BoundThreads`] if it can't run elsewhere.
    fn away_from(cpu: CpuId) -> Result<Self, CpuDownError> {
        let sched = P::sched();
        let mut place = ControlPlace {
            pin: Some(sched.migrate_disable()),
            moved: None,
        };
        if P::this_cpu() != cpu {
            return Ok(place);
        }
        place.pin = None;
        let me = sched.current();
        let before = me.affinity();
        let elsewhere = P::masks().active().without(&CpuMask::of(cpu));
        if sched.set_affinity(&me, &elsewhere).is_ok() {
            place.moved = Some((elsewhere, before));
        }
        place.pin = Some(sched.migrate_disable());
        if P::this_cpu() == cpu {
            return Err(CpuDownError::BoundThreads { cpu, threads: 1 });
        }
        Ok(place)
    }
}

impl<P: HotplugHost> Drop for ControlPlace<P> {
    fn drop(&mut self) {
        self.pin = None;
        let Some((elsewhere, before)) = self.moved else {
            return;
        };
        let sched = P::sched();
        let me = sched.current();
        // Somebody else may have said since where it is to run: that holds.
        if me.affinity() != elsewhere {
            return;
        }
        if let Err(error) = sched.set_affinity(&me, &before) {
            log::warn!(
                "thread {} is bound to CPUs {elsewhere} from now on: {error}",
                me.name()
            );
        }
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// The CPU of number `number`, if the machine has it.
    pub fn possible(&self, number: usize) -> Option<CpuId> {
        CpuId::new(number).filter(|cpu| P::masks().possible().contains(*cpu))
    }

    /// Brings `cpu` online. Does nothing if it is.
    ///
    /// # Context
    /// Thread, preemption on; takes the hotplug lock; may wait.
    ///
    /// # Errors
    /// [`CpuUpError`]: the step that failed. All others are undone; a CPU that
    /// never arrived is quarantined and may be tried again.
    pub fn cpu_up(&'static self, cpu: CpuId) -> Result<(), CpuUpError> {
        let _held = self.begin_operation()?;
        if !P::masks().possible().contains(cpu) {
            return Err(CpuUpError::NoSuchCpu(cpu.index()));
        }
        if self.state(cpu).state() == ONLINE {
            return Ok(());
        }
        let failed = |failed: WalkError| CpuUpError::Step {
            cpu,
            step: self.steps()[failed.step].name,
            error: failed.error,
        };
        let _here = P::sched().migrate_disable();
        let _recorded = Recorded::<P>::new(cpu, Direction::Up);
        self.take_charge(cpu);
        let context = StepContext { cpu };
        let mut walker = self.walker(&context);
        if let Err(error) = walker.up(ALIVE) {
            let undone = walker.down(0);
            assert!(undone.is_ok(), "BUG: an infallible side failed: {undone:?}");
            self.log_trouble(cpu);
            return Err(failed(error));
        }
        self.release(cpu);
        P::sched().unpark(self.thread(cpu));
        if let Err(error) = self.command(cpu).run_on(cpu, Direction::Up, ONLINE) {
            if let Err(trouble) = self.take_down(cpu) {
                log::error!("{trouble}");
            }
            return Err(failed(error));
        }
        Ok(())
    }

    /// Takes `cpu` offline and has firmware turn it off. Does nothing if it is.
    ///
    /// # Context
    /// Thread on a CPU that stays, preemption on; takes the hotplug lock; may
    /// wait.
    ///
    /// # Errors
    /// [`CpuDownError`]. Unless it is one of those that speak of quarantine the
    /// CPU is online as before.
    pub fn cpu_down(&'static self, cpu: CpuId) -> Result<(), CpuDownError> {
        let _held = self.begin_operation()?;
        if !P::masks().possible().contains(cpu) {
            return Err(CpuDownError::NoSuchCpu(cpu.index()));
        }
        if self.state(cpu).state() == 0 {
            return Ok(());
        }
        self.may_leave(cpu)?;
        let _elsewhere = ControlPlace::<P>::away_from(cpu)?;
        let _recorded = Recorded::<P>::new(cpu, Direction::Down);
        self.take_charge(cpu);
        self.command(cpu)
            .run_on(cpu, Direction::Down, RELEASED)
            .map_err(|failed| CpuDownError::Step {
                cpu,
                step: self.steps()[failed.step].name,
                error: failed.error,
            })?;
        self.take_down(cpu)
    }

    /// All that can refuse, asked before the stop (H3).
    fn may_leave(&self, cpu: CpuId) -> Result<(), CpuDownError> {
        if P::masks().online() == CpuMask::of(cpu) {
            return Err(CpuDownError::LastOnline(cpu));
        }
        if cpu == CpuId::BOOT {
            return Err(CpuDownError::BootCpu(cpu));
        }
        let threads = P::sched().bound_threads(cpu);
        if threads > 0 {
            return Err(CpuDownError::BoundThreads { cpu, threads });
        }
        P::can_turn_off(cpu).map_err(|error| CpuDownError::Refused { cpu, error })
    }

    /// From `init:online` down to offline: the take-down proper.
    fn take_down(&'static self, cpu: CpuId) -> Result<(), CpuDownError> {
        let context = StepContext { cpu };
        P::sched().park(self.thread(cpu));
        let stop = <P as StopHost>::stop_machine();
        // The still point takes the INIT steps back, and no others: a walk that
        // could not be undone before may not end there.
        let up = self.state(cpu).state();
        assert!(
            up == RELEASED,
            "BUG: {cpu:?} is taken down with {up} steps up"
        );
        let stopped = {
            let still = stop.lock();
            stop.stop_on(&still, cpu, || {
                let walked = self.walker(&context).down(ALIVE);
                assert!(walked.is_ok(), "BUG: an INIT step failed: {walked:?}");
            })
        };
        P::grace_periods().after_teardown();
        if let Err(error) = stopped {
            P::sched().unpark(self.thread(cpu));
            let back = self.command(cpu).run_on(cpu, Direction::Up, ONLINE);
            if let Err(failed) = back {
                log::error!("CPU{cpu} rollback stopped at step {}", failed.step);
            }
            return Err(CpuDownError::Stop(error));
        }
        let walked = self.walker(&context).down(0);
        assert!(walked.is_ok(), "BUG: an infallible side failed: {walked:?}");
        match self.cpus.get(cpu).trouble.lock().take() {
            Some(trouble) => Err(trouble),
            None => Ok(()),
        }
    }

    /// Brings the boot CPU, on which this runs, through the same steps up to
    /// `online`; the rest is [`Hotplug::finish_boot_cpu`]'s.
    ///
    /// # Context
    /// Boot, as what will be its idle thread, IRQs masked.
    pub fn start_boot_cpu(&'static self) {
        let cpu = CpuId::BOOT;
        let record = self.cpus.get(cpu);
        let context = StepContext { cpu };
        P::trace(Event::WalkBegin {
            cpu,
            direction: Direction::Up,
        });
        // Locks that sleep ask who runs, so idle comes first here.
        let idle = P::sched().new_idle(cpu, P::idle_context(cpu));
        P::sched().start_cpu(record.idle.call_once(|| idle));
        let walked = self.walker(&context).up(ALIVE);
        assert!(walked.is_ok(), "BUG: the boot CPU fails: {walked:?}");
        let released = self.handshake(cpu).release();
        assert!(released.is_ok(), "BUG: the boot CPU is {released:?}");
        self.start_here(cpu);
    }

    /// The boot CPU's steps in thread context.
    ///
    /// # Context
    /// The first thread, on the boot CPU.
    ///
    /// # Errors
    /// The step that failed.
    pub fn finish_boot_cpu(&'static self) -> Result<(), WalkError> {
        let _held = self.cpus_write_lock();
        P::sched().unpark(self.thread(CpuId::BOOT));
        let walked = self
            .command(CpuId::BOOT)
            .run_on(CpuId::BOOT, Direction::Up, ONLINE);
        P::trace(Event::WalkEnd { cpu: CpuId::BOOT });
        walked
    }

    /// `prep:hardware`, startup: the boot record is ready, and the CPU is called.
    pub(super) fn kick(&self, cpu: CpuId) -> Result<(), StepError> {
        let handshake = self.handshake(cpu);
        // Of a CPU that still runs nothing is touched, its record neither.
        handshake.may_kick().map_err(StepError::NotOff)?;
        P::prepare_boot_record(cpu)?;
        let before = handshake.kick().map_err(StepError::NotOff)?;
        if cpu == P::this_cpu() {
            assert!(handshake.arrive(), "BUG: the boot CPU is not wanted");
            return Ok(());
        }
        let limit = P::deadline(OFF);
        let mut turns = 0;
        loop {
            match P::cpu_on(cpu) {
                Ok(()) => return Ok(()),
                // It was given up while it was still on its way: so it is.
                Err(PsciError::AlreadyOn | PsciError::OnPending)
                    if before == SyncState::Cancelled =>
                {
                    return Ok(());
                }
                // Firmware has not finished turning it off.
                Err(PsciError::AlreadyOn | PsciError::OnPending) if P::now() < limit => {
                    self.pause(&mut turns);
                }
                Err(error) => {
                    return match handshake.refused(before) {
                        Ok(()) => Err(StepError::Psci(error)),
                        // Refused, and here nevertheless: the word decides.
                        Err(_) => Ok(()),
                    };
                }
            }
        }
    }

    /// `prep:hardware`, teardown: a CPU that was called and is not wanted is told
    /// so and seen off. After a tear-down it already is.
    pub(super) fn see_it_off(&self, cpu: CpuId) {
        let handshake = self.handshake(cpu);
        // If it has arrived since we looked, it is ALIVE now.
        let gave_up = handshake.state() == SyncState::Kicked && handshake.give_up().is_ok();
        match handshake.state() {
            SyncState::Dead if !gave_up => {}
            // Never arrived, and found so before: unknown, quarantined.
            SyncState::Cancelled if self.state_is_unknown(cpu) => {}
            // DEAD, if it has come and gone since: then OFF is still to be seen.
            SyncState::Cancelled | SyncState::Dead => self.wait_gone(cpu),
            SyncState::Alive => {
                let point = &self.cpus.get(cpu).arrival;
                point.publish::<P>(CpuMask::of(cpu).bits(), || {
                    let dismissed = handshake.dismiss();
                    assert!(dismissed.is_ok(), "BUG: ALIVE became {dismissed:?}");
                });
                self.wait_dead(cpu);
            }
            state => panic!("BUG: {cpu:?} is {} before sync:alive", state.name()),
        }
    }

    /// As [`Hotplug::wait_dead`] for a CPU that was given up on its way here: it may
    /// also have refused itself, which leaves a reason and no DEAD. Then firmware's
    /// OFF is enough, and the word is control's to write.
    fn wait_gone(&self, cpu: CpuId) {
        let limit = P::deadline(DIE);
        let handshake = self.handshake(cpu);
        while handshake.state() != SyncState::Dead && P::now() < limit {
            if P::refusal(cpu).is_some() && self.wait_off(cpu) {
                // Refused it has not touched the word: nobody else moves it now.
                if handshake.failed(SyncState::Cancelled).is_ok() {
                    return;
                }
            }
            self.wait_event(limit.min(P::deadline(LOOK)), || {
                handshake.state() == SyncState::Dead
            });
        }
        self.wait_dead(cpu);
    }

    /// Whether the operation has already found that `cpu` never arrived.
    fn state_is_unknown(&self, cpu: CpuId) -> bool {
        self.cpus.get(cpu).trouble.lock().is_some()
    }

    /// `sync:alive`, startup: the CPU has said ALIVE.
    pub(super) fn wait_alive(&self, cpu: CpuId) -> Result<(), StepError> {
        let handshake = self.handshake(cpu);
        let deadline = P::deadline(self.arrival_limit());
        loop {
            let look_again = deadline.min(P::deadline(LOOK));
            if self.wait_event(look_again, || handshake.state() != SyncState::Kicked) {
                return Ok(());
            }
            if let Some(reason) = P::refusal(cpu)
                && self.wait_off(cpu)
                && handshake.failed(SyncState::Kicked).is_ok()
            {
                return Err(StepError::Refused(reason));
            }
            if P::now() >= deadline {
                return match handshake.give_up() {
                    Ok(()) => {
                        *self.cpus.get(cpu).trouble.lock() = Some(CpuDownError::NotDead {
                            cpu,
                            state: SyncState::Cancelled,
                        });
                        Err(StepError::NeverArrived)
                    }
                    Err(_) => Ok(()), // At the last moment.
                };
            }
        }
    }

    /// Releases a CPU that is ALIVE and waits until it is online. No stop can
    /// begin meanwhile: the set of those who take part can't grow in the middle.
    fn release(&self, cpu: CpuId) {
        let handshake = self.handshake(cpu);
        let still = <P as StopHost>::stop_machine().lock();
        let point = &self.cpus.get(cpu).arrival;
        point.publish::<P>(CpuMask::of(cpu).bits(), || {
            let released = handshake.release();
            assert!(released.is_ok(), "BUG: ALIVE became {released:?}");
        });
        // From here nothing can fail, so control doesn't give up.
        while !self.wait_event(late_at::<P>(), || P::masks().is_online(cpu)) {
            log::warn!(
                "CPU{cpu} was released {} s ago and is not online; it is at step {}",
                patience::<P>().as_secs(),
                self.state(cpu).state()
            );
        }
        drop(still);
    }

    /// `sync:alive`, teardown: the CPU has said DEAD, then firmware says OFF.
    pub(super) fn wait_dead(&self, cpu: CpuId) {
        let handshake = self.handshake(cpu);
        let dead = || handshake.state() == SyncState::Dead;
        let trouble = if !self.wait_event(P::deadline(DIE), dead) {
            Some(CpuDownError::NotDead {
                cpu,
                state: handshake.state(),
            })
        } else if !self.wait_off(cpu) {
            Some(CpuDownError::NotOff(cpu))
        } else {
            None
        };
        *self.cpus.get(cpu).trouble.lock() = trouble;
    }

    /// `sync:active`, teardown: nobody holds a mask with this CPU in it. Then nothing is
    /// placed here any more, and what is queued goes at once: a realtime thread that never
    /// waits would keep the CPU's own threads from parking.
    pub(super) fn wait_inactive(&self, cpu: CpuId) {
        P::grace_periods().synchronize(|late| {
            log::warn!("CPU{cpu} waits for a grace period; CPUs {late} hold it up");
        });
        P::sched().push_all(cpu);
    }

    /// The event SGI has arrived on this CPU.
    ///
    /// # Context
    /// Interrupt handler.
    pub fn event_interrupt(&self) {
        self.events.get(P::this_cpu()).complete();
    }

    /// From now on events about `cpu` are ours: they come to this CPU, on which the caller
    /// has seen to it that we stay.
    fn take_charge(&self, cpu: CpuId) {
        let record = self.cpus.get(cpu);
        let me = u32::try_from(P::this_cpu().index()).expect("BUG: CPU numbers fit 32 bits");
        record.control.store(me, Ordering::Relaxed);
        *record.trouble.lock() = None;
    }

    /// Waits until `check_fn` says yes, or `at`; returns whether it did. Spins
    /// for a moment, then sleeps until the event SGI.
    fn wait_event(&self, at: Instant, check_fn: impl Fn() -> bool) -> bool {
        for _ in 0..SPINS {
            if check_fn() {
                return true;
            }
            P::relax();
        }
        let event = self.events.get(P::this_cpu());
        loop {
            if check_fn() {
                return true;
            }
            if !event.wait_until(at) {
                return check_fn();
            }
        }
    }

    /// Polls firmware until it says OFF; returns whether it did in time.
    fn wait_off(&self, cpu: CpuId) -> bool {
        let limit = P::deadline(OFF);
        let mut turns = 0;
        loop {
            if P::power_state(cpu) == Ok(PowerState::Off) {
                return true;
            }
            if P::now() >= limit {
                return false;
            }
            self.pause(&mut turns);
        }
    }

    /// A turn of a loop that asks firmware: spins at first, then sleeps.
    fn pause(&self, turns: &mut u32) {
        if *turns < SPINS {
            *turns += 1;
            P::relax();
        } else {
            P::sched().sleep_until(P::deadline(ASK_AGAIN));
        }
    }

    fn log_trouble(&self, cpu: CpuId) {
        if let Some(trouble) = self.cpus.get(cpu).trouble.lock().take() {
            log::error!("{trouble}");
        }
    }

    pub(super) fn thread(&self, cpu: CpuId) -> &alloc::sync::Arc<Thread<P>> {
        self.cpus
            .get(cpu)
            .thread
            .get()
            .expect("BUG: cpuhp is used before prep:threads")
    }

    pub(super) fn command(&self, cpu: CpuId) -> &Command<P> {
        &self.cpus.get(cpu).command
    }
}
