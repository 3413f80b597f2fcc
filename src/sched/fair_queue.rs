//! Virtual runtime in a run queue: which thread is charged, and where a thread that comes stands.
//!
//! The ordinary threads that run or wait in one queue stand on its
//! [`TimeLine`](crate::sched::fair::TimeLine); the thread that is furthest behind runs next.
//! [`fair`](crate::sched::fair) has the rules.
//!
//! `charged` is the instant up to which the running thread has been charged: for its
//! time on the CPU, and for its virtual runtime. It is charged when it leaves the CPU,
//! and before its virtual runtime is compared with another.

#![forbid(unsafe_code)]

use alloc::sync::Arc;

use crate::cpu::CpuId;
use crate::sched::fair::{Distances, Front, Reach};
use crate::sched::{RunQueue, SchedHost, Thread};
use crate::time::Instant;

impl<P: SchedHost> RunQueue<P> {
    /// Puts `thread`, an ordinary one, on the time line of this queue.
    pub(super) fn admit(&mut self, thread: &Thread<P>, clock: impl FnOnce() -> u64) {
        let moved = thread.share.comes_from_queue();
        let reach = if thread.share.is_new() {
            Reach::NONE
        } else {
            self.distances.reach(moved, thread.share.weight())
        };
        let beside_others = self.weight() > 0;
        if beside_others {
            let _floor = self.settle_floor();
        }
        self.place(thread, reach, beside_others, clock);
        if beside_others {
            self.let_in(thread, moved);
        }
    }

    /// Ends the turn of the running thread, an ordinary one, if `thread` is far behind it. It
    /// comes from another queue if it has `moved` (`movers-go-first` of
    /// [`fair`](crate::sched::fair)), and else from a sleep (`sleepers-go-first` of
    /// [`fair`](crate::sched::fair)).
    #[inline]
    fn let_in(&mut self, thread: &Thread<P>, moved: bool) {
        let slices = if moved { 2 } else { 1 };
        let lag = self.distances.lag(thread.share.weight());
        let current = self.current.as_ref();
        let current = current.filter(|current| current.urgency.is_ordinary());
        let behind = thread.share.runtime().saturating_add(slices * lag);
        if current.is_some_and(|current| current.share.runtime() > behind) {
            self.slice_over = true;
        }
    }

    /// Gives `thread` its place on the time line: near the floor if there are others, else
    /// on a new line near the machine's clock.
    #[inline]
    fn place(
        &mut self,
        thread: &Thread<P>,
        reach: Reach,
        beside_others: bool,
        clock: impl FnOnce() -> u64,
    ) {
        let runtime = thread.share.runtime();
        let offset = if beside_others {
            self.line.admit(runtime, reach)
        } else {
            self.line.begin(runtime, clock(), reach)
        };
        thread.share.set_runtime(offset);
    }

    /// Returns the sum of the weights of the ordinary threads that run or are queued
    /// here; 0 if there is none.
    #[inline]
    pub(crate) fn weight(&self) -> u64 {
        let current = self.current.as_ref();
        self.ready.weight() + current.map_or(0, |current| current.ordinary_weight())
    }

    /// Charges the running thread for its time on the CPU up to now.
    #[inline(always)] // Into the switch, which does nothing else as often.
    pub(crate) fn charge_current(&mut self) {
        let now = P::now();
        let ticks = now.ticks_since(self.charged);
        self.charged = now;
        let current = self.current();
        current.counters.charge(ticks);
        if current.urgency.is_ordinary() {
            current.share.charge(self.fair_charge(ticks));
        } else if self.bandwidth.counts() {
            let level = current.level();
            self.bandwidth.charge(level, ticks);
        }
    }

    /// Returns for how many of `ticks` the running thread, an ordinary one, is charged
    /// (`stalls-are-forgiven` of [`fair`](crate::sched::fair)).
    #[inline]
    fn fair_charge(&self, ticks: u64) -> u64 {
        let most = self.distances.forgive;
        if ticks > most && self.ready.weight() > 0 {
            most
        } else {
            ticks
        }
    }

    /// Raises the floor to the least virtual runtime of the ordinary threads here.
    pub(super) fn update_floor(&mut self) {
        let current = self.current.as_ref();
        let current = current
            .filter(|current| current.urgency.is_ordinary())
            .map(|current| current.share.runtime());
        let first = self.ready.first_ordinary().map(|first| first.share.turn());
        if let Some(least) = current.into_iter().chain(first).min() {
            self.line.raise_floor(least);
        }
    }

    /// Returns the least virtual runtime of the ordinary threads here, as of now, on the
    /// machine's scale.
    pub(crate) fn settle_floor(&mut self) -> u64 {
        self.charge_current();
        self.update_floor();
        self.line.floor()
    }

    /// Forgives the ordinary threads here what they are behind `clock`, if that is much
    /// (`debts-are-forgiven` of [`fair`](crate::sched::fair)) and one of them can move.
    pub(crate) fn forgive(&mut self, clock: u64) {
        if let Some(first) = self.ready.first_movable_ordinary() {
            let weight = first.share.weight();
            self.line.forgive(clock, &self.distances, weight);
        }
    }

    /// Forgives an ordinary thread that runs here alone what it is behind `at`, where one of
    /// `weight` waits, but for what that one would be owed if it moved
    /// (`the-lone-are-owed-little` of [`fair`](crate::sched::fair)).
    pub(crate) fn forgive_lone(&mut self, at: u64, weight: u32) {
        self.charge_current();
        let current = self.current.as_deref();
        let current = current.filter(|current| current.urgency.is_ordinary());
        if let Some(lone) = current.filter(|_| self.ready.weight() == 0) {
            let reach = self.distances.reach(true, weight);
            self.line.lift_to(lone.share.runtime(), at, reach);
        }
    }

    /// Returns where this CPU is, if it has an ordinary thread: the one that runs or, behind a
    /// more urgent one, the one that is next. A thread that comes is next if it is before the
    /// first that waits, and before where the running thread will be at the end of a slice.
    pub(crate) fn front(&mut self) -> Option<Front> {
        self.charge_current();
        let current = self.current.as_deref();
        let first = self.ready.first_ordinary();
        let Some(current) = current.filter(|current| current.urgency.is_ordinary()) else {
            let runtime = self.line.absolute(first?.share.runtime());
            return Some(Front {
                running: runtime,
                next: runtime,
            });
        };
        let running = current.share.runtime();
        let next = first.map_or(running, |first| {
            let stops = running + current.share.virtual_ticks(self.distances.slice);
            stops.min(first.share.turn())
        });
        Some(Front {
            running: self.line.absolute(running),
            next: self.line.absolute(next),
        })
    }

    /// Returns the movable ordinary thread that has waited for most of its share, and its
    /// absolute virtual runtime.
    pub(crate) fn first_waiting(&self) -> Option<(&Thread<P>, u64)> {
        let thread = self.ready.first_movable_ordinary()?;
        Some((thread, self.line.absolute(thread.share.runtime())))
    }

    /// Changes what decides about the running thread's place with `change_fn`.
    pub(crate) fn change_current(
        &mut self,
        clock: impl FnOnce() -> u64,
        change_fn: impl FnOnce(&Thread<P>),
    ) {
        self.charge_current();
        let current = self.current();
        let was_ordinary = current.urgency.is_ordinary();
        self.leave(current);
        change_fn(current);
        if !current.urgency.is_ordinary() {
            return;
        }
        if was_ordinary {
            current.share.enter(&self.line);
        } else {
            let current = Arc::clone(current);
            let reach = self.distances.reach(false, current.share.weight());
            self.place(&current, reach, self.ready.weight() > 0, clock);
        }
    }

    /// Returns the instant up to which the running thread has been charged: in a switch,
    /// the instant of the switch.
    #[inline]
    pub(crate) fn charged(&self) -> Instant {
        self.charged
    }

    /// Returns the distances between virtual runtimes that count.
    pub(crate) fn distances(&self) -> Distances {
        self.distances
    }

    /// Assigns `thread`, which was taken out of this queue, to `cpu`, another one.
    pub(crate) fn send_off(&self, thread: &Thread<P>, cpu: CpuId) {
        self.depart(thread);
        thread.set_cpu(cpu);
        thread.counters.migrates();
    }

    /// Makes `thread`, which leaves this queue for another, keep its absolute virtual
    /// runtime, and what it waited for.
    pub(crate) fn depart(&self, thread: &Thread<P>) {
        if thread.urgency.is_ordinary() {
            thread.share.leave(&self.line);
            thread.share.moves();
        }
    }

    /// Makes `thread`, which sleeps from now on, keep its absolute virtual runtime.
    #[inline]
    pub(super) fn leave(&self, thread: &Thread<P>) {
        if thread.urgency.is_ordinary() {
            thread.share.leave(&self.line);
        }
    }
}
