//! Model of CPUs that stop the machine before they are online: the kernel's `stop_machine::Loan`,
//! `MultiStop` and `WorkQueue`, `hotplug::Handshake`, `cpu::CpuMasks` and `sync::WaitPoint`, used as
//! control, the CPU that comes and the stoppers use them.
//!
//! Control is a thread of CPU 0. The stop SGI isn't modelled: control looks for work of its CPU's
//! stopper, which preempts it, in each turn of its wait.
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
use stillpoint::cpu::{CpuId, CpuMask, CpuMasks};
use stillpoint::hotplug::{Handshake, SyncState};
use stillpoint::stop_machine::{
    Acked, Lent, Loan, MultiStop, MultiStopState, WorkNode, WorkQueue, publish_disable_irq,
    push_together,
};
use stillpoint::sync::atomic::AtomicU32;
use stillpoint::sync::{Resting, SpinLock, Wait, WaitPoint};

/// A stop, in the frame of the CPU that asks for it: its number says which that is.
struct Stop {
    barrier: MultiStop,
    runner: usize,
    /// Stands for that frame. Each CPU reads it until it leaves; its owner writes it before the works
    /// are queued and when the stop is over.
    frame: Word,
    /// Written by each CPU before it arrives, read by `fn`.
    before: Vec<Word>,
    /// Written by `fn`, read by each CPU after EXIT.
    result: Word,
}

struct World {
    loan: Loan,
    masks: CpuMasks,
    /// The handshake word of each CPU that comes.
    words: Vec<AtomicU32>,
    queues: Vec<WorkQueue<usize, Cpu>>,
    order: SpinLock<(), Cpu>,
    point: WaitPoint,
    /// The CPUs that may be counted as still.
    resting: Resting,
    left: WaitPoint,
    /// By the number of the CPU that asks, so CPU 0 has none.
    stops: Vec<Stop>,
}

fn bits(cpus: impl Iterator<Item = usize>) -> [u64; MASK_WORDS] {
    let mut bits = [0; MASK_WORDS];
    for cpu in cpus {
        bits[0] |= 1 << cpu;
    }
    bits
}

impl World {
    /// Returns a machine of `cpus` CPUs. CPU 0 is online, and runs the function of each stop if
    /// `boot_runs`.
    fn new(cpus: usize, boot_runs: bool) -> World {
        let masks = CpuMasks::new(CpuMask::first_n(cpus));
        masks.set_online(CpuId::BOOT);
        let stop = |asks: usize| Stop {
            barrier: MultiStop::new(u32::try_from(asks + 1).expect("few"), 1),
            runner: if boot_runs { 0 } else { asks },
            frame: Word::new(0),
            before: (0..=asks).map(|_| Word::new(0)).collect(),
            result: Word::new(0),
        };
        let world = World {
            loan: Loan::new(),
            masks,
            words: (0..cpus)
                .map(|_| AtomicU32::new(SyncState::Alive as u32))
                .collect(),
            queues: (0..cpus).map(|_| WorkQueue::new()).collect(),
            order: SpinLock::new(()),
            point: WaitPoint::new(),
            resting: Resting::new(),
            left: WaitPoint::new(),
            stops: (0..cpus).map(stop).collect(),
        };
        world.queues[0].enable();
        world
    }

    fn handshake(&self, cpu: usize) -> Handshake<'_> {
        Handshake(&self.words[cpu])
    }

    /// Acknowledges a state of the stop of CPU `asks`, as `Job::ack` does.
    fn ack(&self, asks: usize, state: MultiStopState) {
        let stop = &self.stops[asks];
        if let Acked::Last(next) = stop.barrier.ack(state) {
            let waiting = match next {
                MultiStopState::DisableIrq => {
                    return publish_disable_irq::<Cpu>(
                        &stop.barrier,
                        (&self.point, &self.resting),
                        &CpuMask::first_n(asks + 1),
                        || 0,
                        |_| false,
                        |_| (),
                    );
                }
                MultiStopState::Run => bits([stop.runner].into_iter()),
                _ => bits(0..=asks),
            };
            self.point
                .publish::<Cpu>(&waiting, || stop.barrier.publish(next));
        }
    }

    fn reach(&self, asks: usize, cpu: usize, state: MultiStopState) {
        let barrier = &self.stops[asks].barrier;
        self.point
            .wait_masked::<Cpu, ()>(cpu, 0, || barrier.is_in(state).then_some(()));
    }

    /// Goes from DISABLE_IRQ, which has been acknowledged for it, to EXIT, as `Job::stay_still` does.
    fn stay_still(&self, asks: usize, cpu: usize) {
        let stop = &self.stops[asks];
        if cpu == stop.runner {
            self.reach(asks, cpu, MultiStopState::Run);
            stop.result.set(stop.before.iter().map(Word::get).sum());
            self.ack(asks, MultiStopState::Run);
        }
        self.reach(asks, cpu, MultiStopState::Exit);
        assert_eq!(stop.result.get() as usize, asks + 1);
    }

    /// Leaves as `Job::finish` does.
    fn leave(&self, asks: usize) {
        let stop = &self.stops[asks];
        assert_eq!(stop.frame.get(), 1);
        if stop.barrier.leave() && self.left.sleeps_after_store(asks) {
            Cpu::send_wake(&bits([asks].into_iter()));
        }
    }

    /// Runs the next work of the stopper of `cpu`, if there is one, as `Job::run` does.
    fn stopper(&self, cpu: usize) {
        let Some(node) = self.queues[cpu].pop() else {
            return;
        };
        let asks = *node.work();
        let stop = &self.stops[asks];
        assert_eq!(stop.frame.get(), 1);
        stop.before[cpu].set(1);
        self.ack(asks, MultiStopState::Prepare);
        let resting = &self.resting;
        let (_masked, has_come) = self
            .point
            .wait_open_at_rest::<Cpu, ()>(cpu, 0, resting, || {
                (!stop.barrier.is_in(MultiStopState::Prepare)).then_some(())
            });
        if has_come.is_some() {
            self.ack(asks, MultiStopState::DisableIrq);
        }
        self.stay_still(asks, cpu);
        self.leave(asks);
    }

    /// Stops the machine from `cpu`, as `Job::go_through_inactive` does.
    fn stop_from_inactive(&self, cpu: usize) {
        let stop = &self.stops[cpu];
        stop.frame.set(1);
        stop.before[cpu].set(1);
        self.ack(cpu, MultiStopState::Prepare);
        let node = || &*Box::leak(Box::new(WorkNode::new(cpu)));
        let online = self.masks.online();
        assert_eq!(online, CpuMask::first_n(cpu));
        let works: Vec<_> = online.iter().map(|on| (on.index(), node())).collect();
        let works = works.iter().map(|(on, node)| (&self.queues[*on], *node));
        assert_eq!(push_together(&self.order, works), Ok(()));
        self.leave(cpu);
        self.reach(cpu, cpu, MultiStopState::DisableIrq);
        self.ack(cpu, MultiStopState::DisableIrq);
        self.stay_still(cpu, cpu);
        self.leave(cpu);
        self.left
            .wait_masked::<Cpu, ()>(cpu, 0, || stop.barrier.is_over().then_some(()));
        stop.frame.set(0);
    }

    /// What CPU `cpu` does from when it has said ALIVE until it is online.
    fn come(&self, cpu: usize) {
        Cpu::become_cpu(cpu);
        let id = CpuId::from_index(cpu);
        let sync = self.handshake(cpu);
        while sync.verdict().is_none() {
            thread::yield_now();
        }
        assert_eq!(self.loan.take(id), Err(Lent::Undeclared));
        self.loan.declare(id, || {
            assert_eq!(self.loan.take(id), Ok(()));
            self.stop_from_inactive(cpu);
            self.loan.give_back(id);
            assert_eq!(self.loan.state(id), Lent::Declared);
        });
        sync.online();
        self.masks.set_online(id);
    }

    /// What control does: lends the stop mutex to CPU `cpu`, and then to another one.
    fn release(&self, cpu: usize) {
        let id = CpuId::from_index(cpu);
        self.loan.lend(id, || {
            assert_eq!(self.handshake(cpu).release(), Ok(()));
            while !self.masks.is_online(id) {
                self.stopper(0);
                thread::yield_now();
            }
        });
        assert_eq!(self.stops[cpu].frame.get(), 0);
        let next = CpuId::from_index(cpu + 1);
        self.loan.lend(next, || {
            assert_eq!(self.loan.state(id), Lent::No);
        });
    }
}

fn model(boot_runs: bool) {
    every_order(move || {
        let world = Arc::new(World::new(2, boot_runs));
        let theirs = Arc::clone(&world);
        let comes = thread::spawn(move || theirs.come(1));
        Cpu::become_cpu(0);
        world.release(1);
        comes.join().expect("a CPU of the model");
    });
}

#[test]
fn a_cpu_stops_the_machine_before_it_is_online() {
    model(false);
}

#[test]
fn an_online_cpu_runs_its_function() {
    model(true);
}
