//! The scheduler: who runs on this CPU, and the switch from one thread to the next.
//!
//! The lock of a CPU's run queue is held *across* the switch: the thread that leaves
//! takes it, the one that comes opens it. So whoever holds that lock and finds a
//! thread queued or waiting finds its registers saved, and may take it to another CPU.
//!
//! Waking and placing is in `wake`, moving in `migrate`, making threads in `spawn`.

use alloc::sync::Arc;
use core::time::Duration;

use intrusive_collections::LinkedList;

use crate::cpu::{CpuId, PerCpu};
use crate::platform::{Platform, PreemptWork};
use crate::sched::links::AllLink;
use crate::sched::lock::Completion;
use crate::sched::run_queue::Aftermath;
use crate::sched::timers::Timers;
use crate::sched::{
    BlockState, Blocker, Class, Placement, RunQueue, Switch, SwitchReason, Thread, ThreadName,
    ThreadState,
};
use crate::sync::atomic::{AtomicU32, AtomicUsize};
use crate::sync::{IrqGuard, SpinLock, SpinLockGuard, assert_may_schedule};
use crate::trace::Event;

/// What the scheduler needs from its right: where it is, who is idle, and where its
/// events go.
pub trait SchedHost: Platform {
    /// The one scheduler.
    fn sched() -> &'static Scheduler<Self>;

    /// Whether `cpu` sleeps for want of work: a hint, and cheap.
    fn is_idle(cpu: CpuId) -> bool;

    /// How long a test wants a wait to take before the log says what is waited for; `None`:
    /// as long as it does.
    fn patience_of_test() -> Option<Duration>;

    /// Writes `event` into this CPU's trace ring.
    ///
    /// # Context
    /// Any.
    fn trace(event: Event);
}

/// What the scheduler keeps of one CPU beside its run queue.
pub(super) struct CpuRecord<P: SchedHost> {
    /// Ordinary threads queued here, for who looks for work. Relaxed: a hint, stored
    /// under the run-queue lock.
    pub(super) waiting: AtomicU32,
    /// Threads that are pinned here. Relaxed: written by this CPU alone with
    /// preemption off; read by its own `cpuhp/N`.
    pub(super) pinned: AtomicU32,
    /// Threads that refuse to let this CPU go. Relaxed: counted up by who holds off
    /// hotplug, and one that falls can only turn a refusal round.
    pub(super) bound: AtomicU32,
    /// Posted when a thread lets go of a CPU that is not active.
    pub(super) let_go: Completion<P>,
}

/// Run queues, timers and threads of all CPUs.
pub struct Scheduler<P: SchedHost> {
    queues: PerCpu<SpinLock<RunQueue<P>, P>>,
    pub(super) cpus: PerCpu<CpuRecord<P>>,
    /// CPUs on which an ordinary thread waits behind another. Relaxed: a hint.
    pub(super) overloaded: AtomicUsize,
    pub(crate) timers: PerCpu<Timers<P>>,
    /// All threads that have not ended. Taken before any run queue's lock.
    pub(super) threads: SpinLock<LinkedList<AllLink<P>>, P>,
}

impl<P: SchedHost> Scheduler<P> {
    /// A scheduler for `cpus` CPUs, on which nothing runs yet.
    pub fn new(cpus: usize) -> Self {
        Scheduler {
            queues: PerCpu::new(cpus, |_| SpinLock::new_untracked(RunQueue::new())),
            cpus: PerCpu::new(cpus, |_| CpuRecord {
                waiting: AtomicU32::new(0),
                pinned: AtomicU32::new(0),
                bound: AtomicU32::new(0),
                let_go: Completion::new(),
            }),
            overloaded: AtomicUsize::new(0),
            timers: PerCpu::new(cpus, Timers::new),
            threads: SpinLock::new(LinkedList::new(AllLink::NEW)),
        }
    }

    /// The idle thread of `cpu`, whose stack and registers are those of whoever
    /// calls [`Scheduler::start_cpu`] there.
    pub fn new_idle(&self, cpu: CpuId, context: P::Context) -> Arc<Thread<P>> {
        let name = ThreadName::new(format_args!("idle/{cpu}"));
        let idle = Thread::new(
            name,
            Class::Idle,
            Placement::PerCpu(cpu),
            ThreadState::Running,
            None,
        );
        idle.set_context(context);
        idle
    }

    /// Says that this CPU now runs `idle`, which is us.
    ///
    /// Context: the CPU itself, IRQs masked, before it is online: nobody else
    /// takes its run-queue lock yet.
    ///
    /// # Panics
    /// If a thread runs here already, other than `idle` before its CPU went.
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

    /// The running thread.
    #[inline]
    pub fn current(&self) -> Arc<Thread<P>> {
        let me = Self::current_address();
        // SAFETY: the word of the running thread is the address of its `Thread`, from
        // an `Arc` of which its run queue holds a count while it runs.
        unsafe { Arc::increment_strong_count(me) };
        // SAFETY: the count that was added just now.
        unsafe { Arc::from_raw(me) }
    }

    /// Calls `look_fn` with the running thread: as [`Scheduler::current`], for those
    /// who need no count of it.
    #[inline]
    pub fn with_current<R>(&self, look_fn: impl FnOnce(&Thread<P>) -> R) -> R {
        let me = Self::current_address();
        // SAFETY: its run queue holds a count of the running thread while it runs,
        // and it runs until `look_fn` has returned.
        look_fn(unsafe { &*me })
    }

    #[inline]
    fn current_address() -> *const Thread<P> {
        let word = P::thread_word();
        assert!(word != 0, "BUG: this CPU runs no thread yet");
        core::ptr::with_exposed_provenance(word)
    }

    /// The name of the thread that runs on `cpu`, if its run queue can be had:
    /// for diagnosis.
    pub fn current_name_racy(&self, cpu: CpuId) -> Option<ThreadName> {
        let queue = self.queue(cpu).try_lock_irqsave()?;
        Some(*queue.current().name())
    }

    /// Says that the running thread is about to wait: from here on a wake is
    /// not lost. Look at the condition after this, then call
    /// [`Scheduler::schedule`] or [`Scheduler::cancel_block`].
    pub fn about_to_block(&self, me: &Arc<Thread<P>>) {
        Running { sched: self, me }.about_to_block();
    }

    /// Takes [`Scheduler::about_to_block`] back.
    pub fn cancel_block(&self, me: &Arc<Thread<P>>) {
        Running { sched: self, me }.cancel_block();
    }

    /// Gives the CPU away: to wait, if the thread is about to, else as a yield.
    ///
    /// # Context
    /// Thread, IRQs on.
    ///
    /// # Panics
    /// As [`assert_may_schedule`].
    pub fn schedule(&self) {
        assert_may_schedule::<P>();
        self.switch(SwitchReason::GivesAway);
    }

    /// Lets the other threads of this CPU run, if they are as urgent.
    pub fn yield_now(&self) {
        self.schedule();
    }

    /// Where a thread that is more urgent takes the CPU (`urgent-first` of
    /// [`sched`](crate::sched)): the drop of the last
    /// guard. Does nothing with a guard held or IRQs masked.
    #[inline]
    pub fn preempt_point(&self) {
        if P::preempt_count() == 0
            && P::irqs_enabled()
            && P::has_preempt_work(PreemptWork::Reschedule)
        {
            self.switch(SwitchReason::MayBePreempted);
        }
    }

    /// As [`Scheduler::preempt_point`], at the end of an interrupt: IRQs
    /// masked, on the interrupted thread's stack.
    #[inline]
    pub fn preempt_from_irq(&self) {
        if P::preempt_count() == 0 && P::has_preempt_work(PreemptWork::Reschedule) {
            self.switch(SwitchReason::MayBePreempted);
        }
    }

    /// Switches, if there is somebody to switch to; and again, if by the time that this
    /// thread has the CPU back it is to lose it once more. A loop, because the way out of
    /// a switch is a preemption point, and one inside the other would have no end.
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
        self.note_picked(cpu, &mut queue);
        // No counts here: on a dead thread's stack they would never be given back.
        let Some(Switch { from, to }) = picked else {
            return;
        };
        SpinLockGuard::leave_locked(queue);
        // SAFETY: if it is dead, parked or on its way elsewhere the run queue holds a
        // count of it until `finish_switch`; if it is runnable, as long as it is
        // queued, which the lock keeps it; if it waits there is one in the frame that
        // called `schedule`.
        let from = unsafe { &*from };
        // SAFETY: the run queue holds a count of it while it is current.
        let to = unsafe { &*to };
        // SAFETY: `from` runs here; `to` was on this CPU's queue, so its registers are
        // saved (saved-registers), and it is on no queue now. Contexts live in their threads.
        unsafe { P::switch(from.context(), to.context()) };
        self.finish_switch(irqs);
    }

    /// The first act of a thread that has the CPU again, or for the first time: opens
    /// the run queue that the one before has locked, and looks after that one
    /// (`after-the-switch` of [`sched`](crate::sched)).
    fn finish_switch(&self, masked: &IrqGuard<P>) {
        let cpu = P::this_cpu();
        // SAFETY: the thread that ran here before has left it locked, for us.
        unsafe { self.queue(cpu).open_left() };
        if !P::has_preempt_work(PreemptWork::Previous) {
            return;
        }
        let previous = {
            let mut queue = self.queue(cpu).lock_masked(masked);
            P::set_preempt_work(PreemptWork::Previous, false);
            queue.previous.take()
        };
        match previous {
            Some((thread, Aftermath::Dead)) => self.finish_thread(&thread),
            // It may have been unparked since, and be on its way.
            Some((thread, Aftermath::Parked)) if thread.state() == ThreadState::Parked => {
                thread.stopped.complete();
            }
            Some((thread, Aftermath::Elsewhere)) => self.place_elsewhere(thread, masked),
            Some((_, Aftermath::Parked)) | None => {}
        }
    }

    /// `thread` is dead, and its CPU has just left it: gives back what it needed to run,
    /// though handles to it may live on, and tells the threads that wait for its end.
    fn finish_thread(&self, thread: &Thread<P>) {
        // SAFETY: it is dead, so no CPU switches to it again, and this CPU, the only one
        // that ran on its stack, runs another thread now.
        unsafe { P::release_stack(thread.context()) };
        self.let_held_cpus_go(thread);
        thread.stopped.complete_all();
        // Last: a caller that finds it ended need not wait for it.
        thread.block_state.end();
    }

    /// The first steps of a new thread, which the switch has brought here.
    pub(super) fn begin_thread(&self) {
        self.finish_switch(&IrqGuard::new());
        // SAFETY: a thread begins with IRQs masked, and without a guard but that one,
        // which has ended.
        unsafe { P::irq_enable() };
    }

    /// As [`Scheduler::note_here`], just after the most urgent thread was picked.
    #[inline]
    fn note_picked(&self, cpu: CpuId, queue: &mut RunQueue<P>) {
        if queue.is_empty() {
            P::set_preempt_work(PreemptWork::Reschedule, false);
            self.note_load(cpu, queue);
        } else {
            self.note_here(cpu, queue);
        }
    }

    /// After a change of this CPU's queue: says at its preemption points whether the
    /// running thread is to lose the CPU, begins its slice if somebody waits for that
    /// to end, and tells the other CPUs whether there is work for them.
    #[inline]
    pub(super) fn note_here(&self, cpu: CpuId, queue: &mut RunQueue<P>) {
        let preempt = queue.should_preempt();
        P::set_preempt_work(PreemptWork::Reschedule, preempt);
        if preempt {
            return; // The switch says the rest.
        }
        if let Some(end) = queue.begin_slice() {
            self.timers.get(cpu).set_slice(end);
        }
        self.note_load(cpu, queue);
    }

    /// What a CPU does when it has nothing to do: runs what becomes runnable,
    /// else calls `sleep_fn` with IRQs masked, which sleeps until an interrupt is
    /// pending, or turns the CPU off.
    ///
    /// Nobody else makes it look at its queue: who puts a thread there sends an SGI,
    /// which ends the sleep, and whose handler notes it (`told-by-sgi` of
    /// [`sched`](crate::sched)).
    ///
    /// # Context
    /// The idle thread of this CPU.
    pub fn idle(&self, mut sleep_fn: impl FnMut()) -> ! {
        // A CPU that has just come up gets here as it entered: everything masked.
        // SAFETY: this never returns, so no guard that its callers may have is used again,
        // and `sleep_fn` is called with IRQs masked.
        unsafe { P::irq_enable() };
        loop {
            self.pull();
            let masked = IrqGuard::<P>::new();
            if !P::has_preempt_work(PreemptWork::Reschedule) {
                sleep_fn();
            }
            // The window in which what ended the sleep is handled, and at whose end
            // a thread that became runnable takes the CPU. Left pending it would end the next
            // sleep at once.
            drop(masked);
            P::serve_interrupts();
        }
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

/// The running thread, to block by.
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
