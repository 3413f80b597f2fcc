//! Steps of a program that a CPU passes before it is online, and after it has left.

use alloc::boxed::Box;

use crate::api::hotplug::{InstallError, RegistrationGuard, Step};
use crate::api::step::install;
use crate::cpu::CpuId;
use crate::hotplug::{Callbacks, InfallibleFn, NewStep, Passing, Place};
use crate::kernel::Hw;
use crate::kernel::entry::enter;

/// Builds a step that is passed on the CPU itself with IRQs masked: the startup when all of its own
/// hardware is up, just before it is online; the teardown in the still point that takes it away,
/// when it is not online any more.
///
/// Neither can fail, wait or allocate, and each should be short: while one runs, no other CPU comes
/// or goes, and during a teardown the whole machine stands still. In the startup the CPU answers no
/// calls, and it may take only locks that no other CPU holds for long: not that of the console,
/// and no memory.
///
/// ```no_run
#[doc = include_str!("../../examples/api/init_step.rs")]
/// ```
#[must_use = "it is installed by `install_nocalls`"]
pub struct InitStep {
    name: &'static str,
    startup: Option<InfallibleFn>,
    teardown: Option<InfallibleFn>,
    stops_machine: bool,
}

impl InitStep {
    /// Returns a step that is listed as `init:NAME`, with nothing to do.
    ///
    /// # Context
    /// Any.
    pub const fn new(name: &'static str) -> InitStep {
        InitStep {
            name,
            startup: None,
            teardown: None,
            stops_machine: false,
        }
    }

    /// Sets what is done on a CPU that comes.
    ///
    /// # Context
    /// Any; allocates.
    pub fn startup(mut self, start_fn: impl Fn(CpuId) + Send + Sync + 'static) -> InitStep {
        self.startup = Some(Box::new(start_fn));
        self
    }

    /// Sets what is done on a CPU that goes, or turns back after it has come.
    ///
    /// # Context
    /// Any; allocates.
    pub fn teardown(mut self, stop_fn: impl Fn(CpuId) + Send + Sync + 'static) -> InitStep {
        self.teardown = Some(Box::new(stop_fn));
        self
    }

    /// Says that the startup may stop the machine, by [`stop_machine_from_inactive_cpu`]. While such
    /// a step is installed, CPUs that come up together are brought online one after the other.
    ///
    /// # Context
    /// Any.
    ///
    /// [`stop_machine_from_inactive_cpu`]: crate::api::stop::stop_machine_from_inactive_cpu
    pub const fn stops_machine(mut self) -> InitStep {
        self.stops_machine = true;
        self
    }

    /// Installs the step. It is called for CPUs that come or go from now on. Those that are online
    /// count as having passed it: a program that may not miss one does by itself what is to be done
    /// there, under a [`registration_lock`](crate::api::hotplug::registration_lock). The step isn't
    /// called when it is removed, either.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; waits while a CPU comes or goes. Returns an error at
    /// once in a callback of hotplug and under [`cpus_read_lock`].
    ///
    /// # Errors
    /// [`InstallError`], but for [`InstallError::Step`].
    ///
    /// [`cpus_read_lock`]: crate::api::hotplug::cpus_read_lock
    pub fn install_nocalls(self) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, None)
    }

    /// As [`InitStep::install_nocalls`], for a thread that has the guard.
    ///
    /// # Context
    /// As [`InitStep::install_nocalls`].
    ///
    /// # Errors
    /// As [`InitStep::install_nocalls`].
    pub fn install_nocalls_under(self, guard: &RegistrationGuard) -> Result<Step, InstallError> {
        let _in_kernel = enter();
        install(self.into_new(), Passing::Skipped, Some(guard))
    }

    fn into_new(self) -> NewStep {
        let InitStep {
            name,
            startup,
            teardown,
            stops_machine,
        } = self;
        NewStep {
            name,
            place: Place::Init,
            callbacks: Some(Callbacks::init::<Hw>(startup, teardown, stops_machine)),
        }
    }
}
