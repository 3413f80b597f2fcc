//! Per-CPU threads: made once, parked while their CPU is away.
//!
//! A service describes what such a thread does; the loop around it, with its
//! order of checks, is the same for `cpuhp/N`, `stopper/N` and every service.
//!
//! # Invariants
//! - **born-parked**: a per-CPU thread is made parked and bound, and runs first when
//!   its CPU is online.
//! - **works-on-own-cpu**: a per-CPU thread does all that it does on its own CPU.
//!
//! It misses neither work nor a request to park: `says-then-looks` of
//! [`BlockState`](crate::sched::BlockState).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::cpu::CpuId;
use crate::sched::{
    Blocker, Class, KthreadStep, Placement, Running, SchedHost, Scheduler, SpawnError, Thread,
    ThreadName, next_step,
};

/// What a per-CPU thread does. All calls come from the thread itself, on its
/// CPU, with IRQs on and preemption on.
///
/// None may take the lock of the CPUs, nor stop the machine, nor bring or take a CPU: when
/// its CPU goes, hotplug has that lock and waits until the thread has parked. It is told
/// so at once: an operation of hotplug is refused, all else panics.
pub trait Service<P: SchedHost>: Send + Sync {
    /// Whether there is something to do.
    fn should_run(&self, cpu: CpuId) -> bool;

    /// Does it, or a part of it.
    fn run(&self, cpu: CpuId);

    /// About to park: the CPU goes.
    fn park(&self, _cpu: CpuId) {}

    /// Unparked: the CPU is back (or there for the first time).
    fn unpark(&self, _cpu: CpuId) {}
}

/// Makes per-CPU threads.
pub struct PerCpuThread;

impl PerCpuThread {
    /// Makes `cpu`'s thread of `service`, named `name/N`, parked.
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn create<P: SchedHost>(
        sched: &Scheduler<P>,
        name: &str,
        class: Class,
        cpu: CpuId,
        service: Arc<dyn Service<P>>,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let name = ThreadName::new(format_args!("{name}/{cpu}"));
        let body = Box::new(move || serve::<P>(cpu, &*service));
        // (born-parked)
        sched.create(name, class, Placement::PerCpu(cpu), body)
    }
}

fn serve<P: SchedHost>(cpu: CpuId, service: &dyn Service<P>) {
    let sched = P::sched();
    let me = sched.current();
    let thread = Running { sched, me: &me };
    let mut working = me.work.work::<P>();
    service.unpark(cpu);
    loop {
        match next_step(&thread, || service.should_run(cpu)) {
            KthreadStep::Park => {
                service.park(cpu);
                drop(working);
                thread.park();
                // (works-on-own-cpu)
                assert!(
                    P::this_cpu() == cpu,
                    "BUG: {me:?} was unparked on {:?}, which is not its CPU",
                    P::this_cpu()
                );
                working = me.work.work::<P>();
                service.unpark(cpu);
            }
            KthreadStep::Run => service.run(cpu),
            KthreadStep::Again => {}
        }
    }
}
