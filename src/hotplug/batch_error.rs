//! Why a batch didn't do all, CPU by CPU.

use alloc::vec::Vec;
use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::errno::Errno;
use crate::hotplug::{CpuDownError, CpuUpError};

/// Which CPUs of a batch are not where they were to go, and why. All others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError<E> {
    /// In the order of the CPUs; not empty.
    failed: Vec<(CpuId, E)>,
}

impl<E> BatchError<E> {
    /// Returns the error of each CPU that failed, in the order of the CPUs.
    pub fn failed(&self) -> &[(CpuId, E)] {
        &self.failed
    }

    /// Returns the same, owned.
    pub fn into_failed(self) -> Vec<(CpuId, E)> {
        self.failed
    }

    /// Returns the error of `cpu`, if it failed.
    pub fn of(&self, cpu: CpuId) -> Option<&E> {
        let mut failed = self.failed.iter();
        failed.find_map(|(it, error)| (*it == cpu).then_some(error))
    }

    /// Returns the CPUs that failed.
    pub fn cpus(&self) -> CpuMask {
        self.failed.iter().map(|(cpu, _)| *cpu).collect()
    }
}

impl BatchError<CpuUpError> {
    /// Returns the errno of the first CPU that failed.
    pub fn errno(&self) -> Errno {
        self.failed[0].1.errno()
    }
}

impl BatchError<CpuDownError> {
    /// Returns the errno of the first CPU that failed.
    pub fn errno(&self) -> Errno {
        self.failed[0].1.errno()
    }
}

impl<E: fmt::Display> fmt::Display for BatchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (_, error)) in self.failed.iter().enumerate() {
            let before = if nth == 0 { "" } else { "; " };
            write!(f, "{before}{error}")?;
        }
        Ok(())
    }
}

impl<E: core::error::Error> core::error::Error for BatchError<E> {}

/// The failures of a batch that is under way.
pub(super) struct Failures<E>(Vec<(CpuId, E)>);

impl<E> Failures<E> {
    pub(super) const fn new() -> Failures<E> {
        Failures(Vec::new())
    }

    pub(super) fn add(&mut self, cpu: CpuId, error: E) {
        self.0.push((cpu, error));
    }

    /// Adds all of `cpus`, with what `why_fn` returns for each.
    pub(super) fn add_all(&mut self, cpus: &CpuMask, why_fn: impl Fn(CpuId) -> E) {
        self.0.extend(cpus.iter().map(|cpu| (cpu, why_fn(cpu))));
    }

    /// Ends the batch.
    pub(super) fn into_result(mut self) -> Result<(), BatchError<E>> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|(cpu, _)| *cpu);
        Err(BatchError { failed: self.0 })
    }
}
