//! Each CPU's timers: threads that sleep with a limit, functions to be called, and the
//! one-shot hardware timer behind both.
//!
//! Most limits are never reached, and programming the hardware timer is expensive,
//! especially under a hypervisor. So the hardware timer is only ever moved to an
//! earlier instant. If its entry was cancelled or replaced by a later one, it still
//! interrupts, the handler finds no entry due, and arms it for the first entry. A CPU
//! on which nothing waits has no timer running.
//!
//! # Queues and the CPUs that serve them
//! Each CPU has a queue, and adds entries to that one only. As long as it is online it
//! *serves* the queue: its timer interrupts for the queue's first entry, and its handler
//! takes out what is due. When the CPU goes, the control CPU adopts its queue
//! (`sync:timers`): it serves that too from then on ([`Serving`]). No entry is touched,
//! so the time that this takes doesn't depend on how many wait. When the CPU comes back,
//! it serves its queue again (`init:timer`).
//!
//! # Invariants
//! - **every-queue-is-served**: for each queue with entries there is a CPU online that
//!   serves it, and whose timer is set to the first entry's instant or earlier. Between
//!   the still point in which a CPU leaves and its adoption there is none.
//! - **entries-stay**: an entry never moves to another CPU's queue, unless it is set
//!   again. No entry is added to the queue of a CPU that is off.
//!
//! # Concurrency
//! The order of locks is in `docs/architecture.md`. All of these locks are held with IRQs
//! masked, and only one of them at a time.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask};
use crate::sched::due::{DueQueue, HasDue};
use crate::sched::links::{SleepLink, TimerLink};
use crate::sched::serving::Serving;
use crate::sched::timer::TimerNode;
use crate::sched::{SchedHost, Scheduler, Thread};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{CallName, IrqGuard, Running, SpinLock, SpinLockGuard, might_sleep_in};
use crate::time::Instant;

/// How often a [watch](Scheduler::watch) makes the timer interrupt.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// The queue of one CPU, and the one-shot timer with which it serves that and others.
pub(crate) struct Timers<P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
    /// The address of the timer whose function runs here, or 0. Relaxed: only this CPU
    /// uses it.
    runs: AtomicUsize,
    /// The name of that function.
    running: Running,
}

struct Inner<P: SchedHost> {
    sleepers: DueQueue<SleepLink<P>>,
    timers: DueQueue<TimerLink<P>>,
    serving: Serving,
    /// Number of live [`Watch`]es. While it isn't 0, the timer interrupts at least
    /// every [`LOOK`].
    watches: u32,
    /// When the next interrupt for the watches is due; `FOREVER` without a watch.
    look: Instant,
    /// When the running thread's slice ends.
    slice: Instant,
    /// When a look at what realtime threads have had is due.
    bandwidth: Instant,
    /// The instant that the hardware timer is set to. Never later than the first entry
    /// of the queues that this CPU serves, except for entries that have come due in the
    /// interrupt that set it.
    armed: Instant,
}

/// An entry that has come due.
enum Expired<P: SchedHost> {
    Thread(Arc<Thread<P>>),
    Timer(Arc<TimerNode<P>>),
}

impl<P: SchedHost> Inner<P> {
    /// Returns the instant at which this queue's first entry is due.
    fn first(&self) -> Instant {
        let sleeper = self.sleepers.next().unwrap_or(Instant::FOREVER);
        let timer = self.timers.next().unwrap_or(Instant::FOREVER);
        sleeper.min(timer)
    }

    /// Moves the hardware timer to `at`, if that is earlier than its setting.
    fn bring_forward(&mut self, at: Instant) {
        if at < self.armed {
            self.armed = at;
            P::arm_timer(Some(at));
        }
    }

    /// Arms the hardware timer for the first entry, whatever its setting was, but for
    /// no instant before `earliest`. `adopted` is when the first entry of the adopted
    /// queues is due.
    fn arm(&mut self, adopted: Instant, earliest: Instant) {
        let scheduler = self.slice.min(self.bandwidth);
        let first = self.first().min(adopted).min(self.look).min(scheduler);
        self.armed = first.max(earliest);
        P::arm_timer((self.armed != Instant::FOREVER).then_some(self.armed));
    }

    /// Arms the hardware timer when no entry is left that was due when the interrupt
    /// `began`, clears the instants of the scheduler that were due, and renews a watch
    /// interrupt that was.
    fn rest(&mut self, adopted: Instant, began: Instant) {
        if self.look <= began {
            self.look = P::deadline(LOOK);
        }
        if self.slice <= began {
            self.slice = Instant::FOREVER;
        }
        if self.bandwidth <= began {
            self.bandwidth = Instant::FOREVER;
        }
        let now = P::now();
        self.arm(adopted, now.after_ticks(now.ticks_since(began)));
    }

    /// Removes one entry that is due and returns it. A periodic timer is set again.
    fn pop(&mut self, now: Instant) -> Option<Expired<P>> {
        if let Some(thread) = self.sleepers.pop(now, |_, _| None) {
            return Some(Expired::Thread(thread));
        }
        let timer = self.timers.pop(now, |at, timer| {
            timer.begin_call();
            let period_ticks = timer.period_ticks.load(Ordering::Relaxed);
            (period_ticks > 0).then(|| {
                let missed = now.ticks_since(at) / period_ticks;
                at.after_ticks(period_ticks.saturating_mul(missed + 1))
            })
        })?;
        Some(Expired::Timer(timer))
    }
}

impl<P: SchedHost> Timers<P> {
    pub(crate) fn new(cpu: CpuId) -> Self {
        // Hidden from the lock validator: taken under the locks of run queues, which are
        // hidden too.
        Timers {
            inner: SpinLock::new_untracked(Inner {
                sleepers: DueQueue::new(cpu, SleepLink::NEW),
                timers: DueQueue::new(cpu, TimerLink::NEW),
                serving: Serving::new(cpu),
                watches: 0,
                look: Instant::FOREVER,
                slice: Instant::FOREVER,
                bandwidth: Instant::FOREVER,
                armed: Instant::FOREVER,
            }),
            runs: AtomicUsize::new(0),
            running: Running::new(),
        }
    }

    /// Sets the instant at which the running thread's slice ends.
    ///
    /// # Context
    /// The CPU itself.
    #[inline]
    pub(super) fn set_slice(&self, at: Instant, masked: &IrqGuard<P>) {
        let mut inner = self.inner.lock_masked(masked);
        inner.slice = at;
        inner.bring_forward(at);
    }

    /// Sets the instant at which a look at what realtime threads have had is due.
    ///
    /// # Context
    /// The CPU itself, IRQs masked.
    pub(super) fn set_look(&self, at: Instant) {
        let mut inner = self.inner.lock_irqsave();
        inner.bandwidth = at;
        inner.bring_forward(at);
    }
}

/// While it exists, the timer interrupts the CPU on which it was made at least every
/// second: [`Scheduler::watch`].
///
/// Not `Send`: it belongs to the CPU that made it.
#[must_use]
#[derive(Debug)]
pub struct Watch<P: SchedHost> {
    cpu: CpuId,
    _not_send: PhantomData<(*const (), P)>,
}

impl<P: SchedHost> Drop for Watch<P> {
    fn drop(&mut self) {
        let mut inner = P::sched().timers.get(self.cpu).inner.lock_irqsave();
        inner.watches -= 1;
        if inner.watches == 0 {
            inner.look = Instant::FOREVER;
        }
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Waits for a wake as [`Scheduler::schedule`] does, but not past `at`.
    ///
    /// # Context
    /// Thread, IRQs on, after [`Scheduler::about_to_block`].
    pub fn schedule_until(&self, me: &Arc<Thread<P>>, at: Instant) {
        if at == Instant::FOREVER {
            self.schedule();
            return;
        }
        {
            let _here = IrqGuard::<P>::new();
            let mut inner = self.timers.get(P::this_cpu()).inner.lock_irqsave();
            let inserted = inner.sleepers.insert(at, me);
            assert!(inserted, "BUG: {me:?} sleeps twice");
            inner.bring_forward(at);
        }
        self.schedule();
        // If the limit has passed already, the entry is in no queue and there is
        // nothing to cancel.
        if let Some(mut inner) = self.lock_timers_of(&**me) {
            drop(inner.sleepers.remove(me));
        }
    }

    /// Makes the timer interrupt `cpu` every second until the watch is dropped, for a
    /// thread that waits there with IRQs on and checks the time at each interrupt.
    ///
    /// # Context
    /// A thread that runs on `cpu` and stays there.
    pub fn watch(&self, cpu: CpuId) -> Watch<P> {
        let mut inner = self.timers.get(cpu).inner.lock_irqsave();
        inner.watches += 1;
        if inner.watches == 1 {
            inner.look = P::deadline(LOOK);
            let look = inner.look;
            inner.bring_forward(look);
        }
        Watch {
            cpu,
            _not_send: PhantomData,
        }
    }

    /// Sleeps until `at`, and never wakes earlier.
    ///
    /// # Context
    /// Thread, IRQs on.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn sleep_until(&self, at: Instant) {
        might_sleep_in::<P>("sleep");
        let me = self.current();
        while P::now() < at {
            self.about_to_block(&me);
            self.schedule_until(&me, at);
        }
    }

    /// Sets `timer` on this CPU, wherever it was set before: for `at`, and then every
    /// `period_ticks` ticks, or for `at` only if that is 0. If a timer's function
    /// calls this, the timer is due one tick from now at the earliest.
    pub(super) fn set_timer(&self, timer: &Arc<TimerNode<P>>, at: Instant, period_ticks: u64) {
        let _here = IrqGuard::<P>::new();
        let timers = self.timers.get(P::this_cpu());
        // If a timer's function calls this, the timer must not come due in the same
        // interrupt. The interrupt would never end if the function sets its own timer
        // to an instant that has passed.
        let at = match timers.runs.load(Ordering::Relaxed) {
            0 => at,
            _ => at.max(P::now().after_ticks(1)),
        };
        loop {
            let _was_set = self.unset_timer(timer);
            let mut inner = timers.inner.lock_irqsave();
            // If two CPUs set the timer at once, the second finds it set and replaces
            // that setting.
            if inner.timers.insert(at, timer) {
                timer.period_ticks.store(period_ticks, Ordering::Relaxed);
                inner.bring_forward(at);
                return;
            }
        }
    }

    /// Removes `timer` from its queue. Returns whether it was in one.
    pub(super) fn unset_timer(&self, timer: &TimerNode<P>) -> bool {
        match self.lock_timers_of(timer) {
            Some(mut inner) => inner.timers.remove(timer).is_some(),
            None => false,
        }
    }

    /// Locks the queue that holds `thing`, if any does (`one-queue-per-entry` of `due`).
    fn lock_timers_of(&self, thing: &impl HasDue) -> Option<SpinLockGuard<'_, Inner<P>, P>> {
        loop {
            let cpu = thing.due().queue()?;
            let inner = self.timers.get(cpu).inner.lock_irqsave();
            if thing.due().queue() == Some(cpu) {
                return Some(inner);
            }
        }
    }

    /// Removes one entry that was due when the interrupt `began` from a queue that this
    /// CPU serves, and returns it. If there is none, arms the timer for the next entry,
    /// and clears a slice end and renews a watch interrupt that were due.
    ///
    /// An entry that has come due since, such as a timer whose period is shorter than
    /// its function, must wait for as long again as all this took. So timers never take
    /// more than half of a CPU.
    fn pop_expired(&self, own: &Timers<P>, began: Instant) -> Option<Expired<P>> {
        let adopted = {
            let mut inner = own.inner.lock_irqsave();
            let due = inner.pop(began);
            if due.is_some() {
                return due;
            }
            let adopted = inner.serving.adopted();
            if adopted.is_empty() {
                inner.rest(Instant::FOREVER, began);
                return None;
            }
            adopted
        };
        let here = P::this_cpu();
        let mut first = Instant::FOREVER;
        let mut served_elsewhere = CpuMask::EMPTY;
        for cpu in adopted.iter() {
            let mut inner = self.timers.get(cpu).inner.lock_irqsave();
            // (`one-server-per-queue` of [`serving`](crate::sched::serving))
            if !inner.serving.is_served_by(here) {
                served_elsewhere.insert(cpu);
                continue;
            }
            let due = inner.pop(began);
            if due.is_some() {
                return due;
            }
            first = first.min(inner.first());
        }
        let mut inner = own.inner.lock_irqsave();
        inner.serving.forget(&served_elsewhere);
        // No adopted queue has got an earlier entry since: none is added there
        // (entries-stay).
        inner.rest(first, began);
        None
    }

    /// Makes `cpu`, whose timer has lost its setting, serve its own queue, whichever CPU
    /// has served it meanwhile (`init:timer`).
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn serve_timers(&self, cpu: CpuId) {
        let mut inner = self.timers.get(cpu).inner.lock_irqsave();
        inner.serving.serve_own();
        inner.arm(Instant::FOREVER, P::now());
    }

    /// Handles the timer interrupt of this CPU: wakes the threads and calls the
    /// functions that are due by now, and arms the timer for the next entry.
    ///
    /// # Context
    /// Interrupt handler, IRQs masked.
    pub fn timer_interrupt(&self) {
        let timers = self.timers.get(P::this_cpu());
        let began = P::now();
        while let Some(expired) = self.pop_expired(timers, began) {
            match expired {
                Expired::Thread(thread) => {
                    self.wake(&thread);
                }
                Expired::Timer(timer) => {
                    timers
                        .runs
                        .store(Arc::as_ptr(&timer).addr(), Ordering::Relaxed);
                    // One call, because the timer was removed from its queue
                    // (called-when-due).
                    timers.running.note(timer.name, || (timer.call_fn)());
                    timers.runs.store(0, Ordering::Relaxed);
                    timer.end_call();
                }
            }
        }
        self.slice_interrupt();
    }

    /// Returns whether the caller runs, directly or not, inside the function of
    /// `timer`.
    pub(super) fn runs_timer_here(&self, timer: &TimerNode<P>) -> bool {
        // With IRQs on the caller is no handler, and may be on another CPU a moment
        // later.
        !P::irqs_enabled() && {
            let timers = self.timers.get(P::this_cpu());
            timers.runs.load(Ordering::Relaxed) == core::ptr::from_ref(timer).addr()
        }
    }

    /// Returns the name of the timer's function that ran on `cpu` a moment ago, for
    /// diagnosis.
    pub fn running_timer_racy(&self, cpu: CpuId) -> Option<&'static str> {
        let running = self.timers.get(cpu).running.get();
        running.map(CallName::as_str)
    }

    /// Makes this CPU serve the queues that `cpu` has served, which has left in a still
    /// point (`sync:timers`). Takes as long as `cpu` has adopted queues, however many
    /// entries are in them.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Panics
    /// If `cpu` is the CPU on which it runs.
    pub fn adopt_timers(&self, cpu: CpuId) {
        let _here = IrqGuard::<P>::new();
        let here = P::this_cpu();
        assert!(here != cpu, "BUG: {cpu:?} is to adopt its own timers");
        let lock = |cpu| self.timers.get(cpu).inner.lock_irqsave();
        let left = lock(cpu).serving.leave();
        let mut adopted = CpuMask::EMPTY;
        let mut first = Instant::FOREVER;
        for queue in left.iter() {
            let mut inner = lock(queue);
            if inner.serving.hand_over(cpu, here) {
                adopted.insert(queue);
                first = first.min(inner.first());
            }
        }
        let mut inner = lock(here);
        inner.serving.adopt(&adopted);
        inner.bring_forward(first); // (every-queue-is-served)
    }
}
