//! Model of priority inheritance: the kernel's `sched::lock::{Turns, Lenders, Place}`, with
//! the states of a thread (`sched::BlockState`). When all threads are quiet, each has the
//! level of the most urgent one that waits for it, over any number of mutexes; none sleeps
//! that should lend on; and at the end nothing is lent.
//!
//! The model replaces the scheduler's switch, as `tests/loom_permit.rs` does. The lock of a
//! mutex's line, of a thread's loans and of its run queue are mutexes of the model.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;

use std::sync::Arc;

use intrusive_collections::{LinkedListAtomicLink, intrusive_adapter};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};
use loom::thread;
use loom_orders::every_order;
use stillpoint::sched::lock::{Heir, Lenders, Place, Turn, Turns};
use stillpoint::sched::{BlockState, Blocker, Class, Priority, ThreadState, Wakeup};

/// What changes under the lock of the run queue, beside the state.
struct Levels {
    own: usize,
    inherited: usize,
}

/// A thread.
struct Member {
    wait_link: LinkedListAtomicLink,
    lend_link: LinkedListAtomicLink,
    place: Place,
    /// The level. Relaxed, as the kernel's: changed under the lock of the run queue.
    level: AtomicUsize,
    lenders: Mutex<Lenders<Member>>,
    block_state: BlockState,
    run_queue: Mutex<Levels>,
    /// Notified when the thread is put on the run queue, and when it leaves it.
    switched: Condvar,
}

intrusive_adapter!(WaitLink = Arc<Member>: Member { wait_link => LinkedListAtomicLink });
intrusive_adapter!(LendLink = Arc<Member>: Member { lend_link => LinkedListAtomicLink });

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("never poisoned")
}

impl Blocker for Member {
    fn block_state(&self) -> &BlockState {
        &self.block_state
    }

    fn under_lock<R>(&self, move_fn: impl FnOnce(&BlockState) -> R) -> R {
        let _queue = held(&self.run_queue);
        move_fn(&self.block_state)
    }

    fn schedule(&self) {
        let mut queue = held(&self.run_queue);
        self.block_state.settle();
        self.switched.notify_all();
        while self.block_state.state() == ThreadState::Blocked {
            queue = self.switched.wait(queue).expect("never poisoned");
        }
        self.block_state.set_state(ThreadState::Running);
    }
}

impl Heir for Member {
    type WaitLink = WaitLink;
    type LendLink = LendLink;
    const WAIT_LINK: WaitLink = WaitLink::NEW;
    const LEND_LINK: LendLink = LendLink::NEW;

    fn wait_link(&self) -> &LinkedListAtomicLink {
        &self.wait_link
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn level(&self) -> usize {
        self.level.load(Ordering::Relaxed)
    }

    fn with_lenders<R>(&self, change_fn: impl FnOnce(&mut Lenders<Member>) -> R) -> R {
        change_fn(&mut held(&self.lenders))
    }

    fn inherit(thread: &Arc<Member>, level: usize) {
        thread.change(|levels| levels.inherited = level);
    }

    fn about_to_block(me: &Arc<Member>) {
        Blocker::about_to_block(&**me);
    }

    fn wake(thread: &Arc<Member>) {
        thread.under_lock(|state| match state.wake() {
            Wakeup::Nothing | Wakeup::GoesOn => {}
            Wakeup::Enqueue => {
                state.set_state(ThreadState::Runnable);
                thread.switched.notify_all();
            }
        });
    }
}

impl Member {
    fn new(own: usize) -> Arc<Member> {
        Arc::new(Member {
            wait_link: LinkedListAtomicLink::new(),
            lend_link: LinkedListAtomicLink::new(),
            place: Place::new(),
            level: AtomicUsize::new(own),
            lenders: Mutex::new(Lenders::new()),
            block_state: BlockState::new(ThreadState::Running),
            run_queue: Mutex::new(Levels {
                own,
                inherited: nothing(),
            }),
            switched: Condvar::new(),
        })
    }

    /// Does as `Scheduler::change`: changes the thread's level, and then wakes it if it waits
    /// for a mutex.
    fn change(self: &Arc<Self>, change_fn: impl FnOnce(&mut Levels)) {
        let changed = {
            let mut levels = held(&self.run_queue);
            change_fn(&mut levels);
            let level = levels.own.min(levels.inherited);
            let before = self.level();
            self.level.store(level, Ordering::Relaxed);
            level != before
        };
        if changed && self.place.waits() {
            Member::wake(self);
        }
    }

    /// Waits until the thread sleeps, at the level that it has. Loom fails a model in which
    /// it never does.
    fn wait_until_quiet(&self) {
        let mut queue = held(&self.run_queue);
        while self.block_state.state() != ThreadState::Blocked || self.place.at() != self.level() {
            queue = self.switched.wait(queue).expect("never poisoned");
        }
    }

    /// Fails unless the thread is as it was at first.
    fn assert_free(&self) {
        assert_eq!(self.level(), held(&self.run_queue).own, "a loan is left");
        assert_eq!(held(&self.lenders).most_urgent(), nothing());
        assert!(!self.place.waits());
    }
}

/// A mutex.
#[derive(Clone)]
struct Line(Arc<Mutex<Turns<Member>>>);

impl Line {
    /// Returns a mutex that `owner` holds.
    fn of(owner: &Arc<Member>) -> Line {
        let mut turns = Turns::new();
        turns.take(Arc::clone(owner));
        Line(Arc::new(Mutex::new(turns)))
    }

    /// Does as `Mutex::lock`.
    fn lock(&self, me: &Arc<Member>) {
        let mut turns = held(&self.0);
        if turns.owner().is_none() {
            turns.take(Arc::clone(me));
            return;
        }
        turns.queue(me);
        while turns.look(me, || false) != Turn::Has {
            drop(turns);
            me.schedule();
            turns = held(&self.0);
        }
    }

    /// Does as `Mutex::lock_until` whose limit comes at some time. Returns whether `me` has
    /// it.
    fn try_for_a_while(&self, me: &Arc<Member>) -> bool {
        let mut turns = held(&self.0);
        if turns.owner().is_none() {
            turns.take(Arc::clone(me));
            return true;
        }
        turns.queue(me);
        assert_eq!(turns.look(me, || false), Turn::Waits);
        drop(turns);
        // The timer wakes it, if no other thread has.
        Member::wake(me);
        held(&self.0).look(me, || true) == Turn::Has
    }

    /// Does as the drop of a guard.
    fn unlock(&self) {
        let next = held(&self.0).hand_over();
        if let Some(next) = next {
            Member::wake(&next);
        }
    }

    fn assert_free(&self) {
        assert!(held(&self.0).owner().is_none());
    }
}

fn nothing() -> usize {
    Class::Idle.level()
}

fn ordinary() -> usize {
    Class::Normal.level()
}

fn realtime(priority: u8) -> usize {
    Class::fifo(Priority::new(priority).expect("1 to 99")).level()
}

fn start(body: impl FnOnce() + 'static) -> thread::JoinHandle<()> {
    thread::spawn(body)
}

fn join(thread: thread::JoinHandle<()>) {
    thread.join().expect("a thread of the model");
}

/// The owner hands the mutex over while a thread comes to wait for it.
#[test]
fn a_loan_ends_when_the_mutex_is_handed_over() {
    every_order(|| {
        let [owner, waiter] = [Member::new(ordinary()), Member::new(realtime(50))];
        let line = Line::of(&owner);
        let (own_line, me) = (line.clone(), Arc::clone(&waiter));
        let waits = start(move || {
            own_line.lock(&me);
            assert_eq!(me.level(), realtime(50));
            own_line.unlock();
        });
        line.unlock();
        owner.assert_free();
        join(waits);
        waiter.assert_free();
        line.assert_free();
    });
}

/// Two threads wait, and the more urgent one gets the mutex next, at whatever time it came.
#[test]
fn the_most_urgent_lends_and_is_next() {
    every_order(|| {
        let owner = Member::new(ordinary());
        let [low, high] = [Member::new(realtime(20)), Member::new(realtime(60))];
        let line = Line::of(&owner);
        let waits = [&low, &high].map(|me| {
            let (line, me) = (line.clone(), Arc::clone(me));
            start(move || {
                line.lock(&me);
                line.unlock();
            })
        });
        low.wait_until_quiet();
        high.wait_until_quiet();
        assert_eq!(owner.level(), realtime(60));
        line.unlock();
        owner.assert_free();
        {
            let turns = held(&line.0);
            if turns.owner().is_some_and(|owner| Arc::ptr_eq(owner, &high)) {
                assert_eq!(held(&high.lenders).most_urgent(), realtime(20));
            }
        }
        for waits in waits {
            join(waits);
        }
        low.assert_free();
        high.assert_free();
        line.assert_free();
    });
}

/// An owner of two mutexes inherits the most of both, whichever thread came first.
#[test]
fn the_most_urgent_of_all_that_lend_counts() {
    loom::model(|| {
        let owner = Member::new(ordinary());
        let [high, low] = [Member::new(realtime(60)), Member::new(realtime(20))];
        for waiters in [[&high, &low], [&low, &high]] {
            let lines = [Line::of(&owner), Line::of(&owner)];
            for (line, waiter) in lines.iter().zip(waiters) {
                held(&line.0).queue(waiter);
            }
            assert_eq!(owner.level(), realtime(60));
            for (line, waiter) in lines.iter().zip(waiters) {
                line.unlock();
                assert_eq!(held(&line.0).look(waiter, || false), Turn::Has);
            }
            owner.assert_free();
        }
    });
}

/// A thread gives up waiting while the mutex is handed over: it has it, or lends nothing.
#[test]
fn a_thread_that_gives_up_takes_its_loan_back() {
    every_order(|| {
        let [owner, waiter] = [Member::new(ordinary()), Member::new(realtime(50))];
        let line = Line::of(&owner);
        let (own_line, me) = (line.clone(), Arc::clone(&waiter));
        let waits = start(move || {
            if own_line.try_for_a_while(&me) {
                own_line.unlock();
            }
        });
        line.unlock();
        owner.assert_free();
        join(waits);
        waiter.assert_free();
        line.assert_free();
    });
}

/// `first` holds a mutex for which `middle` waits, which holds one for which `last` comes to
/// wait.
struct Chain {
    members: [Arc<Member>; 3],
    lines: [Line; 2],
    middle_waits: thread::JoinHandle<()>,
}

impl Chain {
    fn new() -> Chain {
        let first = Member::new(ordinary());
        let middle = Member::new(ordinary());
        let last = Member::new(realtime(50));
        let lines = [Line::of(&first), Line::of(&middle)];
        let (own_lines, me) = (lines.clone(), Arc::clone(&middle));
        let middle_waits = start(move || {
            own_lines[0].lock(&me);
            own_lines[0].unlock();
            own_lines[1].unlock();
        });
        Chain {
            members: [first, middle, last],
            lines,
            middle_waits,
        }
    }

    /// Lets all go on that wait, and looks at what is left.
    fn end(self) {
        self.lines[0].unlock();
        self.members[0].assert_free();
        join(self.middle_waits);
        self.members[1].assert_free();
        self.lines[0].assert_free();
    }
}

/// The thread in the middle sleeps, is raised, and lends on.
#[test]
fn a_thread_that_is_raised_lends_on() {
    every_order(|| {
        let chain = Chain::new();
        let [first, middle, last] = chain.members.clone();
        let (line, me) = (chain.lines[1].clone(), Arc::clone(&last));
        let waits = start(move || {
            line.lock(&me);
            line.unlock();
        });
        last.wait_until_quiet();
        middle.wait_until_quiet();
        assert_eq!(first.level(), realtime(50));
        chain.end();
        join(waits);
        last.assert_free();
    });
}

/// The last thread gives up, and the one in the middle takes its own loan back.
#[test]
fn a_thread_that_is_lowered_takes_its_loan_back() {
    every_order(|| {
        let chain = Chain::new();
        let [first, middle, last] = chain.members.clone();
        assert!(!chain.lines[1].try_for_a_while(&last));
        last.assert_free();
        middle.wait_until_quiet();
        first.assert_free();
        chain.end();
    });
}

/// The class of a thread that waits, or is about to, changes.
#[test]
fn a_new_class_counts_for_a_thread_that_waits() {
    every_order(|| {
        let [owner, waiter] = [Member::new(ordinary()), Member::new(realtime(20))];
        let line = Line::of(&owner);
        let (own_line, me) = (line.clone(), Arc::clone(&waiter));
        let waits = start(move || {
            own_line.lock(&me);
            own_line.unlock();
        });
        waiter.change(|levels| levels.own = realtime(70));
        waiter.wait_until_quiet();
        assert_eq!(owner.level(), realtime(70));
        owner.change(|levels| levels.own = realtime(90));
        owner.change(|levels| levels.own = ordinary());
        assert_eq!(owner.level(), realtime(70));
        line.unlock();
        join(waits);
        owner.assert_free();
        waiter.assert_free();
    });
}

/// Two threads wait for each other. The lending ends, and what is lent is given back once one
/// of them gives up.
#[test]
fn a_circle_comes_to_rest() {
    every_order(|| {
        let [one, other] = [Member::new(ordinary()), Member::new(realtime(50))];
        let lines = [Line::of(&one), Line::of(&other)];
        let (own_lines, me) = (lines.clone(), Arc::clone(&one));
        let waits = start(move || {
            own_lines[1].lock(&me);
            own_lines[1].unlock();
            own_lines[0].unlock();
        });
        let mut turns = held(&lines[0].0);
        turns.queue(&other);
        assert_eq!(turns.look(&other, || false), Turn::Waits);
        drop(turns);
        one.wait_until_quiet();
        assert_eq!(one.level(), realtime(50));
        Member::wake(&other);
        assert_eq!(held(&lines[0].0).look(&other, || true), Turn::GaveUp);
        lines[1].unlock();
        other.assert_free();
        join(waits);
        one.assert_free();
    });
}
