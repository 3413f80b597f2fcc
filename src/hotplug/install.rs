//! Installing and removing steps while the machine runs.
//!
//! A step is in its slot before the first callback of an installation is called, and until
//! the last of a removal has returned. No CPU walks meanwhile, so each CPU is either past
//! the slot, and then the installation has it called, or comes past it later by itself. No CPU
//! is missed or called twice.
//!
//! # Invariants
//! - **up-as-far-as-past**: at rest an instance that is installed is up on exactly those CPUs
//!   whose `state` is past its row, unless one is left within it. A CPU within a step that is
//!   removed is past the empty slot then.
//! - **dropped-unlocked**: what a program's callbacks own is dropped when no lock is held: that
//!   may again be a handle of a step.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cpu::CpuId;
use crate::hotplug::instance::Instance;
use crate::hotplug::slots::Installed;
use crate::hotplug::{
    Callbacks, FailError, Hotplug, HotplugHost, InstallError, InstanceHandle, Place, StepError,
    StepHandle,
};
use crate::sched::lock::WouldDeadlock;
use crate::trace::{Direction, Event};

/// A step to install.
#[derive(Debug)]
pub struct NewStep {
    /// Its name within the group.
    pub name: &'static str,
    /// Where it goes.
    pub place: Place,
    /// What it does; `None` for a step whose instances come later.
    pub callbacks: Option<Callbacks>,
}

/// Whether callbacks are called when a step, or an instance, is installed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// On each CPU that is past the step.
    Called,
    /// On none. Those CPUs count as having passed it.
    Skipped,
}

/// Where an instance is called.
struct Seat<'a, P: HotplugHost> {
    step: &'a Arc<Installed<P>>,
    row: usize,
    /// The number of the instance.
    number: usize,
}

impl<P: HotplugHost> Hotplug<P> {
    /// Installs a step in a slot behind all others of its place.
    ///
    /// With [`Passing::Called`] the startup is called for each CPU that is past the slot, in
    /// the order of their numbers: by this thread on behalf of the CPU, or for
    /// [`Place::Enable`] in the CPU's `cpuhp` thread. A step in [`Place::PostDead`] or
    /// [`Place::Init`] is never called by an installation or a removal: no CPU goes or comes.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes.
    ///
    /// # Errors
    /// [`InstallError`]. What was done before is undone.
    pub fn install(
        &'static self,
        new: NewStep,
        how: Passing,
    ) -> Result<StepHandle<P>, InstallError> {
        // Made before the lock is taken, so dropped after it (dropped-unlocked).
        let step = self.made(new);
        let kept = Arc::clone(&step);
        let held = self.begin_installation()?;
        let installed = self.install_made(step, how);
        drop(held);
        drop(kept);
        installed
    }

    pub(super) fn made(&self, new: NewStep) -> Arc<Installed<P>> {
        Arc::new(match new.callbacks {
            Some(callbacks) => Installed::plain(new.name, new.place, callbacks, self.count()),
            None => Installed::new(new.name, new.place, true, Vec::new()),
        })
    }

    /// Does as [`Hotplug::install`], under the locks.
    pub(super) fn install_made(
        &self,
        step: Arc<Installed<P>>,
        how: Passing,
    ) -> Result<StepHandle<P>, InstallError> {
        let row = self.slots.fill(&step, self.rests_outside(step.place()));
        let row = row.ok_or(InstallError::NoFreeSlot)?;
        for (number, instance) in step.instances().iter().enumerate() {
            let seat = Seat {
                step: &step,
                row,
                number,
            };
            if let Err(failed) = self.start(&seat, instance, how) {
                self.slots.empty(&step);
                return Err(failed);
            }
        }
        Ok(StepHandle::new(step))
    }

    /// Removes a step and all its instances.
    ///
    /// # Context
    /// As [`Hotplug::install`].
    ///
    /// # Errors
    /// [`WouldDeadlock`]; nothing has changed then.
    pub(super) fn remove(
        &'static self,
        step: &Arc<Installed<P>>,
        how: Passing,
    ) -> Result<(), WouldDeadlock> {
        let held = self.begin_installation()?;
        let instances = step.instances();
        if let Some(row) = self.slots.row_of(step) {
            for (number, instance) in instances.iter().enumerate().rev() {
                let seat = Seat { step, row, number };
                self.stop(&seat, instance, how, self.count());
            }
            self.slots.empty(step);
            for cpu in P::masks().possible().iter() {
                self.state(cpu).forget_step(row);
            }
        }
        drop(held);
        Ok(())
    }

    /// Adds an instance to a step, behind the others.
    ///
    /// # Context
    /// As [`Hotplug::install`].
    ///
    /// # Errors
    /// [`InstallError`]. What was done before is undone.
    pub(super) fn add_instance(
        &'static self,
        step: &Arc<Installed<P>>,
        callbacks: Callbacks,
        how: Passing,
    ) -> Result<InstanceHandle<P>, InstallError> {
        let instance = Arc::new(Instance::new(callbacks, self.count()));
        let held = self.begin_installation()?;
        let row = self.slots.row_of(step).ok_or(InstallError::StepRemoved)?;
        self.add_at(step, row, &instance, how)?;
        drop(held);
        Ok(InstanceHandle::new(Arc::clone(step), instance))
    }

    /// Does as [`Hotplug::add_instance`] for a step in row `row`, under the locks.
    pub(super) fn add_at(
        &self,
        step: &Arc<Installed<P>>,
        row: usize,
        instance: &Arc<Instance>,
        how: Passing,
    ) -> Result<(), InstallError> {
        let mut instances: Vec<_> = step.instances().to_vec();
        let seat = Seat {
            step,
            row,
            number: instances.len(),
        };
        self.start(&seat, instance, how)?;
        instances.push(Arc::clone(instance));
        drop(step.replace(instances));
        Ok(())
    }

    /// Removes an instance of a step. Does nothing if the step was removed.
    ///
    /// # Context
    /// As [`Hotplug::install`].
    ///
    /// # Errors
    /// [`WouldDeadlock`]; nothing has changed then.
    pub(super) fn remove_instance(
        &'static self,
        step: &Arc<Installed<P>>,
        instance: &Arc<Instance>,
        how: Passing,
    ) -> Result<(), WouldDeadlock> {
        let held = self.begin_installation()?;
        if let Some(row) = self.slots.row_of(step) {
            self.remove_at(step, row, instance, how);
        }
        drop(held);
        Ok(())
    }

    /// Does as [`Hotplug::remove_instance`] for a step in row `row`, under the locks.
    pub(super) fn remove_at(
        &self,
        step: &Arc<Installed<P>>,
        row: usize,
        instance: &Arc<Instance>,
        how: Passing,
    ) {
        let mut instances = step.instances().to_vec();
        let number = instances.iter().position(|it| Arc::ptr_eq(it, instance));
        if let Some(number) = number {
            let seat = Seat { step, row, number };
            self.stop(&seat, instance, how, self.count());
            instances.remove(number);
            drop(step.replace(instances));
        }
    }

    /// Has each CPU that is past the row start `instance`. If one fails, those before it
    /// stop it.
    fn start(
        &self,
        seat: &Seat<'_, P>,
        instance: &Arc<Instance>,
        how: Passing,
    ) -> Result<(), InstallError> {
        for cpu in P::masks().possible().iter() {
            if self.state(cpu).state() <= seat.row {
                continue;
            }
            if let Err(error) = self.pass(seat, instance, cpu, Direction::Up, how) {
                self.stop(seat, instance, how, cpu.index());
                let step = seat.step.name();
                return Err(InstallError::Step { cpu, step, error });
            }
        }
        Ok(())
    }

    /// Has each CPU below number `below` on which `instance` is up stop it. None goes, so a
    /// refusal has no meaning: the log says it. The instance is dropped by the caller.
    fn stop(&self, seat: &Seat<'_, P>, instance: &Arc<Instance>, how: Passing, below: usize) {
        let past = (0..below).rev().filter_map(CpuId::new);
        for cpu in past.filter(|cpu| instance.is_up(*cpu)) {
            if let Err(error) = self.pass(seat, instance, cpu, Direction::Down, how) {
                let step = seat.step.name();
                log::warn!("CPU{cpu}: {step} is removed in spite of this: {error}");
            }
        }
    }

    fn pass(
        &self,
        seat: &Seat<'_, P>,
        instance: &Arc<Instance>,
        cpu: CpuId,
        direction: Direction,
        how: Passing,
    ) -> Result<(), StepError> {
        let at = (seat.row, seat.number);
        match seat.step.place() {
            // The CPU has not gone, and is online.
            Place::PostDead | Place::Init => {}
            _ if how == Passing::Skipped => {}
            Place::Prep => return self.call_instance(instance, cpu, direction, at),
            Place::Enable => return self.command(cpu).pass_on(cpu, direction, instance, at),
        }
        instance.skip(cpu, direction);
        Ok(())
    }

    /// Has `cpu` pass `instance`, which has the row and number `at`, in no walk. The trace has the
    /// call, if there is something to call.
    ///
    /// # Errors
    /// What the callback said.
    #[inline(never)] // Into the thread that walks: it is not for that.
    pub(super) fn call_instance(
        &self,
        instance: &Instance,
        cpu: CpuId,
        direction: Direction,
        at: (usize, usize),
    ) -> Result<(), StepError> {
        let state = self.state(cpu);
        if !instance.does(direction) {
            return instance.pass(cpu, direction, state, at);
        }
        let step = u8::try_from(at.0).expect("BUG: the table has under 256 steps");
        P::trace(Event::CallBegin {
            cpu,
            step,
            direction,
        });
        let passed = instance.pass(cpu, direction, state, at);
        P::trace(Event::CallEnd {
            cpu,
            step,
            direction,
            ok: passed.is_ok(),
        });
        passed
    }

    /// Returns whether no CPU rests between the slots of `place`, as one that was left half way
    /// may: then they keep their rows.
    fn rests_outside(&self, place: Place) -> bool {
        let rows = place.rows();
        let between = rows.start + 1..rows.end;
        let mut states = P::masks().possible().iter().map(|cpu| self.state(cpu));
        states.all(|state| !between.contains(&state.state()) && !state.is_within())
    }

    /// Makes the next passage of instance number `instance` of the step in slot `row` by `cpu`
    /// fail once.
    ///
    /// # Context
    /// As [`Hotplug::inject_failure`].
    ///
    /// # Errors
    /// [`FailError`]; nothing has changed then.
    pub fn inject_instance(
        &self,
        cpu: CpuId,
        row: usize,
        instance: usize,
    ) -> Result<(), FailError> {
        let step = self.slots.get(row).ok_or(FailError::NoSuchStep)?;
        let instances = step.instances();
        let it = instances.get(instance).ok_or(FailError::NoSuchStep)?;
        if !it.may_fail(Direction::Up) && !it.may_fail(Direction::Down) {
            return Err(FailError::CannotFail);
        }
        self.state(cpu).inject_at(row, instance);
        Ok(())
    }
}
