//! Moving threads between CPUs: affinity, staying put, work for idle CPUs, and a CPU
//! that empties itself before it goes.
//!
//! # Invariants
//! - **moved-off-queue**: the CPU of a thread is changed under the lock of the queue
//!   that it belonged to, with the thread off its CPU and off that queue.
//! - **pinned-stays**: a pinned thread and a per-CPU thread are never moved.
//! - **drained-stays-empty**: after [`Scheduler::drain`] of a CPU that is not active,
//!   nothing but per-CPU threads is queued or pinned there, and nothing comes any more:
//!   a CPU that placed a thread there had preemption off since it saw the CPU active,
//!   and `sync:active` has waited for that.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

use crate::cpu::{CpuId, CpuMask};
use crate::platform::Sgi;
use crate::sched::patience;
use crate::sched::{SchedHost, Scheduler, Thread, ThreadState, Unpinned};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{IrqGuard, PreemptGuard, might_sleep};

/// Why a thread was not given another affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinityError {
    /// None of these CPUs is active.
    NoActiveCpu(CpuMask),
    /// It is a CPU's own thread.
    PerCpu(CpuId),
    /// It keeps the CPUs on which it may run from going.
    HoldsCpus,
}

impl fmt::Display for AffinityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoActiveCpu(cpus) => write!(f, "none of CPUs {cpus} is active"),
            Self::PerCpu(cpu) => write!(f, "the thread is CPU {cpu}'s own"),
            Self::HoldsCpus => f.write_str("the thread keeps its CPUs from going"),
        }
    }
}

/// The running thread stays on its CPU while this exists, whatever it does: it may be
/// preempted and it may sleep, and the CPU may not leave.
///
/// Not `Send`: it speaks of the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct MigrateGuard<P: SchedHost> {
    cpu: CpuId,
    _not_send: PhantomData<(*const (), P)>,
}

impl<P: SchedHost> MigrateGuard<P> {
    /// The CPU that it stays on.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }
}

impl<P: SchedHost> Drop for MigrateGuard<P> {
    fn drop(&mut self) {
        P::sched().unpin_here(self.cpu);
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Keeps the running thread on its CPU until the guard is dropped. Nests.
    ///
    /// # Context
    /// Thread, IRQs on. A CPU can't be taken offline meanwhile, so not for long; and nothing that
    /// waits for hotplug (`cpus_read_lock`, bringing or taking a CPU, a thread that holds
    /// its CPUs) inside, which may be waiting for this pin: that panics.
    ///
    /// # Panics
    /// With IRQs masked, as in the function of a timer or of a call: a guard that outlasts
    /// the interrupt ([`core::mem::forget`]) would pin the interrupted thread for ever.
    pub fn migrate_disable(&self) -> MigrateGuard<P> {
        assert!(P::irqs_enabled(), "BUG: migrate_disable with IRQs masked");
        let _here = PreemptGuard::<P>::new();
        let cpu = P::this_cpu();
        if self.with_current(|me| me.affinity.pin()) {
            add(&self.cpus.get(cpu).pinned, 1);
        }
        MigrateGuard {
            cpu,
            _not_send: PhantomData,
        }
    }

    fn unpin_here(&self, cpu: CpuId) {
        let _here = PreemptGuard::<P>::new();
        // (pinned-stays)
        assert!(
            cpu == P::this_cpu(),
            "BUG: a pinned thread was moved from {cpu:?} to {:?}",
            P::this_cpu()
        );
        let unpinned = self.with_current(|me| me.affinity.unpin(cpu));
        if unpinned == Unpinned::NotYet {
            return;
        }
        let record = self.cpus.get(cpu);
        add(&record.pinned, u32::MAX);
        if !P::masks().is_active(cpu) {
            record.let_go.complete();
        }
        if unpinned == Unpinned::MustGo {
            let mut queue = self.queue(cpu).lock_irqsave();
            queue.evict_current();
            self.note_here(cpu, &mut queue);
        }
    }

    /// Lets `thread` run on `cpus` and on no others, from now on; those that the machine
    /// hasn't are left out. The running thread
    /// is there on return, unless it is pinned; another one, and one that is pinned, goes
    /// there as soon as it can.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Errors
    /// [`AffinityError`]; nothing has changed then.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn set_affinity(
        &self,
        thread: &Arc<Thread<P>>,
        cpus: &CpuMask,
    ) -> Result<(), AffinityError> {
        might_sleep::<P>();
        if thread.is_per_cpu() {
            return Err(AffinityError::PerCpu(thread.cpu()));
        }
        if thread.holds_cpus() {
            return Err(AffinityError::HoldsCpus);
        }
        let here = IrqGuard::<P>::new();
        if P::masks().active().and(cpus).is_empty() {
            return Err(AffinityError::NoActiveCpu(*cpus));
        }
        let cpus = &P::masks().possible().and(cpus);
        loop {
            let mut queue = self.lock_queue_of(thread, &here);
            let cpu = thread.cpu();
            let runs = Arc::ptr_eq(queue.current(), thread);
            let on_its_way = !thread.run_link.is_linked()
                && !matches!(
                    thread.state(),
                    ThreadState::Blocked | ThreadState::Parked | ThreadState::Dead
                );
            if on_its_way && !runs {
                // Its mover is about to queue it, and will not look again.
                drop(queue);
                P::relax();
                continue;
            }
            if !thread.affinity.change(cpus, cpu) {
                break;
            }
            if runs {
                queue.evict_current();
                if cpu == P::this_cpu() {
                    self.note_here(cpu, &mut queue);
                } else {
                    drop(queue);
                    P::send_sgi_to(Sgi::Reschedule, P::this_cpu(), cpu);
                }
            } else if let Some(thread) = queue.ready.remove(thread) {
                let placed = self.assign(&thread, cpu);
                self.note_load(cpu, &mut queue);
                drop(queue);
                self.deliver(thread, &placed, &here);
            }
            break;
        }
        drop(here); // The running thread goes here, if it must.
        Ok(())
    }

    /// Takes a thread that may not stay on this CPU elsewhere; it has just been
    /// switched away from.
    ///
    /// # Context
    /// IRQs masked.
    pub(super) fn place_elsewhere(&self, thread: Arc<Thread<P>>, masked: &IrqGuard<P>) {
        let cpu = P::this_cpu();
        let placed = {
            let _queue = self.queue(cpu).lock_masked(masked);
            self.assign(&thread, cpu)
        };
        self.deliver(thread, &placed, masked);
    }

    /// An idle CPU takes a thread that waits elsewhere, if there is one for it.
    ///
    /// # Context
    /// The idle thread.
    #[inline]
    pub(super) fn pull(&self) {
        if self.overloaded.load(Ordering::Relaxed) > 0 {
            self.pull_from_busiest();
        }
    }

    fn pull_from_busiest(&self) {
        let here = IrqGuard::<P>::new();
        let cpu = P::this_cpu();
        if !P::masks().is_active(cpu) {
            return;
        }
        let waiting =
            |record: &super::scheduler::CpuRecord<P>| record.waiting.load(Ordering::Relaxed);
        let others = || {
            let others = self.cpus.iter();
            others.filter(|(other, record)| *other != cpu && waiting(record) > 0)
        };
        let Some((busiest, _)) = others().max_by_key(|(_, record)| waiting(record)) else {
            return;
        };
        if !self.pull_from(busiest, cpu, &here) {
            // All that waits there may run elsewhere only.
            let _any = others().any(|(other, _)| self.pull_from(other, cpu, &here));
        }
    }

    /// Takes a thread that waits on `from` to `cpu`, which is this one; returns whether
    /// there is one that may run here.
    fn pull_from(&self, from: CpuId, cpu: CpuId, here: &IrqGuard<P>) -> bool {
        let thread = {
            let mut queue = self.queue(from).lock_masked(here);
            let thread = queue
                .ready
                .take_last(|thread| thread.is_movable() && thread.may_run_on(cpu));
            self.note_load(from, &mut queue);
            if let Some(thread) = &thread {
                thread.set_cpu(cpu);
            }
            thread
        };
        let Some(thread) = thread else { return false };
        self.enqueue(cpu, thread, here);
        true
    }

    /// Moves all that can be moved from `cpu`: what is left runs there undisturbed.
    ///
    /// # Context
    /// As [`Scheduler::drain`].
    pub fn push_all(&self, cpu: CpuId) {
        while self.push_one(cpu) {}
    }

    /// Empties `cpu` of all but its own threads, and waits for those that are pinned
    /// there (`sched:drain`). One that may run nowhere else loses its affinity, with
    /// a line in the log.
    ///
    /// # Context
    /// `cpuhp/N`, on `cpu`, which is not active any more: it is more urgent than what
    /// it moves, so all that is to be moved is queued.
    pub fn drain(&self, cpu: CpuId) {
        let record = self.cpus.get(cpu);
        record.let_go.reset();
        loop {
            self.push_all(cpu);
            // Relaxed: this CPU writes it, and nothing else runs here meanwhile.
            let pinned = record.pinned.load(Ordering::Relaxed);
            if pinned == 0 {
                return;
            }
            record.let_go.wait_patiently(|| {
                log::warn!(
                    "CPU{cpu} has waited {} s for {pinned} threads that are pinned to it",
                    patience::<P>().as_secs()
                );
            });
        }
    }

    /// Moves one ordinary thread from this CPU, `cpu`, to another; returns whether
    /// there was one.
    fn push_one(&self, cpu: CpuId) -> bool {
        let here = IrqGuard::<P>::new();
        let (thread, placed) = {
            let mut queue = self.queue(cpu).lock_masked(&here);
            let Some(thread) = queue.ready.take_last(Thread::is_movable) else {
                return false;
            };
            let placed = self.assign(&thread, cpu);
            self.note_load(cpu, &mut queue);
            (thread, placed)
        };
        self.deliver(thread, &placed, &here);
        true
    }

    /// Whether nothing but `cpu`'s own threads is queued or pinned there
    /// (drained-stays-empty).
    ///
    /// Context: `cpu` itself, in the still point.
    pub fn is_drained(&self, cpu: CpuId) -> bool {
        let queue = self.queue(cpu).lock_irqsave();
        queue.ready.movable() == 0 && self.cpus.get(cpu).pinned.load(Ordering::Relaxed) == 0
    }
}

/// Adds to a counter that only this CPU writes, with preemption off.
fn add(counter: &AtomicU32, what: u32) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(what);
    counter.store(value, Ordering::Relaxed);
}
