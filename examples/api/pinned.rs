use stillpoint::api::cpu::{CpuId, CpuMask};
use stillpoint::api::thread::{AffinityError, MigrateGuard, Thread, ThreadName};
use stillpoint::api::thread::{current, current_cpu_racy, migrate_disable};
use stillpoint::println;

/// Moves `thread` to `cpus`, if it may.
pub(crate) fn move_to(thread: &Thread, cpus: &CpuMask) -> bool {
    let before = thread.affinity();
    let name = ThreadName::new(format_args!("{}", thread.name()));
    match thread.set_affinity(cpus) {
        Ok(()) => println!("{name} went from CPUs {before} to {cpus}"),
        Err(AffinityError::NoActiveCpu(cpus)) => {
            println!("CPUs {cpus} have to be brought up first")
        }
        Err(AffinityError::PerCpu(cpu)) => println!("{name} is a part of CPU{cpu}"),
        Err(AffinityError::HoldsCpus) => println!("{name} keeps CPUs {before} from going down"),
    }
    thread.affinity() == *cpus
}

/// Has `call_fn` called with the number of the CPU that it runs on, and stays there: it may sleep
/// meanwhile, which it may not with preemption off.
pub(crate) fn stay<R>(call_fn: impl FnOnce(CpuId) -> R) -> R {
    let guard: MigrateGuard = migrate_disable();
    call_fn(guard.cpu())
}

/// A number that may be wrong when it is used: good enough to spread load.
pub(crate) fn queue_of(queues: usize) -> usize {
    current_cpu_racy().index() % queues
}

/// Leaves `cpu` to others, if there is another one.
pub(crate) fn avoid(cpu: CpuId) -> bool {
    let this = current();
    let others = this.affinity().without(&CpuMask::of(cpu));
    !others.is_empty() && move_to(&this, &others)
}
