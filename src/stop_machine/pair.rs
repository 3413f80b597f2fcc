//! `stop_two_cpus`: a still point of two CPUs, while all others go on.

use crate::cpu::{CpuId, CpuMask};
use crate::sched::Patience;
use crate::sched::lock::Completion;
use crate::stop_machine::call_cell::CallCell;
use crate::stop_machine::job::{End, Job, Notes, PairEnd};
use crate::stop_machine::queueing::{lent, node_for};
use crate::stop_machine::{MultiStop, MultiStopState, StopError, StopHost, StopMachine};
use crate::sync::{AtomicBits, might_sleep_in};

impl<P: StopHost> StopMachine<P> {
    /// Stops `cpu` and `other`, runs `call_fn` on `cpu` while neither moves, and returns its
    /// value. All other CPUs go on.
    ///
    /// `call_fn` runs as in [`StopMachine::stop`]. It excludes what runs on the two CPUs only.
    ///
    /// # Context
    /// Thread, preemption on; sleeps. After ten seconds it logs that it waits, and waits on.
    ///
    /// # Errors
    /// [`StopError::NotOnline`]: one of the two is not, or a stop is under way that is to take it
    /// offline. Neither was stopped.
    ///
    /// # Panics
    /// With preemption off; if both are the same; if `call_fn` may wait.
    pub fn stop_two_cpus<R: Send>(
        &'static self,
        cpu: CpuId,
        other: CpuId,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<R, StopError> {
        might_sleep_in::<P>("stop_two_cpus");
        assert!(cpu != other, "BUG: stop_two_cpus of {cpu:?} alone");
        let called = P::now();
        let patience = Patience::since::<P>(called);
        let name = core::any::type_name_of_val(&call_fn);
        let call = CallCell::<_, _, P>::new(call_fn);
        let run_fn = |_on: CpuId| call.run();
        let cpus = [cpu, other];
        let participants: CpuMask = cpus.into_iter().collect();
        let runners = CpuMask::of(cpu);
        let end = PairEnd {
            done: Completion::new(),
            come: AtomicBits::new(),
        };
        let me = P::sched().current();
        let job = Job {
            machine: self,
            calls: P::calls(),
            stop: MultiStop::new(2, 1),
            participants: &participants,
            runners: &runners,
            call_fn: &run_fn,
            release_fn: None,
            leaving: None,
            name,
            end: End::Pair(&end),
            caller_name: me.name(),
            spins: self.spins.of(2),
            patience,
            notes: Notes::new(),
        };
        // SAFETY: the job and both nodes stay in this frame until the stop is done, or was not
        // accepted.
        let node = unsafe { node_for(&job) };
        // SAFETY: as above.
        let other_node = unsafe { node_for(&job) };
        // SAFETY: as above.
        let node = unsafe { lent(&node) };
        // SAFETY: as above.
        let other_node = unsafe { lent(&other_node) };
        self.queue_pair(cpus, [node, other_node])?;
        job.finish(); // The count of the thread that queues.
        end.done.wait_patiently(|| {
            // If one has come it tells, unless the stop is over.
            let any_has_come = cpus.into_iter().any(|cpu| job.has_come(cpu));
            if !any_has_come || job.stop.state() == MultiStopState::Exit {
                job.tell_late(P::stop_is_late);
            }
        });
        Ok(call.take()) // (fn-before-exit)
    }
}
