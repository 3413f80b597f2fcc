//! Model of a stop that is given up: the kernel's `stop_machine::MultiStop`, `WorkQueue` and
//! `sync::WaitPoint`, used as the caller of a stop, the stoppers, and the timer of a deadline use
//! them.
//!
//! The timer is a thread of its own, which begins at any moment: also in the middle of the
//! queueing, which it interrupts, and after the last arrival. Where the caller drops the timer
//! it waits for that thread.
#![cfg(loom)]

#[path = "support/loom_cpu.rs"]
mod loom_cpu;
#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_word.rs"]
mod loom_word;

use loom::sync::Arc;
use loom::thread;
use loom_cpu::Cpu;
use loom_orders::every_order;
use loom_word::Word;
use stillpoint::config::MASK_WORDS;
use stillpoint::cpu::CpuMask;
use stillpoint::stop_machine::{
    Acked, Behind, MultiStop, MultiStopState, WorkNode, WorkQueue, publish_disable_irq,
    push_everywhere, push_together,
};
use stillpoint::sync::{Resting, SpinLock, Wait, WaitPoint};

/// How many CPUs take part. The caller is on CPU 0.
const CPUS: usize = 2;

const ALL: [u64; MASK_WORDS] = {
    let mut bits = [0; MASK_WORDS];
    bits[0] = (1 << CPUS) - 1;
    bits
};

struct World {
    stop: MultiStop,
    point: WaitPoint,
    resting: Resting,
    queues: [WorkQueue<(), Cpu>; CPUS],
    order: SpinLock<(), Cpu>,
    nodes: [&'static WorkNode<()>; CPUS],
    /// Written by each CPU before it arrives, read by `fn`.
    before: [Word; CPUS],
    /// How often `fn` has run.
    ran: Word,
    /// Stands for the caller's frame. Each CPU reads it until it leaves, and the timer until its
    /// function has returned. The caller writes it when it has dropped the timer.
    frame: Word,
    /// Where the caller waits for the last CPU to leave.
    left: WaitPoint,
}

/// Returns a node for `work`; a queue keeps references without an end.
fn node<T>(work: T) -> &'static WorkNode<T> {
    Box::leak(Box::new(WorkNode::new(work)))
}

impl World {
    fn new() -> World {
        let queue = || {
            let queue = WorkQueue::new();
            queue.enable();
            queue
        };
        World {
            stop: MultiStop::new(2, 1),
            point: WaitPoint::new(),
            resting: Resting::new(),
            queues: [queue(), queue()],
            order: SpinLock::new(()),
            nodes: [node(()), node(())],
            before: [Word::new(0), Word::new(0)],
            ran: Word::new(0),
            frame: Word::new(1),
            left: WaitPoint::new(),
        }
    }

    /// Acknowledges a state as `Job::ack` does.
    fn ack(&self, state: MultiStopState) {
        match self.stop.ack(state) {
            Acked::More(_) => (),
            Acked::Last(MultiStopState::DisableIrq) => publish_disable_irq::<Cpu>(
                &self.stop,
                (&self.point, &self.resting),
                &CpuMask::from_bits(ALL),
                || 0,
                |_| false,
                |_| (),
            ),
            Acked::Last(next) => self.point.publish::<Cpu>(&ALL, || self.stop.publish(next)),
        }
    }

    /// Leaves as `Job::finish_for` does.
    fn leave_for(&self, count: u32) {
        assert_eq!(self.frame.get(), 1);
        if self.stop.leave_for(count) && self.left.sleeps_after_store(0) {
            let mut caller = [0; MASK_WORDS];
            caller[0] = 1;
            Cpu::send_wake(&caller);
        }
    }

    /// Runs the stopper of `cpu`, if its work is there, as `Job::run` does.
    fn stopper(&self, cpu: usize, spins: u32) {
        if self.queues[cpu].pop().is_none() {
            return;
        }
        assert_eq!(self.frame.get(), 1);
        self.before[cpu].set(1);
        self.ack(MultiStopState::Prepare);
        let point = &self.point;
        let (_masked, goes_on) =
            point.wait_open_at_rest::<Cpu, bool>(cpu, spins, &self.resting, || {
                if self.stop.is_in(MultiStopState::Prepare) {
                    return None;
                }
                Some(!self.stop.is_in(MultiStopState::Abort))
            });
        if goes_on != Some(false) {
            if goes_on == Some(true) {
                self.ack(MultiStopState::DisableIrq);
            }
            if cpu == 0 {
                self.reach(cpu, MultiStopState::Run, spins);
                assert!(self.before.iter().all(|word| word.get() == 1));
                self.ran.set(self.ran.get() + 1);
                self.ack(MultiStopState::Run);
            }
            self.reach(cpu, MultiStopState::Exit, spins);
            assert_eq!(self.ran.get(), 1);
        }
        self.leave_for(1);
    }

    fn reach(&self, cpu: usize, state: MultiStopState, spins: u32) {
        self.point
            .wait_masked::<Cpu, ()>(cpu, spins, || self.stop.is_in(state).then_some(()));
    }

    /// Gives the stop up as a timer's function does: `Job::give_up`.
    fn give_up(&self) {
        if self.stop.abort().is_some() {
            if let Some(sleepers) = self.point.sleepers_after_store(&ALL) {
                Cpu::send_wake(&sleepers);
            }
            self.take_back();
        }
        assert_eq!(self.frame.get(), 1);
    }

    /// Takes back what has not begun, as `Job::take_back` does.
    fn take_back(&self) {
        let was_there = |cpu: &usize| self.queues[*cpu].take_back(self.nodes[*cpu]);
        let taken = (0..CPUS).filter(was_there).count();
        if taken > 0 {
            self.leave_for(u32::try_from(taken).expect("few"));
        }
    }

    /// Queues the works as `StopMachine::queue_everywhere` does.
    fn queue(&self) {
        let works = self.queues.iter().zip(self.nodes);
        let works = works.map(|(queue, node)| (queue, node, Behind::Accepted));
        assert_eq!(push_everywhere(&self.order, works), Ok(()));
        if self.stop.state() == MultiStopState::Abort {
            self.take_back();
        }
        self.leave_for(1);
    }

    /// Ends the caller's frame, after the last CPU has left and the timer's function has returned.
    fn end(&self, spins: u32, timer: thread::JoinHandle<()>) {
        let over = || self.stop.is_over().then_some(());
        self.left.wait_open::<Cpu, ()>(0, spins, over);
        timer.join().expect("the timer of the model");
        self.frame.set(0);
        let given_up = self.stop.state() == MultiStopState::Abort;
        assert_eq!(self.ran.get(), u32::from(!given_up));
        assert!(self.queues.iter().all(|queue| !queue.has_work()));
    }
}

fn spawn(
    world: &Arc<World>,
    cpu: usize,
    run_fn: fn(&World, u32),
    spins: u32,
) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || {
        Cpu::become_cpu(cpu);
        run_fn(&world, spins);
    })
}

/// The timer comes at any moment from before the queueing to after the end. The stopper of CPU 1
/// comes at any moment too, or not at all. The function runs once and all see it, or the stop is
/// given up and leaves nothing behind.
fn model(spins: u32) {
    every_order(move || {
        let world = Arc::new(World::new());
        let timer = spawn(&world, 3, |world, _| world.give_up(), 0);
        Cpu::become_cpu(0);
        world.queue();
        let other = spawn(&world, 1, |world, spins| world.stopper(1, spins), spins);
        world.stopper(0, spins);
        world.end(spins, timer);
        other.join().expect("a CPU of the model");
    });
}

#[test]
fn it_is_given_up_or_it_runs() {
    model(0);
}

#[test]
fn it_is_given_up_or_it_runs_by_spinning_alone() {
    model(u32::MAX);
}

/// A timer that comes while the works are queued leaves some to the thread that queues them.
#[test]
fn what_is_queued_behind_an_abort_is_taken_back() {
    every_order(|| {
        let world = Arc::new(World::new());
        let timer = spawn(&world, 3, |world, _| world.give_up(), 0);
        let other = spawn(&world, 1, |world, _| world.stopper(1, 0), 0);
        Cpu::become_cpu(0);
        world.queue();
        world.stopper(0, 0);
        world.end(0, timer);
        other.join().expect("a CPU of the model");
    });
}

/// A CPU's part in a stop that is to take it offline is the last work of its queue. Before the stop
/// is given up, or not, another work comes at any moment. If the CPU goes it has run that, or
/// refused it; if it stays it accepts works as before.
#[test]
fn a_cpu_that_goes_has_run_all_its_works() {
    const PART: usize = 0;
    const OTHER: usize = 1;
    every_order(|| {
        let queue = Arc::new(WorkQueue::<usize, Cpu>::new());
        queue.enable();
        let part = node(PART);
        let timer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let accepted = queue.push(node(OTHER));
                (accepted, queue.take_back(part))
            })
        };
        // Returns how many other works have run, and whether the CPU goes.
        let stopper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut others = 0;
                while let Some(node) = queue.pop() {
                    if *node.work() == PART {
                        return (others, true);
                    }
                    others += 1;
                }
                (others, false)
            })
        };
        let works = [(&*queue, part, Behind::Refused)];
        assert_eq!(
            push_everywhere(&SpinLock::new(()), works.into_iter()),
            Ok(())
        );
        let (accepted, taken_back) = timer.join().expect("the timer of the model");
        let (ran, goes) = stopper.join().expect("a CPU of the model");
        let stays = taken_back || queue.take_back(part);
        assert_eq!(stays, !goes);
        assert!(!queue.push(node(OTHER)), "until the stop is over");
        if stays {
            queue.enable(); // As `enable_those_that_stay` does.
            assert!(queue.push(node(OTHER)));
        }
        let left = core::iter::from_fn(|| queue.pop()).count();
        assert!(stays || left == 0);
        assert_eq!(ran + left, usize::from(accepted) + usize::from(stays));
    });
}

/// Two queues that accept works, and the lock of works that wait for each other.
type Queues = ([WorkQueue<usize, Cpu>; 2], SpinLock<(), Cpu>);

fn two_queues() -> Arc<Queues> {
    let queues = [WorkQueue::new(), WorkQueue::new()];
    queues.iter().for_each(WorkQueue::enable);
    Arc::new((queues, SpinLock::new(())))
}

/// Returns the work that is first in each queue.
fn first_of(queues: &Queues) -> [Option<usize>; 2] {
    let first = |queue: &WorkQueue<usize, Cpu>| queue.pop().map(|node| *node.work());
    queues.0.each_ref().map(first)
}

/// A stop of two CPUs is called for while a stop of all is queued that takes the second one
/// offline. Both accept their works, in front, or neither does.
#[test]
fn a_pair_is_accepted_by_both_or_by_neither() {
    const ALL: usize = 0;
    const PAIR: usize = 1;
    every_order(|| {
        let shared = two_queues();
        let takes_offline = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (queues, order) = &*shared;
                let works = queues.iter().zip([Behind::Accepted, Behind::Refused]);
                let works = works.map(|(queue, behind)| (queue, node(ALL), behind));
                assert_eq!(push_everywhere(order, works), Ok(()));
            })
        };
        let works = shared.0.iter().map(|queue| (queue, node(PAIR)));
        let pushed = push_together(&shared.1, works);
        takes_offline.join().expect("a CPU of the model");
        let wanted = match pushed {
            Ok(()) => [PAIR, ALL].map(|stop| [Some(stop); 2]),
            Err(1) => [[Some(ALL); 2], [None; 2]],
            Err(nth) => panic!("queue {nth} is enabled"),
        };
        assert_eq!([first_of(&shared), first_of(&shared)], wanted);
    });
}

/// Two stops of the same two CPUs are in the same order in the queues of both.
#[test]
fn no_two_stops_wait_for_each_other() {
    every_order(|| {
        let shared = two_queues();
        let push = {
            let shared = Arc::clone(&shared);
            move |stop: usize| {
                let (queues, order) = &*shared;
                // One of the callers names the CPUs the other way round.
                let works = [stop, 1 - stop].map(|cpu| (&queues[cpu], node(stop)));
                assert_eq!(push_together(order, works.into_iter()), Ok(()));
            }
        };
        let other = {
            let push = push.clone();
            thread::spawn(move || push(1))
        };
        push(0);
        other.join().expect("a CPU of the model");
        let first = first_of(&shared);
        assert_eq!(first[0], first[1]);
    });
}
