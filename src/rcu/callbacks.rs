//! Queues of callbacks, which are functions that run after a grace period: one for each
//! CPU.
//!
//! ```text
//!   CPU N, any context           the thread `rcu`          the thread `rcuc/N`
//!   ──────────────────           ────────────────          ───────────────────
//!   make a node
//!   push: it is fresh on    ──►  gather: what is fresh
//!     N's queue                    becomes the batch of
//!                                  each queue that has none
//!                                a grace period
//!                                release the batches  ──►  run N's batch, some at a time
//! ```
//! A queue belongs to a CPU number, not to a running CPU. The queue of a CPU that is off
//! stays, and is served as any other. So a CPU that goes down has nothing to hand over,
//! and no callback is lost or runs out of order.
//!
//! A queue has one batch at a time, and all that happens to a batch takes constant time
//! under the queue's lock. No memory is allocated between a push and the call.
//!
//! # Eras
//! A barrier waits for the callbacks that were queued before it, and for no others. So it
//! begins a new *era*, and each callback carries the era in which it was queued. The barrier is
//! over when no queue has a callback of an earlier era.
//!
//! # The mark
//! A push tells its caller when more callbacks wait on the queue than the mark. A caller
//! that may wait does so until half of the mark is left ([`Queues::has_room`]).
//!
//! # Invariants
//! - **fresh-wants-grace**: a CPU's bit in `fresh` is set if and only if its queue has
//!   fresh callbacks and no batch. All three change under the queue's lock.
//! - **grace-before-ready**: a CPU's bit in `ready` is set when a grace period is over
//!   that began after its batch was gathered, and cleared when the batch has run.
//! - **no-heap-under-lock**: no memory is allocated or freed under a queue's lock.
//! - **era-under-lock**: a push reads the era under the queue's lock. A barrier begins
//!   its era before it takes the lock of any queue. So a callback that is queued after
//!   the barrier has looked has the new era, and one that was queued before the barrier
//!   was called has an earlier one.
//!
//! `tests/loom_callbacks.rs` model-checks this file.

use alloc::boxed::Box;

use crate::config::CALLBACK_MARK;
use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::rcu::callback::{Chain, Node};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{AtomicBits, LocalCpu, SpinLock};

/// How many callbacks run at most before the queue learns of it, and with it the threads
/// that wait for room or for the end of an era.
const TURN: u64 = if cfg!(loom) { 1 } else { 64 };

/// The callbacks of one CPU.
#[derive(Default)]
struct Queue {
    /// Those that are in no batch, the newest first.
    fresh: Chain,
    /// The era of the oldest of them, if there is one.
    fresh_era: u64,
    /// The batch, without the callbacks that run just now.
    batch: Chain,
    /// The era of the oldest callback of the batch that has not returned; `None` if there
    /// is no batch.
    batch_era: Option<u64>,
    /// Whether the batch has the oldest first.
    is_in_order: bool,
    /// How many callbacks have been queued.
    queued: u64,
    /// How many have run.
    ran: u64,
}

impl Queue {
    fn waiting(&self) -> u64 {
        self.queued - self.ran
    }
}

/// What a caller of [`Queues::push`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pushed {
    /// Wake the thread that waits for grace periods.
    pub wants_grace: bool,
    /// Wait for room, if it may wait.
    pub is_full: bool,
}

/// What [`Queues::run_some`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ran {
    /// How many callbacks have run.
    pub callbacks: u64,
    /// Whether the thread that waits for grace periods must be woken.
    pub wants_grace: bool,
    /// Whether the callers that wait for room on this queue must be woken.
    pub made_room: bool,
}

/// The callbacks of all CPUs.
pub struct Queues<E: LocalCpu> {
    queues: PerCpu<SpinLock<Queue, E>>,
    /// The CPUs whose queue needs a grace period (fresh-wants-grace). Relaxed: the thread
    /// that reads it without the lock is woken after the bit was set.
    fresh: AtomicBits,
    /// The CPUs whose batch may run (grace-before-ready). Set Release in
    /// [`Queues::release`], read Acquire in [`Queues::is_ready`]: a callback sees all that
    /// happened before the end of its grace period. Cleared Relaxed by the reader.
    ready: AtomicBits,
    /// The era in which callbacks are queued now. Relaxed: the queues' locks order it
    /// (era-under-lock).
    era: AtomicU64,
    /// Above how many waiting callbacks a queue is full. Relaxed: nothing depends on
    /// which value a push finds.
    mark: AtomicU64,
}

impl<E: LocalCpu> Queues<E> {
    /// Returns empty queues for `cpus` CPUs.
    pub fn new(cpus: usize) -> Self {
        Queues {
            queues: PerCpu::new(cpus, |_| SpinLock::new(Queue::default())),
            fresh: AtomicBits::new(),
            ready: AtomicBits::new(),
            era: AtomicU64::new(0),
            mark: AtomicU64::new(CALLBACK_MARK),
        }
    }

    /// Sets above how many waiting callbacks a CPU's queue is full.
    pub fn set_mark(&self, mark: u64) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    /// Queues `node` on `cpu`.
    ///
    /// # Context
    /// Any.
    pub fn push(&self, cpu: CpuId, mut node: Box<dyn Node>) -> Pushed {
        // The caller has allocated the node (no-heap-under-lock).
        let mut queue = self.queues.get(cpu).lock_irqsave();
        let era = self.era.load(Ordering::Relaxed); // (era-under-lock)
        node.head().era = era;
        if queue.fresh.is_empty() {
            queue.fresh_era = era;
        }
        queue.fresh.push(node);
        queue.queued += 1;
        let is_full = queue.waiting() > self.mark.load(Ordering::Relaxed);
        let wants_grace =
            queue.batch_era.is_none() && self.fresh.set(cpu.index(), Ordering::Relaxed);
        Pushed {
            wants_grace,
            is_full,
        }
    }

    /// Returns whether `cpu`'s queue has become so short that a caller that found it full
    /// goes on.
    pub fn has_room(&self, cpu: CpuId) -> bool {
        self.queues.get(cpu).lock_irqsave().waiting() <= self.room()
    }

    fn room(&self) -> u64 {
        self.mark.load(Ordering::Relaxed) / 2
    }

    /// Returns whether a queue needed a grace period a moment ago.
    pub fn wants_grace(&self) -> bool {
        let fresh = self.fresh.snapshot(Ordering::Relaxed);
        fresh.iter().any(|word| *word != 0)
    }

    /// Makes the fresh callbacks of each queue that has no batch its batch, and returns
    /// the CPUs of these queues. A grace period follows, then [`Queues::release`].
    ///
    /// # Context
    /// One thread does both.
    pub fn gather(&self) -> CpuMask {
        let wanting = CpuMask::from_bits(self.fresh.snapshot(Ordering::Relaxed));
        for cpu in wanting.iter() {
            let mut queue = self.queues.get(cpu).lock_irqsave();
            self.fresh.clear(cpu.index(), Ordering::Relaxed);
            queue.batch = core::mem::take(&mut queue.fresh);
            queue.batch_era = Some(queue.fresh_era);
            queue.is_in_order = false;
        }
        wanting
    }

    /// Lets the batches of `cpus` run. The caller wakes the threads that run them.
    ///
    /// # Context
    /// The thread that has gathered them, after a grace period.
    pub fn release(&self, cpus: &CpuMask) {
        for cpu in cpus.iter() {
            self.ready.set(cpu.index(), Ordering::Release); // (grace-before-ready)
        }
    }

    /// Returns whether `cpu`'s batch may run.
    pub fn is_ready(&self, cpu: CpuId) -> bool {
        self.ready.get(cpu.index(), Ordering::Acquire)
    }

    /// Runs some callbacks of `cpu`'s batch, the oldest first. It stops early before one
    /// that a later barrier, but not an earlier one, waits for.
    ///
    /// # Context
    /// The one thread that runs `cpu`'s callbacks, while [`Queues::is_ready`].
    pub fn run_some(&self, cpu: CpuId) -> Ran {
        let (mut batch, is_in_order) = {
            let mut queue = self.queues.get(cpu).lock_irqsave();
            (core::mem::take(&mut queue.batch), queue.is_in_order)
        };
        if !is_in_order {
            batch = batch.reversed();
        }
        let era = batch.era();
        let mut callbacks = 0;
        while callbacks < TURN && batch.era() == era {
            let Some(node) = batch.pop() else { break };
            node.run();
            callbacks += 1;
        }
        self.put_back(cpu, batch, callbacks)
    }

    /// Puts the rest of `cpu`'s batch back, of which `callbacks` have run.
    fn put_back(&self, cpu: CpuId, mut batch: Chain, callbacks: u64) -> Ran {
        let mut queue = self.queues.get(cpu).lock_irqsave();
        let before = queue.waiting();
        queue.ran += callbacks;
        let room = self.room();
        queue.batch_era = batch.era();
        queue.batch = batch;
        queue.is_in_order = true;
        let mut wants_grace = false;
        if queue.batch_era.is_none() {
            self.ready.clear(cpu.index(), Ordering::Relaxed);
            wants_grace = !queue.fresh.is_empty() && self.fresh.set(cpu.index(), Ordering::Relaxed);
        }
        Ran {
            callbacks,
            wants_grace,
            made_room: before > room && queue.waiting() <= room,
        }
    }

    /// Begins a new era, and returns its number: callbacks that were queued before have a
    /// smaller one.
    #[must_use]
    pub fn begin_era(&self) -> u64 {
        self.era.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns whether all callbacks have run that were queued on `cpu` before `era`.
    pub fn is_past(&self, cpu: CpuId, era: u64) -> bool {
        let queue = self.queues.get(cpu).lock_irqsave();
        match queue.batch_era {
            Some(oldest) => oldest >= era,
            None => queue.fresh.is_empty() || queue.fresh_era >= era,
        }
    }

    /// Returns how many callbacks have been queued since the start, and how many have
    /// run. Exact if none is queued or runs meanwhile.
    pub fn totals(&self) -> (u64, u64) {
        self.queues
            .iter()
            .fold((0, 0), |(queued, ran), (_, queue)| {
                let queue = queue.lock_irqsave();
                (queued + queue.queued, ran + queue.ran)
            })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::rcu::node;
    use crate::sync::nowhere::Nowhere;
    use alloc::sync::Arc;
    use std::sync::Mutex;
    use std::vec::Vec;

    /// Queues of two CPUs, and the numbers of the callbacks that have run.
    struct Machine {
        queues: Arc<Queues<Nowhere>>,
        ran: Arc<Mutex<Vec<u64>>>,
    }

    impl Machine {
        fn new() -> Machine {
            Machine {
                queues: Arc::new(Queues::new(2)),
                ran: Arc::default(),
            }
        }

        fn push(&self, index: usize, numbers: core::ops::Range<u64>) -> Pushed {
            let push = |number| {
                let ran = Arc::clone(&self.ran);
                let call_fn = move || ran.lock().unwrap().push(number);
                self.queues.push(cpu(index), node(call_fn))
            };
            numbers.map(push).reduce(|_, newest| newest).unwrap()
        }

        fn grace(&self) {
            self.queues.release(&self.queues.gather());
        }

        /// Runs all callbacks that may run, and returns the numbers of all that have run.
        fn run(&self) -> Vec<u64> {
            for cpu in (0..2).map(cpu) {
                while self.queues.is_ready(cpu) {
                    let _ = self.queues.run_some(cpu);
                }
            }
            self.ran.lock().unwrap().clone()
        }
    }

    fn cpu(index: usize) -> CpuId {
        CpuId::new(index).unwrap()
    }

    #[test]
    fn a_batch_runs_in_order_after_its_grace_period() {
        let machine = Machine::new();
        assert!(machine.push(0, 0..1).wants_grace);
        assert!(!machine.push(0, 1..200).wants_grace);
        let gathered = machine.queues.gather();
        assert!(!machine.push(0, 200..201).wants_grace);
        assert!(!machine.queues.wants_grace());
        assert_eq!(machine.run(), []);
        machine.queues.release(&gathered);
        assert_eq!(machine.run(), (0..200).collect::<Vec<_>>());
        assert!(machine.queues.wants_grace());
        machine.grace();
        assert_eq!(machine.run(), (0..201).collect::<Vec<_>>());
        assert_eq!(machine.queues.totals(), (201, 201));
    }

    #[test]
    fn a_turn_is_bounded() {
        let machine = Machine::new();
        let _ = machine.push(0, 0..200);
        let _ = machine.push(1, 1000..1001);
        machine.grace();
        assert_eq!(machine.queues.run_some(cpu(0)).callbacks, TURN);
        assert_eq!(machine.queues.run_some(cpu(1)).callbacks, 1);
        assert!(machine.queues.is_ready(cpu(0)) && !machine.queues.is_ready(cpu(1)));
        let after: Vec<_> = (0..TURN).chain([1000]).chain(TURN..200).collect();
        assert_eq!(machine.run(), after);
    }

    #[test]
    fn a_barrier_does_not_wait_for_what_comes_later() {
        let machine = Machine::new();
        let is_past = |era| (0..2).all(|index| machine.queues.is_past(cpu(index), era));
        let nothing = machine.queues.begin_era();
        assert!(is_past(nothing));
        let _ = machine.push(0, 0..2);
        let early = machine.queues.begin_era();
        let _ = machine.push(0, 2..4);
        let late = machine.queues.begin_era();
        let _ = machine.push(1, 4..5);
        assert!(is_past(nothing) && !is_past(early));
        machine.grace();
        assert!(is_past(nothing) && !is_past(early));
        // All four are of one batch.
        assert_eq!(machine.queues.run_some(cpu(0)).callbacks, 2);
        assert!(is_past(early) && !is_past(late));
        assert_eq!(machine.queues.run_some(cpu(0)).callbacks, 2);
        assert!(is_past(late));
    }

    #[test]
    fn a_queue_is_full_above_the_mark_and_has_room_at_half_of_it() {
        let machine = Machine::new();
        machine.queues.set_mark(2 * TURN);
        assert!(!machine.push(0, 0..2 * TURN).is_full);
        machine.grace();
        assert!(machine.push(0, 2 * TURN..2 * TURN + 1).is_full);
        assert!(!machine.push(1, 0..1).is_full);
        assert!(!machine.queues.run_some(cpu(0)).made_room);
        assert!(!machine.queues.has_room(cpu(0)));
        let ran = machine.queues.run_some(cpu(0));
        assert!(ran.made_room && ran.wants_grace);
        assert!(machine.queues.has_room(cpu(0)));
    }
}
