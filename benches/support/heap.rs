//! The heap: pairs of an allocation and a free, on one CPU, and with all CPUs at once.

use alloc::vec::Vec;
use core::hint::black_box;

use stillpoint::api;
use stillpoint::cpu::CpuId;
use stillpoint::kernel::Hw;
use stillpoint::memory::SizeClass;
use stillpoint::platform::Platform;
use stillpoint::sync::SpinLock;

use crate::support::lines::print_line;

/// How many blocks a CPU allocates at a time, of all size classes in turn.
const BURST: usize = 64;

/// The blocks that a CPU has allocated and no CPU has freed.
type Burst = SpinLock<Vec<Vec<u8>>, Hw>;

/// Allocates a burst, and leaves it in `burst`.
fn allocate(burst: &Burst) {
    let mut burst = burst.lock_irqsave();
    let classes = core::iter::repeat_with(SizeClass::all).flatten();
    let blocks = classes.map(|class| black_box(Vec::with_capacity(class.size())));
    burst.extend(blocks.take(BURST));
}

/// Measures bursts of blocks that other CPUs free than have allocated them, after `warm_up`
/// bursts that it doesn't measure: `heap_exchange`, where each CPU frees the blocks of its
/// neighbour, and `heap_one_way`, where the lower half of the CPUs allocates and the upper
/// half frees. In each the CPUs of a half of the burst work at once. `.locks` is no time: it
/// is how often the lock of the shared heap was taken for a pair.
pub(crate) fn bursts(cpus: usize, measured: usize, warm_up: usize) {
    let bursts: Vec<Burst> = (0..cpus)
        .map(|_| SpinLock::new(Vec::with_capacity(BURST)))
        .collect();
    let half = cpus / 2;
    exchange("heap_exchange", &bursts, cpus, 1, measured, warm_up);
    exchange("heap_one_way", &bursts, half, half, measured, warm_up);
}

/// Measures rounds in which the first `sources` CPUs allocate a burst each, and then the CPU
/// that is `distance` further, round about, frees it.
fn exchange(
    op: &str,
    bursts: &[Burst],
    sources: usize,
    distance: usize,
    measured: usize,
    warm_up: usize,
) {
    let mut times = Vec::with_capacity(measured);
    let mut locks = Vec::with_capacity(measured);
    let cpus = bursts.len();
    let pairs = (sources * BURST) as u64;
    for round in 0..warm_up + measured {
        let locked = api::heap_stats().shared_lock_takings;
        let began = Hw::now();
        api::on_each_cpu(|cpu: CpuId| {
            if cpu.index() < sources {
                allocate(&bursts[cpu.index()]);
            }
        });
        api::on_each_cpu(|cpu: CpuId| {
            let source = (cpu.index() + cpus - distance) % cpus;
            if source < sources {
                bursts[source].lock_irqsave().clear();
            }
        });
        let took = Hw::now().ticks_since(began);
        let locked = api::heap_stats().shared_lock_takings - locked;
        if round >= warm_up {
            times.push(Hw::frequency().ticks_to_ns(took) / pairs);
            locks.push(1000 * locked / pairs);
        }
    }
    print_line(op, times, warm_up);
    print_line(&alloc::format!("{op}.locks"), locks, warm_up);
}
