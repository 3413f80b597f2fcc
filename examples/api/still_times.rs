use core::time::Duration;

use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::cpus_read_lock;
use stillpoint::api::stop::{
    Stop, StopError, StopReport, stop_machine_cpuslocked, timed_stop_machine,
};
use stillpoint::println;

/// Divides something among the CPUs. The guard keeps the number true until the shares are set;
/// the stop, which would take the same lock, is told that it is held.
pub(crate) fn divide(share_fn: impl FnOnce(usize) + Send) -> Result<(), StopError> {
    let cpus = cpus_read_lock();
    let count = cpus.online().count();
    stop_machine_cpuslocked(|| share_fn(count))
}

/// Returns for how long a stop keeps the machine at most, in `rounds` of them.
pub(crate) fn worst(rounds: usize) -> Result<Duration, StopError> {
    let mut worst = Duration::ZERO;
    for _ in 0..rounds {
        let ((), report) = timed_stop_machine(|| ())?;
        worst = worst.max(report.ended - report.called);
    }
    Ok(worst)
}

/// Rewrites code on `cpu`, while no CPU runs it; has each CPU forget what it has fetched of the old
/// one as it leaves, not later.
pub(crate) fn rewrite(
    cpu: CpuId,
    write_fn: impl FnOnce() + Send,
    forget_fn: fn(),
) -> Result<(), StopError> {
    let _cpus = cpus_read_lock();
    let forget = |_cpu: CpuId| forget_fn();
    let stop = Stop::new().on(cpu).and_release(&forget).cpuslocked();
    let ((), report) = stop.run_timed(write_fn)?;
    print(&report);
    Ok(())
}

fn print(report: &StopReport) {
    println!(
        "all CPUs had come after {:?}",
        report.fn_began - report.called
    );
    println!("the function took {:?}", report.fn_ended - report.fn_began);
    println!(
        "and they went on within {:?}",
        report.ended - report.fn_ended
    );
}
