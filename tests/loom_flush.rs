//! Model of the request for a flush: the kernel's `sched::FlushWord`. Exactly one CPU is the
//! last to finish, when every CPU has entered and no thread is marked; it sees all that the
//! others did. What a CPU does late for a request that is over doesn't count for the next.
//!
//! The model adds what `sched::flush` does around it: a run queue is a mutex, which a CPU holds
//! where it enters, finishes, and takes or puts a marked thread. A CPU that has not entered may
//! move a marked thread; one that has looks at the request first.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::sched::{Finish, FlushEnd, FlushId, FlushWord};

/// A run queue.
#[derive(Default)]
struct Queue {
    /// The request that the CPU has entered.
    entered: Option<FlushId>,
    finished: bool,
    /// How many marked threads it has.
    marked: u32,
}

struct World {
    word: FlushWord,
    queues: [Mutex<Queue>; 2],
    /// Whether the SGI to CPU 1 has arrived.
    sgi: (Mutex<bool>, Condvar),
    /// What the caller wrote before it began.
    before: Word,
    /// What each CPU's marked thread wrote last.
    work: [Word; 2],
    /// How often a CPU was the last.
    told: AtomicU32,
}

fn world() -> Arc<World> {
    Arc::new(World {
        word: FlushWord::new(),
        queues: [Mutex::new(Queue::default()), Mutex::new(Queue::default())],
        sgi: (Mutex::new(false), Condvar::new()),
        before: Word::new(0),
        work: [Word::new(0), Word::new(0)],
        told: AtomicU32::new(0),
    })
}

impl World {
    /// Sends the SGI to CPU 1.
    fn send(&self) {
        *self.sgi.0.lock().expect("never poisoned") = true;
        self.sgi.1.notify_one();
    }

    /// Waits for the SGI, on CPU 1.
    fn wait_for_sgi(&self) {
        let mut here = self.sgi.0.lock().expect("never poisoned");
        while !*here {
            here = self.sgi.1.wait(here).expect("never poisoned");
        }
        *here = false;
    }

    /// Enters the request that is on, on CPU `cpu`. Returns whether one is.
    fn look(&self, cpu: usize) -> bool {
        let mut queue = self.queues[cpu].lock().expect("never poisoned");
        let on = self.word.look();
        if let Some(id) = on
            && queue.entered != on
        {
            queue.entered = Some(id);
            queue.finished = false;
        }
        on.is_some()
    }

    /// Has CPU `cpu` run its marked threads and finish, if it has entered. Returns whether it
    /// was the last.
    fn run_marked(&self, cpu: usize) -> bool {
        let mut queue = self.queues[cpu].lock().expect("never poisoned");
        let Some(id) = queue.entered.filter(|_| !queue.finished) else {
            return false;
        };
        if queue.marked > 0 {
            self.work[cpu].set(1);
            queue.marked = 0;
        }
        queue.finished = true;
        let last = self.word.finish(id) == Finish::Last;
        if last {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        last
    }

    /// Moves a marked thread of CPU 0 to CPU 1, on CPU `mover`, with IRQs masked, if that may.
    fn move_one(&self, mover: usize) {
        {
            let mut from = self.queues[0].lock().expect("never poisoned");
            if self.word.is_on() || from.marked == 0 {
                return;
            }
            from.marked -= 1;
        }
        let _ = mover;
        let mut to = self.queues[1].lock().expect("never poisoned");
        to.marked += 1;
        if let Some(id) = to.entered.filter(|_| to.finished) {
            to.finished = false;
            self.word.unfinish(id);
        }
    }

    fn marked(&self, cpu: usize) -> u32 {
        self.queues[cpu].lock().expect("never poisoned").marked
    }
}

#[test]
fn the_last_to_finish_sees_what_all_did() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        world.queues[0].lock().expect("never poisoned").marked = 1;
        world.queues[1].lock().expect("never poisoned").marked = 1;
        let cpu = thread::spawn(move || {
            // It looks for another reason, or when the SGI has come.
            if !other.look(1) {
                other.wait_for_sgi();
                assert!(other.look(1), "an SGI without a request");
            }
            assert_eq!(other.before.get(), 7, "what the caller did before");
            if other.run_marked(1) {
                assert_eq!(other.work[0].get(), 1, "what CPU 0 did");
            }
        });
        world.before.set(7);
        let id = world.word.begin(2);
        world.send();
        assert!(world.look(0));
        if world.run_marked(0) {
            assert_eq!(world.work[1].get(), 1, "what CPU 1 did");
        }
        cpu.join().expect("no panic");
        assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
        assert_eq!(world.word.end(id), FlushEnd::Finished);
        assert_eq!(world.word.end(id), FlushEnd::Over, "it ends once");
        assert_eq!(world.word.look(), None);
    });
}

#[test]
fn what_comes_late_does_not_count_for_the_next_request() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let first = world.word.begin(2);
        let cpu = thread::spawn(move || {
            let seen = other.word.look();
            // It stands here as long as it likes.
            let found = seen.map(|id| (id, other.word.finish(id)));
            (seen, found)
        });
        let own = world.word.finish(first);
        assert_ne!(
            world.word.end(first),
            FlushEnd::Over,
            "nothing else ends it"
        );
        let second = world.word.begin(2);
        let own_second = world.word.finish(second);
        let (_, found) = cpu.join().expect("no panic");
        match found {
            Some((id, Finish::Last)) if id == first => assert_eq!(own, Finish::Waits),
            Some((id, Finish::Waits)) if id == first => assert_eq!(own, Finish::Last),
            Some((id, finish)) if id == first => assert_eq!(finish, Finish::Over),
            _ => {}
        }
        let both = found.is_some_and(|(id, _)| id == second);
        let lasts = u32::from(own_second == Finish::Last)
            + u32::from(found.is_some_and(|(id, found)| id == second && found == Finish::Last));
        assert_eq!(
            lasts,
            u32::from(both),
            "the second one has a last if both finish"
        );
    });
}

#[test]
fn the_last_to_finish_and_the_end_agree() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        let id = world.word.begin(1);
        let cpu = thread::spawn(move || other.word.finish(id));
        let end = world.word.end(id);
        let found = cpu.join().expect("no panic");
        match end {
            FlushEnd::Finished => assert_eq!(found, Finish::Last, "it is told"),
            FlushEnd::Unfinished => assert_eq!(found, Finish::Over, "it never is"),
            FlushEnd::Over => panic!("nothing else ends it"),
        }
        assert_eq!(world.word.look(), None, "the end holds");
        assert!(world.word.begin(1) != id);
    });
}

/// CPU 0 moves its marked thread to CPU 1 before it enters. The thread is in no queue for a
/// moment, in which CPU 1 may have finished.
#[test]
fn a_thread_on_its_way_is_waited_for() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        world.queues[0].lock().expect("never poisoned").marked = 1;
        let id = world.word.begin(2);
        let cpu = thread::spawn(move || {
            assert!(other.look(1));
            let mut last = other.run_marked(1);
            // The SGI that announces the thread, or the next one.
            last |= other.run_marked(1);
            if last {
                assert_eq!(
                    (other.marked(0), other.marked(1)),
                    (0, 0),
                    "all are flushed"
                );
            }
        });
        // Where it looked, no request was on.
        let moved = {
            let mut from = world.queues[0].lock().expect("never poisoned");
            core::mem::take(&mut from.marked)
        };
        {
            let mut to = world.queues[1].lock().expect("never poisoned");
            to.marked += moved;
            if let Some(id) = to.entered.filter(|_| to.finished) {
                to.finished = false;
                world.word.unfinish(id);
            }
        }
        assert!(world.look(0));
        let mut last = world.run_marked(0);
        cpu.join().expect("no panic");
        last |= world.run_marked(1);
        if last {
            assert_eq!(
                (world.marked(0), world.marked(1)),
                (0, 0),
                "all are flushed"
            );
        }
        assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
        assert_eq!(world.word.end(id), FlushEnd::Finished);
    });
}

/// CPU 1 has entered, and is about to pull a thread of CPU 0, which has not.
#[test]
fn a_cpu_that_has_entered_moves_no_thread() {
    every_order(|| {
        let world = world();
        let other = Arc::clone(&world);
        world.queues[0].lock().expect("never poisoned").marked = 1;
        let cpu = thread::spawn(move || {
            if !other.look(1) {
                return other.move_one(1);
            }
            let last = other.run_marked(1);
            other.move_one(1);
            if last {
                assert_eq!(
                    (other.marked(0), other.marked(1)),
                    (0, 0),
                    "all are flushed"
                );
            }
        });
        let id = world.word.begin(2);
        assert!(world.look(0));
        if world.run_marked(0) {
            assert_eq!(
                (world.marked(0), world.marked(1)),
                (0, 0),
                "all are flushed"
            );
        }
        cpu.join().expect("no panic");
        assert!(world.look(1));
        let _last = world.run_marked(1);
        assert_eq!(
            (world.marked(0), world.marked(1)),
            (0, 0),
            "all are flushed"
        );
        assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
        assert_eq!(world.word.end(id), FlushEnd::Finished);
    });
}
