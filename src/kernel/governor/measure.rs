//! What the governor measures: a [`Sample`] from the run queues.

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::governor::Sample;
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::CpuLoad;
use crate::trace::Load;

/// The last measurement.
pub(super) struct Measured {
    /// The CPUs that were active then, with what each had done.
    before: Vec<(CpuId, CpuLoad)>,
    /// When that was, in nanoseconds.
    at: u64,
    /// Whether the governor has rested since.
    rested: bool,
}

impl Measured {
    pub(super) const fn new() -> Measured {
        Measured {
            before: Vec::new(),
            at: 0,
            rested: true,
        }
    }

    /// Begins to measure here: the next sample is from now on.
    pub(super) fn begin(&mut self) {
        let _held = kernel().hotplug.cpus_read_lock();
        self.at = now_ns();
        self.before = loads(&kernel().masks.active());
        self.rested = false;
    }

    /// Notes that the governor rests.
    pub(super) fn rests(&mut self) {
        self.rested = true;
    }

    /// Returns for how long it has been measured, in nanoseconds; `None` after a rest.
    pub(super) fn age(&self) -> Option<u64> {
        (!self.rested).then(|| now_ns().saturating_sub(self.at))
    }

    /// Returns what was measured since the last time, and the load for the trace. After a rest the
    /// sample begins at `armed`, in nanoseconds. The caller adds what may come and go.
    pub(super) fn sample(&mut self, armed: u64) -> (Sample, Load) {
        let held = kernel().hotplug.cpus_read_lock();
        let at = now_ns();
        let now = loads(&kernel().masks.active());
        drop(held);
        let mut sample = Sample {
            at,
            online: now.len(),
            ..Sample::default()
        };
        let mut busy = 0;
        for (cpu, load) in &now {
            sample.waiting += usize::try_from(load.waiting).unwrap_or(usize::MAX);
            if let Some((_, before)) = self.before.iter().find(|(other, _)| other == cpu) {
                sample.measured += 1;
                busy += ns(load.busy.saturating_sub(before.busy));
                sample.waited += ns(load.waited.saturating_sub(before.waited));
            }
        }
        if self.rested {
            sample.span = at.saturating_sub(armed.max(self.at)).max(1);
            // Threads may have waited in the rest, where no CPU could come.
            let most = sample.span.saturating_mul(sample.waiting.max(1) as u64);
            sample.waited = sample.waited.min(most);
        } else {
            sample.span = at.saturating_sub(self.at).max(1);
            sample.busy = Some(busy);
        }
        self.before = now;
        self.at = at;
        self.rested = false;
        let thousandths = |time: u64| {
            let share = u128::from(time) * 1000 / u128::from(sample.span);
            u32::try_from(share).unwrap_or(u32::MAX)
        };
        let load = Load {
            busy: thousandths(sample.busy.unwrap_or(0)),
            waiting: thousandths(sample.waited),
        };
        (sample, load)
    }
}

/// Returns whether a thread waits now that may run on another CPU than where it does
/// (`armed-or-seen` of [`governor`](crate::kernel::governor)).
pub(super) fn any_waits() -> bool {
    let _held = kernel().hotplug.cpus_read_lock();
    let loads = loads(&kernel().masks.active());
    loads.iter().any(|(_, load)| load.waiting > 0)
}

/// Returns what each of `cpus`, which stay, has done.
fn loads(cpus: &CpuMask) -> Vec<(CpuId, CpuLoad)> {
    let load = |cpu| Some((cpu, kernel().sched.load_of(cpu)?));
    cpus.iter().filter_map(load).collect()
}

/// Returns the time in nanoseconds.
pub(super) fn now_ns() -> u64 {
    ns(Hw::now().0)
}

pub(super) fn ns(ticks: u64) -> u64 {
    Hw::frequency().ticks_to_ns(ticks)
}
