//! A stop that a CPU asks for while it comes up, before it is online: Linux's
//! `stop_machine_from_inactive_cpu`.
//!
//! Such a CPU has IRQs masked, no stopper, no threads, and may take no lock that sleeps. But what it
//! sets up may have to be set up on all CPUs at the same moment, as memory types are on other
//! machines.
//!
//! ```text
//!   control                 the CPU that comes, IRQs masked        every online CPU's stopper
//!   ───────                 ───────────────────────────────        ──────────────────────────
//!   takes the stop mutex
//!   lends it; SHOULD_ONLINE ─► INIT steps …
//!   waits until it is          one that stops the machine:
//!   online, preemption on      PREPARE      arrives itself
//!        ┆                     queues the works, one SGI ────────► arrives; waits, IRQs on
//!        ┆                     waits, IRQs masked
//!        ┆                     DISABLE_IRQ  acknowledges ········· masks IRQs; acknowledges
//!        ┆                     RUN          runs fn, if it is to · so do they
//!        ┆                     EXIT         leaves ··············· leave
//!        ┆                     waits until all have left
//!        ┆                     … INIT steps, its online bit
//!   takes the loan back,  ◄─── event
//!   opens the stop mutex
//! ```
//! The CPU takes part in the barrier in its own person: it counts as one participant more, and all
//! its waits are of the masked kind, with the priority mask closed. Control's CPU takes part as any
//! other: control waits with preemption on, so its stopper preempts it.
//!
//! # When
//! Only in the startup of an INIT step that says that it stops the machine
//! ([`Callbacks::init`](crate::hotplug::Callbacks::init)). If such a step is installed, control
//! releases CPUs one at a time, also those of a window that it releases together otherwise, and
//! lends each the stop mutex until it is online ([`Loan`](crate::stop_machine::Loan)).
//!
//! # Why it ends
//! - The participants are fixed: control holds the stop mutex, so no CPU leaves, and it has released
//!   no other CPU that could come (`participants-are-fixed` of
//!   [`stop_machine`](crate::stop_machine)).
//! - No online CPU waits for the one that comes other than in a still point or with preemption on.
//!   It answers no calls yet, and the startup that stops the machine holds no spin lock. So every
//!   stopper comes. A lock that was taken with `lock` is found to be held, because that turns
//!   preemption off; `lock_irqsave` and `lock_masked` don't, so the lock validator of a debug build
//!   is asked for those.
//! - Its works are queued under the one lock of works that wait for each other, as those of any stop
//!   (`one-order-of-stops` of [`WorkQueue`](crate::stop_machine::WorkQueue)). A stop of two CPUs
//!   that doesn't take the stop mutex is before it in both queues, or behind it.
//!
//! # If it doesn't
//! From its release on no operation gives up a CPU that comes up (`src/hotplug/mod.rs`), so a stop
//! of this kind has no deadline and isn't cancelled: control waits on, and says so after ten seconds
//! with the CPU's step. A CPU is never declared dead there. If it hangs
//! - before its works are queued, other CPUs go on; stops with a deadline end in
//!   [`StopError::Busy`], which names control's thread;
//! - with the lock of the queues, a CPU that waits for that names it;
//! - in the still point, the first online CPU that came to it, which has armed its timer, names it
//!   (`first-look` of `late_stop`).
//!
//! If an online CPU doesn't come to the still point, the one that comes up, which is the first to
//! look, names it.
//!
//! `tests/loom_inactive.rs` model-checks what the CPU and control do, with the types that are used
//! here.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::Patience;
use crate::smp::call::Inside;
use crate::stop_machine::call_cell::CallCell;
use crate::stop_machine::job::{End, Job, Notes};
use crate::stop_machine::stop::as_u32;
use crate::stop_machine::{
    MultiStop, MultiStopState, StopError, StopHost, StopMachine, StopMode, StopMutexGuard,
    StopReport, StopRequest, Work,
};
use crate::sync::{IrqGuard, assert_no_spin_lock};
use crate::time::Instant;

/// The name of the function in messages.
const NAME: &str = "stop_machine_from_inactive_cpu";

impl<P: StopHost> StopMachine<P> {
    /// Lends the stop mutex to `cpu` while `release_fn` releases it and waits until it is online.
    ///
    /// # Context
    /// Control; `_still` is the stop mutex.
    pub fn lend(&self, _still: &StopMutexGuard<'_, P>, cpu: CpuId, release_fn: impl FnOnce()) {
        self.loan.lend(cpu, release_fn);
    }

    /// Calls `startup_fn`, the startup of an INIT step that says that it stops the machine, on
    /// `cpu`, which comes up.
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn declare(&self, cpu: CpuId, startup_fn: impl FnOnce()) {
        self.loan.declare(cpu, startup_fn);
    }

    /// Does as [`StopMachine::stop`] on a CPU that isn't online and takes part too. The function
    /// runs there, or where `request` says, among all.
    ///
    /// # Context
    /// The startup of an INIT step that says that it stops the machine; IRQs masked, preemption on.
    ///
    /// # Errors
    /// [`StopError::NotOnline`]; `call_fn` has not run then, and nothing has changed.
    ///
    /// # Panics
    /// Elsewhere; if `request` has a deadline, a token or [`StopMode::FlushPreempted`]; if `call_fn`
    /// may wait.
    pub fn stop_from_inactive<R: Send>(
        &'static self,
        request: &StopRequest<'_, P>,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<(R, StopReport), StopError> {
        let name = core::any::type_name_of_val(&call_fn);
        let call = CallCell::<_, _, P>::new(call_fn);
        let report = self.stop_inactive(request, None, name, &|_on| call.run())?;
        Ok((call.take(), report)) // (fn-before-exit)
    }

    /// Does as [`StopMachine::stop_each`] on a CPU that isn't online and takes part too; it may be
    /// one of `runners`.
    ///
    /// # Context
    /// As for [`StopMachine::stop_from_inactive`].
    ///
    /// # Errors
    /// [`StopError::NotOnline`] if one of `runners` isn't, other than this CPU.
    ///
    /// # Panics
    /// As for [`StopMachine::stop_from_inactive`]; if `runners` is empty.
    pub fn stop_each_from_inactive(
        &'static self,
        request: &StopRequest<'_, P>,
        runners: CpuMask,
        call_fn: &(impl Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        let name = core::any::type_name_of_val(call_fn);
        self.stop_inactive(request, Some(runners), name, call_fn)
    }

    /// Runs one stop; its arguments are those of `StopMachine::stop_and_run`.
    fn stop_inactive(
        &'static self,
        request: &StopRequest<'_, P>,
        runners: Option<CpuMask>,
        name: &'static str,
        call_fn: &(dyn Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        let masked = IrqGuard::<P>::new(); // A thread that calls this by mistake stays here.
        let here = P::this_cpu();
        let runners = runners.unwrap_or_else(|| CpuMask::of(request.cpu.unwrap_or(here)));
        assert!(
            request.mode != StopMode::FlushPreempted,
            "BUG: a stop from a CPU that isn't online is to begin with a flush"
        );
        assert!(
            request.cancel.is_none() && request.limit() == Instant::FOREVER,
            "BUG: a stop from a CPU that isn't online is to be given up"
        );
        self.take_loan(here);
        let stopped = self.stop_as_borrower(here, masked, request, runners, name, call_fn);
        self.loan.give_back(here);
        stopped
    }

    /// Takes the stop mutex that is lent to `here`, which is this CPU.
    ///
    /// # Panics
    /// If it isn't lent, the step that runs has not declared itself, or preemption is off.
    fn take_loan(&self, here: CpuId) {
        let count = P::preempt_count();
        assert!(
            count == 0,
            "BUG: {NAME} with preemption off (count {count})"
        );
        assert_no_spin_lock::<P>(NAME);
        if self.loan.take(here).is_ok() {
            return;
        }
        let calls = P::calls();
        let place = calls.no_wait_place(here);
        match place {
            _ if P::masks().is_online(here) => {
                let place = place.unwrap_or("a thread");
                panic!("BUG: {place} calls {NAME} on CPU {here}, which is online")
            }
            // The function of its own stop, or of the one that takes the CPU down: a teardown.
            Some(place) if !calls.is_inside(here, Inside::InitStep) => {
                panic!("BUG: {place} calls {NAME}, which may wait")
            }
            _ => panic!("BUG: {NAME} in a step that does not say that it stops the machine"),
        }
    }

    /// Runs one stop of all online CPUs and `here`, which has the stop mutex, and which `masked` is
    /// about.
    fn stop_as_borrower(
        &'static self,
        here: CpuId,
        masked: IrqGuard<P>,
        request: &StopRequest<'_, P>,
        runners: CpuMask,
        name: &'static str,
        call_fn: &(dyn Fn(CpuId) + Sync),
    ) -> Result<StopReport, StopError> {
        let called = P::now();
        let online = P::masks().online();
        let mut participants = online;
        participants.insert(here);
        if let Some(cpu) = runners.without(&participants).first() {
            return Err(StopError::NotOnline(cpu));
        }
        let count = participants.count();
        let patience = Patience::since::<P>(called);
        let me = P::sched().current();
        let job = Job {
            machine: self,
            calls: P::calls(),
            stop: MultiStop::new(as_u32(count), as_u32(runners.count())),
            participants: &participants,
            runners: &runners,
            call_fn,
            release_fn: request.release_fn,
            leaving: None,
            name,
            end: End::Caller(here),
            caller_name: me.name(),
            spins: self.spins.of(count),
            patience,
            notes: Notes::new(),
        };
        job.go_through_inactive(here, masked, &online);
        Ok(job.report(called))
    }
}

impl<P: StopHost> Job<'_, P> {
    /// Asks the CPUs of `online` to come, takes part as `here`, and waits until all have left.
    ///
    /// # Context
    /// `here` itself, which `masked` is about; it has the stop mutex.
    fn go_through_inactive(&self, here: CpuId, masked: IrqGuard<P>, online: &CpuMask) {
        let machine = self.machine;
        P::set_priority_mask_closed(true);
        let looks = self.arrive(); // Before any CPU waits for it: as the first, it looks.
        let mut watch = self.watch(looks, P::now());
        let work: &dyn Work = self;
        machine.set_current(&work);
        machine.queue_everywhere(self, online);
        // No such stop is given up (`stop_inactive`), so ABORT never comes.
        machine.point.wait_masked_until_late::<P, ()>(
            here.index(),
            &self.spins.arrival,
            || self.stop.is_in(MultiStopState::DisableIrq).then_some(()),
            |woken| watch.look(woken),
        );
        let off = P::now();
        watch.restart(off);
        let stopper = machine.stopper(here);
        self.become_still(stopper);
        self.stay_still(here, &masked, off, &mut watch);
        stopper.set_still(false);
        self.finish();
        // This sleep may take the timer's interrupt too, as those before it.
        machine.left.wait_masked_until_late::<P, ()>(
            here.index(),
            &self.spins.end,
            || self.stop.is_over().then_some(()),
            |woken| watch.look(woken),
        );
        watch.end();
        P::set_priority_mask_closed(false);
        drop(masked);
    }
}
