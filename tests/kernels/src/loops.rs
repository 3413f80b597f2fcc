//! Threads that never yield, for tests that stop the machine.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::{self, JoinHandle};
use stillpoint::cpu::{CpuMask, PerCpu};
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::machine::spin_until;

/// Threads, one on each CPU of a set, that only count until they are told to end.
pub struct Loops {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    cpus: CpuMask,
}

struct Shared {
    counts: PerCpu<AtomicU64>,
    end: AtomicBool,
}

impl Loops {
    /// Starts a loop on each of `cpus`, and returns when all of them run. The caller's CPU must
    /// not be among them, because the loop would keep the caller from its CPU.
    pub fn start(cpus: &CpuMask) -> Loops {
        let most = cpus.iter().last().map_or(0, |last| last.index() + 1);
        let shared = Arc::new(Shared {
            counts: PerCpu::new(most, |_| AtomicU64::new(0)),
            end: AtomicBool::new(false),
        });
        let spawn = |cpu| {
            let shared = Arc::clone(&shared);
            let thread = api::spawn_on(cpu, "loop", move || {
                let count = shared.counts.get(cpu);
                while !shared.end.load(Ordering::Relaxed) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
            thread.expect("a loop is started")
        };
        let threads = cpus.iter().map(spawn).collect();
        let loops = Loops {
            shared,
            threads,
            cpus: *cpus,
        };
        assert!(loops.all_move_on(), "a loop doesn't start");
        loops
    }

    /// Returns the sum of the loops' counts.
    pub fn sum(&self) -> u64 {
        let count = |cpu| self.shared.counts.get(cpu).load(Ordering::Relaxed);
        self.cpus.iter().map(count).sum()
    }

    fn all_move_on(&self) -> bool {
        self.cpus.iter().all(|cpu| {
            let count = self.shared.counts.get(cpu);
            let before = count.load(Ordering::Relaxed);
            spin_until(|| count.load(Ordering::Relaxed) > before)
        })
    }

    /// Ends the loops and waits for their threads; returns whether all of them still ran.
    pub fn end(self) -> bool {
        let ran = self.all_move_on();
        self.shared.end.store(true, Ordering::Relaxed);
        // A join of a loop that doesn't run any more would never return.
        if ran {
            self.threads.into_iter().for_each(JoinHandle::join);
        }
        ran
    }
}
