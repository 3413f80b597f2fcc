//! Per-CPU variables and counters: each CPU has its own copy, with the declared first value,
//! separate from the copies of other CPUs, and kept while the CPU is off.

//@ smp: 1 2 4 20

#![no_std]
#![no_main]

extern crate alloc;

stillpoint::entry!(main);

use alloc::sync::Arc;
use alloc::vec::Vec;

use stillpoint::api;
use stillpoint::config::CACHE_LINE;
use stillpoint::cpu::{CpuId, PerCpuCounter};
use stillpoint::kernel::{Hw, kernel};
use stillpoint::platform::Platform;
use stillpoint::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use stillpoint::sync::{CachePadded, IrqGuard, PreemptGuard};

use kernel_support::ktap::Ktap;
use kernel_support::machine::leave_and_return;

static NAME: &str = "a word that is relocated";

stillpoint::percpu! {
    static SMALL: AtomicU8 = AtomicU8::new(7);
    static HITS: AtomicU64 = AtomicU64::new(0);
    /// A variable whose first value has an address, which boot relocates.
    static WORD: (&'static &'static str, AtomicU64) = (&NAME, AtomicU64::new(41));
    static PADDED: CachePadded<AtomicU64> = CachePadded(AtomicU64::new(9));
}

const TURNS: u64 = 1000;

fn cpus() -> impl Iterator<Item = CpuId> {
    kernel().masks.possible().iter()
}

/// Runs `body` on every CPU at once.
fn everywhere(body: impl Fn(CpuId) + Clone + Send + 'static) {
    let threads: Vec<_> = cpus()
        .map(|cpu| {
            let body = body.clone();
            api::spawn_on(cpu, "counts", move || body(cpu)).expect("a thread")
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join());
}

fn main() {
    let mut ktap = Ktap::new();
    let as_declared = cpus().all(|cpu| {
        SMALL.on(cpu).load(Ordering::Relaxed) == 7
            && HITS.on(cpu).load(Ordering::Relaxed) == 0
            && **WORD.on(cpu).0 == *NAME
            && WORD.on(cpu).1.load(Ordering::Relaxed) == 41
            && PADDED.on(cpu).load(Ordering::Relaxed) == 9
    });
    ktap.check("each CPU's begin as declared", as_declared);

    let line = |cpu| (&raw const *HITS.on(cpu)).addr() / CACHE_LINE;
    let mut lines: Vec<usize> = cpus().map(line).collect();
    lines.sort_unstable();
    lines.dedup();
    ktap.equal(
        "no two CPUs share a cache line",
        lines.len(),
        cpus().count(),
    );
    let aligned = cpus().all(|cpu| {
        (&raw const *PADDED.on(cpu))
            .addr()
            .is_multiple_of(CACHE_LINE)
    });
    ktap.check("they are aligned as their type", aligned);

    let counter = Arc::new(PerCpuCounter::new(cpus().count()));
    let counted = Arc::clone(&counter);
    everywhere(move |cpu| {
        for _ in 0..TURNS {
            let here = PreemptGuard::<Hw>::new();
            HITS.this(&here).fetch_add(1, Ordering::Relaxed);
            counted.add(Hw::this_cpu(), 1);
        }
        let masked = IrqGuard::<Hw>::new();
        assert!(
            core::ptr::eq(HITS.this(&masked), HITS.on(cpu)),
            "another CPU's"
        );
    });
    let apart = HITS
        .iter()
        .all(|(_, hits)| hits.load(Ordering::Relaxed) == TURNS);
    ktap.check("each CPU writes its own", apart);
    ktap.equal("all CPUs are told", HITS.iter().count(), cpus().count());
    let wanted = TURNS * cpus().count() as u64;
    ktap.equal("a counter's sum is over all CPUs", counter.sum(), wanted);

    let sum = || {
        HITS.iter()
            .map(|(_, hits)| hits.load(Ordering::Relaxed))
            .sum()
    };
    let mut alone: u64 = 0;
    let moved = leave_and_return(|| {
        alone = sum();
        counter.sum() == wanted
    });
    ktap.check(
        "CPUs that are off stay part of the sums",
        moved && alone == wanted,
    );
    ktap.equal("and find theirs when they are back", sum(), wanted);
    ktap.finish()
}
