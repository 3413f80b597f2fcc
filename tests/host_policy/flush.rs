//! Flushes of preempted threads: which threads run meanwhile, when it ends, and that all goes
//! on afterwards.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, FlushEnd, FlushHolder, FlushHook, FlushId, Nice, Thread};

use crate::bound::{busy, fifo};
use crate::checks;
use crate::driver::{act, cpu, interrupt, sched};
use crate::platform::{Many, NEVER, machine};
use crate::races::{block, start};
use crate::world::{Habits, MS, US, World};

thread_local! {
    /// The threads of the test that this host thread runs.
    static THREADS: RefCell<Vec<Arc<Thread<Many>>>> = const { RefCell::new(Vec::new()) };
    /// The request whose last CPU has finished.
    static TOLD: Cell<Option<FlushId>> = const { Cell::new(None) };
}

/// Checks at the moment at which the last CPU has finished that no thread is marked, and that
/// all CPUs are idle.
struct Checks;

impl FlushHook for Checks {
    fn last_finished(&self, id: FlushId) {
        assert_eq!(TOLD.replace(Some(id)), None, "told twice");
        let holders = sched().flush_holders(id).count();
        assert_eq!(holders, 0, "a CPU has not finished");
        THREADS.with_borrow(|threads| {
            for thread in threads {
                assert!(!thread.is_marked_racy(), "{thread:?} is marked");
            }
        });
    }
}

/// What is remembered of a marked thread from step to step.
type Place = (usize, u64);

fn place(thread: &Thread<Many>) -> Place {
    (thread.cpu().index(), thread.usage().migrations)
}

impl World {
    /// Has the thread that runs on CPU `from` begin a flush.
    fn begin_flush(&mut self, from: usize) -> FlushId {
        self.flushes = true;
        TOLD.set(None);
        let threads = self.workers.iter().map(|it| Arc::clone(&it.thread));
        THREADS.set(threads.collect());
        let online = machine().masks.online();
        let id = self
            .driver
            .act(from, || sched().begin_flush(&online, &Checks));
        self.settle();
        id
    }

    /// Has the thread that runs on CPU `from` end the flush.
    fn end_flush(&mut self, from: usize, id: FlushId) {
        let end = self.driver.act(from, || sched().end_flush(id));
        let told = TOLD.get().is_some();
        let expected = if told {
            FlushEnd::Finished
        } else {
            FlushEnd::Unfinished
        };
        assert_eq!(end, expected);
        self.settle();
        self.driver.rest(&mut self.random);
        self.settle();
        self.flushes = false;
        for worker in &mut self.workers {
            worker.order = None; // The flush has changed who is next.
        }
    }

    /// Does a step, and checks that in the mode only marked threads get a CPU, and that none
    /// moves.
    fn flush_step(&mut self, id: FlushId) {
        let entered = sched().flush_holders(id).all(|holder| holder.entered);
        let before: Vec<_> = self
            .workers
            .iter()
            .map(|it| (it.on, it.thread.is_marked_racy(), place(&it.thread)))
            .collect();
        // Something has to happen, though all threads may wait.
        self.next_change = World::now() + MS;
        self.step();
        if !entered {
            return;
        }
        for (worker, (on, marked, place_before)) in self.workers.iter().zip(before) {
            let thread = &worker.thread;
            if worker.on.is_some() && on.is_none() {
                assert!(marked, "{thread:?} runs\n{}", checks::picture(self));
            }
            if thread.is_marked_racy() {
                assert!(marked || on.is_some(), "{thread:?} has got a mark");
                assert_eq!(place(thread), place_before, "{thread:?} has moved");
            }
        }
    }

    /// Changes by chance which of the running threads run code of their application.
    fn change_sides(&mut self) {
        for worker in &self.workers {
            if worker.on.is_some() && self.random.below(3) == 0 {
                worker.thread.set_in_app(self.random.below(2) == 0);
            }
        }
    }
}

/// Flushes a random load again and again. Some flushes are given up.
pub(crate) fn random_loads_are_flushed(seed: u64) {
    let mut random = crate::xorshift::Random::new(seed);
    let mut maybe = |of| random.below(of) == 0;
    let habits = Habits {
        realtime: !maybe(3),
        sleeps: true,
        affinity: maybe(2),
        nice: maybe(2),
        late: !maybe(3),
        sections: maybe(2),
        ..Habits::default()
    };
    let (cpus, most) = (1 + random.below(8), 1 + random.below(24));
    let mut world = World::new(seed, cpus, most, habits);
    let mut flushed = 0;
    for _ in 0..20 {
        for _ in 0..60 {
            world.change_sides();
            if world.step() && !habits.late {
                checks::none_waits_in_vain(&world);
            }
        }
        let next_change = std::mem::replace(&mut world.next_change, NEVER);
        let from = world.any_cpu();
        let id = world.begin_flush(from);
        let patience = world.random.below(400);
        let mut steps = 0;
        while TOLD.get().is_none() && steps < patience {
            world.flush_step(id);
            steps += 1;
        }
        if TOLD.get().is_some() {
            flushed += 1;
            for _ in 0..world.random.below(30) {
                world.flush_step(id); // Threads wake, and none of them runs.
                assert!((0..cpus).all(|index| world.driver.is_idle(index)));
            }
        }
        assert!(TOLD.get().is_none_or(|told| told == id));
        let from = world.any_cpu();
        world.end_flush(from, id);
        world.next_change = next_change.max(World::now());
        if !habits.sections {
            checks::none_waits_in_vain(&world);
        }
    }
    assert!(flushed > 0, "no flush came to its end");
}

/// Returns a machine of one CPU with a thread that runs, one of each kind that waits, and a
/// flush that has begun. The running thread and the first one are marked or will be.
fn one_cpu() -> World {
    let mut world = World::new(1, 1, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.run_until(MS);
    // It preempts the first one.
    busy(&mut world, fifo(10), CpuMask::first_n(1));
    world.settle();
    assert_eq!(world.workers[1].on, Some(0));
    assert!(world.workers[0].thread.is_marked_racy());
    world
}

/// Has `worker`, which runs, sleep for ever.
fn sleep(world: &mut World, worker: usize) {
    let thread = Arc::clone(&world.workers[worker].thread);
    world.book(worker);
    world.driver.act(0, || {
        sched().about_to_block(&thread);
        sched().schedule();
    });
    world.driver.rest(&mut world.random);
    world.settle();
}

/// On one CPU: a thread that is more urgent than all waits until the end of the mode, a
/// stopper until the running thread has given the CPU away, and that goes before the next
/// marked thread.
pub(crate) fn only_marked_threads_run() {
    let mut world = one_cpu();
    let id = world.begin_flush(0);
    busy(&mut world, fifo(90), CpuMask::first_n(1));
    world.run_until(30 * MS);
    assert_eq!(world.workers[1].on, Some(0), "it isn't preempted");
    assert!(world.driver.begin_stop_late(0), "not by a stopper either");
    sleep_into_stopper(&mut world, 1);
    assert_eq!(world.workers[0].on, Some(0), "the next marked one runs");
    world.run_until(60 * MS);
    assert_eq!(TOLD.get(), None);
    sleep(&mut world, 0);
    assert_eq!(TOLD.get(), Some(id));
    assert!(world.driver.is_idle(0), "the others wait");
    world.end_flush(0, id);
    assert_eq!(world.workers[2].on, Some(0), "the most urgent goes on");
}

/// Has `worker` sleep, which makes room for the stopper, and lets that go on.
fn sleep_into_stopper(world: &mut World, worker: usize) {
    let thread = Arc::clone(&world.workers[worker].thread);
    world.book(worker);
    world.driver.act(0, || {
        sched().about_to_block(&thread);
        sched().schedule();
    });
    world.settle();
    assert!(world.driver.is_in_stopper(0), "the stopper is next");
    world.driver.rest(&mut world.random);
    world.settle();
}

/// A thread that computes in the code of its application is preempted at once, and one that
/// returns there gives way.
pub(crate) fn application_code_holds_nothing_up() {
    let mut world = World::new(1, 2, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.spawn_busy(Nice::default());
    world.run_until(MS);
    for worker in &world.workers {
        worker.thread.set_in_app(true);
    }
    let second = world.workers[1].on.expect("there are two CPUs");
    // It is inside the kernel.
    world.workers[1].thread.set_in_app(false);
    let id = world.begin_flush(second);
    world.run_until(20 * MS);
    assert_eq!(TOLD.get(), None);
    assert_eq!(world.workers[0].on, None, "it was preempted");
    assert_eq!(world.workers[1].on, Some(second));
    act(second, || {
        // As `InKernel` does at the end.
        drop(stillpoint::sched::InKernel::<Many>::enter());
        world.workers[1].thread.set_in_app(true);
        drop(stillpoint::sched::InKernel::<Many>::enter());
    });
    world.settle();
    world.driver.rest(&mut world.random);
    world.settle();
    assert_eq!(TOLD.get(), Some(id));
    assert!(world.workers.iter().all(|it| !it.thread.is_marked_racy()));
    world.end_flush(0, id);
    assert!(world.workers.iter().all(|it| it.on.is_some()), "they go on");
}

/// A thread that says that it holds nothing gives its CPU away.
pub(crate) fn quiescent_threads_give_way() {
    let mut world = one_cpu();
    world.driver.act(0, || sched().quiescent());
    assert_eq!(world.workers[1].on, Some(0), "without a flush it goes on");
    let id = world.begin_flush(0);
    world.book(1);
    world.driver.act(0, || sched().quiescent());
    world.driver.rest(&mut world.random);
    world.settle();
    assert_eq!(world.workers[0].on, Some(0), "the next marked one runs");
    assert_eq!(TOLD.get(), None);
    world.have_it_yield(0);
    world.driver.rest(&mut world.random);
    world.settle();
    assert_eq!(world.workers[0].on, None, "so does one that yields");
    assert_eq!(TOLD.get(), Some(id));
    world.end_flush(0, id);
    assert_eq!(world.workers[1].on, Some(0), "it goes on");
}

/// A thread that computes without a rest, and says that it holds nothing, is no holdout.
pub(crate) fn quiescent_holdouts_are_done() {
    let mut world = World::new(1, 2, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.run_until(MS);
    let on = world.workers[0].on.expect("a CPU is idle");
    let other = 1 - on;
    let noted = world.driver.act(other, || sched().note_holdouts());
    assert_eq!(noted, 1);
    assert_eq!(world.driver.act(other, || sched().holdouts()), 1);
    world.driver.act(on, || sched().quiescent());
    assert_eq!(world.driver.act(other, || sched().holdouts()), 0);
}

/// The CPU and the thread that hold a flush up are named; a CPU that has not entered is one
/// that takes no interrupts.
pub(crate) fn holders_are_named() {
    let mut world = World::new(1, 3, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.run_until(MS);
    let on = world.workers[0].on.expect("a CPU is idle");
    let id = world.begin_flush(on);
    let others = sched().flush_holders(id).filter(|it| !it.entered);
    assert_eq!(others.count(), 2, "they have taken no interrupt yet");
    world.driver.rest(&mut world.random);
    world.settle();
    world.run_until(World::now() + 100 * US);
    let holders: Vec<_> = sched().flush_holders(id).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].cpu, cpu(on));
    assert_eq!(
        format!("{}", holders[0]),
        format!("CPU {on}, thread worker 0")
    );
    let class = world.workers[0].thread.class();
    assert_eq!(class, Class::Normal);
    world.end_flush(on, id);
    assert_eq!(TOLD.get(), None, "it was given up");
}

/// Returns what is told of the flush `id` while the queue of the CPU is locked on which `sleeper`
/// wakes.
fn holders_in_a_wake(id: FlushId, sleeper: &Arc<Thread<Many>>) -> Vec<FlushHolder> {
    let told = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&told);
    machine().meanwhile(move || {
        machine().masked.set(true);
        *theirs.borrow_mut() = sched().flush_holders(id).collect();
    });
    interrupt(0, || sched().wake(sleeper));
    told.take()
}

/// A CPU whose queue is locked just then holds a flush up unless it has finished this one.
pub(crate) fn a_locked_queue_hides_no_holder() {
    let mut world = World::new(1, 2, 0, Habits::default());
    let computes = start(&mut world, Class::Normal, 0);
    let sleepers = [0, 1].map(|_| {
        let sleeper = start(&mut world, Class::Normal, 1);
        block(1, &sleeper);
        world.driver.rest(&mut world.random);
        world.settle();
        sleeper
    });
    let id = world.begin_flush(0);
    world.driver.rest(&mut world.random);
    let holder = FlushHolder {
        cpu: cpu(0),
        thread: Some(*computes.name()),
        entered: true,
    };
    assert_eq!(holders_in_a_wake(id, &sleepers[0]), [holder]);
    world.end_flush(0, id);
    block(1, &sleepers[0]);
    world.driver.rest(&mut world.random);
    world.settle();

    let id = world.begin_flush(0);
    let unknown = FlushHolder {
        cpu: cpu(1),
        thread: None,
        entered: false,
    };
    assert_eq!(holders_in_a_wake(id, &sleepers[1]), [holder, unknown]);
    world.end_flush(0, id);
}
