//! Sharing the CPUs: so that the most urgent threads run, that no thread waits beside an
//! idle CPU, and that equals get equal time.
//!
//! ```text
//!   a CPU goes idle                  pulls a thread that waits elsewhere
//!   a realtime thread is left        its CPU, or the CPU that queued it there, pushes it
//!     waiting                          to a CPU that runs something less urgent
//!   a CPU turns to something         pulls a realtime thread that waits elsewhere
//!     less urgent
//!   a slice ends                     the ordinary thread that is furthest behind moves to
//!                                      an idle CPU, or to one whose thread is far ahead
//! ```
//! There is no tick: a CPU that is idle, or whose running thread nobody waits behind,
//! does nothing of this. A CPU on which threads wait has a slice's end, and looks there.
//!
//! # Invariants
//! - **most-urgent-run**: a realtime thread waits only if no CPU on which it may run is
//!   idle or runs something less urgent. Between the instant at which that becomes untrue
//!   and the push or pull that mends it there is no more than an interrupt and a switch.
//!   A CPU on which realtime threads have had all that they may have doesn't count
//!   (`ordinary-get-the-rest` of `bandwidth`): an ordinary thread may run there meanwhile.
//! - **none-beside-idle**: a movable thread doesn't wait while a CPU on which it may run
//!   is idle. A waker and a CPU that goes idle see each other (`seen-by-one` of
//!   `cpu_map`).
//! - **stops-move-nothing**: a thread that makes room for a stopper stays where it is,
//!   because it has the CPU back in a moment. In a stop of the machine all CPUs do this at
//!   once: threads that moved would all go to the last CPU whose stopper runs. What was put
//!   off is looked at when the stopper leaves.
//! - **behind-moves**: at the end of a slice, or when threads have waited for a slice behind more
//!   urgent ones ([`help`](crate::sched::help)), or when a slice has passed since the last look
//!   and a thread waits for its turn, the ordinary thread that waits and is furthest behind moves
//!   to a CPU with less load where it would be next, before a thread that leads it by a slice, or
//!   by less if many wait here; and to any CPU whose running thread leads it by more than two
//!   slices: then something else takes time here, such as realtime threads that run for less than
//!   a slice. `Lags` of `fair` has the distances, which are those of the thread's own weight. A
//!   thread that waits behind a realtime one and is ahead of those elsewhere stays: they need the
//!   time more.

#![forbid(unsafe_code)]

use crate::cpu::{CpuId, CpuMask};
use crate::sched::class::NORMAL_LEVEL;
use crate::sched::report::Report;
use crate::sched::{RunQueue, SchedHost, Scheduler, Thread};
use crate::sync::IrqGuard;
use crate::sync::atomic::Ordering;

/// How many CPUs are looked at for a thread that is ahead, at the end of one slice.
const PROBES: usize = 16;

impl<P: SchedHost> Scheduler<P> {
    /// Tells the other CPUs `report`, which differs from what they know. Returns as
    /// [`Scheduler::note_load`].
    ///
    /// # Context
    /// Under the lock of `queue`, which is `cpu`'s.
    #[inline]
    pub(super) fn publish(&self, cpu: CpuId, queue: &mut RunQueue<P>, report: Report) -> bool {
        let known = core::mem::replace(&mut queue.reported, report);
        if report.waiting() != known.waiting() {
            self.publish_waiting(cpu, known.waiting(), report.waiting());
        }
        let (level, was) = (report.level(), known.level());
        if level != was {
            self.map.publish_level(cpu, was, level);
        }
        let waits = report.waiting_level();
        if waits != known.waiting_level() {
            let record = self.cpus.get(cpu);
            record.waiting_level.store(waits, Ordering::Relaxed);
            self.map.publish_waiting(cpu, waits != NORMAL_LEVEL);
        }
        // What is published comes before what is looked at (seen-by-one).
        self.map.published();
        let more_wait = report.waiting() > known.waiting();
        let looks = more_wait || (known.is_of_stopped() && report.waiting() > 0);
        if looks && self.map.any_idle() {
            // (none-beside-idle)
            self.call_helper(cpu, queue);
        }
        waits != NORMAL_LEVEL || (level > was && self.map.any_waiting())
    }

    /// Tells the other CPUs that `now` movable threads wait on `cpu`, and not `before`.
    fn publish_waiting(&self, cpu: CpuId, before: u64, now: u64) {
        self.cpus.get(cpu).waiting.store(now, Ordering::Relaxed);
        if P::accounts_waits() {
            self.account_wait(cpu, before, now);
        }
        if before == 0 {
            self.overloaded.fetch_add(1, Ordering::Relaxed);
        } else if now == 0 {
            self.overloaded.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Wakes an idle CPU that may run a thread that waits in `queue`, which is `cpu`'s.
    /// Returns whether there was one.
    #[inline(never)] // So that `publish`, which seldom comes here, stays small.
    fn call_helper(&self, cpu: CpuId, queue: &RunQueue<P>) -> bool {
        if self.flush.is_on() {
            return false; // No CPU may take one (`marked-stay` of `flush`).
        }
        let idle = self.map.idle_of(|word| P::masks().active_word(word));
        if idle.is_empty() {
            return false; // A CPU that is off is idle too, and would have all threads looked at.
        }
        let helper = queue.ready.cpu_for_one(&idle);
        let claimed = helper.filter(|helper| *helper != cpu && self.map.claim(*helper));
        if let Some(helper) = claimed {
            Self::send_reschedule(helper);
        }
        claimed.is_some()
    }

    /// Calls an idle CPU for `thread`, which has just lost `cpu`, this CPU, and waits in
    /// `queue`. If there is none, a realtime thread is looked after behind the switch.
    ///
    /// What the others know of this CPU may be the same as before: a thread waited here
    /// that may run nowhere else, and now it runs.
    #[inline(never)]
    pub(super) fn note_preempted(&self, cpu: CpuId, queue: &mut RunQueue<P>, thread: &Thread<P>) {
        if queue.runs_stopper() {
            queue.reported = queue.reported.of_stopped(); // (stops-move-nothing)
            return;
        }
        if self.flush.is_on() {
            return; // (`marked-stay` of `flush`)
        }
        let among = |word| thread.affinity.word(word) & P::masks().active_word(word);
        if self.map.any_idle()
            && let Some(idle) = self.map.claim_near(cpu, among)
        {
            Self::send_reschedule(idle);
        } else if thread.level() < NORMAL_LEVEL {
            queue.look_after_switch();
        }
    }

    /// Pulls a thread that waits on another CPU to this idle CPU, if there is one that
    /// may run here.
    ///
    /// # Context
    /// The idle thread.
    #[inline(always)] // Almost always there is none.
    pub(super) fn look_for_work(&self) {
        if self.overloaded.load(Ordering::Relaxed) > 0 {
            self.pull_any();
        }
    }

    #[inline(never)]
    fn pull_any(&self) {
        let here = IrqGuard::<P>::new();
        // The most urgent first, wherever it waits.
        if !self.pull_urgent(P::this_cpu(), &here) {
            let _from = self.pull_from_busiest(&here);
        }
    }

    /// Returns the CPUs other than `cpu` on which movable threads wait, and how many, as of a
    /// moment ago.
    fn crowded(&self, cpu: CpuId) -> impl Iterator<Item = (CpuId, u64)> {
        // Relaxed: a hint.
        let all = self.cpus.iter();
        let waiting = all.map(|(other, record)| (other, record.waiting.load(Ordering::Relaxed)));
        waiting.filter(move |(other, waiting)| *other != cpu && *waiting > 0)
    }

    /// Pulls a thread that may run on this CPU, from the CPU on which most wait if it can be.
    /// Returns from where.
    fn pull_from_busiest(&self, here: &IrqGuard<P>) -> Option<CpuId> {
        let cpu = P::this_cpu();
        if !P::masks().is_active(cpu) {
            return None;
        }
        let (busiest, _) = self.crowded(cpu).max_by_key(|(_, waiting)| *waiting)?;
        let pulls = |other: &CpuId| self.pull_from(*other, cpu, NORMAL_LEVEL + 1, here);
        // If no thread that waits there may run here: the other CPUs.
        let others = self.crowded(cpu).map(|(other, _)| other);
        core::iter::once(busiest).chain(others).find(pulls)
    }

    /// Calls idle CPUs to those on which threads wait. `cpu`, which was idle and has just got a
    /// thread, may have been called for another one, and that one must not wait beside other
    /// idle CPUs (none-beside-idle).
    ///
    /// # Context
    /// IRQs masked; no queue locked.
    #[cold]
    pub(super) fn pass_on(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        for (other, _) in self.crowded(cpu) {
            let queue = self.queue(other).lock_masked(masked);
            let _called = self.call_helper(other, &queue);
        }
    }

    /// Moves the first thread that waits on `from`, is more urgent than `level` and may
    /// run on `cpu`, which is this CPU. Returns whether there was one.
    fn pull_from(&self, from: CpuId, cpu: CpuId, level: usize, here: &IrqGuard<P>) -> bool {
        let (thread, turned) = {
            let mut queue = self.queue(from).lock_masked(here);
            if self.flush.is_on() {
                return false; // (`marked-stay` of `flush`)
            }
            let may_come = |thread: &Thread<P>| thread.is_movable() && thread.may_run_on(cpu);
            let mut thread = queue.ready.take_first_realtime(level, may_come);
            if thread.is_none() && level > NORMAL_LEVEL {
                thread = queue.ready.take_first_ordinary(may_come);
            }
            if let Some(thread) = &thread {
                queue.send_off(thread, cpu);
            }
            (thread, self.note_taken(from, &mut queue))
        };
        let Some(thread) = thread else { return false };
        self.enqueue(cpu, thread, here);
        if turned {
            self.look_again(from, here);
        }
        true
    }

    /// Records that a thread was taken out of `queue`, which is `cpu`'s. Returns whether that
    /// CPU must look again, when its queue's lock is open: the thread was about to preempt
    /// the running one, so the CPU has turned to something less urgent, and a realtime thread
    /// waits.
    pub(super) fn note_taken(&self, cpu: CpuId, queue: &mut RunQueue<P>) -> bool {
        let was = queue.reported.level();
        let _uneven = self.note_load(cpu, queue);
        queue.reported.level() > was && self.map.any_waiting()
    }

    /// Has `cpu` look for a realtime thread that waits elsewhere and may run there.
    ///
    /// # Context
    /// IRQs masked; no queue locked.
    pub(super) fn look_again(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        if cpu == P::this_cpu() {
            self.even_out(cpu, masked);
        } else {
            Self::send_reschedule(cpu); // The handler looks.
        }
    }

    /// Moves realtime threads to where they may run at once: those that wait on `cpu`,
    /// which is this CPU, to others, and one that waits elsewhere to this CPU.
    ///
    /// # Context
    /// IRQs masked.
    #[inline(never)]
    pub(super) fn even_out(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        self.push_urgent(cpu, masked);
        let _pulled = self.pull_urgent(cpu, masked);
        let balances = core::mem::take(&mut self.queue(cpu).lock_masked(masked).balances);
        if balances {
            self.move_behind(cpu, masked);
        }
    }

    /// Moves the realtime threads that wait on `from` to CPUs that run something less
    /// urgent (most-urgent-run).
    ///
    /// # Context
    /// IRQs masked; no queue locked.
    #[inline(never)]
    pub(super) fn push_urgent(&self, from: CpuId, masked: &IrqGuard<P>) {
        // Here, and then where one was pushed to.
        let mut uneven = CpuMask::of(from);
        // A thread that is pushed goes to a CPU that is less urgent each time, or is the
        // last one: the bound is for CPUs that change meanwhile, and push by themselves.
        for _ in 0..4 * P::masks().possible().count() {
            let Some(at) = uneven.first() else {
                return;
            };
            let Some((thread, to)) = self.take_pushable(at, masked) else {
                uneven.remove(at);
                continue;
            };
            if self.enqueue_once(to, thread, masked) {
                uneven.insert(to);
            }
        }
    }

    /// Removes a realtime thread that waits on `from` and could run elsewhere at once.
    /// Returns it, and the CPU to which it was assigned.
    fn take_pushable(
        &self,
        from: CpuId,
        masked: &IrqGuard<P>,
    ) -> Option<(alloc::sync::Arc<Thread<P>>, CpuId)> {
        let mut queue = self.queue(from).lock_masked(masked);
        if queue.should_preempt() {
            return None; // That CPU is about to switch, and looks then.
        }
        if self.flush.is_on() {
            return None; // (`marked-stay` of `flush`)
        }
        let mut to = None;
        let thread = queue.ready.take_first_realtime(NORMAL_LEVEL, |thread| {
            if thread.is_movable() {
                to = self.find_better(thread, from).filter(|to| *to != from);
            }
            to.is_some()
        });
        let (thread, to) = (thread?, to?);
        queue.send_off(&thread, to);
        let _uneven = self.note_load(from, &mut queue);
        Some((thread, to))
    }

    /// Pulls realtime threads that wait elsewhere to `cpu`, which is this CPU, until none
    /// that may run here is more urgent than all that are here (most-urgent-run). Returns
    /// whether there was one.
    fn pull_urgent(&self, cpu: CpuId, masked: &IrqGuard<P>) -> bool {
        // Each is more urgent than the one before. There are two if the most urgent one of
        // a queue may not run here, but the next may.
        let mut pulled = false;
        while self.pull_more_urgent(cpu, masked) {
            pulled = true;
        }
        pulled
    }

    fn pull_more_urgent(&self, cpu: CpuId, masked: &IrqGuard<P>) -> bool {
        if !self.map.any_waiting() || !P::masks().is_active(cpu) {
            return false;
        }
        let mine = self.queue(cpu).lock_masked(masked).most_urgent();
        // Relaxed: a hint; the level is looked at again under the lock.
        let level_at = |cpu: CpuId| {
            let record = self.cpus.get(cpu);
            record.waiting_level.load(Ordering::Relaxed)
        };
        let waiting = || {
            let others = self.map.waiting();
            others.filter(|other| *other != cpu && level_at(*other) < mine)
        };
        let Some(most) = waiting().min_by_key(|other| level_at(*other)) else {
            return false;
        };
        self.pull_from(most, cpu, mine, masked)
            || waiting().any(|other| self.pull_from(other, cpu, mine, masked))
    }

    /// Ends the running thread's slice in the timer interrupt, if the slice is over. If a
    /// movable thread waits, an idle CPU is called to take it, or it is moved to where it
    /// is further behind than those that run (behind-moves).
    ///
    /// # Context
    /// Interrupt handler.
    pub(super) fn slice_interrupt(&self) {
        let masked = IrqGuard::<P>::new();
        let cpu = P::this_cpu();
        let mut queue = self.queue(cpu).lock_masked(&masked);
        let turned = self.look_if_due(cpu, &mut queue);
        let throttled = turned && queue.bandwidth.is_spent();
        let over = queue.end_slice();
        if let Some(end) = queue.next_end() {
            // The other one, which this interrupt has cleared.
            self.timers.get(cpu).set_slice(end, &masked);
        }
        let helped = over && self.map.any_idle() && self.call_helper(cpu, &queue);
        let uneven = self.note_here(cpu, &mut queue);
        if turned {
            drop(queue);
            if throttled {
                self.say_throttled();
            }
            if uneven {
                self.even_out(cpu, &masked);
            }
            return;
        }
        if !over || helped {
            return;
        }
        drop(queue);
        self.move_behind(cpu, &masked);
    }

    /// Moves the ordinary thread that waits on `cpu`, this CPU, and is furthest behind, if
    /// it should run elsewhere (behind-moves).
    ///
    /// # Context
    /// IRQs masked; no queue locked.
    pub(super) fn move_behind(&self, cpu: CpuId, masked: &IrqGuard<P>) {
        let moved = {
            let mut queue = self.queue(cpu).lock_masked(masked);
            let moved = if queue.should_preempt() {
                // The thread that is next runs here, and may be the one that is furthest
                // behind. If one moves, it is one that waits then.
                queue.balances = true;
                queue.look_after_switch();
                None
            } else {
                self.take_behind(cpu, &mut queue)
            };
            let _uneven = self.note_here(cpu, &mut queue);
            moved
        };
        if let Some((thread, to)) = moved {
            self.enqueue(to, thread, masked);
        }
    }

    /// Removes the ordinary thread of `queue`, which is `cpu`'s, that is furthest behind,
    /// if it should run on another CPU. Returns it, and the CPU to which it was assigned.
    fn take_behind(
        &self,
        cpu: CpuId,
        queue: &mut RunQueue<P>,
    ) -> Option<(alloc::sync::Arc<Thread<P>>, CpuId)> {
        let floor = queue.settle_floor();
        let clock = self.clock.fetch_max(floor, Ordering::Relaxed).max(floor);
        queue.forgive(clock);
        let distances = queue.distances();
        let load = queue.weight();
        let cpus = P::masks().possible().count();
        let begin = queue.probe;
        queue.probe = (begin + PROBES) % cpus;
        if self.flush.is_on() {
            return None; // (`marked-stay` of `flush`)
        }
        let (thread, at) = queue.first_waiting()?;
        let lags = distances.lags(thread.share.weight(), load);

        let mut best = None;
        for step in 0..cpus.min(PROBES) {
            let other = CpuId::new((begin + step) % cpus)?;
            if other == cpu || !thread.may_run_on(other) || !P::masks().is_active(other) {
                continue;
            }
            // A queue that is locked is skipped: this CPU holds one already.
            let Some(mut there) = self.queue(other).try_lock_irqsave() else {
                continue;
            };
            there.forgive_lone(at, thread.share.weight());
            let Some(front) = there.front() else {
                continue;
            };
            let leads_by = |lag: u64, ahead: u64| ahead.saturating_sub(at) > lag;
            let fits = leads_by(lags.behind_running, front.running)
                || (leads_by(lags.behind_next, front.next) && there.weight() < load);
            if fits && best.is_none_or(|(most, _)| front.running > most) {
                best = Some((front.running, other));
            }
        }
        let (_, to) = best?;
        let thread = core::ptr::from_ref(thread);
        let thread = queue
            .ready
            .take_first_ordinary(|other| core::ptr::eq(other, thread))?;
        queue.send_off(&thread, to);
        Some((thread, to))
    }
}
