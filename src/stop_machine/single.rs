//! Works of single CPUs: `stop_one_cpu`, with its forms for many CPUs and for callers that don't
//! wait. No CPU waits for another one inside these, so there is no still point and IRQs stay on.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::lock::Completion;
use crate::stop_machine::call_cell::CallCell;
use crate::stop_machine::queueing::{lent, node_for};
use crate::stop_machine::stop::as_u32;
use crate::stop_machine::stopper::StopperNode;
use crate::stop_machine::{
    LateCpu, StopError, StopHost, StopMachine, StopMutexGuard, Work, WorkNode,
};
use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::sync::{AtomicBits, PreemptGuard, Spins, might_sleep_in};

/// A call of [`StopMachine::stop_one_cpu`], in its caller's frame.
struct OneCall<P: StopHost, F, R> {
    cell: CallCell<F, R, P>,
    /// Whether the stopper has begun. Relaxed: for messages.
    has_begun: AtomicBool,
    /// Whether the caller need not sleep any more. Relaxed: a hint, stored before `done` is
    /// completed, which orders the rest.
    has_run: AtomicBool,
    /// The stopper's last access to the frame.
    done: Completion<P>,
}

impl<P: StopHost, R: Send, F: FnOnce() -> R + Send> Work for OneCall<P, F, R> {
    fn run(&self, _cpu: CpuId) {
        let alone = PreemptGuard::<P>::new();
        self.has_begun.store(true, Ordering::Relaxed);
        self.cell.run();
        drop(alone);
        self.has_run.store(true, Ordering::Relaxed);
        self.done.complete();
    }
}

/// A call of [`StopMachine::stop_cpus`], in its caller's frame.
struct ManyCall<'a, P: StopHost> {
    call_fn: &'a (dyn Fn(CpuId) + Sync),
    /// The CPUs that have begun. Relaxed, as `ended`: for messages.
    begun: AtomicBits,
    ended: AtomicBits,
    /// CPUs that have not run it, and the caller until it has queued all. Decremented AcqRel: the
    /// last one, which completes the call, has seen what the others did.
    left: AtomicU32,
    /// The last access to the frame.
    done: Completion<P>,
}

impl<P: StopHost> ManyCall<'_, P> {
    fn leave_for(&self, count: u32) {
        // Pairs with the other decrements.
        if self.left.fetch_sub(count, Ordering::AcqRel) == count {
            self.done.complete();
        }
    }
}

impl<P: StopHost> Work for ManyCall<'_, P> {
    fn run(&self, cpu: CpuId) {
        let alone = PreemptGuard::<P>::new();
        self.begun.set(cpu.index(), Ordering::Relaxed);
        (self.call_fn)(cpu);
        self.ended.set(cpu.index(), Ordering::Relaxed);
        drop(alone);
        self.leave_for(1);
    }
}

/// A work for [`StopMachine::stop_one_cpu_nowait`]. It may be queued again from when it begins.
pub struct StopWork<P> {
    node: StopperNode,
    /// Whether it is in a queue. Swapped with Acquire by the CPU that queues it, stored with
    /// Release by the stopper that has taken it.
    queued: &'static AtomicBool,
    _platform: PhantomData<fn() -> P>,
}

/// The function of a [`StopWork`].
struct NowaitCall<P, F> {
    call_fn: F,
    queued: &'static AtomicBool,
    _platform: PhantomData<fn() -> P>,
}

impl<P: StopHost, F: Fn(CpuId) + Sync> Work for NowaitCall<P, F> {
    fn run(&self, cpu: CpuId) {
        let alone = PreemptGuard::<P>::new();
        // Pairs with the swap.
        self.queued.store(false, Ordering::Release);
        (self.call_fn)(cpu);
        drop(alone);
    }
}

impl<P: StopHost> StopWork<P> {
    /// Returns a work that is queued nowhere and never goes away. It calls `call_fn` as
    /// [`StopMachine::stop_one_cpu`] does.
    ///
    /// # Context
    /// Any; allocates what is never freed.
    pub fn leak(call_fn: impl Fn(CpuId) + Send + Sync + 'static) -> &'static StopWork<P> {
        let queued = &*Box::leak(Box::new(AtomicBool::new(false)));
        let call: &'static dyn Work = Box::leak(Box::new(NowaitCall::<P, _> {
            call_fn,
            queued,
            _platform: PhantomData,
        }));
        Box::leak(Box::new(StopWork {
            node: WorkNode::new(call),
            queued,
            _platform: PhantomData,
        }))
    }

    /// Queues the work by `push_fn`, which returns whether it was accepted: whether `cpu` is online.
    ///
    /// # Errors
    /// [`NowaitError`].
    pub(super) fn queue_on(
        &'static self,
        cpu: CpuId,
        push_fn: impl FnOnce(&'static StopperNode) -> bool,
    ) -> Result<(), NowaitError> {
        // Pairs with the stores of false: the node was taken before (`queued-once` of
        // `work_queue`).
        if self.queued.swap(true, Ordering::Acquire) {
            return Err(NowaitError::Busy);
        }
        if push_fn(&self.node) {
            return Ok(());
        }
        // Pairs with the swap.
        self.queued.store(false, Ordering::Release);
        Err(NowaitError::NotOnline(cpu))
    }
}

impl<P> fmt::Debug for StopWork<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopWork").finish_non_exhaustive()
    }
}

/// Why a work was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NowaitError {
    /// The CPU is not online, or is about to leave.
    NotOnline(CpuId),
    /// The work is queued already, or is just being queued, or refused, by another call.
    Busy,
}

impl fmt::Display for NowaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NowaitError::NotOnline(cpu) => write!(f, "CPU {cpu} is not online"),
            NowaitError::Busy => f.write_str("the work is in use by another call"),
        }
    }
}

impl core::error::Error for NowaitError {}

/// Returns a line for `cpu`, whose work has not ended.
fn line<P: StopHost>(cpu: CpuId, has_begun: bool) -> LateCpu {
    if has_begun {
        LateCpu::begun::<P>(cpu)
    } else {
        LateCpu::not_come::<P>(cpu)
    }
}

impl<P: StopHost> StopMachine<P> {
    /// Runs `call_fn` in the stopper of `cpu`, before every thread there, and returns its value.
    /// Threads of `cpu` that have preemption off go on until they have it on again; no
    /// other CPU stops.
    ///
    /// `call_fn` runs with IRQs on and preemption off, so it must not sleep. If the CPU goes
    /// offline, `call_fn` has run before, or this returns the error (`accepted-runs` of
    /// `stopper`).
    ///
    /// # Context
    /// Thread, preemption on; sleeps. After ten seconds it logs that it waits, and waits on.
    ///
    /// # Errors
    /// [`StopError::NotOnline`]: also while a stop that is to take the CPU offline is under way.
    ///
    /// # Panics
    /// With preemption off.
    pub fn stop_one_cpu<R: Send>(
        &'static self,
        cpu: CpuId,
        call_fn: impl FnOnce() -> R + Send,
    ) -> Result<R, StopError> {
        might_sleep_in::<P>("stop_one_cpu");
        let call = OneCall::<P, _, R> {
            cell: CallCell::new(call_fn),
            has_begun: AtomicBool::new(false),
            has_run: AtomicBool::new(false),
            done: Completion::new(),
        };
        // SAFETY: both stay in this frame until the call is done, or was not accepted.
        let node = unsafe { node_for(&call) };
        // SAFETY: as above.
        if !self.queue_one(cpu, unsafe { lent(&node) }) {
            return Err(StopError::NotOnline(cpu));
        }
        // That CPU is on its way: for some turns this is cheaper than to sleep and be woken.
        let spins = Spins::Learnt(self.spins.of_one());
        let has_run = || call.has_run.load(Ordering::Relaxed).then_some(());
        let in_time = spins.spin::<P, ()>(has_run).is_some();
        let late = || {
            P::works_are_late(&CpuMask::of(cpu), &|cpu| {
                line::<P>(cpu, call.has_begun.load(Ordering::Relaxed))
            });
        };
        let wait = || call.done.wait_patiently(late);
        if in_time {
            wait();
        } else {
            spins.sleep::<P, ()>(wait);
        }
        Ok(call.cell.take())
    }

    /// Does as [`StopMachine::stop_one_cpu`], without waiting.
    ///
    /// # Context
    /// Any.
    ///
    /// # Errors
    /// [`NowaitError`]; the work will not run because of this call then.
    pub fn stop_one_cpu_nowait(
        &'static self,
        cpu: CpuId,
        work: &'static StopWork<P>,
    ) -> Result<(), NowaitError> {
        work.queue_on(cpu, |node| self.queue_one(cpu, node))
    }

    /// Runs `call_fn` in the stopper of each of `cpus` that is online, at the same time, each as
    /// [`StopMachine::stop_one_cpu`] says; returns which those were. They don't wait for each
    /// other: there is no still point.
    ///
    /// # Context
    /// Thread, preemption on; `_still` is the stop mutex. Sleeps.
    ///
    /// # Panics
    /// With preemption off.
    pub fn stop_cpus(
        &'static self,
        _still: &StopMutexGuard<'_, P>,
        cpus: &CpuMask,
        call_fn: &(impl Fn(CpuId) + Sync),
    ) -> CpuMask {
        might_sleep_in::<P>("stop_cpus");
        let count = as_u32(cpus.count());
        let call = ManyCall::<P> {
            call_fn,
            begun: AtomicBits::new(),
            ended: AtomicBits::new(),
            left: AtomicU32::new(count + 1),
            done: Completion::new(),
        };
        let work: &dyn Work = &call;
        // SAFETY: both stay in this frame until the call is done, which it is not before each
        // CPU that accepted its part has run it.
        unsafe { self.current.set(&work) };
        let accepted = self.queue_own_on(cpus);
        call.leave_for(count - as_u32(accepted.count()) + 1);
        call.done.wait_patiently(|| {
            let ended = CpuMask::from_bits(call.ended.snapshot(Ordering::Relaxed));
            P::works_are_late(&accepted.without(&ended), &|cpu| {
                line::<P>(cpu, call.begun.get(cpu.index(), Ordering::Relaxed))
            });
        });
        accepted
    }
}
