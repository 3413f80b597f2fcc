//! The way down of a batch: see [`batch`](crate::hotplug::batch).

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::batch::BatchWalk;
use crate::hotplug::batch_error::Failures;
use crate::hotplug::control_place::ControlPlace;
use crate::hotplug::history::{trace_begin, trace_gap};
use crate::hotplug::registration::Operation;
use crate::hotplug::{
    Awaited, BatchError, CpuDownError, Hotplug, HotplugHost, StepContext, SyncState,
    UP_TO_INACTIVE, UP_TO_ONLINE, WalkError,
};
use crate::time::Instant;
use crate::trace::{Direction, Event, Gap};

/// A CPU of the set.
struct Goer {
    cpu: CpuId,
    /// How many steps were up before.
    origin: usize,
    /// Whether firmware has refused to turn it off in an earlier life.
    was_refused: bool,
}

/// The CPUs that go (`set-only-shrinks` of [`batch`](crate::hotplug::batch)).
struct Set {
    goers: Vec<Goer>,
    /// Those that have left it and still walk.
    late: Vec<Goer>,
    /// Those of the operation that were offline before it, and may be quarantined.
    offline: CpuMask,
    failures: Failures<CpuDownError>,
}

impl Set {
    fn new(goers: Vec<Goer>) -> Set {
        Set {
            goers,
            late: Vec::new(),
            offline: CpuMask::EMPTY,
            failures: Failures::new(),
        }
    }

    fn cpus(&self) -> CpuMask {
        self.goers.iter().map(|goer| goer.cpu).collect()
    }

    /// Returns how many steps of `cpu` were up before.
    fn origin(&self, cpu: CpuId) -> usize {
        let goer = self.goers.iter().find(|goer| goer.cpu == cpu);
        goer.expect("BUG: a CPU walks that is not in the set")
            .origin
    }

    /// Removes `cpu`, because of `error`.
    fn fail(&mut self, cpu: CpuId, error: CpuDownError) {
        self.goers.retain(|goer| goer.cpu != cpu);
        self.failures.add(cpu, error);
    }

    /// Writes what the time since the last event of each was.
    fn trace_gap<P: HotplugHost>(&self, was: Gap) {
        let now = P::now();
        for &Goer { cpu, .. } in &self.goers {
            P::trace_at(now, Event::Gap { cpu, was });
        }
    }

    /// Removes all that are left, because they have waited for `awaited` until the deadline.
    fn fail_late(&mut self, awaited: Awaited) {
        let left = self.cpus();
        self.goers.clear();
        let late = |cpu| CpuDownError::Late { cpu, awaited };
        self.failures.add_all(&left, late);
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Takes `cpus` offline, as [`Hotplug::cpu_down`] takes one, with one grace period and one
    /// still point for all. The callbacks of steps run at the same time for several CPUs. The
    /// limit for ways down ([`Hotplug::set_down_limit`]) is one for all of them.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`BatchError`]: a [`CpuDownError`] for each CPU that did not go. All others have gone.
    pub fn cpus_down(&'static self, cpus: &CpuMask) -> Result<(), BatchError<CpuDownError>> {
        self.cpus_down_before(cpus, self.down_deadline())
    }

    /// Does as [`Hotplug::cpus_down`], but CPUs turn back at `deadline`, as one does with
    /// [`Hotplug::cpu_down_before`]. Those whose own steps are late don't keep the others: they
    /// turn back when three quarters of the time are over, and the rest is for the stop of the
    /// machine. If that can't begin in time, all turn back. A step can't be interrupted: this returns
    /// when all have turned back that stay. With a deadline there is a second grace period, which
    /// shows that the machine can be stopped.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// As [`Hotplug::cpus_down`]. At the deadline it is [`CpuDownError::Late`], or a step whose
    /// error has the errno ETIMEDOUT.
    pub fn cpus_down_before(
        &'static self,
        cpus: &CpuMask,
        deadline: Instant,
    ) -> Result<(), BatchError<CpuDownError>> {
        let mut failures = Failures::new();
        if let (Some(cpu), 1) = (cpus.first(), cpus.count()) {
            if let Err(error) = self.cpu_down_before(cpu, deadline) {
                failures.add(cpu, error);
            }
            return failures.into_result();
        }
        match self.begin_down(cpus, deadline, &mut failures) {
            Some(mut held) => {
                self.governed.claim(cpus);
                self.go_down_together(cpus, deadline, &mut held)
            }
            None => failures.into_result(),
        }
    }

    /// Begins an operation that takes `cpus` down. Adds to `failures` why it doesn't take place.
    pub(super) fn begin_down(
        &self,
        cpus: &CpuMask,
        deadline: Instant,
        failures: &mut Failures<CpuDownError>,
    ) -> Option<Operation<'_, P>> {
        let held = match self.begin_operation_until(deadline) {
            Ok(Ok(held)) => held,
            Ok(Err(awaited)) => {
                failures.add_all(cpus, |cpu| CpuDownError::Late { cpu, awaited });
                return None;
            }
            Err(why) => {
                failures.add_all(cpus, |_| why.into());
                return None;
            }
        };
        match self.refuse_if_disabled() {
            Ok(()) => Some(held),
            Err(why) => {
                failures.add_all(cpus, |_| why.into());
                None
            }
        }
    }

    /// Does as [`Hotplug::cpus_down_before`], in an operation that has begun. At the end it may
    /// have released the hotplug lock.
    pub(super) fn go_down_together(
        &'static self,
        cpus: &CpuMask,
        deadline: Instant,
        held: &mut Operation<'_, P>,
    ) -> Result<(), BatchError<CpuDownError>> {
        let mut set = Set::new(Vec::new());
        self.choose_goers(cpus, &mut set);
        if P::now() >= deadline {
            set.fail_late(Awaited::Nothing);
        }
        if let [Goer { cpu, .. }] = set.goers[..] {
            set.goers.clear();
            if let Err(error) = self.go_down_to(cpu, 0, deadline, held) {
                set.failures.add(cpu, error);
            }
        } else {
            self.take_down_set(&mut set, deadline, held);
        }
        self.settle_offline(&mut set, deadline);
        set.failures.into_result()
    }

    fn take_down_set(&'static self, set: &mut Set, deadline: Instant, held: &mut Operation<'_, P>) {
        let mut place = ControlPlace::<P>::here();
        if let Err((here, error)) = place.leave(&set.cpus()) {
            set.fail(here, error);
        }
        if set.goers.is_empty() {
            return;
        }
        let all = set.cpus();
        for cpu in all.iter() {
            trace_begin::<P>(cpu, Direction::Down);
            self.route_events_here(cpu);
        }
        P::sched().forget_lost_affinities();
        self.walk_goers_down(set, deadline);
        if !set.goers.is_empty() {
            self.leave_together(set, deadline);
        }
        if !set.goers.is_empty() {
            self.see_ends(set);
        }
        self.wait_for_late(set);
        self.give_affinities_back(&all);
        drop(place);
        for cpu in all.iter() {
            trace_gap::<P>(cpu, Gap::Others);
            self.finish_down(cpu, held);
            P::trace(Event::WalkEnd { cpu });
        }
    }

    /// Has all of `set` walk their steps in thread context down, with one grace period between
    /// the first of them and the others.
    fn walk_goers_down(&'static self, set: &mut Set, deadline: Instant) {
        let until = Self::walks_end(deadline, set.goers.len());
        self.walk_goers(set, UP_TO_INACTIVE, until);
        // One that can't even do that doesn't come to the grace period either.
        self.wait_for_late(set);
        let watched = |goer: &&Goer| self.state(goer.cpu).state() >= UP_TO_INACTIVE;
        let waiting: CpuMask = set.goers.iter().filter(watched).map(|it| it.cpu).collect();
        // (`bits-before-grace` of [`batch`](crate::hotplug::batch))
        if !waiting.is_empty() {
            set.trace_gap::<P>(Gap::Others);
            let over = self.wait_for_masks(&waiting, until);
            set.trace_gap::<P>(Gap::Grace);
            if let Err(late) = over {
                return self.turn_back(set, Awaited::Cpu(late));
            }
        }
        self.walk_goers(set, UP_TO_ONLINE, until);
    }

    /// Waits for the CPUs that have left `set` and still walk: until they have turned back.
    fn wait_for_late(&'static self, set: &mut Set) {
        if set.late.is_empty() {
            return;
        }
        let late: CpuMask = set.late.iter().map(|goer| goer.cpu).collect();
        self.wait_for_all(&late);
        for Goer { cpu, origin, .. } in set.late.drain(..) {
            let error = match self.command(cpu).result() {
                Err(failed) => self.down_error(cpu, origin, failed),
                // It was done in the moment when control gave it up.
                Ok(()) => {
                    trace_gap::<P>(cpu, Gap::Others);
                    self.take_again(cpu, origin, Awaited::Nothing)
                }
            };
            set.failures.add(cpu, error);
        }
    }

    /// Parks the threads of `set`, and stops the machine for all of them, before `deadline`. If it
    /// can't be stopped by then, all turn back.
    fn leave_together(&'static self, set: &mut Set, deadline: Instant) {
        let cpus = set.cpus();
        set.trace_gap::<P>(Gap::Others);
        // All are asked before the first wait.
        for cpu in cpus.iter() {
            P::sched().ask_to_park(self.thread(cpu));
        }
        for cpu in cpus.iter() {
            P::sched().park(self.thread(cpu));
        }
        P::sched().give_way(); // (gives-way-between-parts)
        if let Err(awaited) = self.leave_online(&cpus, deadline) {
            set.trace_gap::<P>(Gap::Request);
            self.turn_back(set, awaited);
        }
    }

    /// Has all of `set` walk back to where they were, and leave it, because they have waited for
    /// `awaited` until the deadline.
    fn turn_back(&'static self, set: &mut Set, awaited: Awaited) {
        self.wait_for_late(set);
        let back = |goer: &Goer| BatchWalk {
            cpu: goer.cpu,
            target: goer.origin,
            origin: self.state(goer.cpu).state(),
            is_last: false,
        };
        let walks: Vec<_> = set.goers.iter().map(back).collect();
        let busy = self.walk_together(&walks, Direction::Up, Instant::FOREVER, |cpu, failed| {
            set.fail(cpu, self.down_error(cpu, set.origin(cpu), failed));
        });
        assert!(busy.is_empty(), "BUG: control has waited for CPUs {busy}");
        set.fail_late(awaited);
    }

    /// Sees each of `set` DEAD and OFF, with one limit for all, and walks the rest of its way
    /// down that needs the hotplug lock.
    fn see_ends(&'static self, set: &mut Set) {
        let mut limit = self.common_die_limit();
        for &Goer { cpu, .. } in &set.goers {
            if self.handshake(cpu).state() == SyncState::Dead {
                continue;
            }
            trace_gap::<P>(cpu, Gap::Others);
            let until = limit.until::<P>();
            if !self.says_dead(cpu, until) {
                limit.was_late(until);
            }
            trace_gap::<P>(cpu, Gap::Departure);
        }
        let mut limit = self.common_off_limit();
        let mut end = |goer: &Goer| {
            trace_gap::<P>(goer.cpu, Gap::Others);
            let until = limit.until::<P>();
            let mut context = StepContext::of(goer.cpu);
            context.off_by = Some(until);
            let end = self.see_end(&context, goer.was_refused);
            if let Err(CpuDownError::NotOff { .. }) = end {
                limit.was_late(until);
            }
            (goer.cpu, end)
        };
        let ends: Vec<_> = set.goers.iter().map(&mut end).collect();
        for (cpu, end) in ends {
            if let Err(error) = end {
                set.fail(cpu, error);
            }
        }
    }

    /// Takes down `cpus`, which control has released and whose threads have walked back until
    /// `init:online` is the last step that is up. Asks nothing, as at the end of one CPU's way up
    /// that fails; the log says which are not seen off.
    pub(super) fn take_down_again(&'static self, cpus: &CpuMask) {
        let goer = |cpu| Goer {
            cpu,
            origin: UP_TO_ONLINE,
            was_refused: P::off_refused(cpu).is_some(),
        };
        let mut set = Set::new(cpus.iter().map(goer).collect());
        if set.goers.is_empty() {
            return;
        }
        self.leave_together(&mut set, Instant::FOREVER);
        self.see_ends(&mut set);
        if let Err(failed) = set.failures.into_result() {
            for (_, error) in failed.failed() {
                log::error!("{error}");
            }
        }
    }

    /// Puts those of `cpus` into `set` that are to go and may (`batch-keeps-one` of
    /// [`batch`](crate::hotplug::batch)). Doesn't wait.
    fn choose_goers(&self, cpus: &CpuMask, set: &mut Set) {
        let mut going = CpuMask::EMPTY;
        for cpu in cpus.iter() {
            if !P::masks().possible().contains(cpu) {
                set.failures.add(cpu, CpuDownError::NoSuchCpu(cpu.index()));
                continue;
            }
            let origin = self.state(cpu).state();
            if origin == 0 {
                set.offline.insert(cpu);
                continue;
            }
            match self.may_leave(cpu, 0, &going) {
                Ok(()) => {
                    going.insert(cpu);
                    set.goers.push(Goer {
                        cpu,
                        origin,
                        was_refused: P::off_refused(cpu).is_some(),
                    });
                }
                Err(error) => set.failures.add(cpu, error),
            }
        }
    }

    /// Looks once more at those that were offline before, and may be quarantined, with one limit
    /// for all. Comes last, so that the time before `deadline` is for those that can go. Needs the
    /// add/remove lock, and not the hotplug lock: all these CPUs stay offline.
    fn settle_offline(&self, set: &mut Set, deadline: Instant) {
        let mut limit = self.common_off_limit();
        for cpu in set.offline.iter() {
            let until = limit.until::<P>().min(deadline);
            if let Some(quarantine) = self.settle_until(cpu, until) {
                if P::now() >= until {
                    limit.was_late(until);
                }
                let error = CpuDownError::Quarantined { cpu, quarantine };
                set.failures.add(cpu, error);
            }
        }
    }

    /// Has all of `set` that are above `target` walk down to it before `until`; those whose walk
    /// fails, is late, or isn't over by then leave the set.
    fn walk_goers(&self, set: &mut Set, target: usize, until: Instant) {
        let above = |goer: &&Goer| self.state(goer.cpu).state() > target;
        let walks = set.goers.iter().filter(above);
        let down = |goer: &Goer| BatchWalk {
            cpu: goer.cpu,
            target,
            origin: goer.origin,
            is_last: false,
        };
        let walks: Vec<_> = walks.map(down).collect();
        let busy = self.walk_together(&walks, Direction::Down, until, |cpu, failed| {
            set.fail(cpu, self.down_error(cpu, set.origin(cpu), failed));
        });
        let late = set.goers.extract_if(.., |goer| busy.contains(goer.cpu));
        set.late.extend(late);
    }

    /// Returns the error of a way down from `origin` that has failed in `cpuhp`: on the way down,
    /// or when the steps were taken up again.
    pub(super) fn down_error(&self, cpu: CpuId, origin: usize, failed: WalkError) -> CpuDownError {
        let step = self.step_name(failed.step);
        let error = failed.error;
        match self.left(cpu, origin, None) {
            None => CpuDownError::Step { cpu, step, error },
            Some(left) => CpuDownError::NotUndone {
                cpu,
                step,
                error,
                left,
            },
        }
    }
}
