//! What threads and CPUs have used so far, for display.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::sched::{SchedHost, Scheduler, Usage};

impl<P: SchedHost> Scheduler<P> {
    /// Charges each running thread for its time on the CPU up to now. Without this a
    /// thread that has long run alone shows what it had used when it got its CPU.
    ///
    /// # Context
    /// Thread; the caller keeps CPUs from coming and going. Takes the run-queue locks one
    /// after the other.
    pub fn charge_running(&self) {
        for cpu in P::masks().online().iter() {
            self.queue(cpu).lock_irqsave().charge_current();
        }
    }

    /// Returns what the idle thread of `cpu` has used, as of the last
    /// [`Scheduler::charge_running`]: for how long the CPU was idle while it was online.
    /// `None` if the CPU has never run.
    ///
    /// # Context
    /// Any.
    pub fn idle_usage(&self, cpu: CpuId) -> Option<Usage> {
        let queue = self.queue(cpu).lock_irqsave();
        queue.idle_thread().map(|idle| idle.usage())
    }

    /// Returns for how many ticks threads other than the idle one have had `cpu`, as of the last
    /// [`Scheduler::charge_running`]. `None` if the CPU has never run.
    ///
    /// # Context
    /// Any.
    pub fn busy_ticks(&self, cpu: CpuId) -> Option<u64> {
        self.queue(cpu).lock_irqsave().busy_ticks()
    }

    /// Returns for how many ticks threads other than the idle one have had `cpu` up to now. `None`
    /// if the CPU has never run.
    ///
    /// # Context
    /// Any but that of a run-queue lock's holder.
    pub fn busy_ticks_now(&self, cpu: CpuId) -> Option<u64> {
        let mut queue = self.queue(cpu).lock_irqsave();
        // An online CPU stays so while interrupts are masked here: it would wait for this CPU in
        // its still point. On one that is offline no thread is to be charged.
        if P::masks().online().contains(cpu) {
            queue.charge_current();
        }
        queue.busy_ticks()
    }
}
