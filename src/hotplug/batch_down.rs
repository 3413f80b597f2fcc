//! The way down of a batch: see [`batch`](crate::hotplug::batch).

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::batch_error::Failures;
use crate::hotplug::control_place::ControlPlace;
use crate::hotplug::history::Recorded;
use crate::hotplug::registration::Operation;
use crate::hotplug::{
    BatchError, CpuDownError, Hotplug, HotplugHost, UP_TO_INACTIVE, UP_TO_ONLINE, WalkError,
};
use crate::trace::Direction;

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
    failures: Failures<CpuDownError>,
}

impl Set {
    fn cpus(&self) -> CpuMask {
        self.goers.iter().map(|goer| goer.cpu).collect()
    }

    /// Removes `cpu`, because of `error`.
    fn fail(&mut self, cpu: CpuId, error: CpuDownError) {
        self.goers.retain(|goer| goer.cpu != cpu);
        self.failures.add(cpu, error);
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Takes `cpus` offline, as [`Hotplug::cpu_down`] takes one, with one grace period and one
    /// still point for all. The callbacks of steps run at the same time for several CPUs. A batch
    /// has no deadline: with a limit for ways down ([`Hotplug::set_down_limit`]) the CPUs go one
    /// after the other.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`BatchError`]: a [`CpuDownError`] for each CPU that did not go. All others have gone.
    pub fn cpus_down(&'static self, cpus: &CpuMask) -> Result<(), BatchError<CpuDownError>> {
        if cpus.count() == 1 || self.down_limit().is_some() {
            return self.go_one_by_one(cpus);
        }
        let _urgent = P::sched().lend_urgency(); // (walk-is-urgent)
        let held = self.begin_operation().map_err(CpuDownError::from);
        let held = held.and_then(|held| {
            self.refuse_if_disabled()?;
            Ok(held)
        });
        match held {
            Ok(mut held) => self.go_down_together(cpus, &mut held),
            Err(why) => {
                let mut failures = Failures::new();
                for cpu in cpus.iter() {
                    failures.add(cpu, why);
                }
                failures.into_result()
            }
        }
    }

    /// Takes `cpus` down one after the other, each with the limit of all ways down.
    fn go_one_by_one(&'static self, cpus: &CpuMask) -> Result<(), BatchError<CpuDownError>> {
        let mut failures = Failures::new();
        for cpu in cpus.iter() {
            if let Err(error) = self.cpu_down(cpu) {
                failures.add(cpu, error);
            }
        }
        failures.into_result()
    }

    /// Parks the threads of `cpus`, and stops the machine for all of them.
    fn leave_together(&'static self, cpus: &CpuMask) {
        // All are asked before the first wait.
        for cpu in cpus.iter() {
            P::sched().ask_to_park(self.thread(cpu));
        }
        for cpu in cpus.iter() {
            P::sched().park(self.thread(cpu));
        }
        P::sched().give_way(); // (gives-way-between-parts)
        self.leave_online(cpus, P::stop_machine().lock());
    }

    /// Does as [`Hotplug::cpus_down`], in an operation that has begun. At the end it may have
    /// released the hotplug lock.
    pub(super) fn go_down_together(
        &'static self,
        cpus: &CpuMask,
        held: &mut Operation<'_, P>,
    ) -> Result<(), BatchError<CpuDownError>> {
        let mut set = Set {
            goers: Vec::new(),
            failures: Failures::new(),
        };
        self.take_down_set(cpus, &mut set, held);
        set.failures.into_result()
    }

    fn take_down_set(&'static self, cpus: &CpuMask, set: &mut Set, held: &mut Operation<'_, P>) {
        self.choose_goers(cpus, set);
        let mut place = ControlPlace::<P>::here();
        if let Err((here, error)) = place.leave(&set.cpus()) {
            set.fail(here, error);
        }
        if set.goers.is_empty() {
            return;
        }
        let all = set.cpus();
        let recorded = Recorded::<P, _>::new(all.iter(), Direction::Down);
        for cpu in all.iter() {
            self.route_events_here(cpu);
        }
        self.walk_goers(set, UP_TO_INACTIVE);
        let watched = |goer: &&Goer| self.state(goer.cpu).state() >= UP_TO_INACTIVE;
        let waiting: CpuMask = set.goers.iter().filter(watched).map(|it| it.cpu).collect();
        if !waiting.is_empty() {
            // (`bits-before-grace` of [`batch`](crate::hotplug::batch))
            self.wait_for_masks(&waiting);
        }
        self.walk_goers(set, UP_TO_ONLINE);
        if !set.goers.is_empty() {
            self.leave_together(&set.cpus());
            let ends = set.goers.iter();
            let ends = ends.map(|goer| (goer.cpu, self.see_end(goer.cpu, goer.was_refused)));
            for (cpu, end) in ends.collect::<Vec<_>>() {
                if let Err(error) = end {
                    set.fail(cpu, error);
                }
            }
        }
        drop(place);
        for cpu in all.iter() {
            self.finish_down(cpu, held);
        }
        drop(recorded);
    }

    /// Puts those of `cpus` into `set` that are to go and may (`batch-keeps-one` of
    /// [`batch`](crate::hotplug::batch)).
    fn choose_goers(&self, cpus: &CpuMask, set: &mut Set) {
        let mut going = CpuMask::EMPTY;
        for cpu in cpus.iter() {
            let origin = if P::masks().possible().contains(cpu) {
                Ok(self.state(cpu).state())
            } else {
                Err(CpuDownError::NoSuchCpu(cpu.index()))
            };
            let goes = origin.and_then(|origin| {
                if origin > 0 {
                    return self.may_leave(cpu, 0, &going).map(|()| Some(origin));
                }
                match self.settle_within_limit(cpu) {
                    None => Ok(None),
                    Some(quarantine) => Err(CpuDownError::Quarantined { cpu, quarantine }),
                }
            });
            match goes {
                Ok(None) => {}
                Ok(Some(origin)) => {
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

    /// Has all of `set` that are above `target` walk down to it; those whose walk fails leave
    /// the set.
    fn walk_goers(&self, set: &mut Set, target: usize) {
        let above = |goer: &&Goer| self.state(goer.cpu).state() > target;
        let walks = set.goers.iter().filter(above);
        let walks: Vec<_> = walks.map(|goer| (goer.cpu, goer.origin)).collect();
        self.walk_together(&walks, Direction::Down, target, |cpu, failed| {
            let goer = set.goers.iter().find(|goer| goer.cpu == cpu);
            let origin = goer
                .expect("BUG: a CPU walks that is not in the set")
                .origin;
            set.fail(cpu, self.down_error(cpu, origin, failed));
        });
    }

    /// Returns the error of a way down that has failed in `cpuhp`.
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
