//! Which CPU a line goes to, and what becomes of that when CPUs come and go.
//!
//! ```text
//!                 last CPU of its affinity leaves
//!     goes to a CPU ───────────────────────────▶ rests, if it is managed
//!        ▲   │    ◀───────────────────────────
//!        └───┘      one of them comes
//!      another one leaves, or the affinity is set or broken
//! ```

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sync::atomic::Ordering;
use crate::sync::{AtomicBits, const_unless_loom};

/// Whose a line's affinity is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// A user's: it may be set, and is broken when the last of its CPUs leaves.
    #[default]
    User,
    /// The kernel's: it stays as it is, and the line rests while none of its CPUs is there.
    Managed,
}

/// The CPUs that serve interrupts: those past `enable:irq-affinity`. Relaxed: the locks of the lines
/// order it (`serving-under-the-lock` of [`irq`](crate::irq)).
#[derive(Debug, Default)]
pub struct Serving(AtomicBits);

impl Serving {
    const_unless_loom! {
        /// Returns a set without a CPU.
        pub const fn new() -> Serving {
            Serving(AtomicBits::new())
        }
    }

    /// Has `cpu` serve interrupts. Then each line is to be looked at, under its lock, by
    /// [`Route::come`].
    pub fn come(&self, cpu: CpuId) {
        self.0.set(cpu.index(), Ordering::Relaxed);
    }

    /// Has `cpu` serve no interrupts any more. Then each line is to be looked at, under its lock, by
    /// [`Route::leave`].
    pub fn leave(&self, cpu: CpuId) {
        self.0.clear(cpu.index(), Ordering::Relaxed);
    }

    /// Returns the set.
    ///
    /// # Context
    /// The lock of a line held for which one of them is chosen.
    pub fn cpus(&self) -> CpuMask {
        CpuMask::from_bits(self.0.snapshot(Ordering::Relaxed))
    }
}

/// What becomes of a line when its CPU leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It goes to another CPU.
    Stays,
    /// It is to be routed to this CPU.
    To(CpuId),
    /// It is to be routed to this CPU, outside of the affinity that it had: that is broken.
    Broken(CpuId),
    /// It rests.
    Rests,
}

/// Where a line may go, and where it goes. The line's lock guards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The CPUs that it may go to.
    pub affinity: CpuMask,
    /// Whose the affinity is.
    pub owner: Owner,
    /// The CPU that it goes to; `None` while it rests.
    pub effective: Option<CpuId>,
}

impl Route {
    /// Returns the route of a line that is requested for `affinity`; it rests if it is managed and
    /// none of its CPUs serves. `None` if it can go nowhere.
    pub fn new(affinity: CpuMask, owner: Owner, cpus: &Candidates) -> Option<Route> {
        let effective = cpus.choose(&affinity, None);
        (effective.is_some() || owner == Owner::Managed).then_some(Route {
            affinity,
            owner,
            effective,
        })
    }

    /// Lets the line go only to `affinity` from now on. Returns the CPU that it is to be routed to,
    /// if it goes to another one now.
    ///
    /// # Errors
    /// [`NowhereToGo`] if none of them serves; nothing has changed then.
    pub fn set(
        &mut self,
        affinity: CpuMask,
        cpus: &Candidates,
    ) -> Result<Option<CpuId>, NowhereToGo> {
        let to = cpus.choose(&affinity, self.effective).ok_or(NowhereToGo)?;
        self.affinity = affinity;
        Ok((self.effective.replace(to) != Some(to)).then_some(to))
    }

    /// Has the line go elsewhere if it goes to `cpu`, which doesn't serve any more.
    ///
    /// * `possible` — what a broken affinity becomes
    ///
    /// # Panics
    /// If no CPU serves.
    pub fn leave(&mut self, cpu: CpuId, cpus: &Candidates, possible: &CpuMask) -> Leave {
        if self.effective != Some(cpu) {
            return Leave::Stays;
        }
        self.effective = cpus.choose(&self.affinity, None);
        match self.effective {
            Some(to) => Leave::To(to),
            None if self.owner == Owner::Managed => Leave::Rests,
            None => {
                self.affinity = *possible;
                self.effective = cpus.choose(possible, None);
                let to = self.effective;
                Leave::Broken(to.expect("BUG: the last CPU leaves that serves interrupts"))
            }
        }
    }

    /// Has the line go to `cpu`, which comes, if it rests and may go there. Returns whether it does.
    pub fn come(&mut self, cpu: CpuId) -> bool {
        let comes = self.effective.is_none() && self.affinity.contains(cpu);
        if comes {
            self.effective = Some(cpu);
        }
        comes
    }
}

/// None of the CPUs that a line is to go to serves interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NowhereToGo;

/// The CPUs that a line may be given to.
#[derive(Clone, Copy, Debug)]
pub struct Candidates {
    /// The CPUs that serve interrupts, read under the line's lock (`serving-under-the-lock` of
    /// [`irq`](crate::irq)).
    pub serving: CpuMask,
    /// The CPUs that are active. One that serves and isn't active leaves soon, or has just come.
    pub active: CpuMask,
}

impl Candidates {
    /// Returns the CPU of `affinity` that a line goes to, which goes to `present` now: that one if
    /// it may stay, else the one with the lowest number, and an active one if there is any. `None`
    /// if none of them serves.
    pub fn choose(&self, affinity: &CpuMask, present: Option<CpuId>) -> Option<CpuId> {
        let may = affinity.and(&self.serving);
        let best = may.and(&self.active);
        present
            .filter(|cpu| best.contains(*cpu))
            .or(best.first())
            .or(may.first())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const fn cpu(number: usize) -> CpuId {
        CpuId::from_index(number)
    }

    fn mask(cpus: &[usize]) -> CpuMask {
        cpus.iter().map(|number| cpu(*number)).collect()
    }

    #[test]
    fn a_line_stays_where_it_may_and_goes_to_the_lowest_number_otherwise() {
        let cpus = Candidates {
            serving: mask(&[1, 2, 3]),
            active: mask(&[0, 1, 2, 3]),
        };
        assert_eq!(cpus.choose(&mask(&[2, 3]), Some(cpu(3))), Some(cpu(3)));
        assert_eq!(cpus.choose(&mask(&[2, 3]), Some(cpu(1))), Some(cpu(2)));
        assert_eq!(cpus.choose(&mask(&[0, 3]), Some(cpu(0))), Some(cpu(3)));
        assert_eq!(cpus.choose(&mask(&[0]), Some(cpu(0))), None);
        assert_eq!(cpus.choose(&mask(&[0, 1]), None), Some(cpu(1)));
    }

    #[test]
    fn a_cpu_that_leaves_soon_is_the_last_choice() {
        let cpus = Candidates {
            serving: mask(&[1, 2, 3]),
            active: mask(&[3]),
        };
        assert_eq!(cpus.choose(&mask(&[1, 2, 3]), Some(cpu(1))), Some(cpu(3)));
        assert_eq!(cpus.choose(&mask(&[1, 2]), None), Some(cpu(1)));
    }
}
