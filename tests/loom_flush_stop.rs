//! Model of a stop that begins with a flush and may be given up: the kernel's
//! `stop_machine::MultiStop` and `sched::FlushWord`, used as `stop_machine::flushed` uses them.
//!
//! The CPUs have no marked threads: each finishes when it enters. The last one queues the works.
//! The timer begins at any moment. The stoppers don't wait for each other, as `loom_abort` has
//! them do: here the question is for how many the stop is left, and when.
#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::sched::{Finish, FlushId, FlushWord};
use stillpoint::stop_machine::{Acked, MultiStop, MultiStopState};

/// The queues of the stoppers, and the completion on which the caller sleeps.
struct Queues {
    queued: Vec<bool>,
    done: bool,
}

struct World {
    flush: FlushWord,
    stop: MultiStop,
    queues: Mutex<Queues>,
    changed: Condvar,
    /// How often the end of the flush was told.
    told: Word,
    ran: Word,
    /// Stands for the caller's frame. All others read it until they leave.
    frame: Word,
}

impl World {
    /// Returns a machine of `cpus` CPUs. The caller is on CPU 0.
    fn new(cpus: u32) -> World {
        World {
            flush: FlushWord::new(),
            stop: MultiStop::flushing(cpus, 1),
            queues: Mutex::new(Queues {
                queued: vec![false; cpus as usize],
                done: false,
            }),
            changed: Condvar::new(),
            told: Word::new(0),
            ran: Word::new(0),
            frame: Word::new(1),
        }
    }

    fn change<R>(&self, change_fn: impl FnOnce(&mut Queues) -> R) -> R {
        let result = change_fn(&mut self.queues.lock().expect("never poisoned"));
        self.changed.notify_all();
        result
    }

    /// Leaves as `Job::finish_for` does.
    fn leave_for(&self, id: FlushId, count: u32) {
        assert_eq!(self.frame.get(), 1);
        if self.stop.leave_for(count) {
            assert!(self.stop.is_over());
            let _how = self.flush.end(id);
            self.change(|queues| {
                assert!(!queues.done, "the stop was over twice");
                queues.done = true;
            });
        }
    }

    /// Finishes the flush on one CPU, whose thread sleeps: as `Scheduler::finish_flush` and
    /// `Job::queue_if_flushed`.
    fn finish(&self, id: FlushId) {
        if self.flush.finish(id) != Finish::Last {
            return;
        }
        assert_eq!(self.frame.get(), 1);
        self.told.set(self.told.get() + 1);
        if self.stop.flushed() {
            self.change(|queues| queues.queued.fill(true));
            if self.stop.state() == MultiStopState::Abort {
                self.take_back(id);
            }
        }
        self.leave_for(id, 1);
    }

    /// Runs the stopper of `cpu`, if its work comes.
    fn stopper(&self, cpu: usize, id: FlushId) {
        {
            let mut queues = self.queues.lock().expect("never poisoned");
            while !queues.queued[cpu] {
                if queues.done {
                    return;
                }
                queues = self.changed.wait(queues).expect("never poisoned");
            }
            queues.queued[cpu] = false;
        }
        if let Acked::Last(MultiStopState::DisableIrq) = self.stop.ack(MultiStopState::Prepare)
            && self.stop.disable_irq()
        {
            self.ran.set(self.ran.get() + 1);
        }
        self.leave_for(id, 1);
    }

    fn take_back(&self, id: FlushId) {
        let taken = self.change(|queues| {
            let queued = queues.queued.iter_mut();
            queued.map(core::mem::take).filter(|queued| *queued).count()
        });
        if taken > 0 {
            self.leave_for(id, u32::try_from(taken).expect("few"));
        }
    }

    /// Gives the stop up as `Job::give_up` does.
    fn give_up(&self, id: FlushId) {
        match self.stop.abort() {
            // It is too late: all have arrived.
            None => {
                let state = self.stop.state();
                assert!(state != MultiStopState::Flush && state != MultiStopState::Prepare);
            }
            Some(MultiStopState::Flush) => {
                let leaving = self.stop.leaving_in_flush(self.flush.end(id));
                self.leave_for(id, leaving);
            }
            Some(_) => self.take_back(id),
        }
        // The caller's frame stays until the timer's function has returned.
        assert_eq!(self.frame.get(), 1);
    }

    /// Waits as the caller does, and ends its frame.
    fn end(&self, timer: thread::JoinHandle<()>) {
        {
            let mut queues = self.queues.lock().expect("never poisoned");
            while !queues.done {
                queues = self.changed.wait(queues).expect("never poisoned");
            }
            assert!(!queues.queued.contains(&true));
        }
        assert!(!self.flush.is_on(), "the caller would not run");
        timer.join().expect("the timer of the model");
        self.frame.set(0);
        let given_up = self.stop.state() == MultiStopState::Abort;
        assert_eq!(self.ran.get(), u32::from(!given_up));
        assert!(self.told.get() <= 1 && (given_up || self.told.get() == 1));
    }
}

/// The timer comes at any moment, from before the first CPU has finished until after the end. The
/// stop runs, or is given up, and in both cases it is left once by all.
fn stop_with_timer(cpus: u32) {
    let world = Arc::new(World::new(cpus));
    let id = world.flush.begin(cpus);
    let theirs = Arc::clone(&world);
    let timer = thread::spawn(move || theirs.give_up(id));
    let others: Vec<_> = (1..cpus as usize)
        .map(|cpu| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                world.finish(id);
                world.stopper(cpu, id);
            })
        })
        .collect();
    world.finish(id);
    world.stopper(0, id);
    world.end(timer);
    for other in others {
        other.join().expect("a CPU of the model");
    }
}

#[test]
fn it_is_left_once_by_all() {
    every_order(|| stop_with_timer(2));
}

#[test]
fn it_is_left_once_by_all_of_three() {
    let mut model = loom::model::Builder::new();
    // With three preemptions it takes minutes, and with two ten seconds. The mistakes that the model
    // of two finds are found with one.
    let bound = model.preemption_bound.unwrap_or(3);
    model.preemption_bound = Some(bound.saturating_sub(2).max(1));
    model.check(|| stop_with_timer(3));
}
