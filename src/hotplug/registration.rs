//! The two locks of hotplug, and in which order its users hold them.
//!
//! | Held | By | Excludes |
//! |---|---|---|
//! | add/remove lock, then hotplug lock for writing | an operation on a CPU, a service's registration | all others |
//! | add/remove lock, then hotplug lock for reading | an installation or a removal | operations, installations; not readers |
//! | add/remove lock alone | a callback of [`Place::PostDead`], a registration by hand | operations, installations; not readers |
//! | hotplug lock for reading | `cpus_read_lock` | operations, from their second lock on |
//!
//! A thread that has one of them gets an error from whatever would wait for it: no order of
//! calls hangs. That holds for all callbacks: those on control run under these locks, and those
//! on the CPU itself in a per-CPU thread.
//!
//! [`Place::PostDead`]: crate::hotplug::Place::PostDead

use alloc::sync::Arc;
use core::marker::PhantomData;

use crate::cpu::CpuMask;
use crate::hotplug::{Awaited, Hotplug, HotplugHost, InstallError, NewStep, Passing, StepHandle};
use crate::sched::LentUrgency;
use crate::sched::lock::{AddRemoveGuard, CpusLock, CpusReadGuard, CpusWriteGuard, WouldDeadlock};
use crate::time::Instant;

/// An operation is under way while this exists.
pub(super) struct Operation<'a, P: HotplugHost> {
    // The fields are dropped in this order.
    cpus: Option<CpusWriteGuard<'a, P>>,
    _add_remove: AddRemoveGuard<'a, P>,
    /// (`walk-is-urgent` of `operation`)
    _urgent: LentUrgency<P>,
    _told: Told<P>,
}

/// Says that an operation is over, when it is dropped.
struct Told<P: HotplugHost>(PhantomData<fn() -> P>);

impl<P: HotplugHost> Drop for Told<P> {
    fn drop(&mut self) {
        P::operation_over();
    }
}

impl<'a, P: HotplugHost> Operation<'a, P> {
    /// Releases the hotplug lock. The operation goes on.
    pub(super) fn release_cpus(&mut self) {
        self.cpus = None;
    }

    /// Takes the hotplug lock, `lock`, again if it was released.
    pub(super) fn take_cpus_again(&mut self, lock: &'a CpusLock<P>) {
        if self.cpus.is_none() {
            self.cpus = Some(lock.write());
        }
    }
}

/// Steps are installed or removed while this exists.
pub(super) struct Installation<'a, P: HotplugHost> {
    // The fields are dropped in this order.
    _cpus: CpusReadGuard<'a, P>,
    _add_remove: AddRemoveGuard<'a, P>,
}

/// No CPU comes or goes, and no step is installed or removed, but through this guard, while it
/// exists.
///
/// Not `Send`: it belongs to the thread that made it.
#[must_use]
pub struct RegistrationGuard<P: HotplugHost> {
    _add_remove: AddRemoveGuard<'static, P>,
}

impl<P: HotplugHost> Hotplug<P> {
    /// Returns whether the running thread may add or remove steps, and change the set of CPUs.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`WouldDeadlock`], as of the functions that do.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn may_add_or_remove(&self) -> Result<(), WouldDeadlock> {
        self.add_remove.check()
    }

    /// Begins an operation, which changes the set of CPUs. It is urgent (`walk-is-urgent` of
    /// `operation`).
    ///
    /// # Errors
    /// [`WouldDeadlock`]: in a callback of hotplug, in a service, in a pinned thread, or under one
    /// of the locks.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn begin_operation(&self) -> Result<Operation<'_, P>, WouldDeadlock> {
        let (add_remove, urgent) = self.add_remove.lock_if_it_may()?;
        Ok(Operation {
            cpus: Some(self.lock.write_if_it_may()?),
            _add_remove: add_remove,
            _urgent: urgent,
            _told: Told(PhantomData),
        })
    }

    /// Does as [`Hotplug::begin_operation`], but waits for the locks no longer than until
    /// `until`. Then it returns what it has waited for.
    ///
    /// # Errors
    /// As [`Hotplug::begin_operation`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn begin_operation_until(
        &self,
        until: Instant,
    ) -> Result<Result<Operation<'_, P>, Awaited>, WouldDeadlock> {
        let Some((add_remove, urgent)) = self.add_remove.lock_until_if_it_may(until)? else {
            let owner = self.add_remove.owner_racy();
            return Ok(Err(owner.map_or(Awaited::Nothing, Awaited::Operation)));
        };
        Ok(match self.lock.write_until_if_it_may(until)? {
            Ok(cpus) => Ok(Operation {
                cpus: Some(cpus),
                _add_remove: add_remove,
                _urgent: urgent,
                _told: Told(PhantomData),
            }),
            Err(reader) => Err(reader.map_or(Awaited::Nothing, Awaited::Reader)),
        })
    }

    /// Begins an installation or a removal.
    ///
    /// # Errors
    /// As [`Hotplug::begin_operation`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn begin_installation(&self) -> Result<Installation<'_, P>, WouldDeadlock> {
        let (add_remove, _) = self.add_remove.lock_if_it_may()?;
        Ok(Installation {
            _cpus: self.cpus_read_lock(),
            _add_remove: add_remove,
        })
    }

    /// Takes the add/remove lock, for a thread that looks at the CPUs and then installs a step
    /// without calls.
    ///
    /// # Context
    /// Thread, preemption on, not pinned; may sleep while a CPU comes or goes.
    ///
    /// # Errors
    /// [`WouldDeadlock`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn registration_lock(&'static self) -> Result<RegistrationGuard<P>, WouldDeadlock> {
        let (add_remove, _) = self.add_remove.lock_if_it_may()?;
        Ok(RegistrationGuard {
            _add_remove: add_remove,
        })
    }
}

impl<P: HotplugHost> RegistrationGuard<P> {
    /// Returns the CPUs that are online: they stay so while the guard exists.
    pub fn online(&self) -> CpuMask {
        P::masks().online()
    }

    /// Installs a step, as [`Hotplug::install`] does.
    ///
    /// # Context
    /// As [`Hotplug::install`].
    ///
    /// # Errors
    /// [`InstallError`].
    ///
    /// # Panics
    /// If the thread has taken the lock of the CPUs too.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn install(&self, new: NewStep, how: Passing) -> Result<StepHandle<P>, InstallError> {
        let hotplug = P::hotplug();
        let step = hotplug.made(new);
        let kept = Arc::clone(&step);
        let cpus = hotplug.cpus_read_lock();
        let installed = hotplug.install_made(step, how);
        drop(cpus);
        drop(kept);
        installed
    }
}
