//! Model of a whole stop: the kernel's `stop_machine::MultiStop` and `sync::WaitPoint`, used
//! as a stopper uses them.
#![cfg(loom)]

#[path = "support/loom_cpu.rs"]
mod loom_cpu;
#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use loom_cpu::Cpu;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::config::MASK_WORDS;
use stillpoint::stop_machine::{Acked, MultiStop, MultiStopState};
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{Wait, WaitPoint};

struct World {
    stop: MultiStop,
    point: WaitPoint,
    cpus: usize,
    /// Written by each CPU before it arrives, without synchronization of its own. Loom fails
    /// the model if `fn` could race with the write.
    before: Vec<Word>,
    /// Written by `fn`, read by each CPU after EXIT.
    result: Word,
    /// Stands for the caller's frame. Each CPU reads it until it leaves. The caller writes it
    /// when the stop is over, as the end of the frame would.
    frame: Word,
    /// Where the caller waits for the last CPU to leave.
    left: WaitPoint,
    /// What the last CPU to leave completes instead, in a stop of two CPUs.
    done: Option<Done>,
    /// How many CPUs have masked IRQs.
    masked: AtomicU32,
}

/// Stands for the completion on which the caller of a stop of two CPUs sleeps.
struct Done {
    is_done: Mutex<bool>,
    woken: Condvar,
}

impl Done {
    fn new() -> Done {
        Done {
            is_done: Mutex::new(false),
            woken: Condvar::new(),
        }
    }

    fn complete(&self) {
        let mut is_done = self.is_done.lock().expect("never poisoned");
        assert!(!*is_done, "once");
        *is_done = true;
        self.woken.notify_one();
    }

    fn wait(&self) {
        let mut is_done = self.is_done.lock().expect("never poisoned");
        while !*is_done {
            is_done = self.woken.wait(is_done).expect("never poisoned");
        }
    }
}

fn participants(cpus: usize) -> [u64; MASK_WORDS] {
    let mut bits = [0; MASK_WORDS];
    bits[0] = (1 << cpus) - 1;
    bits
}

/// Acknowledges a state as `Job::ack` does. RUN wakes only the runner.
fn ack(world: &World, state: MultiStopState, runner: usize) {
    if let Acked::Last(next) = world.stop.ack(state) {
        let mut waiting = participants(world.cpus);
        if next == MultiStopState::Run {
            waiting = [0; MASK_WORDS];
            waiting[0] = 1 << runner;
        }
        world
            .point
            .publish::<Cpu>(&waiting, || world.stop.publish(next));
    }
}

fn reach(world: &World, cpu: usize, state: MultiStopState, spins: u32) {
    world
        .point
        .wait_masked::<Cpu, ()>(cpu, spins, || world.stop.is_in(state).then_some(()));
}

fn stopper(world: &World, cpu: usize, runner: usize, spins: u32) {
    Cpu::become_cpu(cpu);
    world.before[cpu].set(10);
    ack(world, MultiStopState::Prepare, runner);
    // As `Job::wait_for_all`: a CPU that is slow to look may see the next state already.
    world.point.wait_masked::<Cpu, ()>(cpu, spins, || {
        (!world.stop.is_in(MultiStopState::Prepare)).then_some(())
    });
    // What each did before it came is visible: here a CPU runs the calls that it was sent.
    assert!(world.before.iter().all(|before| before.get() == 10));
    world.masked.fetch_add(1, Ordering::Relaxed);
    ack(world, MultiStopState::DisableIrq, runner);
    if cpu == runner {
        reach(world, cpu, MultiStopState::Run, spins);
        // The still point: every CPU has IRQs masked, and the stores of all are visible.
        assert_eq!(world.masked.load(Ordering::Relaxed) as usize, world.cpus);
        let sum = world.before.iter().map(Word::get).sum();
        world.result.set(sum);
        ack(world, MultiStopState::Run, runner);
    }
    reach(world, cpu, MultiStopState::Exit, spins);
    let result = world.result.get();
    assert_eq!(result as usize, 10 * world.cpus);
    assert_eq!(world.frame.get(), 1);
    leave(world);
}

/// Leaves the stop as `Job::finish` does.
fn leave(world: &World) {
    match &world.done {
        None => {
            if world.stop.leave() && world.left.sleeps_after_store(0) {
                Cpu::send_wake(&participants(1));
            }
        }
        Some(done) => {
            if world.stop.leave() {
                // The caller sees what all have done, because this CPU does.
                assert!(world.stop.is_over());
                done.complete();
            }
        }
    }
}

/// Runs the caller, on CPU 0, after its own stopper has left. The works are queued.
fn wait_until_over(world: &World, spins: u32) {
    leave(world);
    world
        .left
        .wait_open::<Cpu, ()>(0, spins, || world.stop.is_over().then_some(()));
    world.frame.set(0);
}

fn world(cpus: usize, done: Option<Done>) -> Arc<World> {
    Arc::new(World {
        stop: MultiStop::new(u32::try_from(cpus).expect("few"), 1),
        point: WaitPoint::new(),
        cpus,
        before: (0..cpus).map(|_| Word::new(0)).collect(),
        result: Word::new(0),
        frame: Word::new(1),
        left: WaitPoint::new(),
        done,
        masked: AtomicU32::new(0),
    })
}

fn model(cpus: usize, runner: usize, spins: u32) {
    every_order(move || {
        let world = world(cpus, None);
        let others: Vec<_> = (1..cpus)
            .map(|cpu| {
                let world = Arc::clone(&world);
                thread::spawn(move || stopper(&world, cpu, runner, spins))
            })
            .collect();
        stopper(&world, 0, runner, spins);
        wait_until_over(&world, spins);
        for other in others {
            other.join().expect("a CPU of the model");
        }
    });
}

#[test]
fn two_cpus_meet_and_the_first_runs_fn() {
    model(2, 0, 0);
}

#[test]
fn two_cpus_meet_and_the_second_runs_fn() {
    model(2, 1, 0);
}

/// CPUs that sleep are ordered by the model's condition variable too; CPUs that spin are not.
#[test]
fn two_cpus_meet_by_spinning_alone() {
    model(2, 0, u32::MAX);
}

#[test]
fn three_cpus_meet() {
    model(3, 2, 0);
}

/// A stop of two CPUs whose caller is on neither, and sleeps until the last to leave wakes it.
#[test]
fn two_cpus_stop_for_a_caller_elsewhere() {
    every_order(|| {
        let world = world(2, Some(Done::new()));
        let stoppers = [0, 1].map(|cpu| {
            let world = Arc::clone(&world);
            thread::spawn(move || stopper(&world, cpu, 0, 0))
        });
        leave(&world); // The count of the thread that queues.
        if let Some(done) = &world.done {
            done.wait();
        }
        assert_eq!(world.result.get(), 20);
        world.frame.set(0);
        for stopper in stoppers {
            stopper.join().expect("a CPU of the model");
        }
    });
}
