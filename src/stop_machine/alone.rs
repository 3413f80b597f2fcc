//! The family of stops before there are threads.
//!
//! Until the first stopper is enabled, in `init:stopper` of the boot CPU, that CPU is the only one
//! that runs, there is one flow of control on it, and IRQs are masked: nothing could come between.
//! So each member of the family calls its function directly, and what is asked of it means what it
//! means later:
//!
//! | Asked | Before there are threads |
//! |---|---|
//! | a still point | IRQs masked, on this CPU |
//! | a work of one CPU, or of several | preemption off, on this CPU |
//! | a work without a waiting caller, inside another function | it is done after that |
//! | another CPU | it is not online |
//! | a deadline that is past, a token that was cancelled | the error, without a CPU that did not come |
//! | a deadline to come | it is met |
//! | a function at the release | is called after the function |
//! | that the hotplug lock is held | nothing: no CPU can come or go |
//!
//! The function may do what it may do later, and what else it does is found in the same way.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use crate::cpu::{CpuId, CpuMask};
use crate::smp::call::Inside;
use crate::stop_machine::{
    NowaitError, StopError, StopHost, StopMachine, StopReport, StopRequest, StopWork, Work,
    WorkQueue,
};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{IrqGuard, PreemptGuard};

/// The works that wait while there are no threads: inside the function that asks for them. As a
/// stopper does it, the CPU does them one after the other.
pub(super) struct EarlyWorks<P: StopHost> {
    works: WorkQueue<&'static dyn Work, P>,
    /// Whether the CPU is inside a function of the family. Relaxed: one CPU uses it.
    is_inside: AtomicBool,
}

impl<P: StopHost> EarlyWorks<P> {
    pub(super) fn new() -> Self {
        EarlyWorks {
            works: WorkQueue::enabled(),
            is_inside: AtomicBool::new(false),
        }
    }
}

/// The family of stops while there are no threads.
pub struct Alone<P: StopHost> {
    machine: &'static StopMachine<P>,
    /// The CPU that runs.
    here: CpuId,
}

impl<P: StopHost> StopMachine<P> {
    /// Returns the family of stops as it is before there are threads; `None` from then on.
    #[inline]
    pub fn alone(&'static self) -> Option<Alone<P>> {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        (!has_begun).then(|| Alone {
            machine: self,
            here: P::this_cpu(),
        })
    }
}

impl<P: StopHost> Alone<P> {
    /// Does as [`StopMachine::stop`].
    ///
    /// # Context
    /// Preemption on.
    ///
    /// # Errors
    /// [`StopError`], except [`StopError::Busy`]; `call_fn` has not run then.
    ///
    /// # Panics
    /// As [`StopMachine::stop`], but with IRQs masked.
    pub fn stop<R>(
        &self,
        request: &StopRequest<'_, P>,
        call_fn: impl FnOnce() -> R,
    ) -> Result<(R, StopReport), StopError> {
        self.check_context("stop_machine");
        let cpu = request.cpu.unwrap_or(self.here);
        self.stop_here(request, &CpuMask::of(cpu), call_fn)
    }

    /// Does as [`StopMachine::stop_each`].
    ///
    /// # Context
    /// As for [`Alone::stop`].
    ///
    /// # Errors
    /// As for [`Alone::stop`].
    ///
    /// # Panics
    /// As for [`Alone::stop`]; if `runners` is empty.
    pub fn stop_each(
        &self,
        request: &StopRequest<'_, P>,
        runners: &CpuMask,
        call_fn: &impl Fn(CpuId),
    ) -> Result<StopReport, StopError> {
        self.check_context("stop_machine");
        assert!(
            !runners.is_empty(),
            "BUG: no CPU runs the function of a stop"
        );
        let stopped = self.stop_here(request, runners, || call_fn(self.here));
        stopped.map(|((), report)| report)
    }

    /// Runs `call_fn` for `runners`, if this CPU is the only one of them and the request lets it.
    fn stop_here<R>(
        &self,
        request: &StopRequest<'_, P>,
        runners: &CpuMask,
        call_fn: impl FnOnce() -> R,
    ) -> Result<(R, StopReport), StopError> {
        let Alone { machine, here } = *self;
        let called = P::now();
        runners.iter().try_for_each(|cpu| self.is_here(cpu))?;
        if request.cancel.is_some_and(|token| token.is_cancelled()) {
            return Err(StopError::Cancelled(Vec::new()));
        }
        if called >= request.deadline {
            return Err(StopError::Late(Vec::new()));
        }
        let (value, fn_began, fn_ended) = self.then_works(|| {
            let _masked = IrqGuard::<P>::new();
            let fn_began = P::now();
            let value = self.inside(call_fn);
            let fn_ended = P::now();
            if let Some(release_fn) = request.release_fn {
                self.inside(|| release_fn(here));
            }
            machine.times.note(here, fn_began, P::now());
            (value, fn_began, fn_ended)
        });
        machine.stops.fetch_add(1, Ordering::Relaxed);
        let report = StopReport {
            called,
            fn_began,
            fn_ended,
            ended: P::now(),
        };
        Ok((value, report))
    }

    /// Calls `call_fn`, and then does the works that were asked for inside it, and inside these.
    fn then_works<R>(&self, call_fn: impl FnOnce() -> R) -> R {
        let early = &self.machine.early;
        let was_inside = early.is_inside.swap(true, Ordering::Relaxed);
        let value = call_fn();
        if !was_inside {
            while let Some(node) = early.works.pop() {
                node.work().run(self.here);
            }
            early.is_inside.store(false, Ordering::Relaxed);
        }
        value
    }

    /// Calls `call_fn`, IRQs masked, as in a still point.
    fn inside<R>(&self, call_fn: impl FnOnce() -> R) -> R {
        let mut value = None;
        let run_fn = || value = Some(call_fn());
        P::calls().run_inside(self.here, Inside::Stop, run_fn);
        value.expect("BUG: a function was called and has not run")
    }

    /// Does as [`StopMachine::stop_one_cpu`].
    ///
    /// # Context
    /// As for [`Alone::stop`].
    ///
    /// # Errors
    /// [`StopError::NotOnline`].
    ///
    /// # Panics
    /// With preemption off, as in the function of a stop.
    pub fn stop_one_cpu<R>(&self, cpu: CpuId, call_fn: impl FnOnce() -> R) -> Result<R, StopError> {
        self.check_context("stop_one_cpu");
        self.is_here(cpu)?;
        Ok(self.then_works(|| {
            let _alone = PreemptGuard::<P>::new();
            call_fn()
        }))
    }

    /// Does as [`StopMachine::stop_one_cpu_nowait`]. The work is done on return; inside a function of
    /// the family it is done after that function.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`NowaitError`].
    pub fn stop_one_cpu_nowait(
        &self,
        cpu: CpuId,
        work: &'static StopWork<P>,
    ) -> Result<(), NowaitError> {
        if cpu != self.here {
            return Err(NowaitError::NotOnline(cpu));
        }
        work.queue_on(cpu, |node| self.machine.early.works.push(node))?;
        self.then_works(|| ());
        Ok(())
    }

    /// Does as [`StopMachine::stop_two_cpus`], which always fails: returns why.
    ///
    /// # Context
    /// As for [`Alone::stop`].
    ///
    /// # Panics
    /// As [`StopMachine::stop_two_cpus`].
    pub fn stop_two_cpus(&self, cpu: CpuId, other: CpuId) -> StopError {
        self.check_context("stop_two_cpus");
        assert!(cpu != other, "BUG: stop_two_cpus of {cpu:?} alone");
        let away = if cpu == self.here { other } else { cpu };
        StopError::NotOnline(away)
    }

    /// Does as [`StopMachine::stop_cpus`].
    ///
    /// # Context
    /// As for [`Alone::stop`].
    ///
    /// # Panics
    /// As [`Alone::stop_one_cpu`].
    pub fn stop_cpus(&self, cpus: &CpuMask, call_fn: &impl Fn(CpuId)) -> CpuMask {
        self.check_context("stop_cpus");
        let here = CpuMask::of(self.here).and(cpus);
        if !here.is_empty() {
            self.then_works(|| {
                let _alone = PreemptGuard::<P>::new();
                call_fn(self.here);
            });
        }
        here
    }

    fn is_here(&self, cpu: CpuId) -> Result<(), StopError> {
        if cpu == self.here {
            Ok(())
        } else {
            Err(StopError::NotOnline(cpu))
        }
    }

    /// Checks that `what` may wait here, as far as IRQs are not concerned, which are masked.
    fn check_context(&self, what: &str) {
        if let Some(place) = P::calls().no_wait_place(self.here) {
            panic!("BUG: {place} calls {what}, which may wait");
        }
        let count = P::preempt_count();
        assert!(
            count == 0,
            "BUG: {what} with preemption off (count {count})"
        );
    }
}
