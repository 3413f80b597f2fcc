//! Which CPU serves a CPU's queue of timers: takes out what is due there. It is the CPU
//! itself, and after that has gone, the CPU that has adopted the queue. Which queue holds
//! an entry is another matter, and no entry changes it ([`Claim`](crate::sched::Claim)).
//!
//! Each CPU's queue and its [`Serving`] are behind one lock. No operation here takes two
//! of these locks. `tests/loom_adoption.rs` model-checks this file.
//!
//! # Invariants
//! - **one-server-per-queue**: a CPU takes entries out of a queue only if
//!   [`Serving::is_served_by`] says so, under the lock under which the entry comes out.
//! - **a-server-knows-its-queues**: the set of adopted queues contains each queue, but for
//!   the CPU's own, that the CPU serves. A queue stays in the set when its own CPU serves
//!   it again, which must not wait for the lock of another CPU. The adopter finds that
//!   out, and forgets the queue.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};

/// Which CPU serves the queue of one CPU, and which queues that CPU has adopted.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The CPU whose queue this is.
    cpu: CpuId,
    served_by: CpuId,
    /// Only `cpu` changes it, or its adopter after it has gone.
    adopted: CpuMask,
}

impl Serving {
    /// Returns the state of a queue that its own CPU, `cpu`, serves.
    pub const fn new(cpu: CpuId) -> Serving {
        Serving {
            cpu,
            served_by: cpu,
            adopted: CpuMask::EMPTY,
        }
    }

    /// Makes the queue's own CPU serve it, which has come back.
    pub fn serve_own(&mut self) {
        self.served_by = self.cpu;
    }

    /// Returns whether `cpu` serves this queue.
    pub fn is_served_by(&self, cpu: CpuId) -> bool {
        self.served_by == cpu
    }

    /// Returns the queues that the CPU has adopted. Some of them their own CPUs may serve
    /// again (a-server-knows-its-queues).
    pub fn adopted(&self) -> CpuMask {
        self.adopted
    }

    /// Returns the queues that the CPU serves, or did, its own with them, and forgets
    /// those that it has adopted: the CPU has gone.
    pub fn leave(&mut self) -> CpuMask {
        let mut left = core::mem::replace(&mut self.adopted, CpuMask::EMPTY);
        left.insert(self.cpu);
        left
    }

    /// Makes `to` serve this queue if `from` does, which has gone. Returns whether it did.
    pub fn hand_over(&mut self, from: CpuId, to: CpuId) -> bool {
        let hands_over = self.served_by == from;
        if hands_over {
            self.served_by = to;
        }
        hands_over
    }

    /// Notes that the CPU has adopted `queues`.
    pub fn adopt(&mut self, queues: &CpuMask) {
        self.adopted = self.adopted.or(queues);
    }

    /// Notes that the CPU no longer serves `queues`.
    pub fn forget(&mut self, queues: &CpuMask) {
        self.adopted = self.adopted.without(queues);
    }
}
