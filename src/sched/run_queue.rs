//! One CPU's run queue: who is runnable, who is next, and for how long.
//!
//! Pure bookkeeping behind the run-queue lock; the decision is
//! [`RunQueue::pick_next`], which a host test checks against a small model.
//!
//! # Slices
//! A slice is only counted while somebody waits for it to end. It begins when a
//! thread that takes turns has the CPU and another one of its level comes, or when it
//! gets the CPU from another one; then the timer is armed for its end. Behind a thread
//! that takes no turns others wait as long as it likes, unless another CPU is idle: the
//! end of its slice is when one is called to help. A CPU that is idle, or that runs a
//! thread behind which nobody waits, has no timer running.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::config::NORMAL_SLICE;
use crate::platform::PreemptWork;
use crate::sched::class::LEVELS;
use crate::sched::ready::ReadyQueue;
use crate::sched::{SchedHost, Thread, ThreadState};
use crate::time::Instant;

/// The threads of one CPU that want to run, and the one that does.
pub struct RunQueue<P: SchedHost> {
    pub(crate) ready: ReadyQueue<P>,
    /// Who runs; `None`: idle.
    current: Option<Arc<Thread<P>>>,
    idle: Option<Arc<Thread<P>>>,
    /// A thread that was switched away from for good, to park, or to go on elsewhere,
    /// until the next one has looked after it (`after-the-switch` of
    /// [`sched`](crate::sched)). Others need nothing: one that waits has a count of
    /// itself on its own stack, one that doesn't is queued.
    pub(crate) previous: Option<(Arc<Thread<P>>, Aftermath)>,
    /// When the running thread's slice ends.
    slice_end: Option<Instant>,
    /// It has ended, and somebody waits for the CPU.
    slice_over: bool,
    /// The running thread may not stay here.
    must_move: bool,
    /// Ordinary threads that wait here, as the other CPUs were told.
    pub(crate) told_waiting: u32,
}

/// What the next thread has to do for the one that was switched away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// It has ended: tell who joins it.
    Dead,
    /// It has parked: tell who waits for that.
    Parked,
    /// It may not stay here: queue it elsewhere. Nobody else does.
    Elsewhere,
}

/// Why a CPU looks for who runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchReason {
    /// The running thread gives the CPU away: it waits, parks, yields, or has ended.
    GivesAway,
    /// It may be preempted here.
    MayBePreempted,
}

/// A decision to switch threads. It holds no count of either: who keeps them says
/// [`RunQueue::pick_next`].
#[must_use]
#[derive(Debug)]
pub struct Switch<P: SchedHost> {
    /// Who ran until now.
    pub from: *const Thread<P>,
    /// Who runs next.
    pub to: *const Thread<P>,
}

impl<P: SchedHost> RunQueue<P> {
    /// An empty queue of a CPU that runs nothing yet.
    pub fn new() -> Self {
        RunQueue {
            ready: ReadyQueue::new(),
            current: None,
            idle: None,
            previous: None,
            slice_end: None,
            slice_over: false,
            must_move: false,
            told_waiting: 0,
        }
    }

    /// Says that `idle` is what this CPU runs, now and whenever nothing else is
    /// runnable.
    pub fn start(&mut self, idle: Arc<Thread<P>>) {
        idle.set_state(ThreadState::Running);
        self.current = None;
        self.idle = Some(idle);
    }

    /// The thread that runs here.
    ///
    /// # Panics
    /// Before [`RunQueue::start`].
    #[inline]
    pub fn current(&self) -> &Arc<Thread<P>> {
        self.current
            .as_ref()
            .or(self.idle.as_ref())
            .expect("BUG: this CPU runs no thread yet")
    }

    /// The level of the thread that runs here.
    #[inline]
    fn current_level(&self) -> usize {
        self.current
            .as_ref()
            .map_or(LEVELS, |current| current.level())
    }

    /// The most urgent level of what runs and is queued here: one that was queued a moment
    /// ago may not run yet.
    pub(crate) fn most_urgent(&self) -> usize {
        let queued = self.ready.first_level().unwrap_or(LEVELS);
        self.current_level().min(queued)
    }

    /// Makes `thread` runnable here.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    pub fn enqueue(&mut self, thread: Arc<Thread<P>>) {
        thread.set_state(ThreadState::Runnable);
        self.ready.push_back(thread);
    }

    /// Whether nothing but the running thread wants the CPU.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether the idle thread runs.
    #[inline]
    pub fn runs_idle(&self) -> bool {
        self.current.is_none()
    }

    /// How many threads wait here that another CPU could run. What an idle CPU has
    /// queued it is about to run itself; and a stopper is so brief that nothing is said
    /// meanwhile.
    #[inline]
    pub(crate) fn waiting(&self) -> u32 {
        match self.current_level() {
            0 => self.told_waiting,
            LEVELS => 0,
            _ => u32::try_from(self.ready.movable()).unwrap_or(u32::MAX),
        }
    }

    /// Whether the CPU has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.runs_idle()
    }

    /// Whether the running thread is to lose the CPU: somebody more urgent waits, its
    /// slice is over, or it may not stay here.
    #[inline]
    pub fn should_preempt(&self) -> bool {
        let level = self.current_level();
        self.must_move
            || match self.ready.first_level() {
                Some(first) => first < level || (first == level && self.slice_over),
                None => false,
            }
    }

    /// Says that the running thread may not stay here: it goes elsewhere as soon as
    /// it can be preempted.
    pub(crate) fn evict_current(&mut self) {
        self.must_move = true;
    }

    /// Whether the running thread takes turns, and somebody of its level waits for its own.
    #[inline]
    fn has_rival(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.takes_turns() && self.ready.has(current.level()))
    }

    /// Whether somebody waits for the end of a slice of the running thread, and none is
    /// being counted: one of its level, with which it takes turns, or one that another
    /// CPU could run. A stopper is so brief that it has none.
    #[inline]
    pub fn wants_slice(&self) -> bool {
        let helped = || !matches!(self.current_level(), 0 | LEVELS) && self.ready.movable() > 0;
        !self.slice_over && self.slice_end.is_none() && (self.has_rival() || helped())
    }

    /// Begins the running thread's slice, if it [wants one](RunQueue::wants_slice);
    /// returns when that ends.
    #[inline]
    pub fn begin_slice(&mut self) -> Option<Instant> {
        if !self.wants_slice() {
            return None;
        }
        let current = self.current();
        let end = match current.take_slice_left() {
            Some(left) => P::now().after_ticks(left),
            None => P::deadline(current.class().slice().unwrap_or(NORMAL_SLICE)),
        };
        self.slice_end = Some(end);
        self.slice_end
    }

    /// The timer has gone off: ends the slice, if it is over. Returns whether it is,
    /// and somebody waits for that: to run here in turn, or to be taken elsewhere.
    pub fn end_slice(&mut self) -> bool {
        let over = self.slice_end.is_some_and(|end| P::now() >= end);
        if over {
            self.slice_end = None;
            self.slice_over = self.has_rival();
        }
        over && (self.slice_over || self.ready.movable() > 0)
    }

    /// Decides what becomes of the running thread, and who runs next. Returns
    /// the two, or `None` if the running thread goes on.
    ///
    /// The queue keeps a count of who runs next for as long as it runs. Who ran until
    /// now is kept by the queue if it is still runnable, or if the next one has to look
    /// after it (`after-the-switch` of [`sched`](crate::sched)); one that waits keeps
    /// itself, in its own frame.
    ///
    /// # Panics
    /// If nothing runs here yet.
    pub fn pick_next(&mut self, reason: SwitchReason) -> Option<Switch<P>> {
        let preempted = reason == SwitchReason::MayBePreempted;
        if preempted && !self.should_preempt() {
            return None;
        }
        let from = Arc::as_ptr(self.current());
        if let Some(current) = self.current.take() {
            self.put_away(current, preempted);
        }
        self.slice_end = None;
        self.slice_over = false;
        self.must_move = false;

        self.current = self.ready.pop();
        if let Some(next) = &self.current
            && !matches!(next.state(), ThreadState::Blocking | ThreadState::Parking)
        {
            next.set_state(ThreadState::Running);
        }
        let to = Arc::as_ptr(self.current());
        (from != to).then_some(Switch { from, to })
    }

    /// What becomes of the running thread, which is not idle.
    fn put_away(&mut self, current: Arc<Thread<P>>, preempted: bool) {
        current.leaves_cpu(preempted);
        match current.state() {
            ThreadState::Running => current.set_state(ThreadState::Runnable),
            // Preempted between "about to wait" and the wait itself: it is still
            // running, and will look at its condition again.
            ThreadState::Blocking | ThreadState::Parking if preempted => {}
            ThreadState::Blocking => return current.block_state.settle(),
            ThreadState::Parking => {
                current.block_state.settle();
                return self.leave_to_next(current, Aftermath::Parked);
            }
            ThreadState::Dead => return self.leave_to_next(current, Aftermath::Dead),
            state => panic!("BUG: the running thread {current:?} is {state:?}"),
        }
        if self.must_move && !current.is_pinned() {
            return self.leave_to_next(current, Aftermath::Elsewhere);
        }
        if preempted && !self.slice_over {
            if let Some(end) = self.slice_end {
                current.set_slice_left(end.ticks_since(P::now()));
            }
            self.ready.push_front(current);
        } else {
            self.ready.push_back(current);
        }
    }

    fn leave_to_next(&mut self, thread: Arc<Thread<P>>, aftermath: Aftermath) {
        P::set_preempt_work(PreemptWork::Previous, true);
        self.previous = Some((thread, aftermath));
    }
}

impl<P: SchedHost> Default for RunQueue<P> {
    fn default() -> Self {
        Self::new()
    }
}
