//! Giving works to stoppers.
//!
//! The works of one stop are queued and their stoppers woken in one section with preemption off:
//! `queued-unpreempted` of [`stop_machine`](crate::stop_machine).
//! Works that wait for each other are queued under one lock: `one-order-of-stops` of
//! [`WorkQueue`](crate::stop_machine::WorkQueue).

use crate::cpu::{CpuId, CpuMask};
use crate::platform::Sgi;
use crate::stop_machine::job::Job;
use crate::stop_machine::stopper::StopperNode;
use crate::stop_machine::{
    Behind, StopError, StopHost, StopMachine, Stopper, Work, WorkNode, push_everywhere,
    push_together,
};
use crate::sync::PreemptGuard;

impl<P: StopHost> StopMachine<P> {
    /// Lets the stoppers find `job`. Its caller has the stop mutex, or is lent it, and waits until
    /// the stop is over before its frame goes.
    pub(super) fn set_current(&'static self, work: &&(dyn Work + '_)) {
        // SAFETY: only the participants use the borrow, and what queues their works; each leaves
        // as its last access to it, and the caller doesn't return before the last one has
        // (frame-outlives-stop, leave-is-last).
        // A participant can't go away with the work pending: it is online and enabled, and
        // what a stopper has accepted runs or is taken back (accepted-runs, online-enabled); the
        // stop mutex keeps CPUs from leaving.
        unsafe { self.current.set(work) };
    }

    /// Tells the job that the flush is over with which its stop begins.
    ///
    /// # Context
    /// The last CPU to finish that flush.
    pub(super) fn current_flushed(&self) {
        // SAFETY: this is the end of the flush of the stop whose job was set last. Its caller keeps
        // it until this has left (queuer-counts).
        unsafe { self.current.get() }.flushed();
    }

    /// Queues `job`, which the stoppers find, on those of `cpus`, and starts them all. These are its
    /// participants, but for one that takes part in its own person.
    ///
    /// # Context
    /// The thread that calls for the stop; the last CPU to finish the flush with which it begins,
    /// that one's idle thread, or a handler which interrupts it; or the CPU that isn't online.
    pub(super) fn queue_everywhere(&'static self, job: &Job<'_, P>, cpus: &CpuMask) {
        let here = PreemptGuard::<P>::new(); // (queued-unpreempted)
        let own = |cpu: CpuId| {
            let stopper = self.stoppers.get(cpu);
            let leaves = job.leaving.is_some_and(|cpus| cpus.contains(cpu));
            let behind = if leaves {
                Behind::Refused // (`accepted-runs` of `stopper`)
            } else {
                Behind::Accepted
            };
            (&stopper.works, &stopper.own, behind)
        };
        if let Err(nth) = push_everywhere(&self.queueing, cpus.iter().map(own)) {
            is_disabled(cpus.iter().nth(nth));
        }
        self.wake_stoppers(cpus);
        job.end_queueing();
        drop(here); // The stopper takes the CPU here.
    }

    /// Has the stoppers accept works again of those of `cpus` that a stop should have taken offline
    /// and has not (`online-enabled` of `stopper`). The caller has the stop mutex still.
    pub(super) fn enable_those_that_stay(&self, cpus: &CpuMask) {
        for cpu in cpus.iter().filter(|cpu| P::masks().is_online(*cpu)) {
            self.stoppers.get(cpu).enable();
        }
    }

    /// Queues `nodes` on the stoppers of `cpus`, both or none.
    ///
    /// # Errors
    /// [`StopError::NotOnline`]: that stopper is disabled.
    pub(super) fn queue_pair(
        &self,
        cpus: [CpuId; 2],
        nodes: [&'static StopperNode; 2],
    ) -> Result<(), StopError> {
        let stopper = |cpu: CpuId| {
            let stopper = self.stoppers.try_get(cpu);
            stopper.ok_or(StopError::NotOnline(cpu))
        };
        let queues = [&stopper(cpus[0])?.works, &stopper(cpus[1])?.works];
        let here = PreemptGuard::<P>::new();
        push_together(&self.queueing, queues.into_iter().zip(nodes))
            .map_err(|nth| StopError::NotOnline(cpus[nth]))?;
        self.wake_stoppers(&cpus.into_iter().collect());
        drop(here);
        Ok(())
    }

    /// Queues `node` on the stopper of `cpu` if that is enabled; returns whether it is.
    #[must_use]
    pub(super) fn queue_one(&self, cpu: CpuId, node: &'static StopperNode) -> bool {
        let here = PreemptGuard::<P>::new();
        let stopper = self.stoppers.try_get(cpu);
        let accepted = stopper.is_some_and(|stopper| stopper.queue(node));
        if accepted {
            if cpu == P::this_cpu() {
                self.stop_interrupt();
            } else {
                P::send_sgi_to(Sgi::Stop, P::this_cpu(), cpu);
            }
        }
        drop(here);
        accepted
    }

    /// Queues each stopper's own node on those of `cpus` that are enabled; returns which those
    /// were. The caller has the stop mutex.
    pub(super) fn queue_own_on(&'static self, cpus: &CpuMask) -> CpuMask {
        let here = PreemptGuard::<P>::new();
        let accepts = |cpu: &CpuId| {
            let stopper = self.stoppers.try_get(*cpu);
            stopper.is_some_and(Stopper::queue_own)
        };
        let accepted = cpus.iter().filter(accepts).collect();
        self.wake_stoppers(&accepted);
        drop(here);
        accepted
    }

    /// Wakes the stoppers of `cpus`.
    ///
    /// # Context
    /// Preemption off: the stopper of this CPU runs at the end of that.
    fn wake_stoppers(&self, cpus: &CpuMask) {
        let me = P::this_cpu();
        let mut others = *cpus;
        others.remove(me);
        if !others.is_empty() {
            P::send_sgi(Sgi::Stop, &others);
        }
        if cpus.contains(me) {
            self.stop_interrupt(); // As the handler would.
        }
    }
}

/// Returns a node for `work` that can be queued.
///
/// # Safety
/// `work`, and the node where it is put, stay until the work was run to its end or taken back, or
/// was never accepted.
pub(super) unsafe fn node_for<'a>(work: &'a (dyn Work + 'a)) -> StopperNode {
    // SAFETY: only the lifetime changes; the caller keeps the work for as long as it is used.
    WorkNode::new(unsafe { core::mem::transmute::<&'a (dyn Work + 'a), &'static dyn Work>(work) })
}

/// Returns `node` as a stopper's queue takes it.
///
/// # Safety
/// `node` stays where it is until its work was run to its end or taken back, or was never
/// accepted.
pub(super) unsafe fn lent(node: &StopperNode) -> &'static StopperNode {
    // SAFETY: only the lifetime changes; the caller keeps the node for as long as it is used.
    unsafe { &*core::ptr::from_ref(node) }
}

/// Takes the number by value: a message that borrowed it would have it stored for each CPU.
#[cold]
#[inline(never)]
fn is_disabled(cpu: Option<CpuId>) -> ! {
    panic!("BUG: {cpu:?} is online and its stopper is disabled");
}
