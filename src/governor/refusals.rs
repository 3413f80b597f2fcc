//! CPUs that did not come, or did not go (`refused-backs-off` of [`governor`](crate::governor)).

#![forbid(unsafe_code)]

use crate::cpu::CpuMask;

/// For how long a CPU isn't asked again after its first failure, in nanoseconds.
const FIRST: u64 = 10_000_000;
/// For how long at most.
const LONGEST: u64 = 10_000_000_000;

/// The CPUs that have refused one direction, and until when they aren't asked again.
#[derive(Clone, Copy, Debug)]
pub struct Refusals {
    cpus: CpuMask,
    until: u64,
    wait: u64,
}

impl Refusals {
    /// No CPU has refused.
    pub const NONE: Refusals = Refusals {
        cpus: CpuMask::EMPTY,
        until: 0,
        wait: FIRST,
    };

    /// Notes what became of `asked` at `at`: those of `failed`, a part of them, have refused. A
    /// success of all ends the waiting of those that were asked.
    pub fn note(&mut self, at: u64, asked: &CpuMask, failed: &CpuMask) {
        self.cpus = self.cpus.without(asked).or(failed);
        if failed.is_empty() {
            if self.cpus.is_empty() {
                *self = Refusals::NONE;
            }
        } else {
            self.until = at.saturating_add(self.wait);
            self.wait = (2 * self.wait).min(LONGEST);
        }
    }

    /// Returns the CPUs that aren't to be asked at `at`.
    pub fn at(&self, at: u64) -> CpuMask {
        if at < self.until {
            self.cpus
        } else {
            CpuMask::EMPTY
        }
    }

    /// Returns when CPUs that have refused may be asked again, if there are any.
    pub fn until(&self, at: u64) -> Option<u64> {
        (at < self.until && !self.cpus.is_empty()).then_some(self.until)
    }
}
