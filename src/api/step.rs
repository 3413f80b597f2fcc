//! Steps that a program adds to the state table: their builders and their handles.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::api::hotplug::{InstallError, NotRemoved, RegistrationGuard};
use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::{
    Callbacks, FallibleFn, InfallibleFn, NewStep, Passing, Place, StepHandle, StepName,
};
use crate::kernel::entry::{Entered, enter};
use crate::kernel::{Hw, kernel};

/// Builds a step that is passed on the control CPU on behalf of the CPU that comes or goes:
/// the startup before that CPU runs, the teardown when it is off. Both may wait.
///
/// ```no_run
#[doc = include_str!("../../examples/api/prepare.rs")]
/// ```
#[must_use = "it is installed by `install`"]
pub struct PrepareStep {
    name: &'static str,
    startup: Option<FallibleFn>,
    teardown: Option<InfallibleFn>,
}

impl PrepareStep {
    /// Returns a step that is listed as `prep:NAME`, with nothing to do.
    ///
    /// # Context
    /// Any.
    pub const fn new(name: &'static str) -> PrepareStep {
        PrepareStep {
            name,
            startup: None,
            teardown: None,
        }
    }

    /// Sets what is done for a CPU that comes. With an error the CPU doesn't come up; then
    /// nothing may be left that the teardown would have to undo.
    ///
    /// # Context
    /// Any; allocates.
    pub fn startup(
        mut self,
        start_fn: impl Fn(CpuId) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> PrepareStep {
        self.startup = Some(Box::new(start_fn));
        self
    }

    /// Sets what is done for a CPU that is off. It also undoes the startup when the CPU turns
    /// back.
    ///
    /// # Context
    /// Any; allocates.
    pub fn teardown(mut self, stop_fn: impl Fn(CpuId) + Send + Sync + 'static) -> PrepareStep {
        self.teardown = Some(Box::new(stop_fn));
        self
    }

    /// Installs the step. The startup is called for each CPU that is online, in the order of
    /// their numbers, and later for each that comes: no CPU is missed, none is called twice.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; waits while a CPU comes or goes. Returns an error at
    /// once in a callback of hotplug and under [`cpus_read_lock`].
    ///
    /// # Errors
    /// [`InstallError`]; what was done is undone.
    ///
    /// [`cpus_read_lock`]: crate::api::hotplug::cpus_read_lock
    pub fn install(self) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Called, None)
    }

    /// Installs the step without a call of the startup: the CPUs that are online count as
    /// having passed it.
    ///
    /// ```no_run
    #[doc = include_str!("../../examples/api/prepared.rs")]
    /// ```
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install_nocalls(self) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, None)
    }

    /// As [`PrepareStep::install_nocalls`], for a thread that has the guard.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install_nocalls_under(self, guard: &RegistrationGuard) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, Some(guard))
    }

    fn into_new(self) -> NewStep {
        NewStep {
            name: self.name,
            place: Place::Prep,
            callbacks: Some(Callbacks::prep(self.startup, self.teardown)),
        }
    }
}

/// Builds a step that is passed on the CPU itself, in its kernel thread `cpuhp/N`: the startup
/// when the CPU is online and before other threads are placed there, the teardown when no
/// other thread is placed there any more. Both may wait, and the teardown may refuse.
///
/// ```no_run
#[doc = include_str!("../../examples/api/enable.rs")]
/// ```
#[must_use = "it is installed by `install`"]
pub struct EnableStep {
    name: &'static str,
    startup: Option<FallibleFn>,
    teardown: Option<FallibleFn>,
}

impl EnableStep {
    /// Returns a step that is listed as `enable:NAME`, with nothing to do.
    ///
    /// # Context
    /// Any.
    pub const fn new(name: &'static str) -> EnableStep {
        EnableStep {
            name,
            startup: None,
            teardown: None,
        }
    }

    /// Sets what is done on a CPU that comes. With an error the CPU turns back; then nothing
    /// may be left that the teardown would have to undo.
    ///
    /// # Context
    /// Any; allocates.
    pub fn startup(
        mut self,
        start_fn: impl Fn(CpuId) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> EnableStep {
        self.startup = Some(Box::new(start_fn));
        self
    }

    /// Sets what is done on a CPU that goes. With an error the CPU stays, as if it had not been
    /// asked. When the step is removed, an error is logged and has no effect.
    ///
    /// # Context
    /// Any; allocates.
    pub fn teardown(
        mut self,
        stop_fn: impl Fn(CpuId) -> Result<(), Errno> + Send + Sync + 'static,
    ) -> EnableStep {
        self.teardown = Some(Box::new(stop_fn));
        self
    }

    /// Installs the step. The startup is called on each CPU that is online, in the order of
    /// their numbers, and later on each that comes: no CPU is missed, none is called twice.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`InstallError`]; what was done is undone.
    pub fn install(self) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Called, None)
    }

    /// Installs the step without a call of the startup: the CPUs that are online count as
    /// having passed it.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install_nocalls(self) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, None)
    }

    /// As [`EnableStep::install_nocalls`], for a thread that has the guard.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`InstallError`].
    pub fn install_nocalls_under(self, guard: &RegistrationGuard) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, Some(guard))
    }

    fn into_new(self) -> NewStep {
        NewStep {
            name: self.name,
            place: Place::Enable,
            callbacks: Some(Callbacks::enable(self.startup, self.teardown)),
        }
    }
}

/// Installs a step that is listed as `prep:NAME`: `stop_fn` is called for each CPU that has
/// gone, when the hotplug lock has been released and before the next operation begins. So
/// it may take [`cpus_read_lock`], or wait for a thread that does. It isn't called when the
/// step is removed.
///
/// # Context
/// As [`PrepareStep::install`].
///
/// # Errors
/// [`InstallError`].
///
/// ```no_run
#[doc = include_str!("../../examples/api/post_dead.rs")]
/// ```
///
/// [`cpus_read_lock`]: crate::api::hotplug::cpus_read_lock
pub fn post_dead(
    name: &'static str,
    stop_fn: impl Fn(CpuId) + Send + Sync + 'static,
) -> Result<Step, InstallError> {
    let _in_kernel = enter();
    let new = NewStep {
        name,
        place: Place::PostDead,
        callbacks: Some(Callbacks::post_dead(Box::new(stop_fn))),
    };
    install(new, Passing::Skipped, None)
}

/// Calls `start_fn` on each CPU that is online and on each that comes, and `stop_fn` on each
/// that goes, in the CPU's kernel thread `cpuhp/N`. When the returned step is dropped,
/// `stop_fn` is called on each CPU that is online. No CPU is missed, none is called twice.
///
/// # Context
/// As [`PrepareStep::install`].
///
/// # Errors
/// [`InstallError`], but for [`InstallError::Step`].
///
/// ```no_run
#[doc = include_str!("../../examples/api/on_cpus.rs")]
/// ```
pub fn on_cpus(
    start_fn: impl Fn(CpuId) + Send + Sync + 'static,
    stop_fn: impl Fn(CpuId) + Send + Sync + 'static,
) -> Result<Step, InstallError> {
    let done = |call_fn: &dyn Fn(CpuId), cpu| {
        call_fn(cpu);
        Ok(())
    };
    EnableStep::new("on_cpus")
        .startup(move |cpu| done(&start_fn, cpu))
        .teardown(move |cpu| done(&stop_fn, cpu))
        .install()
}

pub(super) fn install(
    new: NewStep,
    how: Passing,
    under: Option<&RegistrationGuard>,
) -> Result<Step, InstallError> {
    match under {
        Some(guard) => guard.0.install(new, how),
        None => kernel().hotplug.install(new, how),
    }
    .map(|handle| Step(Entered::new(handle)))
}

/// A step that is installed. It can't be copied, and dropping it removes the step as
/// [`Step::remove`] does.
///
/// ```no_run
#[doc = include_str!("../../examples/api/removal.rs")]
/// ```
///
/// # Panics
/// If it is dropped where [`Step::remove`] returns an error or may not be called.
#[must_use = "dropping it removes the step"]
pub struct Step(pub(super) Entered<StepHandle<Hw>>);

impl Step {
    /// Returns the step's name.
    ///
    /// # Context
    /// Any.
    pub fn name(&self) -> StepName {
        self.0.name()
    }

    /// Removes the step: the teardown is called for each CPU that is online, in the reverse
    /// order of their numbers. No callback runs any more on return.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the step.
    pub fn remove(self) -> Result<(), NotRemoved<Step>> {
        let _in_kernel = enter();
        self.remove_by(Passing::Called)
    }

    /// Removes the step without a call of the teardown.
    ///
    /// # Context
    /// As [`PrepareStep::install`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the step.
    pub fn remove_nocalls(self) -> Result<(), NotRemoved<Step>> {
        let _in_kernel = enter();
        self.remove_by(Passing::Skipped)
    }

    fn remove_by(self, how: Passing) -> Result<(), NotRemoved<Step>> {
        self.0
            .into_inner()
            .remove(how)
            .map_err(|failed| NotRemoved {
                handle: Step(Entered::new(failed.handle)),
                why: failed.why,
            })
    }

    /// Leaves the step installed for ever.
    ///
    /// # Context
    /// Any.
    pub fn keep(self) {
        let _in_kernel = enter();
        self.0.into_inner().keep();
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(&self.name()).finish()
    }
}

pub(super) type InstanceFn<T, R> = Arc<dyn Fn(CpuId, &T) -> R + Send + Sync>;
