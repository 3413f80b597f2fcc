//! What a stop cost, in ticks of the counter.

#![forbid(unsafe_code)]

use core::ops::Range;

use crate::cpu::{CpuId, PerCpu};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Instant;

/// When each phase of one stop was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// The stop was called for, with the stop mutex already held.
    pub called: Instant,
    /// `fn` began.
    pub fn_began: Instant,
    /// `fn` had returned.
    pub fn_ended: Instant,
    /// Every CPU had left.
    pub ended: Instant,
}

/// When each CPU masked and unmasked IRQs in the last stop it took part in.
#[derive(Debug)]
pub struct CpuStopTimes {
    times: PerCpu<[AtomicU64; 2]>,
}

impl CpuStopTimes {
    pub(crate) fn new(cpus: usize) -> Self {
        CpuStopTimes {
            times: PerCpu::new(cpus, |_| [AtomicU64::new(0), AtomicU64::new(0)]),
        }
    }

    /// Notes from when to when `cpu` had IRQs off. Relaxed: the end of the stop orders it.
    ///
    /// # Context
    /// `cpu`'s stopper.
    #[inline]
    pub(crate) fn note(&self, cpu: CpuId, off: Instant, on: Instant) {
        let [began, ended] = self.times.get(cpu);
        began.store(off.0, Ordering::Relaxed);
        ended.store(on.0, Ordering::Relaxed);
    }

    /// Returns from when to when `cpu` had IRQs off in its last stop.
    ///
    /// # Context
    /// The holder of the stop mutex, after the stop.
    ///
    /// # Panics
    /// If `cpu` is not possible.
    pub fn irqs_off(&self, cpu: CpuId) -> Range<Instant> {
        let [began, ended] = self.times.get(cpu);
        Instant(began.load(Ordering::Relaxed))..Instant(ended.load(Ordering::Relaxed))
    }

    /// Returns for how many ticks `cpu` had IRQs off in its last stop.
    ///
    /// # Context
    /// As [`CpuStopTimes::irqs_off`].
    ///
    /// # Panics
    /// If `cpu` is not possible.
    pub fn irqs_off_ticks(&self, cpu: CpuId) -> u64 {
        let off = self.irqs_off(cpu);
        off.end.ticks_since(off.start)
    }
}
