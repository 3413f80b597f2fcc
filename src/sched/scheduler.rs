//! The scheduler: switching, waking, parking, spawning, idling.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::platform::{Platform, PreemptWork, Sgi};
use crate::sched::lock::PATIENCE;
use crate::sched::thread::Body;
use crate::sched::timers::Timers;
use crate::sched::{
    Class, Rest, Resting, Rouse, RunQueue, SpawnError, Thread, ThreadName, ThreadState,
};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{IrqGuard, PreemptGuard, SpinLock};
use crate::trace::Event;

/// What the scheduler needs from its right: where it is, and where its events
/// go.
pub trait Host: Platform {
    /// The one scheduler.
    fn sched() -> &'static Scheduler<Self>;

    /// Writes `event` into this CPU's trace ring.
    ///
    /// Context: any, with preemption or IRQs off.
    fn trace(event: Event);
}

/// Run queues, timers and thread counts of all CPUs.
pub struct Scheduler<P: Host> {
    queues: PerCpu<SpinLock<RunQueue<P>, P>>,
    /// Ordinary threads that live on each CPU. Relaxed: counted up under the
    /// hotplug lock, and a count that falls can only turn a refusal around.
    ordinary: PerCpu<AtomicU32>,
    pub(crate) timers: PerCpu<Timers<P>>,
}

impl<P: Host> Scheduler<P> {
    /// A scheduler for `cpus` CPUs, on which nothing runs yet.
    pub fn new(cpus: usize) -> Self {
        Scheduler {
            queues: PerCpu::new(cpus, |_| SpinLock::new_untracked(RunQueue::new())),
            ordinary: PerCpu::new(cpus, |_| AtomicU32::new(0)),
            timers: PerCpu::new(cpus, |_| Timers::new()),
        }
    }

    /// The idle thread of `cpu`, whose stack and registers are those of whoever
    /// calls [`Scheduler::start_cpu`] there.
    pub fn new_idle(&self, cpu: CpuId, context: P::Context) -> Arc<Thread<P>> {
        let name = ThreadName::new(format_args!("idle/{cpu}"));
        let idle = Thread::new(name, Class::Idle, cpu, ThreadState::Running, None);
        idle.set_context(context);
        idle
    }

    /// Says that this CPU now runs `idle`, which is us.
    ///
    /// Context: the CPU itself, IRQs masked, before it is online: nobody else
    /// takes its run-queue lock yet.
    pub fn start_cpu(&self, idle: &Arc<Thread<P>>) {
        self.queue(idle.cpu())
            .lock_irqsave()
            .start(Arc::clone(idle));
    }

    /// Makes a thread of `cpu` that will run `body`: parked, if it is to be
    /// unparked, else runnable at once.
    ///
    /// The caller sees to it that `cpu` doesn't leave meanwhile.
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    #[cfg_attr(debug_assertions, track_caller)]
    pub(crate) fn create(
        &self,
        name: ThreadName,
        class: Class,
        cpu: CpuId,
        parked: bool,
        body: Body,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        let thread = Thread::new(name, class, cpu, ThreadState::Parked, Some(body));
        let arg = Arc::as_ptr(&thread) as usize;
        let context = P::new_context(name.as_str(), thread_entry::<P>, arg)?;
        thread.set_context(context);
        if !parked {
            self.unpark(&thread);
        }
        Ok(thread)
    }

    /// Starts an ordinary thread on `cpu`, where it stays.
    ///
    /// # Context
    /// Thread; the caller holds the hotplug lock, so that `cpu` stays.
    ///
    /// # Errors
    /// [`SpawnError::NotActive`], [`SpawnError::OutOfStacks`]. Nothing has
    /// happened then.
    pub fn spawn(
        &self,
        name: ThreadName,
        cpu: CpuId,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Arc<Thread<P>>, SpawnError> {
        if !P::masks().is_active(cpu) {
            return Err(SpawnError::NotActive(cpu));
        }
        self.ordinary.get(cpu).fetch_add(1, Ordering::Relaxed);
        let counted = move || {
            body();
            P::sched().ordinary.get(cpu).fetch_sub(1, Ordering::Relaxed);
        };
        self.create(name, Class::Normal, cpu, false, Box::new(counted))
            .inspect_err(|_| {
                self.ordinary.get(cpu).fetch_sub(1, Ordering::Relaxed);
            })
    }

    /// Starts the first thread, on the boot CPU, which is not active yet: it is
    /// what makes it so.
    ///
    /// # Context
    /// Boot, as the idle thread of the boot CPU.
    ///
    /// # Errors
    /// [`SpawnError::OutOfStacks`].
    pub fn spawn_first(&self, body: Box<dyn FnOnce() + Send>) -> Result<(), SpawnError> {
        let name = ThreadName::new(format_args!("main"));
        self.ordinary
            .get(CpuId::BOOT)
            .fetch_add(1, Ordering::Relaxed);
        self.create(name, Class::Normal, CpuId::BOOT, false, body)?;
        Ok(())
    }

    /// How many ordinary threads live on `cpu`.
    pub fn ordinary_threads(&self, cpu: CpuId) -> u32 {
        self.ordinary.get(cpu).load(Ordering::Relaxed)
    }

    /// The running thread.
    pub fn current(&self) -> Arc<Thread<P>> {
        let _here = PreemptGuard::<P>::new();
        Arc::clone(self.queue(P::this_cpu()).lock_irqsave().current())
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
    /// With preemption off: the thread would take the guard's promise with it. With
    /// IRQs masked, as in a still point: who runs next would unmask them.
    pub fn schedule(&self) {
        assert!(
            P::preempt_count() == 0,
            "BUG: schedule with preemption off (count {})",
            P::preempt_count()
        );
        assert!(P::irqs_enabled(), "BUG: schedule with IRQs masked");
        self.switch(false);
    }

    /// Lets the other threads of this CPU run once.
    pub fn yield_now(&self) {
        self.schedule();
    }

    /// Where a stopper that waits takes the CPU (S5): the drop of the last
    /// guard. Does nothing with a guard held or IRQs masked.
    pub fn preempt_point(&self) {
        if P::preempt_count() == 0 && P::irqs_enabled() && P::has_preempt_work(PreemptWork::Stopper)
        {
            self.switch(true);
        }
    }

    /// As [`Scheduler::preempt_point`], at the end of an interrupt: IRQs
    /// masked, on the interrupted thread's stack.
    pub fn preempt_from_irq(&self) {
        if P::preempt_count() == 0 && P::has_preempt_work(PreemptWork::Stopper) {
            self.switch(true);
        }
    }

    fn switch(&self, only_stopper: bool) {
        let irqs = IrqGuard::<P>::new();
        let cpu = P::this_cpu();
        let picked = {
            let mut queue = self.queue(cpu).lock_irqsave();
            let picked = queue.pick_next(only_stopper);
            Self::note_stopper(&queue);
            // Counts held here, on a dead thread's stack, would never be given
            // back. Both threads stay: see the SAFETY lines below.
            picked.map(|switch| (Arc::as_ptr(&switch.from), Arc::as_ptr(&switch.to)))
        };
        if let Some((from, to)) = picked {
            // SAFETY: if it is dead or parked the run queue holds a count of it
            // until `finish_switch`; if it is runnable, as long as it is queued; if
            // it waits there is one in the frame that called `schedule`.
            let from = unsafe { &*from };
            // SAFETY: the run queue holds a count of it while it is current.
            let to = unsafe { &*to };
            // SAFETY: `from` runs here and `to` belongs to this CPU and doesn't
            // (it was on the queue); contexts live in their threads.
            unsafe { P::switch(from.context(), to.context()) };
            self.finish_switch();
        }
        drop(irqs);
    }

    /// Looks after the thread that ran here before (S4).
    fn finish_switch(&self) {
        if !P::has_preempt_work(PreemptWork::Previous) {
            return;
        }
        let previous = {
            let mut queue = self.queue(P::this_cpu()).lock_irqsave();
            P::set_preempt_work(PreemptWork::Previous, false);
            queue.previous.take()
        };
        let Some(previous) = previous else { return };
        match previous.state() {
            ThreadState::Dead => previous.stopped.complete_all(),
            ThreadState::Parked => previous.stopped.complete(),
            _ => {}
        }
    }

    /// S5: says at the preemption points of this CPU whether its stopper waits.
    fn note_stopper(queue: &RunQueue<P>) {
        P::set_preempt_work(PreemptWork::Stopper, queue.stopper_waits());
    }

    /// Makes `thread` run again if it waits; returns whether it did (or was
    /// about to). Any context.
    pub fn wake(&self, thread: &Arc<Thread<P>>) -> bool {
        self.rouse(thread, Rest::wake)
    }

    /// Lets a parked thread go on (S3); also one that was only asked to park.
    pub fn unpark(&self, thread: &Arc<Thread<P>>) {
        thread.stopped.reset();
        thread.rest.unpark(|| {
            self.rouse(thread, Rest::end_park);
        });
    }

    /// Asks `thread` to park without waiting until it has.
    pub fn ask_to_park(&self, thread: &Arc<Thread<P>>) {
        thread.rest.ask_to_park(|| {
            self.wake(thread);
        });
    }

    /// Parks `thread`, a per-CPU thread, and waits until it is off its CPU.
    ///
    /// # Context
    /// Thread, of another thread than `thread`.
    pub fn park(&self, thread: &Arc<Thread<P>>) {
        thread.work.wait::<P>();
        self.ask_to_park(thread);
        thread.stopped.wait_patiently(|| {
            log::warn!(
                "{} on CPU{} has not parked for {} s (it is {:?})",
                thread.name(),
                thread.cpu(),
                PATIENCE.as_secs(),
                thread.state_racy()
            );
        });
    }

    fn rouse(&self, thread: &Arc<Thread<P>>, move_fn: impl FnOnce(&Rest) -> Rouse) -> bool {
        let cpu = thread.cpu();
        let here = PreemptGuard::<P>::new();
        let kick = {
            let mut queue = self.queue(cpu).lock_irqsave();
            match move_fn(&thread.rest) {
                Rouse::GoesOn => return true,
                Rouse::Nothing => return false,
                Rouse::Enqueue => {}
            }
            queue.enqueue(Arc::clone(thread));
            if cpu == P::this_cpu() {
                Self::note_stopper(&queue);
                false
            } else {
                // Busy with ordinary work it finds the thread by itself.
                queue.current().class() == Class::Idle
            }
        };
        if kick {
            P::send_sgi(Sgi::Reschedule, &CpuMask::of(cpu));
        }
        drop(here);
        true
    }

    /// The end of the running thread.
    fn exit(&self) -> ! {
        {
            let queue = self.queue(P::this_cpu()).lock_irqsave();
            queue.current().set_state(ThreadState::Dead);
        }
        self.schedule();
        panic!("BUG: a dead thread was scheduled");
    }

    /// What a CPU does when it has nothing to do: runs what becomes runnable,
    /// else calls `sleep_fn` with IRQs masked, which sleeps until an interrupt is
    /// pending, or turns the CPU off.
    ///
    /// # Context
    /// The idle thread of this CPU.
    pub fn idle(&self, mut sleep_fn: impl FnMut()) -> ! {
        // A CPU that has just come up gets here as it entered: everything masked.
        P::irq_enable();
        loop {
            let masked = IrqGuard::<P>::new();
            let cpu = P::this_cpu();
            let work = !self.queue(cpu).lock_irqsave().is_empty();
            if work {
                drop(masked);
                P::irq_enable();
                self.schedule();
            } else {
                sleep_fn();
                // The window in which what ended the sleep is handled.
                drop(masked);
            }
        }
    }

    fn queue(&self, cpu: CpuId) -> &SpinLock<RunQueue<P>, P> {
        self.queues.get(cpu)
    }
}

/// The running thread, to rest by.
pub(crate) struct Running<'a, P: Host> {
    pub(crate) sched: &'a Scheduler<P>,
    pub(crate) me: &'a Thread<P>,
}

impl<P: Host> Resting for Running<'_, P> {
    fn rest(&self) -> &Rest {
        &self.me.rest
    }

    fn under_lock<R>(&self, move_fn: impl FnOnce(&Rest) -> R) -> R {
        let _queue = self.sched.queue(self.me.cpu()).lock_irqsave();
        move_fn(&self.me.rest)
    }

    fn schedule(&self) {
        self.sched.schedule();
    }
}

/// Where every thread begins: on its own stack, IRQs masked.
extern "C" fn thread_entry<P: Host>(arg: usize) -> ! {
    let sched = P::sched();
    sched.finish_switch();
    P::irq_enable();
    let body = {
        let me = sched.current();
        assert!(
            Arc::as_ptr(&me) as usize == arg,
            "BUG: {me:?} was started as another thread"
        );
        me.take_body()
    };
    if let Some(body) = body {
        body();
    }
    sched.exit()
}
