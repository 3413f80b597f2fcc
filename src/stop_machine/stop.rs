//! `stop_machine` itself: one stop of all online CPUs, from its call to its end.

use crate::cpu::{CpuId, CpuMask};
use crate::sched::{InKernel, Patience};
use crate::stop_machine::call_cell::CallCell;
use crate::stop_machine::early_end::EarlyEnd;
use crate::stop_machine::flushed::Flush;
use crate::stop_machine::job::{End, Job, Notes};
use crate::stop_machine::{
    MultiStop, MultiStopState, StopError, StopHost, StopMachine, StopMode, StopMutexGuard,
    StopReport, StopRequest, Work,
};
use crate::sync::might_sleep_in;
use crate::time::Instant;

impl<P: StopHost> StopMachine<P> {
    /// Stops all online CPUs and runs `call_fn` on one of them while nothing moves: on this CPU,
    /// or on that of the request.
    /// Returns its value and what the stop cost.
    ///
    /// All that any CPU did before is visible to `call_fn`, and what it did is
    /// visible to every CPU afterwards. It must not sleep, wait, or take a
    /// sleeping lock. If it takes long, a CPU that waits for it says so
    /// ([`StopHost::still_point_is_late`]).
    ///
    /// # Context
    /// Thread, preemption on; `_still` is the stop mutex. Allocates if the request has a
    /// deadline, and with an error.
    ///
    /// # Errors
    /// [`StopError`], except [`StopError::Busy`]; `call_fn` has not run then, and nothing has
    /// changed.
    ///
    /// # Panics
    /// With preemption off; if `call_fn` may wait.
    pub fn stop<R: Send>(
        &'static self,
        _still: &StopMutexGuard<'_, P>,
        request: &StopRequest<'_, P>,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        // With preemption off this CPU's own stopper would never run.
        might_sleep_in::<P>("stop_machine");
        let name = core::any::type_name_of_val(&call_fn);
        let call = CallCell::<_, _, P>::new(call_fn);
        let report = self.stop_and_run(request, None, name, &|_on| call.run())?;
        Ok((call.take(), report)) // (fn-before-exit)
    }

    /// Does as [`StopMachine::stop`], with no request.
    ///
    /// # Context
    /// As for [`StopMachine::stop`].
    ///
    /// # Panics
    /// As for [`StopMachine::stop`].
    pub fn stop_once<R: Send>(
        &'static self,
        still: &StopMutexGuard<'_, P>,
        call_fn: impl FnOnce() -> R + Send,
    ) -> (R, StopReport) {
        let stopped = self.stop(still, &StopRequest::new(), call_fn);
        // This CPU is online, and the stop has no deadline.
        stopped.unwrap_or_else(|error| panic!("BUG: a stop without a request failed: {error}"))
    }

    /// Does as [`StopMachine::stop`], with the function on `cpu`, and no other request.
    ///
    /// # Context
    /// As for [`StopMachine::stop`].
    ///
    /// # Errors
    /// [`StopError::NotOnline`].
    ///
    /// # Panics
    /// As for [`StopMachine::stop`].
    pub fn stop_on<R: Send>(
        &'static self,
        still: &StopMutexGuard<'_, P>,
        cpu: CpuId,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        self.stop(still, &StopRequest::new().on(cpu), call_fn)
    }

    /// Does as [`StopMachine::stop_each`], with no request.
    ///
    /// # Context
    /// As for [`StopMachine::stop`].
    ///
    /// # Errors
    /// [`StopError::NotOnline`] if one of `runners` isn't.
    ///
    /// # Panics
    /// As for [`StopMachine::stop_each`].
    pub fn stop_all(
        &'static self,
        still: &StopMutexGuard<'_, P>,
        runners: CpuMask,
        call_fn: &(impl Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        self.stop_each(still, &StopRequest::new(), runners, call_fn)
    }

    /// Stops all online CPUs and runs `call_fn` on each of `runners`, at the same time.
    ///
    /// As [`StopMachine::stop`] otherwise.
    ///
    /// # Context
    /// As for [`StopMachine::stop`].
    ///
    /// # Errors
    /// As for [`StopMachine::stop`]; [`StopError::NotOnline`] if one of `runners` isn't.
    ///
    /// # Panics
    /// If `runners` is empty: the still point would have no end. As
    /// [`StopMachine::stop`] otherwise.
    pub fn stop_each(
        &'static self,
        _still: &StopMutexGuard<'_, P>,
        request: &StopRequest<'_, P>,
        runners: CpuMask,
        call_fn: &(impl Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        might_sleep_in::<P>("stop_machine"); // As `stop`.
        let name = core::any::type_name_of_val(call_fn);
        self.stop_and_run(request, Some(runners), name, call_fn)
    }

    /// Runs one stop.
    ///
    /// * `runners` — the CPUs that run `call_fn`; one CPU, by the request, if `None`
    /// * `name` — the name of `call_fn` in messages
    fn stop_and_run(
        &'static self,
        request: &StopRequest<'_, P>,
        runners: Option<CpuMask>,
        name: &'static str,
        call_fn: &(dyn Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        let called = P::now();
        // The stop mutex keeps the mask still (participants-are-fixed).
        let participants = P::masks().online();
        let count = participants.count();
        // The caller waits on this CPU, and this CPU's timer ends its sleep.
        let here = P::sched().migrate_disable();
        let caller = here.cpu();
        let one = request.cpu.unwrap_or(caller);
        let (runners, run_count, away) = match runners {
            // A mask is dear to count and to compare.
            None => (
                CpuMask::of(one),
                1,
                Some(one).filter(|cpu| !participants.contains(*cpu)),
            ),
            Some(cpus) => (cpus, cpus.count(), cpus.without(&participants).first()),
        };
        if let Some(cpu) = away {
            return Err(StopError::NotOnline(cpu));
        }
        let me = P::sched().current();
        let patience = Patience::since::<P>(called);
        let deadline = request.limit();
        let inside = (request.mode == StopMode::FlushPreempted).then(InKernel::<P>::enter);
        let flush = inside
            .as_ref()
            .map(|inside| Flush::begin(self, &participants, inside));
        let new = match flush {
            None => MultiStop::new,
            Some(_) => MultiStop::flushing,
        };
        let job = Job {
            machine: self,
            calls: P::calls(),
            stop: new(as_u32(count), as_u32(run_count)),
            participants: &participants,
            runners: &runners,
            call_fn,
            release_fn: request.release_fn,
            leaving: request.leaving,
            name,
            end: flush.as_ref().map_or(End::Caller(caller), End::Flushed),
            caller_name: me.name(),
            spins: self.spins.of(count),
            patience,
            notes: Notes::new(),
        };
        let work: &dyn Work = &job;
        self.set_current(&work);
        let ends_early = request.cancel.is_some() || deadline != Instant::FOREVER;
        let late_flush = flush.as_ref().map(|_| called.after_ticks(patience.ticks()));
        let early = ends_early.then(|| {
            // SAFETY: it is dropped before the job goes.
            unsafe { EarlyEnd::begin(&job, deadline, request.cancel, late_flush) }
        });
        if let Some(flush) = &flush {
            flush.done.wait_patiently(|| job.tell_late(P::stop_is_late));
        } else if job.stop.is_in(MultiStopState::Prepare) {
            // If it is given up already no CPU is disturbed.
            self.queue_everywhere(&job, &participants);
            self.wait_for_end(&job, caller);
        }
        drop(early);
        if let Some(cpus) = request.leaving {
            self.enable_those_that_stay(cpus);
        }
        match job.given_up() {
            Some(error) => Err(error),
            None => Ok(job.report(called)),
        }
    }

    /// Waits until all have left. This CPU's own stopper has, so fn is over, however long it took.
    fn wait_for_end(&self, job: &Job<'_, P>, caller: CpuId) {
        let mut late = job.patience.again(P::now());
        let mut is_told = false;
        // Its interrupt ends the sleep, so that this thread looks at the time.
        let watch = P::sched().watch(caller);
        self.left
            .wait_open::<P, ()>(caller.index(), &job.spins.end, || {
                if job.stop.is_over() {
                    return Some(());
                }
                if late.is_out(P::now()) && !is_told {
                    is_told = true;
                    job.tell_late(P::stop_is_late);
                }
                None
            });
        drop(watch);
    }
}

pub(super) fn as_u32(count: usize) -> u32 {
    u32::try_from(count).expect("BUG: CPU counts fit 32 bits")
}
