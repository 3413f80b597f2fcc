use core::sync::atomic::{AtomicU32, Ordering};

use stillpoint::api::cpu::{self, CpuId};
use stillpoint::api::stop::{NowaitError, StopError, StopWork};
use stillpoint::api::stop::{stop_cpus, stop_one_cpu_nowait, stop_two_cpus};
use stillpoint::api::sync::PreemptGuard;
use stillpoint::{percpu, println};

percpu! {
    /// What a CPU may still spend.
    static BUDGET: AtomicU32 = AtomicU32::new(1000);
}

/// Spends on this CPU. No lock and no atomic exchange: with preemption off no other thread of the
/// CPU comes in between, and a change from another CPU stops this one first.
pub(crate) fn spend(cost: u32) -> bool {
    let here = PreemptGuard::new();
    let budget = BUDGET.this(&here);
    let Some(left) = budget.load(Ordering::Relaxed).checked_sub(cost) else {
        return false;
    };
    budget.store(left, Ordering::Relaxed);
    true
}

/// Moves half of what `rich` has to `poor`. All other CPUs go on spending.
pub(crate) fn move_half(rich: CpuId, poor: CpuId) -> Result<(), StopError> {
    stop_two_cpus(rich, poor, || {
        let half = BUDGET.on(rich).load(Ordering::Relaxed) / 2;
        BUDGET.on(rich).fetch_sub(half, Ordering::Relaxed);
        BUDGET.on(poor).fetch_add(half, Ordering::Relaxed);
    })
}

/// Gives each CPU a new budget. The CPUs need not do that at the same moment.
pub(crate) fn renew() {
    let renewed = stop_cpus(&cpu::possible(), |cpu| {
        BUDGET.on(cpu).store(1000, Ordering::Relaxed);
    });
    println!("CPUs {renewed} may spend again");
}

/// Takes the budget of `cpu` away. For an interrupt handler, which can't wait: it has `work` done
/// by the stopper of that CPU. `StopWork::leak` has made it, once.
pub(crate) fn fine(cpu: CpuId, work: StopWork) {
    match stop_one_cpu_nowait(cpu, work) {
        // Twice is not worse than once.
        Ok(()) | Err(NowaitError::Busy) => {}
        Err(NowaitError::NotOnline(cpu)) => println!("CPU{cpu} spends nothing anyhow"),
    }
}

pub(crate) fn fining() -> StopWork {
    StopWork::leak(|cpu| BUDGET.on(cpu).store(0, Ordering::Relaxed))
}
