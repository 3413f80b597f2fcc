//! Each CPU's timers: threads that sleep with a limit, functions to be called, and the
//! one-shot hardware timer behind them.
//!
//! Most limits are never reached, and to program a timer is dear, under a hypervisor
//! above all. So the timer is only ever moved to an earlier instant: one that was
//! cancelled, or that something later has replaced, still interrupts, finds nothing
//! due, and arms for what is first then. A CPU with nothing to wait for has no timer
//! running.
//!
//! When a CPU is gone the control CPU adopts what waited there (`prep:timers`), in the
//! order in which it was due; nobody adds to it any more then, because what is set is
//! set on the CPU that it is set from.
//!
//! # Concurrency
//! Lock order: run queue → timers → nothing; of two CPUs' timers that of the lower
//! number first. All of it with IRQs masked.

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

/// How often who [watches](Scheduler::watch) is interrupted.
const LOOK: Duration = Duration::from_secs(1);
/// How many timers are adopted before interrupts are let in.
const BATCH: usize = 64;

/// What one CPU's timer is armed for.
pub(crate) struct Timers<P: SchedHost> {
    inner: SpinLock<Inner<P>, P>,
    /// The address of the timer whose function runs here, or 0. Relaxed: this CPU's alone.
    runs: AtomicUsize,
    /// What that function is called.
    running: Running,
}

struct Inner<P: SchedHost> {
    sleepers: DueQueue<SleepLink<P>>,
    timers: DueQueue<TimerLink<P>>,
    /// Who wants an interrupt for its own sake, every [`LOOK`].
    watches: u32,
    /// When the next one is.
    look: Instant,
    /// When the running thread's slice ends.
    slice: Instant,
    /// What the timer itself is set to: never later than what is due first, but for what
    /// has come due in the interrupt that set it.
    armed: Instant,
}

/// Something that has come due.
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

    /// Moves the timer to `at`, if that is earlier than it is.
    fn bring_forward(&mut self, at: Instant) {
        if at < self.armed {
            self.armed = at;
            P::arm_timer(Some(at));
        }
    }

    /// Arms the timer for what is due first, whatever it was set to, but for no instant
    /// before `earliest`.
    fn arm(&mut self, earliest: Instant) {
        self.armed = self.first().max(earliest);
        P::arm_timer((self.armed != Instant::FOREVER).then_some(self.armed));
    }

    /// Takes out one thing that is due; a timer that is periodic is set again.
    fn pop(&mut self, now: Instant) -> Option<Expired<P>> {
        if let Some(thread) = self.sleepers.pop(now, |_, _| None) {
            return Some(Expired::Thread(thread));
        }
        let timer = self.timers.pop(now, |at, timer| {
            timer.begin_call();
            let period = timer.period.load(Ordering::Relaxed);
            (period > 0).then(|| {
                let missed = now.ticks_since(at) / period;
                at.after_ticks(period.saturating_mul(missed + 1))
            })
        })?;
        Some(Expired::Timer(timer))
    }
}

impl<P: SchedHost> Timers<P> {
    pub(crate) fn new(cpu: CpuId) -> Self {
        // Not for the validator: two of them are taken in the order of their CPUs.
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

    /// Context: `cpu` itself, IRQs masked.
    pub(super) fn set_slice(&self, at: Instant) {
        let mut inner = self.inner.lock_irqsave();
        inner.slice = at;
        inner.bring_forward(at);
    }

    /// Takes out one thing that was due when the interrupt `began`; if none was, arms the
    /// timer for what is next. A look and a slice that were due have come to pass by that.
    ///
    /// What has come due since, as with a timer whose period is shorter than its function,
    /// must wait for as long again as all this took: timers alone never have more than
    /// half of a CPU.
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

/// A thread of this CPU is interrupted now and then while this exists:
/// [`Scheduler::watch`].
///
/// Not `Send`: it speaks of the CPU that made it.
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
        // Already expired is as good as cancelled: the thread is awake.
        if let Some(mut inner) = self.lock_timers_of(&**me) {
            drop(inner.sleepers.remove(me));
        }
    }

    /// Has the timer interrupt `cpu` every second until the watch is dropped, for a
    /// thread that waits there with interrupts served and looks at the time then.
    ///
    /// # Context
    /// Thread that stays on `cpu`, which runs here.
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

    /// Sleeps until `at`, and not less.
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

    /// Sets `timer` on this CPU, wherever it was set before. By the function of a timer it
    /// is set to a tick from now at the earliest.
    pub(super) fn set_timer(&self, timer: &Arc<TimerNode<P>>, at: Instant, period: u64) {
        let _here = IrqGuard::<P>::new();
        let timers = self.timers.get(P::this_cpu());
        // By a timer's function: not due in the same interrupt, which would never end if
        // that sets itself to what is over.
        let at = match timers.runs.load(Ordering::Relaxed) {
            0 => at,
            _ => at.max(P::now().after_ticks(1)),
        };
        loop {
            let _was_set = self.unset_timer(timer);
            let mut inner = timers.inner.lock_irqsave();
            // Of two that set it at once the second finds it set, and replaces that.
            if inner.timers.insert(at, timer) {
                timer.period.store(period, Ordering::Relaxed);
                inner.bring_forward(at);
                return;
            }
        }
    }

    /// Takes `timer` out of the queue that it is in; returns whether it was in one.
    pub(super) fn unset_timer(&self, timer: &TimerNode<P>) -> bool {
        match self.lock_timers_of(timer) {
            Some(mut inner) => inner.timers.remove(timer).is_some(),
            None => false,
        }
    }

    /// Locks the queue that `thing` is in, if it is in one (`one-queue-a-thing` of `due`).
    fn lock_timers_of(&self, thing: &impl HasDue) -> Option<SpinLockGuard<'_, Inner<P>, P>> {
        loop {
            let cpu = thing.due().queue()?;
            let inner = self.timers.get(cpu).inner.lock_irqsave();
            if thing.due().queue() == Some(cpu) {
                return Some(inner);
            }
        }
    }

    /// The timer of `cpu` has lost its setting: sets it anew (`init:timer`).
    ///
    /// # Context
    /// `cpu` itself, IRQs masked.
    pub fn timer_was_reset(&self, cpu: CpuId) {
        self.timers.get(cpu).inner.lock_irqsave().arm(P::now());
    }

    /// The timer interrupt of this CPU: wakes and calls what is due by now, and arms the
    /// timer for what is next.
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
                    // Once, since it was taken out (called-when-due).
                    timers.running.note(timer.name, || (timer.call_fn)());
                    timers.runs.store(0, Ordering::Relaxed);
                    timer.end_call();
                }
            }
        }
        self.slice_interrupt();
    }

    /// Whether this is called, directly or not, by the function of `timer`.
    pub(super) fn runs_timer_here(&self, timer: &TimerNode<P>) -> bool {
        // With IRQs on it is no handler, and this CPU may be another one a moment later.
        !P::irqs_enabled() && {
            let timers = self.timers.get(P::this_cpu());
            timers.runs.load(Ordering::Relaxed) == core::ptr::from_ref(timer).addr()
        }
    }

    /// What the timer's function is called that runs on `cpu`, a moment ago: for diagnosis.
    pub fn running_timer_racy(&self, cpu: CpuId) -> Option<&'static str> {
        let running = self.timers.get(cpu).running.get();
        running.map(CallName::as_str)
    }

    /// Takes over all that waits on `cpu`, which is off, to this CPU (`prep:timers`).
    /// What is due at one instant stays in its order.
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
