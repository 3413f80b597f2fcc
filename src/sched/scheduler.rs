//! The scheduler: which thread runs on this CPU, and the switch from one thread to the
//! next.
//!
//! The lock of a CPU's run queue is held *across* the switch: the thread that leaves
//! takes it, and the thread that comes releases it. So a CPU that holds the lock and
//! finds a thread queued or waiting finds its registers saved, and may move it to
//! another CPU.
//!
//! `wake` wakes threads and chooses their CPU, `migrate` moves them, `spawn` makes
//! them.

use alloc::sync::Arc;
use core::convert::Infallible;
use core::time::Duration;

use intrusive_collections::LinkedList;

use crate::cpu::{CpuId, PerCpu};
use crate::platform::{Platform, PreemptWork};
use crate::sched::cpu_record::CpuRecord;
use crate::sched::flush::Flush;
use crate::sched::itself::Itself;
use crate::sched::links::AllLink;
use crate::sched::parted::Parted;
use crate::sched::run_queue::Aftermath;
use crate::sched::throttle::RealtimeBound;
use crate::sched::timers::Timers;
use crate::sched::{
    BlockState, Blocker, Class, CpuMap, Placement, RunQueue, Switch, SwitchReason, Thread,
    ThreadName, ThreadState,
};
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use crate::sync::{IrqGuard, LockMap, SpinLock, SpinLockGuard, assert_may_schedule};
use crate::time::Instant;
use crate::trace::Event;

/// What the scheduler needs from the layers above: the one scheduler itself, and the
/// trace.
pub trait SchedHost: Platform {
    /// Returns the one scheduler.
    fn sched() -> &'static Scheduler<Self>;

    /// Returns how long a wait may take before the log says what is waited for, if that was
    /// chosen; `None` for the default, [`PATIENCE`](crate::sched::PATIENCE).
    fn chosen_patience() -> Option<Duration>;

    /// Writes `event` into its trace ring.
    ///
    /// # Context
    /// Any; for an event of a walk, the owner of the walk.
    fn trace(event: Event);

    /// Writes `event` as [`SchedHost::trace`] does, as one that happened at `at`.
    ///
    /// # Context
    /// As [`SchedHost::trace`].
    fn trace_at(at: Instant, event: Event);

    /// Writes `event`, which happens now, which `now_fn` tells, on `cpu`, this CPU: as
    /// [`SchedHost::trace`], for half the instructions.
    ///
    /// # Context
    /// IRQs masked.
    #[inline]
    fn trace_masked(
        _masked: &IrqGuard<Self>,
        _cpu: CpuId,
        _now_fn: impl FnOnce() -> Instant,
        event: Event,
    ) {
        Self::trace(event);
    }

    /// Returns whether the time is counted for which threads wait for a CPU.
    #[inline(always)] // A static key on the target.
    fn accounts_waits() -> bool {
        false
    }

    /// A thread waits for a CPU, where none did, while such time is counted.
    ///
    /// # Context
    /// Under the lock of a run queue, IRQs masked: wakes no thread.
    fn threads_wait() {}
}

/// Run queues, timers and threads of all CPUs.
pub struct Scheduler<P: SchedHost> {
    queues: PerCpu<SpinLock<RunQueue<P>, P>>,
    pub(super) cpus: PerCpu<CpuRecord<P>>,
    /// Number of CPUs on which a movable thread waits behind another thread. Relaxed: a
    /// hint.
    pub(super) overloaded: AtomicUsize,
    /// Which CPUs are idle, how urgent the others are, and where realtime threads wait.
    pub(super) map: CpuMap,
    /// The largest floor of all run queues, on the scale of virtual runtime. Relaxed: a
    /// hint; it only grows.
    pub(super) clock: AtomicU64,
    pub(crate) timers: PerCpu<Timers<P>>,
    /// What realtime threads may take of each CPU.
    pub(super) bound: RealtimeBound,
    /// The flush of preempted threads.
    pub(super) flush: Flush<P>,
    /// The threads whose CPUs have gone, for the log.
    pub(super) parted: Parted<P>,
    /// Whether a thread may remember CPUs that it has lost. Relaxed: set under the lock of a run
    /// queue; see `give_back`.
    pub(super) any_lost: AtomicBool,
    /// How many threads were ever listed. Relaxed: only changed under the lock of `threads`.
    pub(super) listed: AtomicU32,
    /// All threads that have not ended. This lock is taken before any run queue's.
    pub(super) threads: SpinLock<LinkedList<AllLink<P>>, P>,
}

impl<P: SchedHost> Scheduler<P> {
    /// Returns a scheduler for `cpus` CPUs, on which nothing runs yet.
    pub fn new(cpus: usize) -> Self {
        Scheduler {
            // Hidden from the lock validator: the next thread opens the lock, after the
            // context switch.
            queues: PerCpu::new(cpus, |_| SpinLock::new_untracked(RunQueue::new())),
            cpus: PerCpu::new(cpus, |_| CpuRecord::new()),
            overloaded: AtomicUsize::new(0),
            map: CpuMap::new(cpus),
            clock: AtomicU64::new(0),
            timers: PerCpu::new(cpus, Timers::new),
            bound: RealtimeBound::new::<P>(),
            flush: Flush::new(),
            parted: Parted::new(),
            any_lost: AtomicBool::new(false),
            listed: AtomicU32::new(0),
            threads: SpinLock::new(LinkedList::new(AllLink::NEW)),
        }
    }

    /// Returns a new idle thread for `cpu`. Its stack and registers are those of the
    /// code that calls [`Scheduler::start_cpu`] there.
    pub fn new_idle(&self, cpu: CpuId, context: P::Context) -> Arc<Thread<P>> {
        let name = ThreadName::of_cpu("idle", cpu);
        let idle = Thread::new(
            name,
            Class::Idle,
            Placement::PerCpu(cpu),
            ThreadState::Running,
            None,
            LockMap::new(),
        );
        let Ok(()) = idle.make_context(|| Ok::<_, Infallible>(context));
        idle
    }

    /// Makes `idle` the running thread of this CPU. The caller runs on the stack of
    /// `idle`.
    ///
    /// # Context
    /// The CPU itself, IRQs masked, before it is online. Other CPUs take its run-queue
    /// lock only for threads that wait and ran here last, to wake them or change their
    /// affinity, and to look at their state.
    ///
    /// # Panics
    /// If a thread runs here already. `idle` itself may, from before its CPU went down.
    pub fn start_cpu(&self, idle: &Arc<Thread<P>>) {
        let word = Arc::as_ptr(idle).expose_provenance();
        let before = P::thread_word();
        assert!(
            before == 0 || before == word,
            "BUG: {idle:?} starts on the stack of another thread"
        );
        // SAFETY: it is the address of the idle thread, which the run queue keeps.
        unsafe { P::set_thread_word(word) };
        self.queue(idle.cpu())
            .lock_irqsave()
            .start(Arc::clone(idle));
    }

    /// Returns the running thread.
    #[inline]
    pub fn current(&self) -> Arc<Thread<P>> {
        let me = Itself::running().as_ptr();
        // SAFETY: the word of the running thread is the address of its `Thread`, from
        // an `Arc` of which its run queue holds a count while it runs.
        unsafe { Arc::increment_strong_count(me) };
        // SAFETY: the count that was added just now.
        unsafe { Arc::from_raw(me) }
    }

    /// Calls `look_fn` with the running thread. Cheaper than [`Scheduler::current`]: it
    /// takes no `Arc`.
    #[inline]
    pub fn with_current<R>(&self, look_fn: impl FnOnce(&Thread<P>) -> R) -> R {
        look_fn(&Itself::running())
    }

    /// Returns the name of the thread that runs on `cpu`, or `None` if its run queue is
    /// locked. For diagnosis.
    pub fn current_name_racy(&self, cpu: CpuId) -> Option<ThreadName> {
        let queue = self.queue(cpu).try_lock_irqsave()?;
        Some(*queue.current().name())
    }

    /// Marks the running thread as about to wait: from here on no wake is lost. Check
    /// the condition after this, then call [`Scheduler::schedule`] or
    /// [`Scheduler::cancel_block`].
    pub fn about_to_block(&self, me: &Arc<Thread<P>>) {
        Running { sched: self, me }.about_to_block();
    }

    /// Takes [`Scheduler::about_to_block`] back.
    pub fn cancel_block(&self, me: &Arc<Thread<P>>) {
        Running { sched: self, me }.cancel_block();
    }

    /// Gives the CPU away: waits if the thread is about to, else yields.
    ///
    /// # Context
    /// Thread, IRQs on.
    ///
    /// # Panics
    /// As [`assert_may_schedule`].
    pub fn schedule(&self) {
        self.give_away("schedule");
    }

    /// Lets other threads of this CPU run that are at least as urgent.
    ///
    /// # Panics
    /// As [`assert_may_schedule`].
    pub fn yield_now(&self) {
        self.give_away("yield_now");
    }

    #[inline]
    fn give_away(&self, what: &'static str) {
        assert_may_schedule::<P>(what);
        self.switch(SwitchReason::GivesAway);
    }

    /// Switches to a more urgent thread, if there is one (`urgent-first` of
    /// [`sched`](crate::sched)).
    ///
    /// # Context
    /// Preemption on. IRQs on, as where the last guard was dropped; or masked at the end of an
    /// interrupt, on the interrupted thread's stack.
    #[inline]
    pub fn preempt_point(&self) {
        if P::has_preempt_work(PreemptWork::Reschedule) {
            self.switch(SwitchReason::MayBePreempted);
        }
    }

    /// Switches, if there is a thread to switch to. Switches again if this thread must
    /// lose the CPU once more by the time that it has the CPU back. That is a loop and
    /// not a recursion, because the way out of a switch is a preemption point itself:
    /// nested calls would have no end.
    fn switch(&self, reason: SwitchReason) {
        let mut reason = reason;
        loop {
            let irqs = IrqGuard::<P>::new();
            self.switch_once(reason, &irqs);
            irqs.end_no_resched();
            if !P::has_preempt_work(PreemptWork::Reschedule) {
                return;
            }
            reason = SwitchReason::MayBePreempted;
        }
    }

    #[inline]
    fn switch_once(&self, reason: SwitchReason, irqs: &IrqGuard<P>) {
        let cpu = P::this_cpu();
        let mut queue = self.queue(cpu).lock_masked(irqs);
        let picked = queue.pick_next(reason);
        self.note_picked(cpu, &mut queue, irqs);
        // No `Arc` in this frame: on a dead thread's stack it would never be dropped.
        let Some(Switch { from, to }) = picked else {
            if core::mem::take(&mut queue.uneven) {
                drop(queue);
                self.even_out(cpu, irqs);
            }
            return;
        };
        // SAFETY: as below; the queue is locked still.
        let waits = unsafe { &*from };
        if waits.is_queued() && waits.is_movable() {
            self.note_preempted(cpu, &mut queue, waits);
        }
        SpinLockGuard::leave_locked(queue);
        // SAFETY: if the thread is dead, parked or moving to another CPU, the run queue
        // holds a count of it until `finish_switch`. If it is runnable it is queued,
        // and the lock keeps it queued. If it waits, the frame that called `schedule`
        // holds a count.
        let from = unsafe { &*from };
        from.counters.leaves(reason);
        // SAFETY: the run queue holds a count of it while it is current.
        let to = unsafe { &*to };
        // SAFETY: `from` runs here; `to` was on this CPU's queue, so its registers are
        // saved (saved-registers), and it is on no queue now. Contexts live in their threads.
        unsafe { P::switch(from.context(), to.context()) };
        self.finish_switch(irqs);
    }

    /// Releases the run queue that the thread before has locked, and completes that
    /// thread's aftermath (`after-the-switch` of [`sched`](crate::sched)). A thread
    /// that gets the CPU, again or for the first time, calls this first.
    #[inline]
    fn finish_switch(&self, masked: &IrqGuard<P>) {
        let cpu = P::this_cpu();
        // SAFETY: the thread that ran here before has left it locked, for us.
        unsafe { self.queue(cpu).open_left() };
        if P::has_preempt_work(PreemptWork::Previous) {
            self.complete_previous(cpu, masked);
        }
    }

    /// Completes the aftermath of the thread that ran before on `cpu`, which is this CPU.
    #[inline(never)] // Most switches leave none, and need none of its registers saved.
    fn complete_previous(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        let (previous, uneven, finished) = {
            let mut queue = self.queue(cpu).lock_masked(masked);
            P::set_preempt_work(PreemptWork::Previous, false);
            let uneven = core::mem::take(&mut queue.uneven);
            let finished = self.finish_flush(&mut queue);
            (queue.previous.take(), uneven, finished)
        };
        match previous {
            Some((thread, Aftermath::Dead)) => self.finish_thread(&thread),
            // It may have been unparked since, and be about to run elsewhere.
            Some((thread, Aftermath::Parked)) if thread.state() == ThreadState::Parked => {
                thread.stopped.complete();
            }
            Some((thread, Aftermath::Elsewhere)) => self.place_elsewhere(thread, masked),
            Some((_, Aftermath::Parked)) | None => {}
        }
        if uneven {
            self.even_out(cpu, masked);
        }
        self.tell_last(finished);
    }

    /// Ends `thread`, which is dead and whose CPU has just left it: gives back what it
    /// needed to run, though handles to it may live on, and wakes the threads that wait
    /// for its end.
    fn finish_thread(&self, thread: &Thread<P>) {
        // SAFETY: it is dead, so no CPU switches to it again, and this CPU, the only one
        // that ran on its stack, runs another thread now.
        unsafe { P::release_stack(thread.context()) };
        self.let_held_cpus_go(thread);
        thread.stopped.complete_all();
        // Last: a caller of `has_ended` that gets true need not wait.
        thread.block_state.end();
    }

    /// Completes the switch that has brought a new thread here, and unmasks IRQs.
    pub(super) fn begin_thread(&self) {
        self.finish_switch(&IrqGuard::new());
        // SAFETY: a thread begins with IRQs masked, and without a guard but that one,
        // which has ended.
        unsafe { P::irq_enable() };
    }

    /// Does as [`Scheduler::note_here`], just after the most urgent thread was picked.
    #[inline]
    fn note_picked(&self, cpu: CpuId, queue: &mut RunQueue<P>, masked: &IrqGuard<P>) {
        let uneven = if queue.is_empty() {
            P::set_preempt_work(PreemptWork::Reschedule, false);
            if queue.runs_idle() && !self.map.is_idle(cpu) {
                self.map.go_idle(cpu);
            }
            self.note_load(cpu, queue)
        } else if Self::note_preempt(queue) {
            false
        } else {
            let now = queue.charged();
            self.note_waiting(cpu, queue, || now, masked)
        };
        if uneven {
            queue.look_after_switch();
        }
    }

    /// Records a change of this CPU's queue: tells its preemption points whether the
    /// running thread must lose the CPU, begins its slice if a thread waits for its
    /// end, and tells the other CPUs whether there is work for them. Returns as
    /// [`Scheduler::note_load`].
    #[inline]
    pub(super) fn note_here(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        // If there is a switch, it updates the rest.
        !Self::note_preempt(queue) && self.note_running(cpu, queue)
    }

    /// Tells the preemption points of this CPU whether the running thread must lose the
    /// CPU. Returns whether it must.
    #[inline]
    fn note_preempt(queue: &RunQueue<P>) -> bool {
        let preempt = queue.should_preempt();
        P::set_preempt_work(PreemptWork::Reschedule, preempt);
        preempt
    }

    #[inline(never)]
    fn note_running(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        self.note_waiting(cpu, queue, P::now, &IrqGuard::new())
    }

    /// Does what [`Scheduler::note_here`] does if the running thread keeps the CPU; a slice
    /// that begins, begins at `now_fn()`.
    #[inline]
    fn note_waiting(
        &self,
        cpu: CpuId,
        queue: &mut RunQueue<P>,
        now_fn: impl FnOnce() -> Instant,
        masked: &IrqGuard<P>,
    ) -> bool {
        if let Some(end) = queue.begin_slice(now_fn) {
            self.timers.get(cpu).set_slice(end, masked);
        }
        self.note_load(cpu, queue)
    }

    /// Runs the idle loop: runs threads that become runnable, else calls `sleep_fn`
    /// with IRQs masked. `sleep_fn` sleeps until an interrupt is pending, or turns the
    /// CPU off.
    ///
    /// A CPU that puts a thread into this CPU's queue sends an SGI, which ends the
    /// sleep, and whose handler records the change (`told-by-sgi` of
    /// [`sched`](crate::sched)). An SGI that comes after the check and before the sleep
    /// isn't lost: IRQs are masked from before the check, so it stays pending, and
    /// `sleep_fn` returns at once (Arm ARM, WFI: a pending IRQ ends it, masked or not).
    ///
    /// # Context
    /// The idle thread of this CPU.
    pub fn idle(&self, mut sleep_fn: impl FnMut()) -> ! {
        // A CPU that has just come up gets here with all exceptions masked, as it
        // entered.
        // SAFETY: this never returns, so no guard that its callers may have is used again,
        // and `sleep_fn` is called with IRQs masked.
        unsafe { P::irq_enable() };
        loop {
            self.idle_turn(&mut sleep_fn);
        }
    }

    /// Does one turn of the idle loop: looks for a thread that waits on another CPU, and
    /// sleeps with `sleep_fn` if no thread is runnable here.
    ///
    /// # Context
    /// The idle thread of this CPU, IRQs on.
    #[inline]
    pub fn idle_turn(&self, sleep_fn: impl FnOnce()) {
        // A thread that is found gets the CPU where `masked` drops. If it did before the
        // sleep, the idle thread would sleep next without another look.
        let masked = IrqGuard::<P>::new();
        self.look_for_work();
        if self.parted.any() && P::masks().is_online(P::this_cpu()) {
            drop(masked);
            return self.log_parted(); // The next turn looks again.
        }
        if !P::has_preempt_work(PreemptWork::Reschedule) {
            sleep_fn();
        }
        // In this window the interrupt that ended the sleep is handled; at its end
        // a thread that became runnable takes the CPU. An interrupt that stayed
        // pending would end the next sleep at once.
        drop(masked);
        P::serve_interrupts();
    }

    #[inline]
    pub(super) fn queue(&self, cpu: CpuId) -> &SpinLock<RunQueue<P>, P> {
        self.queues.get(cpu)
    }

    /// Locks the run queue that `thread` belongs to (`moved-off-queue` of `migrate`).
    #[inline]
    pub(super) fn lock_queue_of<'a>(
        &'a self,
        thread: &Thread<P>,
        masked: &'a IrqGuard<P>,
    ) -> SpinLockGuard<'a, RunQueue<P>, P> {
        loop {
            let cpu = thread.cpu();
            let queue = self.queue(cpu).lock_masked(masked);
            if thread.cpu() == cpu {
                return queue;
            }
        }
    }
}

/// The running thread, as a [`Blocker`].
pub(crate) struct Running<'a, P: SchedHost> {
    pub(crate) sched: &'a Scheduler<P>,
    pub(crate) me: &'a Thread<P>,
}

impl<P: SchedHost> Blocker for Running<'_, P> {
    fn block_state(&self) -> &BlockState {
        &self.me.block_state
    }

    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R {
        let masked = IrqGuard::<P>::new();
        let _queue = self.sched.lock_queue_of(self.me, &masked);
        move_fn(&self.me.block_state)
    }

    fn schedule(&self) {
        self.sched.schedule();
    }
}
