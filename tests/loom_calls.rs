//! Model of cross calls: the kernel's queue (`CallQueue`) and the three kinds of call in it.
//! No call is lost, none runs twice, and no CPU accesses the memory that a sender lent
//! after the call was answered.
//!
//! The call SGI is a pending bit, as the wake SGI is. While a target has IRQs masked, its
//! thread of the model doesn't serve calls.
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
use std::ptr::NonNull;
use stillpoint::cpu::CpuId;
use stillpoint::smp::call::{CallNode, CallQueue, ManyCall, ManyNodes, OneCall, OwnedCall, Target};
use stillpoint::sync::atomic::{AtomicUsize, Ordering};
use stillpoint::sync::{Running, WaitPoint};

/// The CPU to which calls are sent.
const TARGET: usize = 0;

fn cpu(index: usize) -> CpuId {
    CpuId::new(index).expect("few")
}

struct World {
    queue: CallQueue,
    point: Arc<WaitPoint>,
    running: Running,
    /// The call SGI: whether it is pending, and the target's wait for it.
    sgi: (Mutex<bool>, Condvar),
}

fn world() -> Arc<World> {
    world_of(&Arc::new(WaitPoint::new()))
}

/// Returns a target whose senders wait at `point`.
fn world_of(point: &Arc<WaitPoint>) -> Arc<World> {
    Arc::new(World {
        queue: CallQueue::new(),
        point: Arc::clone(point),
        running: Running::new(),
        sgi: (Mutex::new(false), Condvar::new()),
    })
}

impl World {
    /// Pushes a node and sends the SGI if it must, as a sender does (`empty-sends-sgi` of
    /// `smp::call::queue`). The caller keeps `node`.
    fn send(&self, node: NonNull<CallNode>) {
        // SAFETY: each model keeps the nodes that it pushes until they are answered, or
        // leaks them to the queue.
        if unsafe { self.queue.push(node) } {
            *self.sgi.0.lock().expect("never poisoned") = true;
            self.sgi.1.notify_all();
        }
    }

    /// Serves call SGIs, as the target, until `calls` calls have run according to `ran_fn`.
    fn serve(&self, calls: u32, ran_fn: impl Fn() -> u32) {
        while ran_fn() < calls {
            let mut pending = self.sgi.0.lock().expect("never poisoned");
            while !*pending {
                pending = self.sgi.1.wait(pending).expect("never poisoned");
            }
            *pending = false;
            drop(pending);
            self.run();
        }
    }

    fn run(&self) -> bool {
        self.queue.run(&Target {
            cpu: cpu(TARGET),
            point: &self.point,
            running: &self.running,
        })
    }

    /// Waits for an answer as a sender does, but sleeps at once.
    fn wait(&self, me: usize, done_fn: impl Fn() -> bool) {
        self.point
            .wait_open::<Cpu, ()>(me, 0, || done_fn().then_some(()));
    }
}

/// Words that only the target's calls access: how many have run, and in what order.
struct Ran {
    count: Word,
    order: [Word; 2],
}

/// Runs a sender on CPU `me`, which lends a word and receives a value.
fn calls_and_waits(world: &World, ran: &Arc<Ran>, me: usize) {
    Cpu::become_cpu(me);
    let lent = Word::new(7);
    let call = OneCall::new::<Cpu>(cpu(me), || {
        let before = lent.get();
        lent.set(before + 1);
        ran.count.set(ran.count.get() + 1);
        before
    });
    world.send(call.node());
    world.wait(me, || call.is_answered());
    // The sender's frame ends here, which the model shows as an access to all of it.
    assert_eq!(call.into_value(), 7);
    assert_eq!(lent.get(), 8);
    lent.set(0);
}

fn ran() -> Arc<Ran> {
    Arc::new(Ran {
        count: Word::new(0),
        order: [Word::new(0), Word::new(0)],
    })
}

#[test]
fn two_senders_are_both_answered() {
    every_order(|| {
        let (world, ran) = (world(), ran());
        let senders: Vec<_> = [1, 2]
            .map(|me| {
                let (world, ran) = (Arc::clone(&world), Arc::clone(&ran));
                thread::spawn(move || calls_and_waits(&world, &ran, me))
            })
            .into();
        Cpu::become_cpu(TARGET);
        world.serve(2, || ran.count.get());
        for sender in senders {
            sender.join().expect("a CPU of the model");
        }
        assert_eq!(ran.count.get(), 2);
        assert!(world.queue.is_empty() && !world.run());
    });
}

/// One source sends two batches with the same node. The second begins as soon as the first
/// is over.
#[test]
fn the_nodes_of_a_batch_can_be_used_again() {
    every_order(|| {
        let (world, ran) = (world(), ran());
        let sender = {
            let (world, ran) = (Arc::clone(&world), Arc::clone(&ran));
            thread::spawn(move || {
                Cpu::become_cpu(1);
                let nodes = ManyNodes::new::<Cpu>(1);
                for round in 1..=2 {
                    let lent = Word::new(round);
                    let call_fn = |on: CpuId| {
                        assert_eq!(on, cpu(TARGET));
                        lent.set(lent.get() + 10);
                        ran.count.set(ran.count.get() + 1);
                    };
                    let batch = ManyCall::new(cpu(1), 1, &call_fn);
                    world.send(nodes.ready(cpu(TARGET), &batch));
                    world.wait(1, || batch.is_over());
                    assert_eq!(lent.get(), round + 10);
                    assert!(nodes.missing_racy().is_empty());
                }
            })
        };
        Cpu::become_cpu(TARGET);
        world.serve(2, || ran.count.get());
        sender.join().expect("a CPU of the model");
    });
}

/// One batch has two targets, whose interrupts come in any order. The last target to count
/// itself off wakes the sender, which then sees the stores of both.
#[test]
fn a_batch_is_over_when_both_have_run_it() {
    every_order(|| {
        let point = Arc::new(WaitPoint::new());
        let targets = [world_of(&point), world_of(&point)];
        Cpu::become_cpu(1);
        let nodes = ManyNodes::new::<Cpu>(targets.len());
        let lent = [Word::new(0), Word::new(0)];
        let taken = AtomicUsize::new(0);
        let call_fn = |_: CpuId| {
            // Relaxed: each target writes its own word.
            let mine = taken.fetch_add(1, Ordering::Relaxed);
            lent[mine].set(1);
        };
        let batch = ManyCall::new(cpu(1), targets.len(), &call_fn);
        for (at, target) in targets.iter().enumerate() {
            target.send(nodes.ready(cpu(at), &batch));
        }
        let others = targets.each_ref().map(|target| {
            let target = Arc::clone(target);
            thread::spawn(move || assert!(target.run()))
        });
        targets[0].wait(1, || batch.is_over());
        assert!(lent.iter().all(|lent| lent.get() == 1));
        drop(batch);
        for other in others {
            other.join().expect("a CPU of the model");
        }
    });
}

/// Two senders make calls without waiting, and the target leaves. In the still point both
/// senders are in their stoppers, so all their calls are in the queue. Each call has run
/// once when the queue has been drained, and those of one sender in the order in which they
/// were sent.
#[test]
fn a_cpu_that_leaves_has_run_all() {
    every_order(|| {
        let (world, ran) = (world(), ran());
        let others: Vec<_> = [1, 2]
            .map(|me| {
                let (world, ran) = (Arc::clone(&world), Arc::clone(&ran));
                thread::spawn(move || {
                    Cpu::become_cpu(me);
                    for number in (1..).take(me) {
                        let ran = Arc::clone(&ran);
                        let call = OwnedCall::new((), move |()| {
                            ran.count.set(ran.count.get() + 1);
                            let order = &ran.order[me - 1];
                            assert_eq!(order.get() + 1, number);
                            order.set(order.get() + 1);
                        });
                        world.send(call.into_node());
                    }
                })
            })
            .into();
        Cpu::become_cpu(TARGET);
        // The interrupt for the calls that have come.
        world.run();
        // The stop: each sender has arrived.
        for other in others {
            other.join().expect("a CPU of the model");
        }
        while world.run() {}
        assert_eq!(ran.count.get(), 3);
        assert_eq!([ran.order[0].get(), ran.order[1].get()], [1, 2]);
        assert!(world.queue.is_empty());
    });
}
