//! The handles of steps and instances. A handle can't be copied, so a step is removed once.
//! Dropping it removes the step, so nothing of a program is called after the program has let go
//! of it.

use alloc::sync::Arc;

use crate::hotplug::instance::Instance;
use crate::hotplug::slots::Installed;
use crate::hotplug::{
    Callbacks, Hotplug, HotplugHost, InstallError, NotRemoved, Passing, StepName,
};
use crate::sched::lock::WouldDeadlock;

/// A step that is installed. Dropping the handle removes the step.
#[must_use = "dropping it removes the step"]
pub struct StepHandle<P: HotplugHost> {
    /// `None` once the step is removed, or is to stay.
    step: Option<Arc<Installed<P>>>,
}

impl<P: HotplugHost> StepHandle<P> {
    pub(super) fn new(step: Arc<Installed<P>>) -> Self {
        StepHandle { step: Some(step) }
    }

    fn step(&self) -> &Arc<Installed<P>> {
        self.step.as_ref().expect("BUG: a handle was used up")
    }

    /// Returns the step's name.
    pub fn name(&self) -> StepName {
        self.step().name()
    }

    /// Returns the row of the step.
    pub fn row(&self) -> usize {
        let row = P::hotplug().slots().row_of(self.step());
        row.expect("BUG: a handle outlives its step")
    }

    /// Removes the step and its instances. With [`Passing::Called`] the teardown is called for
    /// each CPU that is past it, as [`Hotplug::install`] says.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes.
    ///
    /// # Errors
    /// [`NotRemoved`], with the handle.
    pub fn remove(mut self, how: Passing) -> Result<(), NotRemoved<Self>> {
        match P::hotplug().remove(self.step(), how) {
            Ok(()) => {
                self.step = None;
                Ok(())
            }
            Err(why) => Err(NotRemoved { handle: self, why }),
        }
    }

    /// Leaves the step installed for ever.
    pub fn keep(mut self) {
        self.step = None;
    }

    /// Adds an instance.
    ///
    /// # Context
    /// As [`StepHandle::remove`].
    ///
    /// # Errors
    /// [`InstallError`]. What was done before is undone.
    ///
    /// # Panics
    /// If the step has callbacks of its own.
    pub fn add_instance(
        &self,
        callbacks: Callbacks,
        how: Passing,
    ) -> Result<InstanceHandle<P>, InstallError> {
        let step = self.step();
        assert!(step.is_multi, "BUG: {} has no instances", step.name());
        P::hotplug().add_instance(step, callbacks, how)
    }
}

impl<P: HotplugHost> Drop for StepHandle<P> {
    fn drop(&mut self) {
        if let Some(step) = self.step.take() {
            let removed = P::hotplug().remove(&step, Passing::Called);
            removed.unwrap_or_else(|why| dropped_in_a_callback::<P>(step.name(), why));
        }
    }
}

/// An instance that is installed. Dropping the handle removes the instance. If the step is
/// removed before, its instances go with it.
#[must_use = "dropping it removes the instance"]
pub struct InstanceHandle<P: HotplugHost> {
    step: Arc<Installed<P>>,
    /// `None` once the instance is removed, or is to stay.
    instance: Option<Arc<Instance>>,
}

impl<P: HotplugHost> InstanceHandle<P> {
    pub(super) fn new(step: Arc<Installed<P>>, instance: Arc<Instance>) -> Self {
        InstanceHandle {
            step,
            instance: Some(instance),
        }
    }

    fn take_off(&self, how: Passing) -> Result<(), WouldDeadlock> {
        match &self.instance {
            Some(instance) => P::hotplug().remove_instance(&self.step, instance, how),
            None => Ok(()),
        }
    }

    /// Removes the instance, as [`StepHandle::remove`] removes a step.
    ///
    /// # Context
    /// As [`StepHandle::remove`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the handle.
    pub fn remove(mut self, how: Passing) -> Result<(), NotRemoved<Self>> {
        match self.take_off(how) {
            Ok(()) => {
                self.instance = None;
                Ok(())
            }
            Err(why) => Err(NotRemoved { handle: self, why }),
        }
    }

    /// Leaves the instance installed for as long as its step is.
    pub fn keep(mut self) {
        self.instance = None;
    }
}

impl<P: HotplugHost> Drop for InstanceHandle<P> {
    fn drop(&mut self) {
        let removed = self.take_off(Passing::Called);
        removed.unwrap_or_else(|why| dropped_in_a_callback::<P>(self.step.name(), why));
    }
}

#[cold]
fn dropped_in_a_callback<P: HotplugHost>(step: StepName, why: WouldDeadlock) {
    panic!(
        "BUG: {:?} drops the handle of {step}, so it {why}",
        P::sched().current()
    )
}

impl<P: HotplugHost> Hotplug<P> {
    /// Returns the name of row `row`: of the step in it, if it is a slot.
    pub fn step_name(&self, row: usize) -> StepName {
        match self.slots().get(row) {
            Some(step) => step.name(),
            None => StepName::from(self.steps()[row].name),
        }
    }

    /// Returns the name of the step in row `row`, for a slot that of the step which is there or
    /// was the last one there: for what has happened before now.
    pub fn last_step_name(&self, row: usize) -> StepName {
        let name = self.slots().last_name(row);
        name.unwrap_or_else(|| StepName::from(self.steps()[row].name))
    }
}
