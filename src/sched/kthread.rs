//! Per-CPU threads: made once, parked while their CPU is offline.
//!
//! A service describes the work of such a thread. The loop around it, with its order of
//! checks, is the same for `cpuhp/N`, `stopper/N` and every service.
//!
//! # Invariants
//! - **born-parked**: a per-CPU thread is made parked and bound to its CPU, and runs
//!   for the first time when its CPU is online.
//! - **works-on-own-cpu**: a per-CPU thread does all its work on its own CPU.
//!
//! A per-CPU thread misses neither work nor a request to park: `blocking-before-check` of
//! [`BlockState`](crate::sched::BlockState).

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::cpu::CpuId;
use crate::sched::{
    Blocker, Class, KthreadStep, Placement, Running, SchedHost, Scheduler, SpawnError, Thread,
    ThreadName, next_step,
};

/// The work of a per-CPU thread.
///
/// # Context
/// All calls come from the thread itself, on its CPU, with IRQs and preemption on.
///
/// No call may take the lock of the CPUs, stop the machine, or bring up or take down a
/// CPU. When the thread's CPU goes down, hotplug holds that lock and waits until the
/// thread has parked, so such a call would never end. A hotplug operation is refused
/// with an error; everything else panics.
pub trait Service<P: SchedHost>: Send + Sync {
    /// Returns whether there is work to do.
    fn should_run(&self, cpu: CpuId) -> bool;

    /// Does the work, or a part of it.
    fn run(&self, cpu: CpuId);

    /// Is called before the thread parks, because its CPU goes down.
    fn park(&self, _cpu: CpuId) {}

    /// Is called after the thread was unparked: its CPU is up again, or for the first
    /// time.
    fn unpark(&self, _cpu: CpuId) {}
}

/// Makes per-CPU threads.
pub struct PerCpuThread;

impl PerCpuThread {
    /// Makes `cpu`'s thread of `service`, named `name/N`. It is parked.
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
        let name = ThreadName::of_cpu(name, cpu);
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
