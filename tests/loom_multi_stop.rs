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
use stillpoint::cpu::CpuMask;
use stillpoint::stop_machine::{Acked, MultiStop, MultiStopState, publish_disable_irq};
use stillpoint::sync::atomic::{AtomicU32, Ordering};
use stillpoint::sync::{Resting, Wait, WaitPoint};

/// What interrupts a CPU before `fn` runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupt {
    None,
    /// CPU 1: a call, which CPU 0 sends before it comes.
    Call,
    /// CPU 0: its own, as it sleeps already. It comes behind the fence of the sleep.
    Own,
}

impl Interrupt {
    /// Returns which CPU it is that is interrupted.
    fn cpu(self) -> usize {
        usize::from(self != Interrupt::Own)
    }
}

const NOT_CALLED: u32 = 0;
const IS_CALLED: u32 = 1;
const HAS_RUN: u32 = 2;

struct World {
    stop: MultiStop,
    point: WaitPoint,
    /// The CPUs that may be counted as still.
    resting: Resting,
    cpus: usize,
    interrupt: Interrupt,
    /// Stands for the queue of calls. A load that finds one is an Acquire.
    call: AtomicU32,
    /// Written by what the interrupt runs, or by the CPU as it becomes still; read by `fn`.
    called: Word,
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
        if next == MultiStopState::DisableIrq {
            publish_disable_irq::<Cpu>(
                &world.stop,
                (&world.point, &world.resting),
                &CpuMask::from_bits(waiting),
                || 0,
                |cpu| {
                    // Of its own interrupt no other CPU knows.
                    world.interrupt == Interrupt::Call
                        && cpu.index() == 1
                        && world.call.load(Ordering::Relaxed) == IS_CALLED
                },
                |_| {
                    world.masked.fetch_add(1, Ordering::Relaxed);
                },
            );
            return;
        }
        if next == MultiStopState::Run {
            waiting = [0; MASK_WORDS];
            waiting[0] = 1 << runner;
        }
        world
            .point
            .publish::<Cpu>(&waiting, || world.stop.publish(next));
    }
}

/// Runs the call that waits for `cpu`, if there is one.
fn run_calls(world: &World, cpu: usize) {
    if cpu == world.interrupt.cpu() && world.call.load(Ordering::Acquire) == IS_CALLED {
        world.called.set(1);
        world.call.store(HAS_RUN, Ordering::Relaxed);
    }
}

fn reach(world: &World, cpu: usize, state: MultiStopState, spins: u32) {
    world
        .point
        .wait_masked::<Cpu, ()>(cpu, spins, || world.stop.is_in(state).then_some(()));
}

fn stopper(world: &World, cpu: usize, runner: usize, spins: u32) {
    Cpu::become_cpu(cpu);
    let spins = match world.interrupt {
        Interrupt::Own if cpu == 0 => 0,
        _ => spins,
    };
    world.before[cpu].set(10);
    if world.interrupt == Interrupt::Call && cpu == 0 {
        world.call.store(IS_CALLED, Ordering::Release);
        let mut called = [0; MASK_WORDS];
        called[0] = 1 << 1;
        Cpu::send_wake(&called);
    }
    ack(world, MultiStopState::Prepare, runner);
    // As `Job::wait_for_all`: a CPU that is slow to look may see the next state already.
    let (_masked, has_come) =
        world
            .point
            .wait_open_at_rest::<Cpu, ()>(cpu, spins, &world.resting, || {
                run_calls(world, cpu); // By an interrupt that has ended its sleep.
                (!world.stop.is_in(MultiStopState::Prepare)).then_some(())
            });
    if has_come.is_some() {
        // What each did before it came is visible: here a CPU runs the calls that it was sent.
        assert!(world.before.iter().all(|before| before.get() == 10));
        run_calls(world, cpu);
        world.masked.fetch_add(1, Ordering::Relaxed);
        ack(world, MultiStopState::DisableIrq, runner);
    }
    if cpu == runner {
        reach(world, cpu, MultiStopState::Run, spins);
        // The still point: every CPU has IRQs masked, and the stores of all are visible.
        assert_eq!(world.masked.load(Ordering::Relaxed) as usize, world.cpus);
        assert_eq!(
            world.called.get(),
            u32::from(world.interrupt != Interrupt::None)
        );
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

fn world(cpus: usize, interrupt: Interrupt, done: Option<Done>) -> Arc<World> {
    Arc::new(World {
        stop: MultiStop::new(u32::try_from(cpus).expect("few"), 1),
        point: WaitPoint::new(),
        resting: Resting::new(),
        cpus,
        interrupt,
        call: AtomicU32::new(match interrupt {
            Interrupt::Own => IS_CALLED,
            _ => NOT_CALLED,
        }),
        called: Word::new(0),
        before: (0..cpus).map(|_| Word::new(0)).collect(),
        result: Word::new(0),
        frame: Word::new(1),
        left: WaitPoint::new(),
        done,
        masked: AtomicU32::new(0),
    })
}

fn model(cpus: usize, runner: usize, spins: u32) {
    model_with(cpus, runner, spins, Interrupt::None);
}

fn model_with(cpus: usize, runner: usize, spins: u32, interrupt: Interrupt) {
    every_order(move || one_stop(cpus, runner, spins, interrupt));
}

fn one_stop(cpus: usize, runner: usize, spins: u32, interrupt: Interrupt) {
    let world = world(cpus, interrupt, None);
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

/// A CPU that is called before its caller comes has run the call before `fn`. An interrupt ends its
/// sleep at any moment.
#[test]
fn what_was_called_before_has_run() {
    model_with(2, 0, 0, Interrupt::Call);
}

#[test]
fn what_was_called_before_has_run_by_spinning_alone() {
    model_with(2, 0, u32::MAX, Interrupt::Call);
}

/// What a CPU has done before its sleep is seen by a runner that has not counted it. Nothing but the
/// CPU that has counted it can have told the runner. That CPU and the runner don't sleep: a sleep has
/// a fence, which would order what they have to acquire.
#[test]
fn what_a_counted_cpu_has_done_is_visible_on_all() {
    model_with(3, 1, 1, Interrupt::Own);
}

/// A stop of two CPUs whose caller is on neither, and sleeps until the last to leave wakes it.
#[test]
fn two_cpus_stop_for_a_caller_elsewhere() {
    every_order(|| {
        let world = world(2, Interrupt::None, Some(Done::new()));
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
