//! Per-CPU services: threads that are made, unparked, parked and ended with their CPUs.
//!
//! A service is an instance of two steps of the table, `prep:threads` and `sched:threads`, and
//! is added and removed as instances are (`src/hotplug/install.rs`):
//!
//! | | `prep:threads`, by control | `sched:threads`, in `cpuhp/N` |
//! |---|---|---|
//! | a CPU comes | makes the CPU's thread if it has none, parked and bound | unparks it; the first time waits until it is set up |
//! | a CPU goes | nothing: the thread is kept | parks it, the last registered first |
//! | registration | the same for each CPU that is past the step, in their order | the same |
//! | removal | ends the threads of all CPUs | parks those at work, the last CPU first |
//!
//! If one CPU can't have its thread, or can't set it up, a registration parks the threads of the
//! CPUs before it and ends all; an operation parks the services before it on its CPU, and the CPU
//! turns back.
//!
//! `cpuhp/N` and `stopper/N` are the first two services. They park by themselves: they are
//! instances of `prep:threads` alone. Control unparks and parks `cpuhp/N`, the steps on the CPU
//! itself `stopper/N`.
//!
//! # Invariants
//! - **threads-as-far-as-past**: at rest a CPU has the thread of each service if it has been past
//!   `prep:threads` since the service was registered. The thread is unparked exactly if the
//!   CPU is past `sched:threads`.
//! - **all-or-none**: a CPU passes `sched:threads` for all services or for none: if one can't be
//!   set up, those before it are parked again. Parking can't fail.
//! - **ends-while-none-moves**: threads end while no CPU comes or goes. So the thread of an
//!   offline CPU, which ends on another, has that one until its end.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::cpu::CpuId;
use crate::hotplug::cpuhp::CpuhpService;
use crate::hotplug::install::Passing;
use crate::hotplug::instance::{Callback, Instance, OwnFn};
use crate::hotplug::service_threads::ServiceThreads;
use crate::hotplug::slots::Installed;
use crate::hotplug::table::{PREP_THREADS, SCHED_THREADS, THREADS_AT_WORK, THREADS_MADE};
use crate::hotplug::{
    Callbacks, Hotplug, HotplugHost, InstallError, NewService, NotRemoved, Place, StepError,
};
use crate::sched::Class;
use crate::sched::lock::WouldDeadlock;
use crate::stop_machine::StopMachine;
use crate::trace::Direction;

/// The services, as the instances of two steps.
pub(super) struct Services<P: HotplugHost> {
    /// Those whose threads `prep:threads` makes: all.
    made: Arc<Installed<P>>,
    /// Those whose threads `sched:threads` unparks and parks.
    at_work: Arc<Installed<P>>,
}

/// A service that is registered.
struct Registered<P: HotplugHost> {
    threads: Arc<ServiceThreads<P>>,
    made: Arc<Instance>,
    at_work: Arc<Instance>,
}

impl<P: HotplugHost> Services<P> {
    /// Returns the kernel's own services, on a machine of `cpus` CPUs, none of which is up.
    pub(super) fn new(cpus: usize) -> Services<P> {
        let stopper = NewService {
            name: "stopper",
            class: Class::Stop,
            service: StopMachine::<P>::service(),
        };
        let cpuhp = NewService {
            name: "cpuhp",
            class: Class::KERNEL,
            service: Arc::new(CpuhpService::<P>::new()),
        };
        let made: Vec<_> = vec![
            made_by(&Arc::new(ServiceThreads::new(stopper, cpus)), cpus),
            made_by(&Arc::new(ServiceThreads::new(cpuhp, cpus)), cpus),
        ];
        Services {
            made: Arc::new(Installed::fixed(PREP_THREADS, Place::Prep, made)),
            at_work: Arc::new(Installed::fixed(SCHED_THREADS, Place::Enable, Vec::new())),
        }
    }

    /// Returns whether on `cpu`, where `up` rows are up, as many services are at work as should
    /// be (threads-as-far-as-past).
    pub(super) fn are_balanced(&self, cpu: CpuId, up: usize) -> bool {
        let (_, (working, all)) = self.at_work.passages(cpu);
        working == if THREADS_AT_WORK < up { all } else { 0 }
    }
}

/// Returns the instance of `prep:threads` for a service.
fn made_by<P: HotplugHost>(threads: &Arc<ServiceThreads<P>>, cpus: usize) -> Arc<Instance> {
    let its = Arc::clone(threads);
    let make: OwnFn = Box::new(move |cpu| its.make(cpu));
    let callbacks = Callbacks {
        startup: Callback::Own(make),
        ..Callbacks::default()
    };
    Arc::new(Instance::new(callbacks, cpus))
}

/// Returns the instance of `sched:threads` for a service.
fn worked_by<P: HotplugHost>(threads: &Arc<ServiceThreads<P>>, cpus: usize) -> Arc<Instance> {
    let (its, theirs) = (Arc::clone(threads), Arc::clone(threads));
    let start: OwnFn = Box::new(move |cpu| its.start(cpu));
    let callbacks = Callbacks {
        startup: Callback::Own(start),
        teardown: Callback::Infallible(Box::new(move |cpu| theirs.park(cpu))),
        ..Callbacks::default()
    };
    Arc::new(Instance::new(callbacks, cpus))
}

impl<P: HotplugHost> Hotplug<P> {
    /// `prep:threads`, startup: makes the CPU's threads where they don't exist yet, parked and
    /// bound: idle, those of the services, and the one for the callbacks of RCU.
    pub(super) fn create_threads(&'static self, cpu: CpuId) -> Result<(), StepError> {
        let record = self.cpus.get(cpu);
        if record.idle.get().is_none() {
            let idle = P::sched().new_idle(cpu, P::idle_context(cpu));
            record.idle.call_once(|| idle);
        }
        let made = &self.services.made;
        let state = self.state(cpu);
        // Those that were made before one failed are kept for the next time.
        let made = made.pass(cpu, Direction::Up, state, THREADS_MADE);
        made.map_err(|failed| failed.error)?;
        Ok(P::grace_periods().prepare(cpu)?)
    }

    /// `sched:threads`, startup: unparks the services' threads in the order of registration.
    pub(super) fn unpark_services(&self, cpu: CpuId) -> Result<(), StepError> {
        let passed = self.pass_services(cpu, Direction::Up);
        if passed.is_err() {
            let undone = self.pass_services(cpu, Direction::Down);
            assert!(undone.is_ok(), "BUG: a park failed: {undone:?}"); // (all-or-none)
        }
        passed
    }

    /// `sched:threads`, teardown: parks the services' threads in the reverse order; each is
    /// off its CPU on return.
    pub(super) fn park_services(&self, cpu: CpuId) -> Result<(), StepError> {
        self.pass_services(cpu, Direction::Down)
    }

    fn pass_services(&self, cpu: CpuId, direction: Direction) -> Result<(), StepError> {
        let step = &self.services.at_work;
        let passed = step.pass(cpu, direction, self.state(cpu), THREADS_AT_WORK);
        passed.map_err(|failed| failed.error)
    }

    /// Gives every CPU a thread `name/N` that does a service, unparked while its CPU is up.
    /// On return each online CPU has one, set up.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes.
    ///
    /// # Errors
    /// [`InstallError`]. What was done before is undone.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn register_service(
        &'static self,
        new: NewService<P>,
    ) -> Result<ServiceHandle<P>, InstallError> {
        let threads = Arc::new(ServiceThreads::new(new, self.count()));
        // Dropped after the locks, as in an installation (`dropped-unlocked` of `install`).
        let registered = Registered {
            made: made_by(&threads, self.count()),
            at_work: worked_by(&threads, self.count()),
            threads,
        };
        let held = self.begin_installation()?;
        let added = self.add_service(&registered);
        drop(held);
        added?;
        Ok(ServiceHandle(Some(registered)))
    }

    fn add_service(&self, new: &Registered<P>) -> Result<(), InstallError> {
        let Services { made, at_work } = &self.services;
        let how = Passing::Called;
        let added = self
            .add_at(made, THREADS_MADE, &new.made, how)
            .and_then(|()| {
                let added = self.add_at(at_work, THREADS_AT_WORK, &new.at_work, how);
                added.inspect_err(|_| self.remove_at(made, THREADS_MADE, &new.made, how))
            });
        added.inspect_err(|_| new.threads.end_all())
    }

    fn remove_service(&'static self, old: &Registered<P>) -> Result<(), WouldDeadlock> {
        let Services { made, at_work } = &self.services;
        let held = self.begin_installation()?;
        self.remove_at(at_work, THREADS_AT_WORK, &old.at_work, Passing::Called);
        self.remove_at(made, THREADS_MADE, &old.made, Passing::Called);
        old.threads.end_all(); // (ends-while-none-moves)
        drop(held);
        Ok(())
    }
}

/// A service that is registered. Dropping the handle removes the service and ends its threads.
#[must_use = "dropping it removes the service"]
pub struct ServiceHandle<P: HotplugHost>(
    /// `None` once the service is removed, or is to stay.
    Option<Registered<P>>,
);

impl<P: HotplugHost> ServiceHandle<P> {
    /// Wakes the service's thread on `cpu`, so that it asks whether it should run. Does nothing
    /// if the thread is parked, or the CPU has never been up.
    ///
    /// # Context
    /// Any.
    pub fn wake(&self, cpu: CpuId) {
        if let Some(service) = &self.0 {
            service.threads.wake(cpu);
        }
    }

    /// Gives the service's thread on `cpu` a permit, which it takes when it waits for one. Does
    /// nothing if the CPU has never been up.
    ///
    /// # Context
    /// Any.
    pub fn give_permit(&self, cpu: CpuId) {
        if let Some(service) = &self.0 {
            service.threads.give_permit(cpu);
        }
    }

    /// Removes the service: its threads park, clean up, and have ended on return.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes.
    ///
    /// # Errors
    /// [`NotRemoved`], with the handle.
    pub fn remove(mut self) -> Result<(), NotRemoved<Self>> {
        let Some(service) = self.0.take() else {
            return Ok(());
        };
        P::hotplug().remove_service(&service).map_err(|why| {
            let handle = ServiceHandle(Some(service));
            NotRemoved { handle, why }
        })
    }

    /// Leaves the service registered for ever.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl<P: HotplugHost> Drop for ServiceHandle<P> {
    fn drop(&mut self) {
        if let Some(service) = self.0.take() {
            let removed = P::hotplug().remove_service(&service);
            removed.unwrap_or_else(|why| {
                panic!(
                    "BUG: {:?} drops the handle of a service, so it {why}",
                    P::sched().current()
                )
            });
        }
    }
}
