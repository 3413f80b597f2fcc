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
//! L has room if it is active and in the thread's affinity, and is idle or, for a
//! realtime thread, neither runs nor has queued a thread that is as urgent. `place`
//! takes the first that there is of:
//! 1. an idle CPU in the thread's affinity;
//! 2. for a realtime thread: a CPU in its affinity where no thread is as urgent;
//! 3. L, if it is active and in the affinity;
//! 4. an active CPU in the affinity;
//! 5. any active CPU: all CPUs of the affinity have gone, so from now on the thread may
//!    run on any.
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
use crate::sched::patience;
use crate::sched::{
    BlockState, Class, RunQueue, SchedHost, Scheduler, Thread, ThreadState, Wakeup,
};
use crate::sync::IrqGuard;
use crate::sync::atomic::Ordering;

/// How many CPUs a waker checks for being idle, before it leaves the thread where it
/// was.
const PROBES: usize = 16;

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
        self.apply_wakeup(thread, BlockState::wake)
    }

    /// Lets a parked thread run on (`unpark-only` of [`sched`](crate::sched)).
    /// Withdraws the request of a thread that was only asked to park.
    pub fn unpark(&self, thread: &Arc<Thread<P>>) {
        thread.stopped.reset();
        thread.block_state.unpark(|| {
            self.apply_wakeup(thread, BlockState::end_park);
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

    fn apply_wakeup(
        &self,
        thread: &Arc<Thread<P>>,
        move_fn: impl FnOnce(&BlockState) -> Wakeup,
    ) -> bool {
        let masked = IrqGuard::<P>::new();
        let mut queue = self.lock_queue_of(thread, &masked);
        match move_fn(&thread.block_state) {
            Wakeup::GoesOn => return true,
            Wakeup::Nothing => return false,
            Wakeup::Enqueue => {}
        }
        let last = thread.cpu();
        if thread.is_per_cpu() || thread.is_pinned() || self.suits(thread, last, &queue) {
            let must_tell = self.enqueue_locked(last, &mut queue, Arc::clone(thread));
            drop(queue);
            if must_tell {
                Self::send_reschedule(last);
            }
        } else {
            thread.set_state(ThreadState::Runnable);
            let placed = self.assign(thread, last);
            drop(queue);
            self.deliver(Arc::clone(thread), &placed, &masked);
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
            thread.affinity.set(P::masks().possible());
        }
        thread.set_cpu(placed.cpu);
        placed
    }

    /// Queues `thread` on the CPU that it was assigned to. Logs it if that CPU isn't in
    /// the thread's affinity, unless the thread moves silently.
    ///
    /// # Context
    /// IRQs masked since [`Scheduler::assign`]; no queue locked.
    pub(super) fn deliver(&self, thread: Arc<Thread<P>>, placed: &Placed, masked: &IrqGuard<P>) {
        if let Some(cpus) = &placed.broken
            && !thread.moves_silently()
        {
            // The wording is Linux's: the CPUs of the affinity have gone down, and need
            // not include the CPU where the thread ran last.
            log::warn!("thread {} no longer affine to cpu{cpus}", thread.name());
        }
        self.enqueue(placed.cpu, thread, masked);
    }

    /// Returns whether `thread` should run on `cpu`, where it ran last and whose queue
    /// is `queue`. It must be allowed there, and the CPU must be idle. For a realtime
    /// thread it is enough that no thread that is as urgent runs or is queued there.
    fn suits(&self, thread: &Thread<P>, cpu: CpuId, queue: &RunQueue<P>) -> bool {
        let has_room = queue.is_idle()
            || (matches!(thread.class(), Class::Realtime(..))
                && queue.most_urgent() > thread.level());
        has_room && thread.may_run_on(cpu) && Self::takes_work(cpu)
    }

    /// Returns whether threads other than per-CPU threads may be placed on `cpu`. While
    /// the machine boots no CPU is active: then the boot CPU takes them.
    fn takes_work(cpu: CpuId) -> bool {
        P::masks().is_active(cpu) || (cpu == CpuId::BOOT && P::masks().active().is_empty())
    }

    /// Returns the CPU where `thread`, which ran on `last`, should run: a CPU that is
    /// idle, else `last`, else any in its affinity, else any active CPU. A realtime
    /// thread prefers a CPU that runs something less urgent to `last`.
    ///
    /// # Context
    /// IRQs masked, until the thread is queued there.
    fn place(&self, thread: &Thread<P>, last: CpuId) -> Placed {
        let found = |cpu| Placed { cpu, broken: None };
        if let Some(cpu) = self.find_idle(thread, last) {
            return found(cpu);
        }
        if matches!(thread.class(), Class::Realtime(..))
            && let Some(cpu) = self.find_less_urgent(thread, last)
        {
            return found(cpu);
        }
        if thread.may_run_on(last) && Self::takes_work(last) {
            return found(last);
        }
        let active = P::masks().active();
        if let Some(cpu) = active.and(&thread.affinity()).first() {
            return found(cpu);
        }
        Placed {
            cpu: active.first().unwrap_or(CpuId::BOOT),
            broken: Some(thread.affinity()),
        }
    }

    /// Returns an idle CPU on which `thread` may run. The search begins at `last`.
    pub(super) fn find_idle(&self, thread: &Thread<P>, last: CpuId) -> Option<CpuId> {
        self.near(last)
            .find(|cpu| P::is_idle(*cpu) && P::masks().is_active(*cpu) && thread.may_run_on(*cpu))
    }

    /// Returns a CPU on which a realtime thread may run, and where no thread that is as
    /// urgent runs or is queued. A queue that is locked is skipped, because the caller
    /// may hold one.
    fn find_less_urgent(&self, thread: &Thread<P>, last: CpuId) -> Option<CpuId> {
        let less_urgent = |cpu: CpuId| {
            let queue = self.queue(cpu).try_lock_irqsave();
            queue.is_some_and(|queue| queue.most_urgent() > thread.level())
        };
        self.near(last)
            .find(|cpu| Self::takes_work(*cpu) && thread.may_run_on(*cpu) && less_urgent(*cpu))
    }

    /// Returns the CPUs from `last` on, as many as a waker checks.
    fn near(&self, last: CpuId) -> impl Iterator<Item = CpuId> + use<P> {
        let cpus = P::masks().possible().count();
        (0..cpus.min(PROBES)).filter_map(move |step| CpuId::new((last.index() + step) % cpus))
    }

    /// Queues `thread`, which is Runnable (or about to wait) and in no queue, on `cpu`.
    ///
    /// # Context
    /// IRQs masked since `cpu` was chosen.
    pub(super) fn enqueue(&self, cpu: CpuId, thread: Arc<Thread<P>>, masked: &IrqGuard<P>) {
        let must_tell = {
            let mut queue = self.queue(cpu).lock_masked(masked);
            self.enqueue_locked(cpu, &mut queue, thread)
        };
        if must_tell {
            Self::send_reschedule(cpu);
        }
    }

    /// Does as [`Scheduler::enqueue`] with the queue's lock held. Returns whether the
    /// caller must tell the CPU, by [`Scheduler::send_reschedule`] (`told-by-sgi` of
    /// [`sched`](crate::sched)).
    #[must_use]
    fn enqueue_locked(&self, cpu: CpuId, queue: &mut RunQueue<P>, thread: Arc<Thread<P>>) -> bool {
        if matches!(thread.state(), ThreadState::Blocking | ThreadState::Parking) {
            queue.ready.push_back(thread);
        } else {
            queue.enqueue(thread);
        }
        if cpu == P::this_cpu() {
            self.note_here(cpu, queue);
            false
        } else {
            self.note_load(cpu, queue);
            queue.should_preempt() || queue.wants_slice()
        }
    }

    fn send_reschedule(cpu: CpuId) {
        P::send_sgi_to(Sgi::Reschedule, P::this_cpu(), cpu);
    }

    /// Updates the hints that say where work waits.
    ///
    /// # Context
    /// Under the lock of `queue`, which is `cpu`'s.
    #[inline]
    pub(super) fn note_load(&self, cpu: CpuId, queue: &mut RunQueue<P>) {
        if queue.waiting() != queue.reported_waiting {
            self.report_load(cpu, queue);
        }
    }

    #[inline(never)]
    fn report_load(&self, cpu: CpuId, queue: &mut RunQueue<P>) {
        let waiting = queue.waiting();
        self.cpus.get(cpu).waiting.store(waiting, Ordering::Relaxed);
        match (queue.reported_waiting, waiting) {
            (0, _) => self.overloaded.fetch_add(1, Ordering::Relaxed),
            (_, 0) => self.overloaded.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        queue.reported_waiting = waiting;
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
        let cpu = P::this_cpu();
        self.note_here(cpu, &mut self.queue(cpu).lock_masked(&masked));
    }

    /// Ends the running thread's slice in the timer interrupt, if the slice is over,
    /// and calls an idle CPU to take a thread that waits here, if there is one that it
    /// may run.
    ///
    /// # Context
    /// Interrupt handler.
    pub(super) fn slice_interrupt(&self) {
        let cpu = P::this_cpu();
        let helper = {
            let mut queue = self.queue(cpu).lock_irqsave();
            let over = queue.end_slice();
            self.note_here(cpu, &mut queue);
            if !over {
                return;
            }
            let active = P::masks().active();
            let idle: CpuMask = active.iter().filter(|other| P::is_idle(*other)).collect();
            queue.ready.cpu_for_one(&idle)
        };
        if let Some(helper) = helper {
            P::send_sgi_to(Sgi::Reschedule, cpu, helper);
        }
    }
}
