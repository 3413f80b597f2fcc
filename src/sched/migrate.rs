//! Moving threads between CPUs: affinity, pinning, and emptying a CPU that goes down.
//! `balance` moves threads so that they share the CPUs.
//!
//! # Invariants
//! - **moved-off-queue**: the CPU of a thread is changed under the lock of the queue
//!   that it belonged to, with the thread off its CPU and off that queue.
//! - **pinned-stays**: a pinned thread and a per-CPU thread are never moved, but for the end of
//!   a per-CPU thread whose CPU is offline.
//! - **drained-stays-empty**: after [`Scheduler::drain`] of a CPU that is not active,
//!   only per-CPU threads are queued or pinned there, and no other thread is placed
//!   there any more: a CPU that places a thread there has preemption off or IRQs masked
//!   from where it saw the CPU active, and `sync:active` has waited for that. Threads
//!   that wait and ran there last still belong to its queue: a wake places them on
//!   another CPU.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::{
    Patience, SchedHost, Scheduler, Thread, ThreadName, ThreadState, Unpinned, patience,
};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{IrqGuard, PreemptGuard, might_sleep_in};
use crate::time::Instant;

/// Why a thread was not given another affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AffinityError {
    /// None of these CPUs is active.
    NoActiveCpu(CpuMask),
    /// The thread is a per-CPU thread.
    PerCpu(CpuId),
    /// The thread keeps the CPUs on which it may run from going down.
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

impl core::error::Error for AffinityError {}

/// What [`Scheduler::push_one`] has done.
enum Pushed {
    /// A thread has gone.
    One,
    /// No thread was left that may go.
    None,
    /// Nothing: a flush is on.
    Flushes,
}

/// Keeps the running thread on its CPU while it exists. The thread may be preempted and
/// may sleep. The CPU can't go down meanwhile.
///
/// Not `Send`: it belongs to the thread that made it.
#[must_use]
#[derive(Debug)]
pub struct MigrateGuard<P: SchedHost> {
    cpu: CpuId,
    _not_send: PhantomData<(*const (), P)>,
}

impl<P: SchedHost> MigrateGuard<P> {
    /// Returns the CPU to which the thread is pinned.
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
    /// Thread, IRQs on. The CPU can't be taken offline meanwhile, so hold the guard
    /// only briefly. Nothing that waits for hotplug may be called under it
    /// (`cpus_read_lock`, bringing up or taking down a CPU, starting a thread that
    /// holds its CPUs): hotplug may be waiting for this pin. Such a call panics.
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

    /// Lets `thread` run on `cpus` only, from now on. CPUs that the machine doesn't
    /// have are left out. If `thread` is the running thread and not pinned, it is on
    /// one of them on return. Any other thread, and a pinned one, moves there as soon
    /// as it can.
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
        // Whatever has happened meanwhile: the caller has decided.
        self.set_affinity_if(thread, cpus, || true).map(drop)
    }

    /// Does as [`Scheduler::set_affinity`], if `check_fn`, called under the lock of the thread's
    /// run queue, returns true. Returns what it has returned.
    #[cfg_attr(debug_assertions, track_caller)]
    pub(super) fn set_affinity_if(
        &self,
        thread: &Arc<Thread<P>>,
        cpus: &CpuMask,
        check_fn: impl Fn() -> bool,
    ) -> Result<bool, AffinityError> {
        might_sleep_in::<P>("set_affinity");
        loop {
            if let Some(result) = self.try_set_affinity(thread, cpus, &check_fn) {
                return result;
            }
            self.flush.wait_until_over(); // (`marked-stay` of `flush`)
        }
    }

    /// Does as [`Scheduler::set_affinity_if`], unless a flush keeps `thread` from moving:
    /// returns `None` then.
    fn try_set_affinity(
        &self,
        thread: &Arc<Thread<P>>,
        cpus: &CpuMask,
        check_fn: &impl Fn() -> bool,
    ) -> Option<Result<bool, AffinityError>> {
        if thread.is_per_cpu() {
            return Some(Err(AffinityError::PerCpu(thread.cpu())));
        }
        if thread.holds_cpus() {
            return Some(Err(AffinityError::HoldsCpus));
        }
        let here = IrqGuard::<P>::new();
        if P::masks().active().and(cpus).is_empty() {
            return Some(Err(AffinityError::NoActiveCpu(*cpus)));
        }
        let cpus = &P::masks().possible().and(cpus);
        loop {
            let mut queue = self.lock_queue_of(thread, &here);
            let cpu = thread.cpu();
            let runs = Arc::ptr_eq(queue.current(), thread);
            let on_its_way = !thread.is_queued()
                && !matches!(
                    thread.state(),
                    ThreadState::Blocked | ThreadState::Parked | ThreadState::Dead
                );
            if on_its_way && !runs {
                // The CPU that moves the thread is about to queue it, and will not read
                // the mask again.
                drop(queue);
                P::relax();
                continue;
            }
            if !check_fn() {
                return Some(Ok(false));
            }
            if self.flush.is_on() && thread.is_queued() && thread.is_marked_racy() {
                return None;
            }
            let change = || thread.affinity.change(cpus, cpu);
            let must_go = queue.ready.with_change_of(thread, change);
            if !must_go && (runs || !thread.is_queued() || thread.is_pinned()) {
                break;
            }
            if !must_go {
                // It waits here, and may run at once where it could not before.
                let better = self.find_better(thread, cpu).filter(|to| *to != cpu);
                let moved = better.and_then(|_| queue.ready.remove(thread));
                if let (Some(moved), Some(to)) = (moved, better) {
                    queue.send_off(&moved, to);
                    let turned = self.note_taken(cpu, &mut queue);
                    drop(queue);
                    self.enqueue(to, moved, &here);
                    if turned {
                        self.look_again(cpu, &here);
                    }
                } else {
                    // It may be movable now, and so wait for the end of a slice.
                    let queued = self.note_queue(cpu, &mut queue);
                    drop(queue);
                    self.complete(cpu, queued, &here);
                }
            } else if runs {
                queue.evict_current();
                if cpu == P::this_cpu() {
                    self.note_here(cpu, &mut queue);
                } else {
                    drop(queue);
                    Self::send_reschedule(cpu);
                }
            } else if let Some(thread) = queue.ready.remove(thread) {
                queue.depart(&thread);
                let placed = self.assign(&thread, cpu);
                let turned = self.note_taken(cpu, &mut queue);
                drop(queue);
                self.deliver(thread, &placed, &here);
                if turned {
                    self.look_again(cpu, &here);
                }
            }
            break;
        }
        drop(here); // If the running thread must move, it does so here.
        self.leave_wrong_cpu(thread);
        Some(Ok(true))
    }

    /// Has the running thread, if it is `thread`, give its CPU away if it may not stay there:
    /// while its CPU flushes it isn't preempted.
    fn leave_wrong_cpu(&self, thread: &Thread<P>) {
        let must_go = |me: &Thread<P>| {
            core::ptr::eq(me, thread) && !me.is_pinned() && !me.may_run_on(P::this_cpu())
        };
        while self.with_current(must_go) {
            self.yield_now();
        }
    }

    /// Moves `thread`, a per-CPU thread that is parked and will only end, from its CPU, which
    /// is offline, to this one.
    ///
    /// # Context
    /// Thread; no CPU comes or goes until `thread` has ended.
    pub(super) fn take_over_parked(&self, thread: &Arc<Thread<P>>) {
        let masked = IrqGuard::<P>::new();
        let here = P::this_cpu();
        let _queue = self.lock_queue_of(thread, &masked);
        assert!(
            thread.state() == ThreadState::Parked,
            "BUG: {thread:?} is taken over while it isn't parked"
        );
        thread.affinity.set(&CpuMask::of(here));
        thread.set_cpu(here); // (moved-off-queue)
    }

    /// Moves `thread`, which may not stay on this CPU and has just been switched away
    /// from, to another CPU.
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

    /// Moves all movable threads away from `cpu`. The threads that are left run on
    /// undisturbed.
    ///
    /// # Context
    /// As [`Scheduler::drain`].
    pub fn push_all(&self, cpu: CpuId) {
        loop {
            match self.push_one(cpu) {
                Pushed::One => {}
                Pushed::None => return,
                Pushed::Flushes => self.flush.wait_until_over(),
            }
        }
    }

    /// Moves all threads but its per-CPU threads away from `cpu`, and waits for those
    /// that are pinned there (`sched:drain`), no longer than until `until`. A thread that may
    /// run nowhere else loses its affinity, with a line in the log.
    ///
    /// # Context
    /// `cpuhp/N`, on `cpu`, which is not active any more. `cpuhp/N` is more urgent than
    /// the threads that it moves, so all of those are queued.
    ///
    /// # Errors
    /// The name of a thread that is pinned there still. The others have gone.
    pub fn drain(&self, cpu: CpuId, until: Instant) -> Result<(), ThreadName> {
        let record = self.cpus.get(cpu);
        record.let_go.reset();
        let mut late = Patience::begin::<P>();
        loop {
            self.push_all(cpu);
            // Relaxed: this CPU writes it, and nothing else runs here meanwhile.
            let pinned = record.pinned.load(Ordering::Relaxed);
            if pinned == 0 {
                return Ok(());
            }
            let look_at = late.next_look();
            if record.let_go.wait_until(look_at.min(until)) {
                late = Patience::begin::<P>();
                continue;
            }
            let name = self.a_pinned_thread(cpu);
            if until <= look_at {
                return Err(name);
            }
            if late.is_out(P::now()) {
                log::warn!(
                    "CPU{cpu} has waited {} s for {pinned} threads that are pinned to it: {name}",
                    patience::<P>().as_secs()
                );
            }
        }
    }

    /// Returns the name of one of the threads that are pinned to `cpu`; `-` if the last of them
    /// lets go at this moment.
    fn a_pinned_thread(&self, cpu: CpuId) -> ThreadName {
        let mut name = ThreadName::new(format_args!("-"));
        self.for_each_thread(|thread| {
            if thread.is_pinned() && thread.cpu() == cpu && !thread.is_per_cpu() {
                name = *thread.name();
            }
        });
        name
    }

    /// Moves one ordinary thread from this CPU, `cpu`, to another, if there is one and no
    /// flush is on (`marked-stay` of `flush`).
    fn push_one(&self, cpu: CpuId) -> Pushed {
        let here = IrqGuard::<P>::new();
        let (thread, placed) = {
            let mut queue = self.queue(cpu).lock_masked(&here);
            if self.flush.is_on() {
                return Pushed::Flushes;
            }
            let Some(thread) = queue.ready.take_first(Thread::may_leave) else {
                return Pushed::None;
            };
            queue.depart(&thread);
            let placed = self.assign(&thread, cpu);
            let _uneven = self.note_load(cpu, &mut queue);
            (thread, placed)
        };
        self.deliver(thread, &placed, &here);
        Pushed::One
    }

    /// Returns whether only per-CPU threads are queued or pinned on `cpu`
    /// (drained-stays-empty).
    ///
    /// # Context
    /// `cpu` itself, in the still point.
    pub fn is_drained(&self, cpu: CpuId) -> bool {
        let queue = self.queue(cpu).lock_irqsave();
        !queue.ready.any_may_leave() && self.cpus.get(cpu).pinned.load(Ordering::Relaxed) == 0
    }
}

/// Adds `what` to a counter that only this CPU writes, with preemption off.
fn add(counter: &AtomicU32, what: u32) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(what);
    counter.store(value, Ordering::Relaxed);
}
