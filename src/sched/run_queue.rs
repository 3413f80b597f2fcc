//! One CPU's run queue: which threads are runnable, which is next, and for how long.
//!
//! It only keeps records, under the run-queue lock. [`RunQueue::pick_next`] makes the
//! decision; a host test checks it against a small model.
//!
//! # Slices
//! A slice is counted only while another thread waits for its end. It begins when
//! another thread of the same level comes while a thread that takes turns has the CPU,
//! or when such a thread gets the CPU from another one. Then the timer is armed for its
//! end. Threads behind a more urgent thread wait as long as that runs, unless another CPU
//! helps: when they have waited for a slice (`help`), their CPU looks for one. A CPU that
//! is idle, or that runs a thread behind which no thread waits, has no timer running.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::config::NORMAL_SLICE;
use crate::platform::PreemptWork;
use crate::sched::bandwidth::Bandwidth;
use crate::sched::class::{KERNEL_LEVEL, LEVELS, NORMAL_LEVEL};
use crate::sched::fair::{Distances, TimeLine};
use crate::sched::flush_queue::FlushState;
use crate::sched::held_back::rank_if_held;
use crate::sched::help::Help;
use crate::sched::ready::{Order, ReadyQueue};
use crate::sched::report::Report;
use crate::sched::{SchedHost, Thread, ThreadState};
use crate::time::Instant;

/// The runnable threads of one CPU, and the one that runs.
pub struct RunQueue<P: SchedHost> {
    pub(crate) ready: ReadyQueue<P>,
    /// The running thread. `None`: the idle thread.
    pub(super) current: Option<Arc<Thread<P>>>,
    idle: Option<Arc<Thread<P>>>,
    /// A thread that was switched away from and has parked, has ended, or must move to
    /// another CPU, until the next thread has completed its aftermath
    /// (`after-the-switch` of [`sched`](crate::sched)). No other thread needs an entry:
    /// a thread that waits has an `Arc` of itself on its own stack, and a runnable one
    /// is queued.
    pub(crate) previous: Option<(Arc<Thread<P>>, Aftermath)>,
    /// When the running thread's slice ends.
    slice_end: Option<Instant>,
    /// The slice has ended, and a thread of the same level waits for the CPU.
    pub(super) slice_over: bool,
    /// When a thread that waits behind a more urgent one is looked after.
    pub(super) help: Help,
    /// The running thread may not stay on this CPU.
    pub(super) must_move: bool,
    /// The instant up to which the running thread has been charged.
    pub(super) charged: Instant,
    /// For how many ticks this CPU has run nothing: before it first came, and from each time that
    /// it went until it came again.
    away: u64,
    /// What realtime threads have had of this CPU.
    pub(super) bandwidth: Bandwidth,
    /// Where the ordinary threads of this queue are on the scale of virtual runtime.
    pub(super) line: TimeLine,
    pub(super) distances: Distances,
    /// How far this CPU is in a flush.
    pub(super) flush_state: FlushState,
    /// What was last reported to the other CPUs.
    pub(crate) reported: Report,
    /// A realtime thread may be run on another CPU, or one of another CPU here: to be
    /// looked after as soon as the switch is over.
    pub(crate) uneven: bool,
    /// A slice has ended: an ordinary thread that waits after the switch may be behind
    /// those that run elsewhere.
    pub(crate) balances: bool,
    /// When such a thread is looked for, if one waits for its turn: threads may give the CPU
    /// away before their slices end, time and again.
    next_look: Instant,
    /// Where the next search for a CPU that is ahead begins.
    pub(crate) probe: usize,
}

/// What the next thread must do for the thread that was switched away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// It has ended: wake the threads that join it.
    Dead,
    /// It has parked: wake the thread that waits for that.
    Parked,
    /// It may not stay here: queue it on another CPU. No other code does that.
    Elsewhere,
}

/// Why a CPU picks the next thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchReason {
    /// The running thread gives the CPU away: it waits, parks, yields, or has ended.
    GivesAway,
    /// It may be preempted here.
    MayBePreempted,
}

/// A decision to switch threads. The pointers are borrowed; [`RunQueue::pick_next`]
/// says what keeps each thread alive.
#[must_use]
#[derive(Debug)]
pub struct Switch<P: SchedHost> {
    /// The thread that ran until now.
    pub from: *const Thread<P>,
    /// The thread that runs next.
    pub to: *const Thread<P>,
}

impl<P: SchedHost> RunQueue<P> {
    /// Returns an empty queue of a CPU that runs nothing yet.
    pub fn new() -> Self {
        RunQueue {
            ready: ReadyQueue::new(),
            current: None,
            idle: None,
            previous: None,
            slice_end: None,
            slice_over: false,
            help: Help::new(),
            must_move: false,
            charged: Instant(0),
            away: 0,
            bandwidth: Bandwidth::new(),
            line: TimeLine::new(),
            distances: Distances::of_slice(P::frequency().duration_to_ticks(NORMAL_SLICE)),
            flush_state: FlushState::Outside,
            reported: Report::NOTHING,
            uneven: false,
            balances: false,
            next_look: Instant(0),
            probe: 0,
        }
    }

    /// Makes `idle` this CPU's idle thread: the CPU runs it now, and whenever no other
    /// thread is runnable.
    pub fn start(&mut self, idle: Arc<Thread<P>>) {
        idle.set_state(ThreadState::Running);
        self.current = None;
        self.idle = Some(idle);
        let now = P::now();
        self.away += now.ticks_since(self.charged);
        self.charged = now;
        self.bandwidth = Bandwidth::new();
        self.flush_state = FlushState::Outside; // It may have gone in the midst of one.
        P::set_preempt_work(PreemptWork::Flush, false);
        self.ready.set_order(Order::ByUrgency);
    }

    /// Returns the thread that runs here.
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

    /// Returns for how many ticks threads other than the idle one have had this CPU, up to when
    /// the running thread was charged last. `None` if the CPU has never run.
    pub fn busy_ticks(&self) -> Option<u64> {
        let idle = self.idle.as_ref()?.usage().ticks;
        Some(self.charged.0.saturating_sub(self.away + idle))
    }

    /// Returns this CPU's idle thread, if the CPU has ever run.
    pub(crate) fn idle_thread(&self) -> Option<&Thread<P>> {
        self.idle.as_deref()
    }

    /// Returns the level of the thread that runs here.
    #[inline]
    pub(super) fn current_level(&self) -> usize {
        self.current
            .as_ref()
            .map_or(LEVELS, |current| current.level())
    }

    /// Returns the most urgent level of the running thread and the queued ones. A
    /// thread that was queued a moment ago may not run yet. A CPU that holds realtime
    /// threads back counts as one that runs a thread of the kernel.
    pub(crate) fn most_urgent(&self) -> usize {
        let queued = self.ready.most_urgent_level().unwrap_or(LEVELS);
        let most = self.current_level().min(queued);
        if self.ready.holds_realtime() && self.weight() > 0 {
            most.min(KERNEL_LEVEL)
        } else {
            most
        }
    }

    /// Queues `thread` here, which becomes runnable unless it is about to wait. `clock` returns
    /// the scheduler's fair clock.
    ///
    /// # Panics
    /// If it is queued already (`queued-if-ready` of [`sched`](crate::sched)).
    #[inline]
    pub fn enqueue(&mut self, thread: Arc<Thread<P>>, clock: impl FnOnce() -> u64) {
        if !thread.block_state.is_leaving() {
            thread.set_state(ThreadState::Runnable);
        }
        self.enqueue_as_it_is(thread, clock);
    }

    /// Does as [`RunQueue::enqueue`], and keeps the thread's state.
    #[inline]
    pub(crate) fn enqueue_as_it_is(&mut self, thread: Arc<Thread<P>>, clock: impl FnOnce() -> u64) {
        if thread.urgency.is_ordinary() {
            self.admit(&thread, clock);
        }
        self.ready.push_back(thread);
    }

    /// Returns whether the running thread is above the ordinary level.
    pub(crate) fn runs_urgent(&self) -> bool {
        self.current_level() < NORMAL_LEVEL
    }

    /// Returns whether a stopper runs.
    pub(crate) fn runs_stopper(&self) -> bool {
        self.current_level() == 0
    }

    /// Returns whether no thread is queued.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Returns whether the idle thread runs.
    #[inline]
    pub fn runs_idle(&self) -> bool {
        self.current.is_none()
    }

    /// Returns whether the CPU has nothing to do.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.runs_idle()
    }

    /// Returns whether the running thread must lose the CPU: a more urgent thread
    /// waits, the slice is over, or the thread may not stay here.
    #[inline]
    pub fn should_preempt(&self) -> bool {
        let level = self.current_level();
        if self.ready.order() != Order::ByUrgency {
            return self.should_preempt_in_other_order();
        }
        self.must_move
            || match self.ready.most_urgent_level() {
                Some(first) => first < level || (first == level && self.slice_over),
                None => false,
            }
    }

    /// Has this CPU look after realtime threads that may run elsewhere, as soon as the
    /// switch that is under way or due is over.
    ///
    /// # Context
    /// The CPU itself.
    pub(crate) fn look_after_switch(&mut self) {
        self.uneven = true;
        P::set_preempt_work(PreemptWork::Previous, true);
    }

    /// Marks the running thread as one that may not stay here: it moves to another CPU
    /// as soon as it can be preempted.
    pub(crate) fn evict_current(&mut self) {
        self.must_move = true;
    }

    /// Returns whether the running thread takes turns and another thread of its level
    /// waits.
    #[inline]
    fn has_rival(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|current| current.takes_turns() && self.ready.has(current.level()))
    }

    /// Returns whether a turn of the running thread must begin.
    #[inline]
    fn wants_turn(&self) -> bool {
        !self.slice_over && self.slice_end.is_none() && self.has_rival()
    }

    /// Returns whether a slice must begin after which another CPU may help: a thread that
    /// another CPU could run waits behind a more urgent one. A stopper runs only briefly.
    #[inline]
    fn wants_help(&self) -> bool {
        self.ready.movable() > 0
            && (1..NORMAL_LEVEL).contains(&self.current_level())
            && self.help.due().is_none()
    }

    /// Returns whether a slice must begin: none is being counted, and a thread waits
    /// for its end. That is a thread of the same level with which the running thread
    /// takes turns, or one that another CPU could run.
    #[inline]
    pub fn wants_slice(&self) -> bool {
        self.wants_turn() || self.wants_help()
    }

    /// Begins slices at `now_fn()`, if one [is wanted](RunQueue::wants_slice). Returns the
    /// instant at which the first one ends.
    #[inline]
    pub fn begin_slice(&mut self, now_fn: impl FnOnce() -> Instant) -> Option<Instant> {
        if self.current_level() != NORMAL_LEVEL {
            return self
                .wants_slice()
                .then(|| self.begin_behind_urgent(now_fn()));
        }
        // It is ordinary, so its rivals are the other ordinary threads.
        if self.slice_over || self.slice_end.is_some() || self.ready.first_ordinary().is_none() {
            return None;
        }
        let left = self.current().take_slice_left();
        let now = now_fn();
        let end = now.after_ticks(left.unwrap_or(self.distances.slice));
        self.slice_end = Some(end);
        Some(end.min(self.next_look.max(now)))
    }

    /// Begins at `now` the slices that are wanted where no ordinary thread runs. Returns the
    /// instant at which the first one ends.
    #[inline(never)] // Seldom: so that `begin_slice` stays small.
    fn begin_behind_urgent(&mut self, now: Instant) -> Instant {
        if self.wants_help() {
            let _due = self.help.begin(now, self.distances.slice);
        }
        if self.wants_turn() {
            let current = self.current();
            let ticks = current.take_slice_left().unwrap_or_else(|| {
                let slice = current.class().slice().unwrap_or(NORMAL_SLICE);
                P::frequency().duration_to_ticks(slice)
            });
            self.slice_end = Some(now.after_ticks(ticks));
        }
        self.next_end().unwrap_or(Instant::FOREVER)
    }

    /// Returns when the first slice ends, if one is being counted, or a look is due.
    #[inline]
    pub fn next_end(&self) -> Option<Instant> {
        let ends = [self.slice_end, self.help.due(), self.look_due()];
        ends.into_iter().flatten().min()
    }

    /// Returns when to look for a thread that is behind, if one waits for the turn of an
    /// ordinary one.
    fn look_due(&self) -> Option<Instant> {
        (self.slice_end.is_some() && !self.runs_urgent()).then_some(self.next_look)
    }

    /// Ends the slices that are over, after the timer has fired. Returns whether one is over
    /// and a thread waits for that: to run here in turn, or to be moved to another CPU.
    pub fn end_slice(&mut self) -> bool {
        let now = P::now();
        let helps = self.help.end(now);
        let turns = self.slice_end.is_some_and(|end| now >= end);
        let looks = self.look_due().is_some_and(|due| now >= due);
        if turns {
            self.slice_end = None;
            self.slice_over = self.has_rival();
        }
        if turns || looks {
            self.next_look = now.after_ticks(self.distances.slice);
        }
        (turns && self.slice_over) || ((turns || helps || looks) && self.ready.movable() > 0)
    }

    /// Puts the running thread away and picks the next. Returns both, or `None` if the
    /// running thread runs on.
    ///
    /// The queue holds an `Arc` of the next thread for as long as that runs. The queue
    /// also holds one of the thread that ran until now, if that is still runnable or if
    /// the next thread must complete its aftermath (`after-the-switch` of
    /// [`sched`](crate::sched)). A thread that waits holds an `Arc` of itself in its
    /// own frame.
    ///
    /// # Panics
    /// If nothing runs here yet.
    pub fn pick_next(&mut self, reason: SwitchReason) -> Option<Switch<P>> {
        if reason == SwitchReason::MayBePreempted && !self.should_preempt() {
            return None;
        }
        let from = Arc::as_ptr(self.current());
        self.charge_current();
        let next = match (self.current.take(), reason) {
            (Some(current), SwitchReason::GivesAway) => self.give_away(current),
            (Some(current), reason) => {
                self.put_previous(current, reason);
                self.ready.pop()
            }
            (None, _) => self.ready.pop(),
        };
        self.slice_end = None;
        self.slice_over = false;
        self.must_move = false;
        self.current = next;
        if self.help.due().is_some() {
            self.pause_help();
        }
        if let Some(next) = &self.current
            && !next.block_state.is_leaving()
        {
            next.set_state(ThreadState::Running);
        }
        let to = Arc::as_ptr(self.current());
        (from != to).then_some(Switch { from, to })
    }

    /// Notes that a thread behind which others wait has just left the CPU.
    #[cold]
    fn pause_help(&mut self) {
        self.help.pause(self.charged);
    }

    /// Puts `current`, which gives the CPU away, where its state says. Returns the thread
    /// that is next. A thread that yields goes behind the others of its level, and is next
    /// if all others are less urgent.
    #[inline]
    fn give_away(&mut self, current: Arc<Thread<P>>) -> Option<Arc<Thread<P>>> {
        match current.state() {
            ThreadState::Blocking => {
                current.leaves_by_itself();
                self.leave(&current);
                current.block_state.settle();
                return self.ready.pop(); // The thread's own frame holds a count of it.
            }
            ThreadState::Running if !self.must_move => {}
            _ => return self.give_away_for_good(current),
        }
        current.leaves_by_itself();
        let rank = || rank_if_held(Some(&*current));
        let Some(next) = self.ready.pop_as_urgent(current.level(), rank) else {
            if self.ready.order() == Order::MarkedOnly {
                return self.give_away_for_good(current); // (`only-marked-run` of `flush`)
            }
            return Some(current);
        };
        current.set_state(ThreadState::Runnable);
        self.ready
            .push_yielding(current, Some(&next), self.distances.slice);
        Some(next)
    }

    /// Does as [`RunQueue::give_away`] for a thread that parks, has ended, must move, or may
    /// not have the CPU back.
    #[inline(never)] // Seldom.
    fn give_away_for_good(&mut self, current: Arc<Thread<P>>) -> Option<Arc<Thread<P>>> {
        self.put_previous(current, SwitchReason::GivesAway);
        self.ready.pop()
    }

    /// Puts the running thread, which is not the idle thread, where its state says.
    #[inline(always)] // Into the switch, for a preemption.
    fn put_previous(&mut self, current: Arc<Thread<P>>, reason: SwitchReason) {
        let preempted = reason == SwitchReason::MayBePreempted;
        if preempted {
            current.leaves_preempted();
        } else {
            current.leaves_by_itself();
        }
        match current.state() {
            ThreadState::Running => current.set_state(ThreadState::Runnable),
            // Preempted between "about to wait" and the wait itself: it is still
            // runnable, and will check its condition again.
            ThreadState::Blocking | ThreadState::Parking if preempted => {}
            ThreadState::Parking => {
                self.leave(&current);
                current.block_state.settle();
                return self.leave_to_next(current, Aftermath::Parked);
            }
            ThreadState::Dead => return self.leave_to_next(current, Aftermath::Dead),
            state => panic!("BUG: the running thread {current:?} is {state:?}"),
        }
        if self.must_move && !current.is_pinned() {
            self.depart(&current);
            return self.leave_to_next(current, Aftermath::Elsewhere);
        }
        if !preempted {
            self.ready
                .push_yielding(current, None, self.distances.slice);
            return;
        }
        // The timer may not have interrupted yet.
        let left = self.slice_end.map(|end| end.ticks_since(self.charged));
        if self.slice_over || left == Some(0) {
            self.ready.push_back(current);
        } else {
            if let Some(left) = left {
                current.set_slice_left(left);
            }
            self.ready.push_front(current);
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
