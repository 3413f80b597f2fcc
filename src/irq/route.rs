//! Where a line goes, and how it follows the CPUs.

#![forbid(unsafe_code)]

use super::IrqHost;
use super::affinity::{Candidates, Owner};
use super::error::IrqAffinityError;
use super::line::{Control, Line, Phase};
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
        if control.owner == Owner::Managed {
            return Err(IrqAffinityError::Managed(self.irq.intid()));
        }
        let to = Self::candidates().choose(cpus, control.effective);
        let to = to.ok_or(IrqAffinityError::NoActiveCpu(*cpus))?;
        control.affinity = cpus.and(P::masks().possible());
        self.route(&mut control, to);
        Ok(())
    }

    /// Has the line go to `cpu`.
    fn route(&self, control: &mut Control, cpu: CpuId) {
        if control.effective != Some(cpu) {
            P::line_chip().route(self.irq, cpu);
            control.effective = Some(cpu);
        }
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
        if control.effective != Some(cpu) {
            return;
        }
        let cpus = Self::candidates();
        let mut is_broken = false;
        match cpus.choose(&control.affinity, None) {
            Some(to) => self.route(&mut control, to),
            None if control.owner == Owner::Managed => {
                control.is_resting = true;
                control.effective = None;
                self.update(&mut control, P::line_chip());
            }
            None => {
                control.affinity = *P::masks().possible();
                let to = cpus.choose(&control.affinity, None);
                let to = to.expect("BUG: the last CPU leaves that serves interrupts");
                self.route(&mut control, to);
                is_broken = true;
            }
        }
        drop(control);
        if is_broken {
            log::info!("IRQ {}: no longer affine to CPU{cpu}", self.irq.intid());
        }
    }

    /// Has the line go to `cpu`, which comes, if it rests and is managed for that CPU.
    pub(super) fn come_back(&self, cpu: CpuId) {
        let mut control = self.control.lock_irqsave();
        if control.is_resting && control.affinity.contains(cpu) {
            control.is_resting = false;
            self.route(&mut control, cpu);
            self.update(&mut control, P::line_chip());
        }
    }
}
