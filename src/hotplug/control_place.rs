//! Where the thread that runs an operation stays meanwhile.

use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{CpuDownError, HotplugHost};
use crate::sched::MigrateGuard;

/// Where the control thread stays for as long as an operation lasts: on a CPU that
/// does.
pub(super) struct ControlPlace<P: HotplugHost> {
    /// `None` only inside `drop`.
    pin: Option<MigrateGuard<P>>,
    /// Where it may run meanwhile, if it had to move, and where when that is over.
    moved: Option<(CpuMask, CpuMask)>,
}

impl<P: HotplugHost> ControlPlace<P> {
    /// Keeps the running thread on the CPU where it is.
    #[inline] // Where it is made: the masks of a thread that moves aren't copied.
    pub(super) fn here() -> Self {
        ControlPlace {
            pin: Some(P::sched().migrate_disable()),
            moved: None,
        }
    }

    /// Moves the running thread away from `cpus`, if it is on one of them, and keeps it.
    ///
    /// # Errors
    /// The CPU and [`CpuDownError::BoundThreads`] if it can't run elsewhere.
    pub(super) fn leave(&mut self, cpus: &CpuMask) -> Result<(), (CpuId, CpuDownError)> {
        if !cpus.contains(P::this_cpu()) {
            return Ok(());
        }
        self.pin = None;
        let sched = P::sched();
        let me = sched.current();
        let before = me.affinity();
        let elsewhere = P::masks().active().without(cpus);
        if sched.set_affinity(&me, &elsewhere).is_ok() {
            self.moved = Some((elsewhere, before));
        }
        self.pin = Some(sched.migrate_disable());
        let cpu = P::this_cpu();
        if cpus.contains(cpu) {
            return Err((cpu, CpuDownError::BoundThreads { cpu, threads: 1 }));
        }
        Ok(())
    }
}

impl<P: HotplugHost> Drop for ControlPlace<P> {
    fn drop(&mut self) {
        self.pin = None;
        let Some((elsewhere, before)) = self.moved else {
            return;
        };
        let sched = P::sched();
        let me = sched.current();
        // Another thread may have said since where this one is to run: that holds.
        if me.affinity() != elsewhere {
            return;
        }
        if sched.set_affinity(&me, &before).is_ok() {
            return;
        }
        // None of its CPUs is left: as for any thread of a CPU that goes.
        log::warn!("thread {} no longer affine to cpu{before}", me.name());
        let anywhere = sched.set_affinity(&me, P::masks().possible());
        assert!(anywhere.is_ok(), "BUG: it runs nowhere: {anywhere:?}");
    }
}
