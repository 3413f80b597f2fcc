//! Services with a thread on each CPU: the trait that a program implements, and the handle.

use alloc::sync::Arc;
use core::fmt;
use core::ops::Deref;

use crate::api::hotplug::{InstallError, NotRemoved};
use crate::cpu::CpuId;
use crate::errno::Errno;
use crate::hotplug::{self, NewService};
use crate::kernel::entry::{Entered, enter};
use crate::kernel::{Hw, kernel};
use crate::sched::Class;

/// The work of the threads of a service, of which each CPU has one: see [`register_service`].
///
/// # Context
/// All calls come from the CPU's thread of the service, on that CPU. They may sleep. In
/// [`api::hotplug`](crate::api::hotplug) they get an error from functions that bring a CPU up or
/// down, or register something.
pub trait Service: Send + Sync + 'static {
    /// Is called before everything else for `cpu`, once: it stays set up while the CPU is offline.
    ///
    /// # Errors
    /// Why the service can't work there. The registration fails then, or the CPU doesn't come up.
    /// Nothing may be left that [`Service::cleanup`] would have to undo.
    fn setup(&self, _cpu: CpuId) -> Result<(), Errno> {
        Ok(())
    }

    /// Returns whether there is work to do. It is asked again after each [`Service::run`], and
    /// when the thread is woken.
    ///
    /// # Context
    /// It may not sleep.
    fn should_run(&self, cpu: CpuId) -> bool;

    /// Does the work, or a part of it.
    fn run(&self, cpu: CpuId);

    /// Is called before the thread parks, because its CPU goes or the service is removed.
    fn park(&self, _cpu: CpuId) {}

    /// Is called when the CPU is there, after [`Service::setup`] or a while offline. Each such
    /// call is followed by one of [`Service::park`].
    fn unpark(&self, _cpu: CpuId) {}

    /// Undoes [`Service::setup`], as the last call for `cpu`.
    ///
    /// # Context
    /// If `cpu` is offline, it is called on another CPU.
    fn cleanup(&self, _cpu: CpuId) {}
}

mod adapter {
    use alloc::sync::Arc;

    use super::Service;
    use crate::cpu::CpuId;
    use crate::errno::Errno;
    use crate::kernel::Hw;
    use crate::sched;

    /// A program's service, as the kernel sees it.
    pub(super) struct Adapter<S>(pub(super) Arc<S>);

    impl<S: Service> sched::Service<Hw> for Adapter<S> {
        fn setup(&self, cpu: CpuId) -> Result<(), Errno> {
            self.0.setup(cpu)
        }

        fn should_run(&self, cpu: CpuId) -> bool {
            self.0.should_run(cpu)
        }

        fn run(&self, cpu: CpuId) {
            self.0.run(cpu);
        }

        fn park(&self, cpu: CpuId) {
            self.0.park(cpu);
        }

        fn unpark(&self, cpu: CpuId) {
            self.0.unpark(cpu);
        }

        fn cleanup(&self, cpu: CpuId) {
            self.0.cleanup(cpu);
        }
    }
}

/// Gives each CPU a thread of the normal class, called `name/N`, that does `service`: now, or when
/// the CPU comes up for the first time. While the CPU is offline the thread is parked.
///
/// On return the service is set up on each CPU that is online. When a CPU goes, services park in
/// the reverse order of their registration.
///
/// # Context
/// Thread, preemption on, not pinned; waits while a CPU comes or goes. Returns an error at
/// once in a callback of hotplug and under
/// [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock).
///
/// # Errors
/// [`InstallError`]; what was done is undone. It names the step `prep:threads` if a thread can't be
/// made, and `sched:threads` if [`Service::setup`] fails.
///
/// ```no_run
#[doc = include_str!("../../examples/api/services.rs")]
/// ```
#[cfg_attr(debug_assertions, track_caller)]
pub fn register_service<S: Service>(
    name: &'static str,
    service: S,
) -> Result<RegisteredService<S>, InstallError> {
    let _in_kernel = enter();
    let service = Arc::new(service);
    let handle = kernel().hotplug.register_service(NewService {
        name,
        class: Class::Normal,
        service: Arc::new(adapter::Adapter(Arc::clone(&service))),
    })?;
    Ok(RegisteredService {
        handle: Entered::new(handle),
        service,
    })
}

/// A service that is registered; it stands for its value. It can't be copied, and dropping it
/// removes the service as [`RegisteredService::remove`] does.
///
/// # Panics
/// If it is dropped where [`RegisteredService::remove`] returns an error or may not be called.
#[must_use = "dropping it removes the service"]
pub struct RegisteredService<S> {
    handle: Entered<hotplug::ServiceHandle<Hw>>,
    service: Arc<S>,
}

impl<S> RegisteredService<S> {
    /// Wakes the service's thread of `cpu`, which asks [`Service::should_run`] then. If the CPU is
    /// offline the thread asks when the CPU is back.
    ///
    /// # Context
    /// Any.
    pub fn wake(&self, cpu: CpuId) {
        let _in_kernel = enter();
        self.handle.wake(cpu);
    }

    /// Removes the service. On return its threads have parked, cleaned up and ended, also those of
    /// CPUs that are offline.
    ///
    /// # Context
    /// As [`register_service`].
    ///
    /// # Errors
    /// [`NotRemoved`], with the service.
    pub fn remove(self) -> Result<(), NotRemoved<RegisteredService<S>>> {
        let _in_kernel = enter();
        let service = self.service;
        self.handle
            .into_inner()
            .remove()
            .map_err(|failed| NotRemoved {
                handle: RegisteredService {
                    handle: Entered::new(failed.handle),
                    service,
                },
                why: failed.why,
            })
    }

    /// Leaves the service registered for ever.
    ///
    /// # Context
    /// Any.
    pub fn keep(self) {
        let _in_kernel = enter();
        self.handle.into_inner().keep();
    }
}

impl<S> Deref for RegisteredService<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.service
    }
}

impl<S: fmt::Debug> fmt::Debug for RegisteredService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegisteredService")
            .field(&self.service)
            .finish()
    }
}
