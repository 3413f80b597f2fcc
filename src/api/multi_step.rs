//! Steps with several instances, such as the queues of a device: one row of the table, and
//! for each instance a value of the program.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use crate::api::hotplug::{InstallError, NotRemoved, Step};
use crate::api::step::{InstanceFn, install};
use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::{Callbacks, InstanceHandle, NewStep, Passing, Place, StepName};
use crate::kernel::Hw;
use crate::kernel::entry::{Entered, enter};

/// Builds a step with instances of type `T`. For each instance it is passed as an
/// [`EnableStep`](crate::api::hotplug::EnableStep): on the CPU itself. On the way up the
/// instances are passed in the order in which they were added, on the way down in reverse.
/// If one fails, those that were passed are undone.
///
/// ```no_run
#[doc = include_str!("../../examples/api/multi.rs")]
/// ```
#[must_use = "it is installed by `install`"]
pub struct MultiStepBuilder<T> {
    name: &'static str,
    startup: Option<InstanceFn<T, Result<(), Errno>>>,
    teardown: Option<InstanceFn<T, Result<(), Errno>>>,
}

impl<T: Send + Sync + 'static> MultiStepBuilder<T> {
    /// Returns a step that is listed as `enable:NAME`, with nothing to do.
    ///
    /// # Context
    /// Any.
    pub const fn new(name: &'static str) -> MultiStepBuilder<T> {
        MultiStepBuilder {
            name,
            startup: None,
            teardown: None,
        }
    }

    /// Sets what is done for an instance on a CPU that comes. With an error the CPU turns
    /// back.
    ///
    /// # Context
    /// Any; allocates.
    pub fn startup(
        mut self,
        start_fn: impl Fn(CpuId, &T) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> MultiStepBuilder<T> {
        self.startup = Some(Arc::new(start_fn));
        self
    }

    /// Sets what is done for an instance on a CPU that goes. With an error the CPU stays.
    /// When the instance is removed, an error is logged and has no effect.
    ///
    /// # Context
    /// Any; allocates.
    pub fn teardown(
        mut self,
        stop_fn: impl Fn(CpuId, &T) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> MultiStepBuilder<T> {
        self.teardown = Some(Arc::new(stop_fn));
        self
    }

    /// Installs the step, without an instance.
    ///
    /// # Context
    /// As [`PrepareStep::install`](crate::api::hotplug::PrepareStep::install).
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(self) -> Result<MultiStep<T>, InstallError> {
        let _in_kernel = enter();
        let new = NewStep {
            name: self.name,
            place: Place::Enable,
            callbacks: None,
        };
        let (startup, teardown) = (self.startup, self.teardown);
        Ok(MultiStep {
            step: install(new, Passing::Skipped, None)?,
            callbacks_fn: Box::new(move |value| {
                Callbacks::enable(
                    bound(startup.as_ref(), value),
                    bound(teardown.as_ref(), value),
                )
            }),
        })
    }
}

/// Builds a step with instances of type `T`. For each instance it is passed as a
/// [`PrepareStep`](crate::api::hotplug::PrepareStep): on the control CPU, before the CPU that
/// comes runs, and when the CPU that goes is off. The order is that of [`MultiStepBuilder`].
///
/// ```no_run
#[doc = include_str!("../../examples/api/multi_prepare.rs")]
/// ```
#[must_use = "it is installed by `install`"]
pub struct MultiPrepareStepBuilder<T> {
    name: &'static str,
    startup: Option<InstanceFn<T, Result<(), Errno>>>,
    teardown: Option<InstanceFn<T, ()>>,
}

impl<T: Send + Sync + 'static> MultiPrepareStepBuilder<T> {
    /// Returns a step that is listed as `prep:NAME`, with nothing to do.
    ///
    /// # Context
    /// Any.
    pub const fn new(name: &'static str) -> MultiPrepareStepBuilder<T> {
        MultiPrepareStepBuilder {
            name,
            startup: None,
            teardown: None,
        }
    }

    /// Sets what is done for an instance and a CPU that comes. With an error the CPU doesn't
    /// come up.
    ///
    /// # Context
    /// Any; allocates.
    pub fn startup(
        mut self,
        start_fn: impl Fn(CpuId, &T) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> MultiPrepareStepBuilder<T> {
        self.startup = Some(Arc::new(start_fn));
        self
    }

    /// Sets what is done for an instance and a CPU that is off. It also undoes the startup when
    /// the CPU turns back.
    ///
    /// # Context
    /// Any; allocates.
    pub fn teardown(
        mut self,
        stop_fn: impl Fn(CpuId, &T) + Send + Sync + 'static,
    ) -> MultiPrepareStepBuilder<T> {
        self.teardown = Some(Arc::new(stop_fn));
        self
    }

    /// Installs the step, without an instance.
    ///
    /// # Context
    /// As [`PrepareStep::install`](crate::api::hotplug::PrepareStep::install).
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install(self) -> Result<MultiStep<T>, InstallError> {
        let _in_kernel = enter();
        let new = NewStep {
            name: self.name,
            place: Place::Prep,
            callbacks: None,
        };
        let (startup, teardown) = (self.startup, self.teardown);
        Ok(MultiStep {
            step: install(new, Passing::Skipped, None)?,
            callbacks_fn: Box::new(move |value| {
                Callbacks::prep(
                    bound(startup.as_ref(), value),
                    bound(teardown.as_ref(), value),
                )
            }),
        })
    }
}

type BoundFn<R> = Box<dyn Fn(CpuId) -> R + Send + Sync>;

/// Returns `side` for the instance `value`.
fn bound<T: Send + Sync + 'static, R: 'static>(
    side: Option<&InstanceFn<T, R>>,
    value: &Arc<T>,
) -> Option<BoundFn<R>> {
    let (side, value) = (Arc::clone(side?), Arc::clone(value));
    Some(Box::new(move |cpu| side(cpu, &value)))
}

/// Returns the callbacks of an instance.
type CallbacksFn<T> = Box<dyn Fn(&Arc<T>) -> Callbacks + Send + Sync>;

/// A step with instances. It can't be copied, and dropping it removes the step as
/// [`MultiStep::remove`] does.
///
/// # Panics
/// As for [`Step`].
#[must_use = "dropping it removes the step"]
pub struct MultiStep<T> {
    step: Step,
    callbacks_fn: CallbacksFn<T>,
}

impl<T: Send + Sync + 'static> MultiStep<T> {
    /// Returns the step's name.
    ///
    /// # Context
    /// Any.
    pub fn name(&self) -> StepName {
        self.step.name()
    }

    /// Adds an instance. The startup is called for it and each CPU that is online, in the
    /// order of their numbers.
    ///
    /// # Context
    /// As [`PrepareStep::install`](crate::api::hotplug::PrepareStep::install).
    ///
    /// # Errors
    /// [`InstallError`]; what was done is undone.
    pub fn add(&self, value: T) -> Result<Instance<T>, InstallError> {
        let _in_kernel = enter();
        self.add_by(value, Passing::Called)
    }

    /// Adds an instance without a call of the startup: the CPUs that are online count as
    /// having passed it.
    ///
    /// # Context
    /// As [`MultiStep::add`].
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn add_nocalls(&self, value: T) -> Result<Instance<T>, InstallError> {
        let _in_kernel = enter();
        self.add_by(value, Passing::Skipped)
    }

    fn add_by(&self, value: T, how: Passing) -> Result<Instance<T>, InstallError> {
        let value = Arc::new(value);
        let handle = self.step.0.add_instance((self.callbacks_fn)(&value), how)?;
        Ok(Instance {
            handle: Entered::new(handle),
            value,
        })
    }

    /// Removes the step with all its instances, the last one first.
    ///
    /// # Context
    /// As [`MultiStep::add`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the step.
    pub fn remove(self) -> Result<(), NotRemoved<MultiStep<T>>> {
        let _in_kernel = enter();
        let callbacks_fn = self.callbacks_fn;
        self.step.remove().map_err(|failed| NotRemoved {
            handle: MultiStep {
                step: failed.handle,
                callbacks_fn,
            },
            why: failed.why,
        })
    }

    /// Leaves the step installed for ever.
    ///
    /// # Context
    /// Any.
    pub fn keep(self) {
        let _in_kernel = enter();
        self.step.keep();
    }
}

impl<T> fmt::Debug for MultiStep<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MultiStep").field(&self.step.name()).finish()
    }
}

/// An instance of a step; it stands for its value. It can't be copied, and dropping it removes
/// the instance as [`Instance::remove`] does.
///
/// # Panics
/// As for [`Step`].
#[must_use = "dropping it removes the instance"]
pub struct Instance<T> {
    handle: Entered<InstanceHandle<Hw>>,
    value: Arc<T>,
}

impl<T> Instance<T> {
    /// Removes the instance: the teardown is called for it on each CPU that is online. Does
    /// nothing if the step has been removed.
    ///
    /// # Context
    /// As [`MultiStep::add`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the instance.
    pub fn remove(self) -> Result<(), NotRemoved<Instance<T>>> {
        let _in_kernel = enter();
        self.remove_by(Passing::Called)
    }

    /// Removes the instance without a call of the teardown.
    ///
    /// # Context
    /// As [`MultiStep::add`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the instance.
    pub fn remove_nocalls(self) -> Result<(), NotRemoved<Instance<T>>> {
        let _in_kernel = enter();
        self.remove_by(Passing::Skipped)
    }

    fn remove_by(self, how: Passing) -> Result<(), NotRemoved<Instance<T>>> {
        let value = self.value;
        self.handle
            .into_inner()
            .remove(how)
            .map_err(|failed| NotRemoved {
                handle: Instance {
                    handle: Entered::new(failed.handle),
                    value,
                },
                why: failed.why,
            })
    }

    /// Leaves the instance for as long as its step is installed.
    ///
    /// # Context
    /// Any.
    pub fn keep(self) {
        let _in_kernel = enter();
        self.handle.into_inner().keep();
    }
}

impl<T> Deref for Instance<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Instance<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.value).finish()
    }
}
