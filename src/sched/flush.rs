//! Flush of preempted threads: every thread that was preempted in the middle of something
//! runs on until it gives its CPU away by itself, and nothing else runs meanwhile.
//!
//! A still point excludes code with preemption off. It doesn't exclude a thread that has read
//! a global and was preempted before it used what it read. Keith Owens asked in 2006 what
//! keeps such a thread from going on with the stale value, and Rusty Russell's answer was a
//! larger stop, which first schedules all preempted threads. Then anything that doesn't sleep
//! is a reader that the stop excludes. This is it.
//!
//! ```text
//!                   enters: the handler of       idles, and has no
//!                   the Reschedule SGI           marked thread
//!        Outside ─────────────────────► Flushes ──────────────────► Finished
//!           ▲                             │  ▲                         │ │
//!           │                             │  └──── a marked thread ────┘ │ the last one calls
//!           │                             │        comes (`unfinish`)    │ `last_finished`
//!           └─── the request is over: the same handler ────────────────┘
//! ```
//! While a CPU flushes it runs stoppers and marked threads, nothing else, however urgent. A
//! marked thread isn't preempted: the next thread comes when it sleeps, parks, yields or
//! ends. The thread that runs when the CPU enters counts as marked, unless it runs the code
//! of its application (`in_app`); then it is preempted, as a thread that holds nothing.
//!
//! A thread that computes inside the kernel, with preemption on or off, keeps its CPU from
//! finishing. The caller has a deadline for that, and [`Scheduler::flush_holders`] says which
//! CPU and which thread it is. A thread that polls for what an unmarked thread would do is
//! one of these.
//!
//! # Invariants
//! - **over-is-not-entered**: a CPU reads the request under its run-queue lock, enters it only
//!   if it is on, and leaves what is over. An SGI follows each change of the request, so a CPU
//!   that has read the word before looks again.
//! - **only-marked-run**: a CPU that flushes gives itself only to stoppers, to marked threads
//!   and to the idle thread.
//! - **marked-keep-the-cpu**: a thread that runs on such a CPU, and not in the code of its
//!   application, isn't preempted, not for a stopper either. So no thread gets a mark there,
//!   and marks only disappear.
//! - **marked-stay**: a CPU that has entered takes no thread off a queue to put it into
//!   another one while the request is on, unless that thread gives its CPU away itself: it
//!   looks at the request after it has locked the queue, with IRQs masked until the thread is
//!   queued again.
//! - **mover-counts**: a CPU that has not entered may be moving a marked thread, with IRQs
//!   masked. Its own share is still in `left` (`unfinished-counts` of `flush_word`), so where
//!   the thread arrives it gives the share of a CPU that has finished back.
//! - **told-once**: the hook is called at most once for a request: when every CPU is in the
//!   mode and none has a marked thread. If the request ends just then the hook may still be
//!   running, or have to begin. What [`Scheduler::end_flush`] returns says whether it is
//!   called at all (`last-or-ended` of `flush_word`): so the CPU that ends a request knows
//!   whether to wait for the hook.
//!
//! # What is orderly afterwards
//! Threads that were left waiting go on where they are when their CPU leaves, and are shared
//! out among the CPUs as after any other change. A change of affinity that would move a
//! marked thread waits for the end, and so does the way down of a CPU.

#![forbid(unsafe_code)]

use core::fmt;

use crate::cpu::{CpuId, CpuMask};
use crate::platform::Sgi;
use crate::sched::flush_queue::FlushState;
use crate::sched::lock::WaitQueue;
use crate::sched::ready::Order;
use crate::sched::{
    Finish, FlushEnd, FlushId, FlushWord, RunQueue, SchedHost, Scheduler, Thread, ThreadName,
};
use crate::sync::atomic::Ordering;
use crate::sync::{AtomicBits, IrqGuard, PreemptGuard, SpinLock, assert_may_schedule};
use crate::time::Instant;

/// What is done when the last CPU has finished.
pub trait FlushHook: Sync {
    /// The last CPU has finished the request `id`: every CPU is in the mode, idles, and has no
    /// marked thread. What all of them did before is visible.
    ///
    /// # Context
    /// That CPU, its idle thread or an interrupt handler; IRQs masked, no queue locked. It may
    /// wake stoppers, and end the request.
    fn last_finished(&self, id: FlushId);
}

/// The request that was made last.
struct Request {
    cpus: CpuMask,
    hook: Option<&'static dyn FlushHook>,
}

/// The flush of one machine: at most one request is on.
pub(super) struct Flush<P: SchedHost> {
    word: FlushWord,
    /// Set before the word says that the request is on, and not changed until the next one.
    /// Taken with a run queue locked, and nothing is taken under it.
    request: SpinLock<Request, P>,
    /// The CPUs that have finished the request that is on, at least once. Relaxed: for messages,
    /// where a run queue is locked.
    finished: AtomicBits,
    /// Threads that wait for the end of a request.
    over: WaitQueue<P>,
}

impl<P: SchedHost> Flush<P> {
    pub(super) fn new() -> Self {
        Flush {
            word: FlushWord::new(),
            request: SpinLock::new(Request {
                cpus: CpuMask::EMPTY,
                hook: None,
            }),
            finished: AtomicBits::new(),
            over: WaitQueue::new(),
        }
    }

    /// Returns whether a request is on (marked-stay).
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.word.is_on()
    }

    /// Returns whether the CPU of `queue` may have to enter a request or to leave one.
    #[inline]
    pub(super) fn concerns(&self, queue: &RunQueue<P>) -> bool {
        self.is_on() || queue.ready.order() == Order::MarkedOnly
    }

    /// Waits until no request is on.
    ///
    /// # Context
    /// Thread, preemption on.
    pub(super) fn wait_until_over(&self) {
        if self.is_on() {
            self.over.wait_until(Instant::FOREVER, || !self.is_on());
        }
    }
}

/// A CPU that has not finished a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushHolder {
    /// The CPU.
    pub cpu: CpuId,
    /// The thread that it runs; of a CPU that idles the next one. `None` if its run queue is
    /// locked.
    pub thread: Option<ThreadName>,
    /// It has entered the mode: it takes interrupts, and the thread doesn't give it away.
    pub entered: bool,
}

impl fmt::Display for FlushHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlushHolder {
            cpu,
            thread,
            entered,
        } = self;
        write!(f, "CPU {cpu}, ")?;
        match thread {
            Some(thread) => write!(f, "thread {thread}")?,
            None => f.write_str("its run queue locked")?,
        }
        if !entered {
            f.write_str(", takes no interrupts")?;
        }
        Ok(())
    }
}

impl<P: SchedHost> Scheduler<P> {
    /// Begins a flush of the preempted threads of `cpus`. `hook` is called when the last of
    /// those CPUs has finished. The caller's own thread is marked too until it sleeps, so the
    /// caller waits for the hook by a sleep. The mode lasts until [`Scheduler::end_flush`].
    ///
    /// * `cpus` — all CPUs that are online
    ///
    /// # Context
    /// Thread. One caller at a time; no CPU comes or goes until the mode has ended.
    ///
    /// # Panics
    /// If a flush is on.
    pub fn begin_flush(&self, cpus: &CpuMask, hook: &'static dyn FlushHook) -> FlushId {
        let here = PreemptGuard::<P>::new();
        *self.flush.request.lock_irqsave() = Request {
            cpus: *cpus,
            hook: Some(hook),
        };
        for cpu in cpus.iter() {
            self.flush.finished.clear(cpu.index(), Ordering::Relaxed);
        }
        let count = u32::try_from(cpus.count()).expect("BUG: CPU counts fit 32 bits");
        let id = self.flush.word.begin(count);
        self.have_all_look(cpus);
        drop(here);
        id
    }

    /// Ends the flush `id`, whether all CPUs have finished or not: they run all threads again.
    /// If it returns [`FlushEnd::Finished`] the hook was called or will be; it may still be
    /// running. If it returns [`FlushEnd::Unfinished`] the hook will never be called.
    ///
    /// # Context
    /// Any but a still point; also the hook itself.
    pub fn end_flush(&self, id: FlushId) -> FlushEnd {
        let cpus = self.flush.request.lock_irqsave().cpus;
        // One that has gone meanwhile begins anew when it comes.
        let cpus = cpus.and(&P::masks().online());
        let end = self.flush.word.end(id);
        if end != FlushEnd::Over {
            self.have_all_look(&cpus);
            self.flush.over.wake_all();
        }
        end
    }

    /// Has each of `cpus` look at the request (over-is-not-entered).
    fn have_all_look(&self, cpus: &CpuMask) {
        let masked = IrqGuard::<P>::new();
        let mut others = *cpus;
        others.remove(P::this_cpu());
        if !others.is_empty() {
            P::send_sgi(Sgi::Reschedule, &others);
        }
        self.look_at_queue(&masked);
    }

    /// Returns the CPUs that have not finished the flush `id`, as of a moment ago, with what
    /// keeps each. It takes no lock that another CPU holds.
    ///
    /// # Context
    /// Any.
    pub fn flush_holders(&self, id: FlushId) -> impl Iterator<Item = FlushHolder> {
        let cpus = self
            .flush
            .request
            .try_lock_irqsave()
            .map(|request| request.cpus);
        let cpus = cpus.unwrap_or_else(|| P::masks().online());
        let mut left = cpus;
        let next = core::iter::from_fn(move || {
            let cpu = left.first()?;
            left.remove(cpu);
            Some(cpu)
        });
        next.filter_map(move |cpu| self.flush_holder(cpu, id))
    }

    /// Returns what keeps `cpu` from finishing the flush `id`.
    fn flush_holder(&self, cpu: CpuId, id: FlushId) -> Option<FlushHolder> {
        let Some(queue) = self.queue(cpu).try_lock_irqsave() else {
            let finished = self.flush.finished.get(cpu.index(), Ordering::Relaxed);
            return (!finished).then_some(FlushHolder {
                cpu,
                thread: None,
                entered: false,
            });
        };
        if queue.flush_state == FlushState::Finished(id) {
            return None;
        }
        let next = queue.runs_idle().then(|| queue.ready.first_marked());
        let thread = next.flatten().unwrap_or(queue.current());
        Some(FlushHolder {
            cpu,
            thread: Some(*thread.name()),
            entered: queue.flush_state.entered() == Some(id),
        })
    }

    /// Enters the request that is on, or leaves the one that is over (over-is-not-entered), on
    /// `cpu`, which is this CPU.
    ///
    /// # Context
    /// In the handler of the Reschedule SGI, or as it; no queue locked.
    #[cold]
    #[inline(never)]
    pub(super) fn look_at_flush(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        let mut queue = self.queue(cpu).lock_masked(masked);
        let on = self.flush.word.look();
        let entered = queue.flush_state.entered();
        if on == entered {
            return;
        }
        if entered.is_some() {
            queue.leave_flush();
        }
        let takes_part = |_: &FlushId| self.flush.request.lock_irqsave().cpus.contains(cpu);
        if let Some(id) = on.filter(takes_part) {
            queue.enter_flush(id);
        }
        let finished = self.finish_flush(&mut queue);
        drop(queue);
        self.tell_last(finished);
    }

    /// Says that this CPU, whose queue this is, has finished, if it has just done so. The
    /// caller passes what this returns to [`Scheduler::tell_last`].
    ///
    /// # Context
    /// Under the lock of `queue`.
    #[inline]
    pub(super) fn finish_flush(&self, queue: &mut RunQueue<P>) -> Option<FlushId> {
        let id = queue.take_finished()?;
        self.flush
            .finished
            .set(P::this_cpu().index(), Ordering::Relaxed);
        (self.flush.word.finish(id) == Finish::Last).then_some(id)
    }

    /// Calls the hook, if `finished` is a request that this CPU was the last to finish
    /// (told-once).
    ///
    /// # Context
    /// IRQs masked, no queue locked.
    #[inline]
    pub(super) fn tell_last(&self, finished: Option<FlushId>) {
        if let Some(id) = finished {
            let hook = self.flush.request.lock_irqsave().hook;
            if let Some(hook) = hook {
                hook.last_finished(id);
            }
        }
    }

    /// Notes that `thread` is about to be put into `queue`, whose CPU flushes (mover-counts).
    ///
    /// # Context
    /// Under the lock of `queue`.
    #[cold]
    #[inline(never)]
    pub(super) fn note_arrival(&self, queue: &mut RunQueue<P>, thread: &Thread<P>) {
        if let FlushState::Finished(id) = queue.flush_state
            && thread.is_marked_racy()
        {
            queue.flush_state = FlushState::Flushes(id);
            self.flush.word.unfinish(id);
        }
    }

    /// Has a thread that has returned to the code of its application give its CPU away, if
    /// that flushes.
    ///
    /// # Context
    /// The thread itself, or a handler that interrupts it.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_back_in_app(&self) {
        let masked = IrqGuard::<P>::new();
        let cpu = P::this_cpu();
        let mut queue = self.queue(cpu).lock_masked(&masked);
        let _uneven = self.note_here(cpu, &mut queue);
    }

    /// Says that the running thread holds no reference: it is unmarked, as if it had just
    /// slept. If its CPU flushes it gives the CPU away.
    ///
    /// # Context
    /// Thread.
    ///
    /// # Panics
    /// As [`assert_may_schedule`].
    pub fn quiescent(&self) {
        assert_may_schedule::<P>("quiescent");
        if self.with_current(Thread::is_unfinished_racy) {
            let masked = IrqGuard::<P>::new();
            let _queue = self.queue(P::this_cpu()).lock_masked(&masked);
            self.with_current(Thread::leaves_by_itself);
        }
        if self.is_flushed_here() {
            self.schedule();
        }
    }

    /// Returns whether this CPU flushes, as of a moment ago.
    fn is_flushed_here(&self) -> bool {
        let masked = IrqGuard::<P>::new();
        let queue = self.queue(P::this_cpu()).lock_masked(&masked);
        queue.ready.order() == Order::MarkedOnly
    }
}
