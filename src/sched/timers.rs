//! Each CPU's timers: threads that sleep with a limit, functions to be called, and the
//! one-shot hardware timer behind both.
//!
//! Most limits are never reached, and programming the hardware timer is expensive,
//! especially under a hypervisor. So the hardware timer is only ever moved to an
//! earlier instant. If its entry was cancelled or replaced by a later one, it still
//! interrupts, the handler finds no entry due, and arms it for the first entry. A CPU
//! on which nothing waits has no timer running.
//!
//! When a CPU is off, the control CPU adopts the entries that waited there
//! (`prep:timers`), in the order in which they were due. No entry is added there any
//! more then, because an entry is always added on the CPU that sets it.
//!
//! # Concurrency
//! The order of locks is in `docs/architecture.md`. All of these locks are held with IRQs
//! masked.

#![forbid(unsafe_code)]

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::time::Duration;

use crate::cpu::CpuId;
use crate::sched::due::{DueQueue, HasDue};
use crate::sched::links::{SleepLink, TimerLink};
use crate::sched::timer::TimerNode;
use crate::sched::{SchedHost, Scheduler, Thread};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{CallName, IrqGuard, Running, SpinLock, SpinLockGuard, might_sleep};
use crate::time::Instant;

/// How often a [watch](Scheduler::watch) makes the timer interrupt.
const LOOK: Duration = Duration::from_secs(1);
/// How many entries are adopted before interrupts are let in.
const BATCH: usize = 64;

/// The timers of one CPU.
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
    /// Number of live [`Watch`]es. While it isn't 0, the timer interrupts at least
    /// every [`LOOK`].
    watches: u32,
    /// When the next interrupt for the watches is due; `FOREVER` without a watch.
    look: Instant,
    /// When the running thread's slice ends.
    slice: Instant,
    /// The instant that the hardware timer is set to. Never later than the first entry,
    /// except for entries that have come due in the interrupt that set it.
    armed: Instant,
}

/// An entry that has come due.
enum Expired<P: SchedHost> {
    Thread(Arc<Thread<P>>),
    Timer(Arc<TimerNode<P>>),
}

impl<P: SchedHost> Inner<P> {
    fn first(&self) -> Instant {
        let sleeper = self.sleepers.next().unwrap_or(Instant::FOREVER);
        let timer = self.timers.next().unwrap_or(Instant::FOREVER);
        sleeper.min(timer).min(self.look).min(self.slice)
    }

    /// Moves the hardware timer to `at`, if that is earlier than its setting.
    fn bring_forward(&mut self, at: Instant) {
        if at < self.armed {
            self.armed = at;
            P::arm_timer(Some(at));
        }
    }

    /// Arms the hardware timer for the first entry, whatever its setting was, but for
    /// no instant before `earliest`.
    fn arm(&mut self, earliest: Instant) {
        self.armed = self.first().max(earliest);
        P::arm_timer((self.armed != Instant::FOREVER).then_some(self.armed));
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
        // Hidden from the lock validator: two of these locks are taken in the order of
        // their CPUs.
        Timers {
            inner: SpinLock::new_untracked(Inner {
                sleepers: DueQueue::new(cpu, SleepLink::NEW),
                timers: DueQueue::new(cpu, TimerLink::NEW),
                watches: 0,
                look: Instant::FOREVER,
                slice: Instant::FOREVER,
                armed: Instant::FOREVER,
            }),
            runs: AtomicUsize::new(0),
            running: Running::new(),
        }
    }

    /// Sets the instant at which the running thread's slice ends.
    ///
    /// # Context
    /// The CPU itself, IRQs masked.
    pub(super) fn set_slice(&self, at: Instant) {
        let mut inner = self.inner.lock_irqsave();
        inner.slice = at;
        inner.bring_forward(at);
    }

    /// Removes one entry that was due when the interrupt `began` and returns it. If
    /// there is none, arms the timer for the next entry, and clears a slice end and
    /// renews a watch interrupt that were due.
    ///
    /// An entry that has come due since, such as a timer whose period is shorter than
    /// its function, must wait for as long again as all this took. So timers never take
    /// more than half of a CPU.
    fn pop_expired(&self, began: Instant) -> Option<Expired<P>> {
        let mut inner = self.inner.lock_irqsave();
        let due = inner.pop(began);
        if due.is_none() {
            if inner.look <= began {
                inner.look = P::deadline(LOOK);
            }
            if inner.slice <= began {
                inner.slice = Instant::FOREVER;
            }
            let now = P::now();
            inner.arm(now.after_ticks(now.ticks_since(began)));
        }
        due
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
        might_sleep::<P>();
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

    /// Arms the timer of `cpu`, which has lost its setting, anew (`init:timer`).
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn timer_was_reset(&self, cpu: CpuId) {
        self.timers.get(cpu).inner.lock_irqsave().arm(P::now());
    }

    /// Handles the timer interrupt of this CPU: wakes the threads and calls the
    /// functions that are due by now, and arms the timer for the next entry.
    ///
    /// # Context
    /// Interrupt handler, IRQs masked.
    pub fn timer_interrupt(&self) {
        let timers = self.timers.get(P::this_cpu());
        let began = P::now();
        while let Some(expired) = timers.pop_expired(began) {
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

    /// Moves all entries that wait on `cpu`, which is off, to this CPU (`prep:timers`).
    /// Entries that are due at the same instant stay in their order.
    ///
    /// # Context
    /// Thread.
    pub fn adopt_timers(&self, cpu: CpuId) {
        while self.adopt_some(cpu) {}
    }

    fn adopt_some(&self, cpu: CpuId) -> bool {
        let _here = IrqGuard::<P>::new();
        let here = P::this_cpu();
        assert!(here != cpu, "BUG: {cpu:?} is to adopt its own timers");
        let lock = |cpu| self.timers.get(cpu).inner.lock_irqsave();
        let (mut from, mut to) = if cpu < here {
            let from = lock(cpu);
            (from, lock(here))
        } else {
            let to = lock(here);
            (lock(cpu), to)
        };
        for _ in 0..BATCH {
            let sleeper = from.sleepers.move_first(&mut to.sleepers);
            let moved = sleeper.or_else(|| from.timers.move_first(&mut to.timers));
            match moved {
                Some(at) => to.bring_forward(at),
                None => return false,
            }
        }
        true
    }
}
