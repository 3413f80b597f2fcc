//! The list of threads that `ps` and `top` show.

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::kernel::{Hw, kernel};
use crate::platform::Platform;
use crate::sched::{Class, Nice, Policy, Thread, ThreadName, ThreadState, Usage};
use crate::shell::ThreadRow;

/// Returns a row for each thread that has not ended, in the order in which they were
/// made.
pub(super) fn all() -> Vec<ThreadRow> {
    // Nothing is allocated under the lock of the list. Threads that were made since
    // the count are left out.
    let mut count = 0;
    kernel().sched.for_each_thread(|_| count += 1);
    let mut seen = Vec::with_capacity(count);
    kernel().sched.for_each_thread(|thread| {
        if seen.len() < count {
            seen.push(Seen::of(thread));
        }
    });
    seen.into_iter().map(Seen::into_row).collect()
}

/// What is copied of a thread while the list of threads is locked.
struct Seen {
    number: u32,
    cpus: CpuMask,
    name: ThreadName,
    cpu: CpuId,
    class: Class,
    nice: Nice,
    state: ThreadState,
    usage: Usage,
}

impl Seen {
    fn of(thread: &Thread<Hw>) -> Seen {
        Seen {
            number: thread.number(),
            cpus: thread.affinity(),
            name: *thread.name(),
            cpu: thread.cpu(),
            class: thread.class(),
            nice: thread.nice(),
            state: thread.state_racy(),
            usage: thread.usage(),
        }
    }

    fn into_row(self) -> ThreadRow {
        let (class, priority, nice) = match self.class {
            Class::Stop => ("STP", None, None),
            Class::Realtime(priority, Policy::Fifo) => ("FF", Some(priority.get()), None),
            Class::Realtime(priority, Policy::RoundRobin) => ("RR", Some(priority.get()), None),
            Class::Normal | Class::Idle => ("TS", None, Some(self.nice.get())),
        };
        ThreadRow {
            id: self.number as usize,
            name: self.name.as_str().into(),
            cpu: self.cpu,
            cpus: self.cpus,
            class,
            priority,
            nice,
            state: match self.state {
                ThreadState::Runnable | ThreadState::Running | ThreadState::Blocking => 'R',
                ThreadState::Blocked => 'S',
                ThreadState::Parking | ThreadState::Parked => 'P',
                ThreadState::Dead => 'Z',
            },
            run_ns: Hw::frequency().ticks_to_ns(self.usage.ticks),
            waits: self.usage.waits,
            preemptions: self.usage.preemptions,
            migrations: self.usage.migrations,
        }
    }
}
