//! The control CPU's side: whole operations. Each begins from where the CPU is, which may
//! be half way, if an earlier one failed and could not be undone.
//!
//! # Invariants
//! - **walk-is-urgent**: the thread that runs an operation has the level of the kernel's own
//!   threads from before it takes the hotplug lock until it has released it. Between the
//!   still point and `sync:timers` no CPU serves the timers of the CPU that goes, and
//!   whatever waits for the lock waits for this thread.
//! - **gives-way-between-parts**: that thread gives way to realtime threads that wait on its
//!   CPU: before and after it releases CPUs, when it has called one of several, before it stops
//!   the machine, and when it has adopted the timers of a CPU. At these places all timers are
//!   served and it holds no stop off. Each time it gives way for a sleep of 5 us
//!   ([`Scheduler::give_way`](crate::sched::Scheduler::give_way)), because it keeps its level.

use core::iter;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::control_place::ControlPlace;
use crate::hotplug::cpuhp::Command;
use crate::hotplug::deadline::{NotTakenDown, not_stopped};
use crate::hotplug::history::{Recorded, trace_gap};
use crate::hotplug::registration::Operation;
use crate::hotplug::{
    ALL_UP, Awaited, CpuDownError, CpuUpError, Hotplug, HotplugHost, Left, Parked, Quarantine,
    StepContext, StepError, UP_TO_ALIVE, UP_TO_ONLINE, UP_TO_POST_DEAD, WalkError,
};
use crate::sched::Thread;
use crate::stop_machine::StopRequest;
use crate::sync::atomic::Ordering;
use crate::time::Instant;
use crate::trace::{Direction, Event, Gap};

impl<P: HotplugHost> Hotplug<P> {
    /// Returns the CPU of number `number`, if the machine has it.
    pub fn possible(&self, number: usize) -> Option<CpuId> {
        CpuId::new(number).filter(|cpu| P::masks().possible().contains(*cpu))
    }

    /// Brings `cpu` online. Does nothing if it is. One that an earlier operation left half
    /// way goes on from there; one that is quarantined is called again, with the same
    /// memory.
    ///
    /// # Context
    /// Thread, preemption on; takes the hotplug lock; may wait.
    ///
    /// # Errors
    /// [`CpuUpError`]: the step that failed. All others are undone, unless the error says
    /// otherwise; a CPU that never arrived is quarantined and may be tried again.
    pub fn cpu_up(&'static self, cpu: CpuId) -> Result<(), CpuUpError> {
        let mut held = self.begin_operation()?;
        self.refuse_if_disabled()?;
        if !P::masks().possible().contains(cpu) {
            return Err(CpuUpError::NoSuchCpu(cpu.index()));
        }
        self.governed.claim(&CpuMask::of(cpu));
        if self.state(cpu).state() == ALL_UP {
            return Ok(());
        }
        self.go_up_to(cpu, ALL_UP, &mut held)
    }

    /// Brings `cpu` up until `target` rows are, where it may rest and which is above where it
    /// is.
    ///
    /// # Errors
    /// As [`Hotplug::cpu_up`].
    pub(super) fn go_up_to(
        &'static self,
        cpu: CpuId,
        target: usize,
        held: &mut Operation<'_, P>,
    ) -> Result<(), CpuUpError> {
        let origin = self.state(cpu).state();
        let here = P::sched().migrate_disable();
        let _recorded = Recorded::<P>::new(cpu, Direction::Up);
        self.route_events_here(cpu);
        let quarantine = self.settle(cpu);
        let walked = self.walk_up(cpu, origin, target);
        drop(here);
        self.finish_down(cpu, held);
        walked.map_err(|failed| self.up_error(cpu, origin, quarantine, failed))
    }

    /// Returns the error of a way up of `cpu` from `origin`, where it had `quarantine`.
    pub(super) fn up_error(
        &self,
        cpu: CpuId,
        origin: usize,
        quarantine: Option<Quarantine>,
        failed: WalkError,
    ) -> CpuUpError {
        let step = self.step_name(failed.step);
        let error = failed.error;
        let left = match error {
            // That says by itself where it is.
            StepError::NeverArrived => None,
            // And that says that it is off, unless told otherwise.
            StepError::RefusedItself(_) => self.left(cpu, origin, None),
            _ => self.left(cpu, origin, quarantine),
        };
        match left {
            None => CpuUpError::Step { cpu, step, error },
            Some(left) => CpuUpError::NotUndone {
                cpu,
                step,
                error,
                left,
            },
        }
    }

    /// Walks from `origin` up until `target` steps are up. If a step fails, walks back to
    /// `origin`, or as far back as it can.
    fn walk_up(&'static self, cpu: CpuId, origin: usize, target: usize) -> Result<(), WalkError> {
        // From below the release no step is up (down-up-or-online).
        if origin < UP_TO_ONLINE {
            let context = StepContext::of(cpu);
            if let Err(failed) = self.walker(&context).up(UP_TO_ALIVE) {
                self.undo_prep(cpu);
                return Err(failed);
            }
        }
        self.walk_on(cpu, origin, target)
    }

    /// Takes back the steps of a CPU that control has not released.
    pub(super) fn undo_prep(&self, cpu: CpuId) {
        // (prep-undo-cant-fail)
        let undone = self.walker(&StepContext::of(cpu)).down(UP_TO_POST_DEAD);
        assert!(undone.is_ok(), "BUG: an infallible side failed: {undone:?}");
    }

    /// Does the rest of [`Hotplug::walk_up`], when the CPU is ALIVE, or rests half way.
    #[inline]
    pub(super) fn walk_on(
        &'static self,
        cpu: CpuId,
        origin: usize,
        target: usize,
    ) -> Result<(), WalkError> {
        if origin < UP_TO_ONLINE {
            P::sched().give_way(); // (gives-way-between-parts)
            self.release(iter::once(cpu));
            P::sched().give_way();
        }
        let walked = self.command(cpu).run_on(cpu, Direction::Up, target);
        // `cpuhp` has undone its steps, and this takes the rest down. It asks nothing
        // (refusals-first), and needn't: control is pinned to another CPU, which was online
        // when this one was not, and a thread that binds another to a CPU holds off hotplug.
        if walked.is_err()
            && origin < UP_TO_ONLINE
            && self.state(cpu).state() == UP_TO_ONLINE
            && let Err(NotTakenDown::Lost(error)) = self.take_down(cpu, Instant::FOREVER)
        {
            log::error!("{error}");
        }
        walked
    }

    /// Returns what is not as it was before an operation that failed.
    pub(super) fn left(
        &self,
        cpu: CpuId,
        origin: usize,
        before: Option<Quarantine>,
    ) -> Option<Left> {
        let quarantine = self.quarantine(cpu).filter(|now| before != Some(*now));
        if let Some(quarantine) = quarantine {
            return Some(Left::Quarantined(quarantine));
        }
        let up = self.state(cpu).state();
        (up != origin).then(|| {
            let last = self.last_up(up);
            let last = last.expect("BUG: a walk that began online failed, and ended offline");
            Left::HalfWay(last)
        })
    }

    /// Takes `cpu` offline and has firmware turn it off. Does nothing if it is. One that an
    /// earlier operation left half way goes on from there; one that is quarantined is seen
    /// off, if it has come round since.
    ///
    /// # Context
    /// Thread, preemption on; takes the hotplug lock; may wait. A caller on the CPU that goes
    /// moves elsewhere; if it might run nowhere else, it may run anywhere afterwards, as any
    /// thread whose last CPU goes, and the log says so.
    ///
    /// # Errors
    /// [`CpuDownError`]. Unless it says otherwise the CPU is as it was before.
    pub fn cpu_down(&'static self, cpu: CpuId) -> Result<(), CpuDownError> {
        self.cpu_down_before(cpu, self.down_deadline())
    }

    /// Does as [`Hotplug::cpu_down`], but turns back at `deadline`, if the machine has not been
    /// stopped by then. A step can't be interrupted: the walk turns back when it returns, and the
    /// log names one that doesn't.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// As [`Hotplug::cpu_down`]. At the deadline it is [`CpuDownError::Late`], or a step whose
    /// error has the errno ETIMEDOUT.
    pub fn cpu_down_before(
        &'static self,
        cpu: CpuId,
        deadline: Instant,
    ) -> Result<(), CpuDownError> {
        let begun = self.begin_operation_until(deadline)?;
        let mut held = begun.map_err(|awaited| CpuDownError::Late { cpu, awaited })?;
        self.refuse_if_disabled()?;
        if !P::masks().possible().contains(cpu) {
            return Err(CpuDownError::NoSuchCpu(cpu.index()));
        }
        self.governed.claim(&CpuMask::of(cpu));
        self.go_down_to(cpu, 0, deadline, &mut held)
    }

    /// Takes `cpu` down until `target` rows are up, where it may rest and which isn't above
    /// where it is, before `deadline`.
    ///
    /// # Errors
    /// As [`Hotplug::cpu_down`].
    pub(super) fn go_down_to(
        &'static self,
        cpu: CpuId,
        target: usize,
        deadline: Instant,
        held: &mut Operation<'_, P>,
    ) -> Result<(), CpuDownError> {
        let origin = self.state(cpu).state();
        if origin == 0 {
            let off_by = self.common_off_limit().until::<P>().min(deadline);
            return match self.settle_until(cpu, off_by) {
                None => Ok(()),
                Some(quarantine) => Err(CpuDownError::Quarantined { cpu, quarantine }),
            };
        }
        self.may_leave(cpu, target, &CpuMask::EMPTY)?;
        if P::now() >= deadline {
            let awaited = Awaited::Nothing;
            return Err(CpuDownError::Late { cpu, awaited });
        }
        let mut place = ControlPlace::<P>::here();
        place.leave(&CpuMask::of(cpu)).map_err(|(_, error)| error)?;
        let _recorded = Recorded::<P>::new(cpu, Direction::Down);
        self.route_events_here(cpu);
        let rest = target.max(UP_TO_ONLINE);
        P::sched().forget_lost_affinities();
        let leaves = target != rest;
        let walked = self
            .command(cpu)
            .run_down_until(cpu, rest, deadline, leaves);
        if let Err(failed) = walked {
            self.give_affinities_back(&CpuMask::of(cpu));
            return Err(self.down_error(cpu, origin, failed));
        }
        if !leaves {
            return Ok(());
        }
        let taken_down = match self.take_down(cpu, deadline) {
            Err(NotTakenDown::Late(awaited)) => {
                trace_gap::<P>(cpu, Gap::Request);
                let error = self.take_again(cpu, origin, awaited);
                self.give_affinities_back(&CpuMask::of(cpu));
                Err(error)
            }
            Err(NotTakenDown::Lost(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        drop(place);
        self.finish_down(cpu, held);
        taken_down
    }

    /// Lets threads run on those of `cpus` again that have walked back, if they have lost them.
    pub(super) fn give_affinities_back(&self, cpus: &CpuMask) {
        let back = P::masks().active().and(cpus);
        if !back.is_empty() {
            P::sched().give_affinities_back(&back);
        }
    }

    /// Walks the rest of a way down, if control has walked one: what runs without the hotplug
    /// lock. Control isn't pinned any more, so it may take that lock for reading.
    pub(super) fn finish_down(&'static self, cpu: CpuId, held: &mut Operation<'_, P>) {
        if self.state(cpu).state() == UP_TO_POST_DEAD {
            held.release_cpus();
            let context = StepContext::of(cpu);
            let walked = self.walker(&context).down(0);
            assert!(walked.is_ok(), "BUG: an infallible side failed: {walked:?}");
        }
    }

    /// Asks everything that can refuse a way down until `target` rows are up, before the stop
    /// (`refusals-first` of [`hotplug`](crate::hotplug)). `others` go with it.
    pub(super) fn may_leave(
        &self,
        cpu: CpuId,
        target: usize,
        others: &CpuMask,
    ) -> Result<(), CpuDownError> {
        let mut going = *others;
        going.insert(cpu);
        // A CPU that rests half way is online too, and takes no threads.
        if P::masks().active().without(&going).is_empty() {
            return Err(CpuDownError::LastOnline(cpu));
        }
        let threads = P::sched().bound_threads(cpu);
        if threads > 0 {
            return Err(CpuDownError::BoundThreads { cpu, threads });
        }
        if target > 0 {
            return Ok(());
        }
        P::can_turn_off(cpu).map_err(|error| CpuDownError::WouldNotTurnOff { cpu, error })
    }

    /// Walks from `init:online` down through the still point until only what runs without
    /// the hotplug lock is left. Stops the machine before `deadline`, or not at all.
    fn take_down(&'static self, cpu: CpuId, deadline: Instant) -> Result<(), NotTakenDown> {
        let was_refused = P::off_refused(cpu).is_some();
        P::sched().park(self.thread(cpu));
        P::sched().give_way();
        self.leave_online(&CpuMask::of(cpu), deadline)
            .map_err(NotTakenDown::Late)?;
        let ended = self.see_end(&StepContext::of(cpu), was_refused);
        ended.map_err(NotTakenDown::Lost)
    }

    /// Walks each of `cpus`, whose threads are parked, from `init:online` down through one still
    /// point, and adopts their timers.
    ///
    /// # Errors
    /// What was waited for when `deadline` came. Nothing has changed then.
    pub(super) fn leave_online(
        &'static self,
        cpus: &CpuMask,
        deadline: Instant,
    ) -> Result<(), Awaited> {
        // The still point takes the INIT steps back, and no others: a walk that
        // could not be undone before may not end there.
        for cpu in cpus.iter() {
            let up = self.state(cpu).state();
            assert!(
                up == UP_TO_ONLINE,
                "BUG: {cpu:?} is taken down with {up} steps up"
            );
        }
        let still = self.may_stop(deadline)?;
        // (`dying-before-still-point` of [`batch`](crate::hotplug::batch))
        P::masks().set_dying(cpus, true);
        let request = StopRequest::new()
            .mode(self.down_stop())
            .before(deadline)
            .taking_offline(cpus);
        let stopped = P::stop_machine().stop_each(&still, &request, *cpus, &|cpu| {
            let walked = self.walker(&StepContext::of(cpu)).down(UP_TO_ALIVE);
            assert!(walked.is_ok(), "BUG: an INIT step failed: {walked:?}");
        });
        P::masks().set_dying(cpus, false);
        drop(still);
        stopped.map_err(|error| not_stopped(&error))?;
        P::grace_periods().after_teardown();
        // `sync:timers` alone: then all timers are served.
        let back = P::now();
        for (nth, cpu) in cpus.iter().enumerate() {
            if nth > 0 {
                let was = Gap::HandOver;
                P::trace_at(back, Event::Gap { cpu, was });
                trace_gap::<P>(cpu, Gap::Others);
            }
            let context = StepContext::of(cpu);
            let walked = self.walker(&context).down(UP_TO_ALIVE - 1);
            assert!(walked.is_ok(), "BUG: an infallible side failed: {walked:?}");
        }
        P::sched().give_way(); // (gives-way-between-parts)
        Ok(())
    }

    /// Walks the rest of a way down that needs the hotplug lock: sees the CPU DEAD and OFF.
    /// `was_refused` says whether firmware had refused to turn it off in an earlier life.
    pub(super) fn see_end(
        &'static self,
        context: &StepContext,
        was_refused: bool,
    ) -> Result<(), CpuDownError> {
        let cpu = context.cpu;
        let walked = self.walker(context).down(UP_TO_POST_DEAD);
        assert!(walked.is_ok(), "BUG: an infallible side failed: {walked:?}");
        match self.quarantine(cpu) {
            None => {}
            Some(Quarantine::NotDead(state)) => {
                return Err(CpuDownError::NotDead { cpu, state });
            }
            Some(Quarantine::NotOff(refused)) => {
                return Err(CpuDownError::NotOff { cpu, refused });
            }
            Some(Quarantine::NeverArrived) => panic!("BUG: {cpu:?} never arrived and was online"),
        }
        if let Some(parked @ Parked::Refused(_)) = P::parked(cpu)
            && !was_refused
        {
            log::warn!("CPU{cpu} is parked: {parked}");
        }
        Ok(())
    }

    /// Brings the boot CPU, on which this runs, through the same steps up to
    /// `online`; the rest is [`Hotplug::finish_boot_cpu`]'s.
    ///
    /// # Context
    /// Boot, as what will be its idle thread, IRQs masked.
    pub fn start_boot_cpu(&'static self) {
        let cpu = CpuId::BOOT;
        let record = self.cpus.get(cpu);
        let context = StepContext::of(cpu);
        P::trace(Event::WalkBegin {
            cpu,
            direction: Direction::Up,
        });
        // A sleeping lock asks for the running thread, so the idle thread comes first.
        let idle = P::sched().new_idle(cpu, P::idle_context(cpu));
        P::sched().start_cpu(record.idle.call_once(|| idle));
        let walked = self.walker(&context).up(UP_TO_ALIVE);
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
        let held = self.begin_operation();
        assert!(held.is_ok(), "BUG: the first thread holds a lock");
        let command = self.command(CpuId::BOOT);
        let walked = command.run_on(CpuId::BOOT, Direction::Up, ALL_UP);
        P::trace(Event::WalkEnd { cpu: CpuId::BOOT });
        walked
    }

    /// Handles the event SGI: wakes the control thread that waits on this CPU.
    ///
    /// # Context
    /// Interrupt handler.
    pub fn event_interrupt(&self) {
        self.events.get(P::this_cpu()).complete();
    }

    /// Has events about `cpu` come to this CPU from now on. The caller has pinned the
    /// control thread to it.
    pub(super) fn route_events_here(&self, cpu: CpuId) {
        let record = self.cpus.get(cpu);
        record
            .control
            .store(P::this_cpu().as_u32(), Ordering::Relaxed);
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
