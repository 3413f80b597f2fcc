//! Where a line goes, and how it follows the CPUs.

#![forbid(unsafe_code)]

use super::IrqHost;
use super::affinity::{Candidates, Leave, NowhereToGo, Owner};
use super::error::IrqAffinityError;
use super::line::{Line, Phase};
use crate::cpu::{CpuId, CpuMask};

impl<P: IrqHost> Line<P> {
    /// Lets the line go only to `cpus` from now on. CPUs that the machine doesn't have are left
    /// out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`IrqAffinityError`]; nothing has changed then.
    pub fn set_affinity(&self, cpus: &CpuMask) -> Result<(), IrqAffinityError> {
        let mut control = self.control.lock_irqsave();
        if control.phase == Phase::Free {
            return Err(IrqAffinityError::Unused(self.irq.intid()));
        }
        if control.route.owner == Owner::Managed {
            return Err(IrqAffinityError::Managed(self.irq.intid()));
        }
        let affinity = cpus.and(P::masks().possible());
        let to = control.route.set(affinity, &Self::candidates());
        match to {
            Ok(Some(cpu)) => P::line_chip().route(self.irq, cpu),
            Ok(None) => {}
            Err(NowhereToGo) => return Err(IrqAffinityError::NoActiveCpu(*cpus)),
        }
        Ok(())
    }

    /// Returns the CPUs that the line may be given to.
    ///
    /// # Context
    /// The line's lock held (`serving-under-the-lock` of [`irq`](crate::irq)).
    pub(super) fn candidates() -> Candidates {
        Candidates {
            serving: P::irqs().serving(),
            active: P::masks().active(),
        }
    }

    /// Moves the line away from `cpu`, which doesn't serve interrupts any more, if it goes there. A
    /// managed line rests if none of its CPUs is left.
    ///
    /// # Panics
    /// If no other CPU serves interrupts.
    pub(super) fn move_away(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        if control.phase == Phase::Free {
            return;
        }
        let possible = P::masks().possible();
        let leave = control.route.leave(cpu, &Self::candidates(), possible);
        match leave {
            Leave::Stays => {}
            Leave::To(to) | Leave::Broken(to) => P::line_chip().route(self.irq, to),
            Leave::Rests => self.update(&mut control, P::line_chip()),
        }
        drop(control);
        if matches!(leave, Leave::Broken(_)) {
            log::info!("IRQ {}: no longer affine to CPU{cpu}", self.irq.intid());
        }
    }

    /// Has the line go to `cpu`, which comes, if it rests and is managed for that CPU.
    pub(super) fn come_back(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        if control.phase != Phase::Free && control.route.come(cpu) {
            P::line_chip().route(self.irq, cpu);
            self.update(&mut control, P::line_chip());
        }
    }
}
