//! Waking: making a thread runnable, and choosing its CPU.
//!
//! L is the CPU on which the thread ran last. The lock of its queue is taken first:
//! ```text
//!        Blocked? ── no ──► Blocking becomes Running again; else nothing to do
//!           │ yes
//!   ┌───────┴───────────────────────┐
//!   stays on L: per-CPU, pinned,    all else: `place` chooses a CPU, which may be L;
//!   or L has room                   the thread is Runnable and belongs there; unlock
//!   │                               │
//!   queued under the same lock      queued under the lock of the chosen CPU
//!   └───────┬───────────────────────┘
//!           the Reschedule SGI, if that CPU must look at its queue
//! ```
//! L has room if it is active and in the thread's affinity, and is idle, or is the only
//! CPU there, or, for a realtime thread, neither runs nor has queued a thread that is as
//! urgent. `place` takes the first that there is of:
//! 1. an idle CPU in the thread's affinity that no other CPU has claimed;
//! 2. for a realtime thread: a CPU in its affinity where no thread is as urgent;
//! 3. L, if it is active and in the affinity;
//! 4. the active CPU in the affinity on which the fewest threads wait;
//! 5. what 1, 2 and 4 give among all active CPUs: all CPUs of the affinity have gone, so
//!    from now on the thread may run on any.
//!
//! An unpark ([`Scheduler::unpark`]) goes the same way from Parking and Parked.
//!
//! Between the two locks the thread is in no queue. It is Runnable, or, if it was
//! preempted and is moved, Blocking or Parking. No other CPU moves or queues it,
//! because no CPU finds it queued, Blocked or Parked. Another wake may make a Blocking
//! thread Running meanwhile, which is harmless: it is made Runnable when it is queued.
//!
//! IRQs stay masked from the look at `active` until the thread is queued. So one grace
//! period after a CPU has left `active`, no CPU places a thread there any more
//! (`drained-stays-empty` of `migrate`).

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::cpu::{CpuId, CpuMask};
use crate::platform::Sgi;
use crate::sched::class::NORMAL_LEVEL;
use crate::sched::patience;
use crate::sched::ready::Order;
use crate::sched::{BlockState, RunQueue, SchedHost, Scheduler, Thread, ThreadState, Wakeup};
use crate::sync::IrqGuard;
use crate::sync::atomic::Ordering;

/// What is left to do for a queue that was changed under its lock.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    /// The CPU was idle, and may have been called for a thread that waits elsewhere: another
    /// idle CPU must be called for that one.
    pub(super) ends_idle: bool,
    /// The CPU must be told by an SGI (`told-by-sgi` of [`sched`](crate::sched)).
    pub(super) must_tell: bool,
    /// A realtime thread is left waiting there.
    pub(super) uneven: bool,
}

/// The CPU that was chosen for a thread.
pub(super) struct Placed {
    cpu: CpuId,
    /// The thread's affinity, if none of its CPUs is active: then the affinity no
    /// longer counts.
    broken: Option<CpuMask>,
}

impl<P: SchedHost> Scheduler<P> {
    /// Makes `thread` run again if it waits or is about to. Returns whether it did.
    ///
    /// # Context
    /// Any.
    pub fn wake(&self, thread: &Arc<Thread<P>>) -> bool {
        let masked = IrqGuard::<P>::new();
        self.apply_wakeup(thread, BlockState::wake, &masked)
    }

    /// Does as [`Scheduler::wake`], where IRQs are masked.
    pub(crate) fn wake_masked(&self, thread: &Arc<Thread<P>>, masked: &IrqGuard<P>) {
        self.apply_wakeup(thread, BlockState::wake, masked);
    }

    /// Lets a parked thread run on (`unpark-only` of [`sched`](crate::sched)).
    /// Withdraws the request of a thread that was only asked to park.
    pub fn unpark(&self, thread: &Arc<Thread<P>>) {
        thread.stopped.reset();
        thread.block_state.unpark(|| {
            let masked = IrqGuard::<P>::new();
            self.apply_wakeup(thread, BlockState::end_park, &masked);
        });
    }

    /// Asks `thread` to park; doesn't wait until it has.
    pub fn ask_to_park(&self, thread: &Arc<Thread<P>>) {
        thread.block_state.ask_to_park(|| {
            self.wake(thread);
        });
    }

    /// Parks `thread`, a per-CPU thread, and waits until it is off its CPU.
    ///
    /// # Context
    /// A thread other than `thread`.
    pub fn park(&self, thread: &Arc<Thread<P>>) {
        thread.work.wait::<P>();
        self.ask_to_park(thread);
        thread.stopped.wait_patiently(|| {
            log::warn!(
                "{} on CPU{} has not parked for {} s (it is {:?})",
                thread.name(),
                thread.cpu(),
                patience::<P>().as_secs(),
                thread.state_racy()
            );
        });
    }

    #[inline(always)] // Into each of its few callers, which do nothing else.
    fn apply_wakeup(
        &self,
        thread: &Arc<Thread<P>>,
        move_fn: impl FnOnce(&BlockState) -> Wakeup,
        masked: &IrqGuard<P>,
    ) -> bool {
        let mut queue = self.lock_queue_of(thread, masked);
        match move_fn(&thread.block_state) {
            Wakeup::GoesOn => return true,
            Wakeup::Nothing => return false,
            Wakeup::Enqueue => {}
        }
        let last = thread.cpu();
        if thread.is_per_cpu() || thread.is_pinned() || self.suits(thread, last, &queue) {
            let queued = self.enqueue_locked(last, &mut queue, Arc::clone(thread));
            drop(queue);
            self.complete(last, queued, masked);
        } else {
            thread.set_state(ThreadState::Runnable);
            let placed = self.assign(thread, last);
            drop(queue);
            self.deliver(Arc::clone(thread), &placed, masked);
        }
        true
    }

    /// Assigns `thread`, which is on no CPU and in no queue, to the CPU where it should
    /// run next. `last` is the CPU to which it belongs.
    ///
    /// # Context
    /// Under the lock of the queue of `last` (`moved-off-queue` of `migrate`).
    pub(super) fn assign(&self, thread: &Thread<P>, last: CpuId) -> Placed {
        let placed = self.place(thread, last);
        if placed.broken.is_some() {
            thread.affinity.lose(P::masks().possible());
            self.any_lost.store(true, Ordering::Relaxed);
        }
        if placed.cpu != last {
            thread.counters.migrates();
        }
        thread.set_cpu(placed.cpu);
        placed
    }

    /// Queues `thread` on the CPU that it was assigned to. Notes for the log if that CPU isn't
    /// in the thread's affinity, unless the thread moves silently.
    ///
    /// # Context
    /// IRQs masked since [`Scheduler::assign`]; no queue locked.
    pub(super) fn deliver(&self, thread: Arc<Thread<P>>, placed: &Placed, masked: &IrqGuard<P>) {
        if let Some(cpus) = &placed.broken
            && !thread.moves_silently()
        {
            self.parted.note(*thread.name(), cpus, masked);
        }
        self.enqueue(placed.cpu, thread, masked);
    }

    /// Returns whether `thread` should run on `cpu`, where it ran last and whose queue
    /// is `queue`. It must be allowed there, and the CPU must be idle: the caller has
    /// claimed it then. For a realtime thread it is enough that no thread that is as
    /// urgent runs or is queued there, and for one that may run nowhere else that it is
    /// allowed there.
    #[inline]
    fn suits(&self, thread: &Thread<P>, cpu: CpuId, queue: &RunQueue<P>) -> bool {
        let takes = || thread.may_run_on(cpu) && Self::takes_work(cpu);
        let level = thread.level();
        if !thread.affinity.has_choice() {
            return takes();
        }
        if level < NORMAL_LEVEL && queue.most_urgent() > level {
            return takes();
        }
        self.map.is_idle(cpu) && takes() && self.map.claim(cpu)
    }

    /// Returns whether threads other than per-CPU threads may be placed on `cpu`. While
    /// the machine boots no CPU is active: then the only one that runs takes them.
    #[inline]
    fn takes_work(cpu: CpuId) -> bool {
        let masks = P::masks();
        masks.is_active(cpu) || (masks.is_online(cpu) && masks.active().is_empty())
    }

    /// Returns the CPU where `thread`, which ran on `last`, should run: a CPU that is
    /// idle, else `last`, else the least loaded in its affinity. A realtime thread prefers
    /// a CPU that runs something less urgent to `last`. If no CPU of its affinity is
    /// active, it is the same without `last` among all active CPUs.
    ///
    /// # Context
    /// IRQs masked, until the thread is queued there.
    fn place(&self, thread: &Thread<P>, last: CpuId) -> Placed {
        let found = |cpu| Placed { cpu, broken: None };
        if let Some(cpu) = self.find_better(thread, last) {
            return found(cpu);
        }
        if thread.may_run_on(last) && Self::takes_work(last) {
            return found(last);
        }
        let active = P::masks().active();
        if let Some(cpu) = self.least_loaded(&active.and(&thread.affinity())) {
            return found(cpu);
        }
        let anywhere = self.find_among(thread, last, |word| P::masks().active_word(word));
        let cpu = anywhere.or_else(|| self.least_loaded(&active));
        Placed {
            // No CPU is active only while the machine boots, on this one.
            cpu: cpu.unwrap_or_else(P::this_cpu),
            broken: Some(thread.affinity()),
        }
    }

    /// Returns a CPU on which `thread` may run at once: an idle one, which the caller has
    /// claimed then, or for a realtime thread one that runs nothing as urgent. The search
    /// begins at `last`.
    pub(super) fn find_better(&self, thread: &Thread<P>, last: CpuId) -> Option<CpuId> {
        self.find_among(thread, last, |word| {
            thread.affinity.word(word) & P::masks().active_word(word)
        })
    }

    /// Does as [`Scheduler::find_better`], among the CPUs of which `among_fn` returns the
    /// words.
    fn find_among(
        &self,
        thread: &Thread<P>,
        last: CpuId,
        among_fn: impl Fn(usize) -> u64,
    ) -> Option<CpuId> {
        // The callers have looked at `last`, or take it where nothing is found.
        if !self.map.is_another(last, &among_fn) {
            return None;
        }
        self.map.claim_near(last, &among_fn).or_else(|| {
            let level = thread.level();
            if level < NORMAL_LEVEL {
                self.map.less_urgent(level, last, &among_fn)
            } else {
                None
            }
        })
    }

    /// Returns the CPU of `cpus` on which the fewest threads wait.
    pub(super) fn least_loaded(&self, cpus: &CpuMask) -> Option<CpuId> {
        // Relaxed: a hint.
        cpus.iter()
            .min_by_key(|cpu| self.cpus.get(*cpu).waiting.load(Ordering::Relaxed))
    }

    /// Queues `thread`, which is Runnable (or about to wait) and in no queue, on `cpu`.
    ///
    /// # Context
    /// IRQs masked since `cpu` was chosen.
    pub(super) fn enqueue(&self, cpu: CpuId, thread: Arc<Thread<P>>, masked: &IrqGuard<P>) {
        if self.enqueue_once(cpu, thread, masked) {
            self.push_urgent(cpu, masked);
        }
    }

    /// Does as [`Scheduler::enqueue`], but leaves a realtime thread waiting on `cpu`.
    /// Returns whether that may be so.
    pub(super) fn enqueue_once(
        &self,
        cpu: CpuId,
        thread: Arc<Thread<P>>,
        masked: &IrqGuard<P>,
    ) -> bool {
        let queued = {
            let mut queue = self.queue(cpu).lock_masked(masked);
            if queue.ready.order() == Order::MarkedOnly {
                self.note_arrival(&mut queue, &thread);
            }
            self.enqueue_locked(cpu, &mut queue, thread)
        };
        self.complete_once(cpu, queued, masked)
    }

    /// Does what is left to do for the queue of `cpu`, which was changed, when its lock is
    /// open.
    #[inline(always)] // As `note_queue`: mostly there is nothing left to do.
    pub(super) fn complete(&self, cpu: CpuId, queued: Queued, masked: &IrqGuard<P>) {
        if self.complete_once(cpu, queued, masked) {
            self.push_urgent(cpu, masked);
        }
    }

    /// Does as [`Scheduler::complete`], but leaves a realtime thread waiting on `cpu`.
    /// Returns whether that may be so.
    #[inline(always)] // As `complete`.
    fn complete_once(&self, cpu: CpuId, queued: Queued, masked: &IrqGuard<P>) -> bool {
        if queued.must_tell {
            Self::send_reschedule(cpu);
        }
        if queued.ends_idle {
            self.pass_on(cpu, masked);
        }
        queued.uneven
    }

    /// Does as [`Scheduler::enqueue`] with the queue's lock held. The caller completes it
    /// when the lock is open.
    #[inline(always)] // As `note_queue`.
    fn enqueue_locked(
        &self,
        cpu: CpuId,
        queue: &mut RunQueue<P>,
        thread: Arc<Thread<P>>,
    ) -> Queued {
        if thread.level() > 0 {
            let _was_idle = self.map.claim(cpu);
        } // A stopper runs only briefly: the CPU stays idle.
        // Relaxed: a hint.
        queue.enqueue(thread, || self.clock.load(Ordering::Relaxed));
        let mut queued = self.note_queue(cpu, queue);
        // Relaxed: a hint.
        queued.ends_idle =
            queue.runs_idle() && self.overloaded.load(Ordering::Relaxed) > 0 && self.map.any_idle();
        queued
    }

    /// Records a change of the queue of `cpu`, this CPU or another one. The caller
    /// completes it when the lock is open.
    ///
    /// # Context
    /// Under the lock of `queue`.
    #[inline(always)] // Into a wake: its registers are saved once.
    pub(super) fn note_queue(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> Queued {
        if cpu == P::this_cpu() {
            Queued {
                ends_idle: false,
                must_tell: false,
                uneven: self.note_here(cpu, queue),
            }
        } else {
            let uneven = self.note_load(cpu, queue);
            Queued {
                ends_idle: false,
                must_tell: queue.should_preempt() || queue.wants_slice() || queue.wants_look(),
                uneven,
            }
        }
    }

    #[inline(always)] // As `complete`.
    pub(super) fn send_reschedule(cpu: CpuId) {
        P::send_sgi_to(Sgi::Reschedule, P::this_cpu(), cpu);
    }

    /// Updates what the other CPUs know of this queue. Returns whether a realtime thread
    /// is left waiting here, or one that waits elsewhere could run here now.
    ///
    /// # Context
    /// Under the lock of `queue`, which is `cpu`'s.
    #[inline]
    pub(super) fn note_load(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        if queue.is_known() {
            return false;
        }
        self.note_changed_load(cpu, queue)
    }

    #[inline(never)]
    fn note_changed_load(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        // What the others know of a queue with a thread behind a realtime one is never certain,
        // so that this comes here.
        if queue.wants_look() && cpu == P::this_cpu() {
            self.begin_look(cpu, queue);
        }
        let report = queue.report();
        report != queue.reported && self.publish(cpu, queue, report)
    }

    /// Handles the Reschedule SGI: another CPU has changed this CPU's queue or evicts
    /// its running thread, or calls this idle CPU to take a thread that waits elsewhere
    /// (`told-by-sgi` of [`sched`](crate::sched)). The idle loop looks for such a thread
    /// after each interrupt.
    ///
    /// # Context
    /// Interrupt handler.
    pub fn reschedule_interrupt(&self) {
        let masked = IrqGuard::<P>::new();
        self.look_at_queue(&masked);
        masked.end_no_resched(); // The end of the interrupt is a preemption point.
    }

    #[inline]
    pub(super) fn look_at_queue(&self, masked: &IrqGuard<P>) {
        let cpu = P::this_cpu();
        let mut queue = self.queue(cpu).lock_masked(masked);
        if self.flush.concerns(&queue) {
            drop(queue);
            self.look_at_flush(cpu, masked);
            queue = self.queue(cpu).lock_masked(masked);
        }
        let _uneven = self.note_here(cpu, &mut queue);
        if queue.is_idle() {
            if !self.map.is_idle(cpu) {
                // Claimed to take a thread that waits elsewhere, which the idle loop does
                // if the thread still waits.
                self.map.go_idle(cpu);
            }
        } else if self.map.any_waiting() {
            // The running thread may be less urgent than it was.
            if queue.should_preempt() {
                queue.look_after_switch();
            } else {
                drop(queue);
                self.even_out(cpu, masked);
            }
        }
    }
}
