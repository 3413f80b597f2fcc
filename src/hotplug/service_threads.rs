//! The threads of one service: one for each CPU that has ever come up, bound to it.

use alloc::sync::Arc;

use crate::cpu::{CpuId, PerCpu};
use crate::hotplug::{HotplugHost, StepError};
use crate::sched::{Class, PerCpuThread, SchedHost, Service};
use crate::sync::{LockMap, Once};

/// A service to register.
pub struct NewService<P: SchedHost> {
    /// The threads are called `name/N`.
    pub name: &'static str,
    /// How urgent they are.
    pub class: Class,
    /// What they do.
    pub service: Arc<dyn Service<P>>,
}

/// The threads of a service.
pub(super) struct ServiceThreads<P: HotplugHost> {
    new: NewService<P>,
    /// The class of their work, for the lock validator. Each service has its own: one may wait
    /// for the work of another.
    work: LockMap,
    threads: PerCpu<Once<PerCpuThread<P>>>,
}

impl<P: HotplugHost> ServiceThreads<P> {
    /// Returns a service without threads, on a machine of `cpus` CPUs.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn new(new: NewService<P>, cpus: usize) -> Self {
        ServiceThreads {
            new,
            work: LockMap::new(),
            threads: PerCpu::new(cpus, |_| Once::new()),
        }
    }

    /// Makes the thread of `cpu`, parked, unless it has one.
    ///
    /// # Context
    /// Control.
    pub(super) fn make(&self, cpu: CpuId) -> Result<(), StepError> {
        let slot = self.threads.get(cpu);
        if slot.get().is_some() {
            return Ok(());
        }
        let NewService {
            name,
            class,
            service,
        } = &self.new;
        let service = Arc::clone(service);
        let thread = PerCpuThread::create(P::sched(), name, *class, cpu, service, &self.work)?;
        slot.call_once(|| thread);
        Ok(())
    }

    /// Has the thread of `cpu` work.
    ///
    /// # Context
    /// `cpuhp` of that CPU.
    ///
    /// # Errors
    /// The service can't be set up there.
    pub(super) fn start(&self, cpu: CpuId) -> Result<(), StepError> {
        self.of(cpu).start().map_err(|errno| {
            log::warn!("service {} refuses CPU{cpu}: {errno}", self.new.name);
            StepError::Refused(errno)
        })
    }

    /// Parks the thread of `cpu`; it is off its CPU on return.
    ///
    /// # Context
    /// As [`ServiceThreads::start`].
    pub(super) fn park(&self, cpu: CpuId) {
        P::sched().park(self.of(cpu).thread());
    }

    /// Wakes the thread of `cpu`, if there is one.
    ///
    /// # Context
    /// Any.
    pub(super) fn wake(&self, cpu: CpuId) {
        if let Some(thread) = self.threads.get(cpu).get() {
            P::sched().wake(thread.thread());
        }
    }

    /// Gives the thread of `cpu` a permit, if there is one.
    ///
    /// # Context
    /// Any.
    pub(super) fn give_permit(&self, cpu: CpuId) {
        if let Some(thread) = self.threads.get(cpu).get() {
            P::sched().give_permit(thread.thread());
        }
    }

    /// Ends all threads, which are parked, also those of CPUs that are offline.
    ///
    /// # Context
    /// Thread; no CPU comes or goes meanwhile.
    pub(super) fn end_all(&self) {
        for thread in self.threads.iter().filter_map(|(_, slot)| slot.get()) {
            thread.end();
        }
    }

    fn of(&self, cpu: CpuId) -> &PerCpuThread<P> {
        let thread = self.threads.get(cpu).get();
        thread.expect("BUG: a service is used before prep:threads")
    }
}
