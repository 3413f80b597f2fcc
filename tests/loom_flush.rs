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
    queues: Vec<Mutex<Queue>>,
    /// Whether the SGI to each CPU has arrived.
    sgis: Vec<(Mutex<bool>, Condvar)>,
    /// What the caller wrote before it began.
    before: Word,
    /// What each CPU's marked thread wrote last.
    work: Vec<Word>,
    /// How often a CPU was the last.
    told: AtomicU32,
}

fn world() -> Arc<World> {
    world_of(2)
}

fn world_of(cpus: usize) -> Arc<World> {
    Arc::new(World {
        word: FlushWord::new(),
        queues: (0..cpus).map(|_| Mutex::default()).collect(),
        sgis: (0..cpus)
            .map(|_| (Mutex::new(false), Condvar::new()))
            .collect(),
        before: Word::new(0),
        work: (0..cpus).map(|_| Word::new(0)).collect(),
        told: AtomicU32::new(0),
    })
}

impl World {
    /// Sends the SGI to all CPUs but CPU 0.
    fn send(&self) {
        for (here, changed) in &self.sgis[1..] {
            *here.lock().expect("never poisoned") = true;
            changed.notify_one();
        }
    }

    /// Waits for the SGI, on CPU `cpu`.
    fn wait_for_sgi(&self, cpu: usize) {
        let (here, changed) = &self.sgis[cpu];
        let mut here = here.lock().expect("never poisoned");
        while !*here {
            here = changed.wait(here).expect("never poisoned");
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

    /// Has CPU `cpu` run its marked thread and finish. If it is the last, it sees what all did.
    fn finish_all(&self, cpu: usize) {
        if self.run_marked(cpu) {
            let did = |work: &Word| work.get() == 1;
            assert!(self.work.iter().all(did), "what the others did");
        }
    }

    /// Returns whether no CPU has a marked thread.
    fn is_flushed(&self) -> bool {
        (0..self.queues.len()).all(|cpu| self.marked(cpu) == 0)
    }

    fn marked(&self, cpu: usize) -> u32 {
        self.queues[cpu].lock().expect("never poisoned").marked
    }
}

/// Has `cpus` CPUs flush a marked thread each, at the request of CPU 0.
fn all_flush(cpus: u32) {
    let world = world_of(cpus as usize);
    for queue in &world.queues {
        queue.lock().expect("never poisoned").marked = 1;
    }
    let others: Vec<_> = (1..cpus as usize)
        .map(|me| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                // It looks for another reason, or when the SGI has come.
                if !world.look(me) {
                    world.wait_for_sgi(me);
                    assert!(world.look(me), "an SGI without a request");
                }
                assert_eq!(world.before.get(), 7, "what the caller did before");
                world.finish_all(me);
            })
        })
        .collect();
    world.before.set(7);
    let id = world.word.begin(cpus);
    world.send();
    assert!(world.look(0));
    world.finish_all(0);
    for cpu in others {
        cpu.join().expect("no panic");
    }
    assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
    assert_eq!(world.word.end(id), FlushEnd::Finished);
    assert_eq!(world.word.end(id), FlushEnd::Over, "it ends once");
    assert_eq!(world.word.look(), None);
}

#[test]
fn the_last_to_finish_sees_what_all_did() {
    every_order(|| all_flush(2));
}

#[test]
fn the_last_of_three_sees_what_all_did() {
    every_order(|| all_flush(3));
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
/// moment, in which CPU 1 may have finished, and other CPUs too.
fn one_is_on_its_way(cpus: u32) {
    let world = world_of(cpus as usize);
    world.queues[0].lock().expect("never poisoned").marked = 1;
    let id = world.word.begin(cpus);
    let others: Vec<_> = (1..cpus as usize)
        .map(|me| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                assert!(world.look(me));
                let mut last = world.run_marked(me);
                // The SGI that announces the thread, or the next one.
                last |= me == 1 && world.run_marked(me);
                assert!(!last || world.is_flushed(), "all are flushed");
            })
        })
        .collect();
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
    for cpu in others {
        cpu.join().expect("no panic");
    }
    last |= world.run_marked(1);
    assert!(!last || world.is_flushed(), "all are flushed");
    assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
    assert_eq!(world.word.end(id), FlushEnd::Finished);
}

#[test]
fn a_thread_on_its_way_is_waited_for() {
    every_order(|| one_is_on_its_way(2));
}

#[test]
fn a_thread_on_its_way_among_three_is_waited_for() {
    every_order(|| one_is_on_its_way(3));
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
                assert!(other.is_flushed(), "all are flushed");
            }
        });
        let id = world.word.begin(2);
        assert!(world.look(0));
        if world.run_marked(0) {
            assert!(world.is_flushed(), "all are flushed");
        }
        cpu.join().expect("no panic");
        assert!(world.look(1));
        let _last = world.run_marked(1);
        assert!(world.is_flushed(), "all are flushed");
        assert_eq!(world.told.load(Ordering::Relaxed), 1, "one is the last");
        assert_eq!(world.word.end(id), FlushEnd::Finished);
    });
}
