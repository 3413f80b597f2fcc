use core::sync::atomic::{AtomicU64, Ordering};

use stillpoint::api::cpu::{CpuId, PerCpuVar, current};
use stillpoint::api::sync::{KeepsCpu, PreemptGuard, SpinLock};
use stillpoint::percpu;

percpu! {
    /// Packets that a CPU has sent. No two CPUs write to the same cache line.
    static SENT: AtomicU64 = AtomicU64::new(0);
}

static QUEUE: SpinLock<u32> = SpinLock::new(0);

/// Counts in `counter`, on a CPU that the caller can't leave meanwhile: `here` shows it.
fn count(counter: &PerCpuVar<AtomicU64>, here: &impl KeepsCpu) {
    counter.this(here).fetch_add(1, Ordering::Relaxed);
}

/// Any guard will do that keeps a thread where it is, such as that of a lock that is held anyway.
pub(crate) fn send() {
    let mut queue = QUEUE.lock();
    *queue += 1;
    count(&SENT, &queue);
}

/// Where there is none, preemption is turned off for the moment.
pub(crate) fn send_unqueued() -> CpuId {
    let here = PreemptGuard::new();
    count(&SENT, &here);
    current() // Exact, while the guard exists.
}

/// Returns how many packets `cpu` has sent, and how many were sent in all. A CPU that is off keeps
/// its count.
pub(crate) fn sent(cpu: CpuId) -> (u64, u64) {
    let all = SENT.iter().map(|(_cpu, sent)| sent.load(Ordering::Relaxed));
    (SENT.on(cpu).load(Ordering::Relaxed), all.sum())
}
