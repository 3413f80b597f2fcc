//! A counter that every CPU adds to without disturbing the others.

use core::fmt;

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicU64, Ordering};

/// Counts on each CPU by itself; the value is the sum over all possible CPUs. A CPU
/// that goes off leaves its part in the sum, and finds it when it is back.
pub struct PerCpuCounter {
    /// Relaxed: counters. Added to atomically, so that a handler of the same CPU, or
    /// a thread that was moved in between, loses nothing.
    parts: PerCpu<AtomicU64>,
}

impl PerCpuCounter {
    /// 0, on a machine with `cpus` possible CPUs.
    pub fn new(cpus: usize) -> PerCpuCounter {
        PerCpuCounter {
            parts: PerCpu::new(cpus, |_| AtomicU64::new(0)),
        }
    }

    /// Adds `amount` to `cpu`'s part; past 2⁶⁴ it wraps. Any context. Cheap if `cpu`
    /// is the running one, right in any case.
    ///
    /// # Panics
    /// If `cpu` is not possible.
    #[inline]
    pub fn add(&self, cpu: CpuId, amount: u64) {
        self.parts.get(cpu).fetch_add(amount, Ordering::Relaxed);
    }

    /// `cpu`'s part.
    ///
    /// # Panics
    /// If `cpu` is not possible.
    pub fn part(&self, cpu: CpuId) -> u64 {
        self.parts.get(cpu).load(Ordering::Relaxed)
    }

    /// The sum over all possible CPUs, on or off. Exact if nobody adds meanwhile;
    /// else it has some of what is added and lacks the rest.
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
