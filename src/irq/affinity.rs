//! Which CPU a line goes to.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};

/// Whose a line's affinity is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// A user's: it may be set, and is broken when the last of its CPUs leaves.
    #[default]
    User,
    /// The kernel's: it stays as it is, and the line rests while none of its CPUs is there.
    Managed,
}

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

#[cfg(test)]
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
