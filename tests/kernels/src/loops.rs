//! Threads that never yield, to stop the machine under.

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api::{self, JoinHandle};
use stillpoint::cpu::{CpuMask, PerCpu};
use stillpoint::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::machine::spin_until;

/// A thread on each CPU of a set that counts, and does nothing else, until it is
/// told to end.
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
    /// Starts a loop on each of `cpus`, and returns when all of them run. The
    /// caller's CPU must not be among them: it would not get it back.
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

    /// How far all of them have counted together.
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

    /// Tells them to end and waits until they have; returns whether all of them
    /// still ran.
    pub fn end(self) -> bool {
        let ran = self.all_move_on();
        self.shared.end.store(true, Ordering::Relaxed);
        // One that is lost would be waited for in vain.
        if ran {
            self.threads.into_iter().for_each(JoinHandle::join);
        }
        ran
    }
}
