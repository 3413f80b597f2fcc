//! Operations of the governor, and which CPUs are its own.
//!
//! # Invariants
//! - **only-its-own**: the governor brings up only CPUs that it has taken down itself, and that no
//!   other caller has taken down, brought up or moved since. So what an operator took away stays
//!   away, and so does what `maxcpus=` has left off. The set changes under the add/remove lock,
//!   within the operation that it is about.

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::batch_error::Failures;
use crate::hotplug::{ALL_UP, BatchError, CpuDownError, CpuUpError, Hotplug, HotplugHost};
use crate::sched::lock::WouldDeadlock;
use crate::sync::AtomicBits;
use crate::sync::atomic::Ordering;
use crate::time::Instant;

/// The CPUs that the governor has taken down and may bring back. Relaxed: written under the
/// add/remove lock; other readers want a moment's value.
#[derive(Debug)]
pub(super) struct Governed(AtomicBits);

impl Governed {
    pub(super) fn new() -> Governed {
        Governed(AtomicBits::new())
    }

    /// Notes that a caller other than the governor decides about `cpus` (only-its-own).
    pub(super) fn claim(&self, cpus: &CpuMask) {
        self.0.clear_each(cpus.bits(), Ordering::Relaxed);
    }
}

impl<P: HotplugHost> Hotplug<P> {
    /// Returns the CPUs that the governor has taken down and may bring back.
    ///
    /// # Context
    /// Any. Racy, unless the caller holds off hotplug.
    pub fn governed(&self) -> CpuMask {
        CpuMask::from_bits(self.governed.0.snapshot(Ordering::Relaxed))
    }

    /// Has those of `cpus` that are offline stay so until another caller brings them up.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`WouldDeadlock`].
    pub fn keep_off(&'static self, cpus: &CpuMask) -> Result<(), WouldDeadlock> {
        let _alone = self.registration_lock()?;
        self.governed.claim(cpus);
        Ok(())
    }

    /// Brings those of `cpus` up, in one operation, that are the governor's (only-its-own). The
    /// others are left alone.
    ///
    /// # Context
    /// As [`Hotplug::cpu_up`].
    ///
    /// # Errors
    /// [`BatchError`]: a [`CpuUpError`] for each CPU that did not come. All others have come.
    pub fn governor_up(&'static self, cpus: &CpuMask) -> Result<(), BatchError<CpuUpError>> {
        let mut failures = Failures::new();
        let held = self.begin_operation().map_err(CpuUpError::from);
        let held = held.and_then(|held| {
            self.refuse_if_disabled()?;
            Ok(held)
        });
        match held {
            Err(why) => failures.add_all(cpus, |_| why),
            Ok(mut held) => {
                let own = self.governed().and(cpus);
                let wanted: Vec<_> = own.iter().map(|cpu| (cpu, ALL_UP)).collect();
                self.go_up_together(&wanted, &mut failures, &mut held);
                let come = |cpu: &CpuId| self.state(*cpu).state() == ALL_UP;
                self.governed.claim(&own.iter().filter(come).collect());
            }
        }
        failures.into_result()
    }

    /// Takes those of `cpus` down that are online, in one operation, and makes them the governor's
    /// (only-its-own). They turn back at `deadline`.
    ///
    /// # Context
    /// As [`Hotplug::cpu_down`].
    ///
    /// # Errors
    /// [`BatchError`]: a [`CpuDownError`] for each CPU that did not go. All others have gone.
    pub fn governor_down(
        &'static self,
        cpus: &CpuMask,
        deadline: Instant,
    ) -> Result<(), BatchError<CpuDownError>> {
        let mut failures = Failures::new();
        let Some(mut held) = self.begin_down(cpus, deadline, &mut failures) else {
            return failures.into_result();
        };
        let up = |cpu: &CpuId| self.state(*cpu).state() == ALL_UP;
        let going: CpuMask = cpus.iter().filter(up).collect();
        let result = self.go_down_together(&going, deadline, &mut held);
        let failed = result.as_ref().err().map(BatchError::cpus);
        for cpu in going.without(&failed.unwrap_or(CpuMask::EMPTY)).iter() {
            self.governed.0.set(cpu.index(), Ordering::Relaxed);
        }
        result
    }
}
