//! A counter that every CPU adds to without disturbing the others.

use core::fmt;

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicU64, Ordering};

/// A counter with a part for each CPU. Its value is the sum over all possible CPUs. The
/// part of a CPU that is off stays in the sum.
pub struct PerCpuCounter {
    /// The part of each CPU. Relaxed: a counter orders nothing. It is added to atomically, so
    /// that an addition by a handler, or by a thread that has moved to another CPU since it
    /// read its CPU's number, is not lost.
    parts: PerCpu<AtomicU64>,
}

impl PerCpuCounter {
    /// Returns a counter of value 0 for `cpus` possible CPUs.
    pub fn new(cpus: usize) -> PerCpuCounter {
        PerCpuCounter {
            parts: PerCpu::new(cpus, |_| AtomicU64::new(0)),
        }
    }

    /// Adds `amount` to `cpu`'s part, which wraps at 2⁶⁴. This is cheap if `cpu` is the
    /// running CPU, and correct in any case.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `cpu` is not possible.
    #[inline]
    pub fn add(&self, cpu: CpuId, amount: u64) {
        self.parts.get(cpu).fetch_add(amount, Ordering::Relaxed);
    }

    /// Returns `cpu`'s part.
    ///
    /// # Panics
    /// If `cpu` is not possible.
    pub fn part(&self, cpu: CpuId) -> u64 {
        self.parts.get(cpu).load(Ordering::Relaxed)
    }

    /// Returns the sum over all possible CPUs, on or off. Exact if no CPU adds
    /// meanwhile; otherwise it includes some of the amounts that are being added.
    pub fn sum(&self) -> u64 {
        let parts = self.parts.iter();
        parts.fold(0, |sum, (_, part)| {
            sum.wrapping_add(part.load(Ordering::Relaxed))
        })
    }
}

impl fmt::Debug for PerCpuCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerCpuCounter({})", self.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_over_all_cpus() {
        let counter = PerCpuCounter::new(3);
        let cpu = |index| CpuId::new(index).expect("a small number");
        counter.add(cpu(0), 5);
        counter.add(cpu(2), u64::MAX);
        counter.add(cpu(2), 3);
        assert_eq!(counter.part(cpu(2)), 2);
        assert_eq!(counter.sum(), 7);
    }

    #[test]
    #[should_panic(expected = "not possible")]
    fn a_cpu_that_is_not_possible_is_refused() {
        PerCpuCounter::new(1).add(CpuId::new(1).expect("a small number"), 1);
    }
}
