//! Model of the depots between the CPUs' heap caches and the shared allocator, from the
//! kernel's own files.
//!
//! `memory::Depots` and `memory::HeapSupply`: while depots are drained none is filled; a
//! request behind a drain finds all that was in them, also what another CPU is draining; no
//! block is lost on the way. `tests/host_heap.rs` has what one CPU after the other does.

#![cfg(loom)]

#[path = "support/loom_orders.rs"]
mod loom_orders;
#[path = "support/loom_plain_cpu.rs"]
mod loom_plain_cpu;

use loom::sync::Arc;
use loom::thread;
use loom_orders::every_order;
use loom_plain_cpu::Cpu;
use stillpoint::cpu::CpuId;
use stillpoint::memory::{
    BlockAllocator, CPUS_PER_GROUP, Depots, FreeBlock, HeapSupply, Links, SharedHeap, SizeClass,
};
use stillpoint::sync::{IrqGuard, SpinLock};

struct Block(Box<Links<Block>>);

impl FreeBlock for Block {
    fn links(&mut self) -> &mut Links<Block> {
        &mut self.0
    }
}

/// An allocator of so many blocks.
struct Memory(usize);

impl BlockAllocator for Memory {
    type Block = Block;

    fn allocate(&mut self, _: SizeClass) -> Option<Block> {
        self.0 = self.0.checked_sub(1)?;
        Some(Block(Box::new(Links::none())))
    }

    fn free(&mut self, _: SizeClass, _: Block) {
        self.0 += 1;
    }
}

struct Heap {
    shared: SpinLock<SharedHeap<Memory>, Cpu>,
    depots: Depots<Block, Cpu>,
}

impl Heap {
    /// Returns a heap of `groups` groups of CPUs, whose allocator has `blocks` blocks.
    fn new(groups: usize, blocks: usize) -> Arc<Heap> {
        Arc::new(Heap {
            shared: SpinLock::new(SharedHeap {
                allocator: Memory(blocks),
                takings: 0,
            }),
            depots: Depots::new(groups * CPUS_PER_GROUP),
        })
    }

    fn supply(&self) -> HeapSupply<'_, Memory, Cpu> {
        HeapSupply {
            shared: &self.shared,
            depots: &self.depots,
        }
    }

    /// Takes a block, if there is one, for a CPU of `group`, and frees it there.
    fn use_one(&self, group: usize) {
        let mut chain = self
            .supply()
            .fetch(cpu_of(group), class(), &IrqGuard::new());
        if let Some(whole) = chain.take_whole(class()) {
            self.supply()
                .give(cpu_of(group), class(), whole, &IrqGuard::new());
        }
    }

    /// Takes a block as a request does that has failed, and looks into the depots.
    fn take_last(&self) -> Option<Block> {
        let _draining = self.supply().drain();
        let block = self.shared.lock_irqsave().allocator.allocate(class());
        assert_eq!(self.depots.bytes(), 0, "a depot is filled while it drains");
        block
    }

    /// Returns how many blocks the allocator has, and how many the depots.
    fn blocks(&self) -> (usize, usize) {
        let memory = self.shared.lock_irqsave().allocator.0;
        (memory, self.depots.bytes() / class().size())
    }
}

/// The largest class, whose whole chains are of one block.
fn class() -> SizeClass {
    let last = SizeClass::all().last().expect("classes");
    assert_eq!(last.batch(), 1);
    last
}

fn cpu_of(group: usize) -> CpuId {
    CpuId::new(group * CPUS_PER_GROUP).expect("few")
}

#[test]
fn drained_depots_stay_empty() {
    every_order(|| {
        let heap = Heap::new(1, 1);
        let other = Arc::clone(&heap);
        let user = thread::spawn(move || other.use_one(0));
        // Without a block: the other CPU has it in hand.
        let taken = usize::from(heap.take_last().is_some());
        user.join().expect("the user");
        let (memory, depots) = heap.blocks();
        assert_eq!(taken + memory + depots, 1, "a block is lost");
    });
}

#[test]
fn depots_stay_empty_until_the_last_drain_is_over() {
    every_order(|| {
        let heap = Heap::new(1, 1);
        let (other, third) = (Arc::clone(&heap), Arc::clone(&heap));
        let user = thread::spawn(move || other.use_one(0));
        let closer = thread::spawn(move || drop(third.depots.close()));
        let _taken = heap.take_last();
        user.join().expect("the user");
        closer.join().expect("the closer");
    });
}

#[test]
fn what_another_cpu_drains_is_found() {
    every_order(|| {
        let heap = Heap::new(1, 2);
        let both = [0, 0].map(|group| {
            let mut chain = heap
                .supply()
                .fetch(cpu_of(group), class(), &IrqGuard::new());
            chain.take_whole(class()).expect("a block")
        });
        for whole in both {
            heap.supply()
                .give(cpu_of(0), class(), whole, &IrqGuard::new());
        }
        assert_eq!(heap.blocks(), (0, 2));
        let other = Arc::clone(&heap);
        let requester = thread::spawn(move || other.take_last().is_some());
        assert!(heap.take_last().is_some(), "in a depot, and not found");
        let found = requester.join().expect("the requester");
        assert!(found, "in a depot, and not found");
    });
}

#[test]
fn what_is_trimmed_is_found() {
    every_order(|| {
        let heap = Heap::new(1, 1);
        heap.use_one(0);
        assert_eq!(heap.blocks(), (0, 1));
        let other = Arc::clone(&heap);
        let control = thread::spawn(move || other.supply().trim(cpu_of(0), 0));
        assert!(heap.take_last().is_some(), "in a depot, and not found");
        control.join().expect("control");
    });
}

#[test]
fn a_chain_is_taken_once() {
    every_order(|| {
        let heap = Heap::new(2, 1);
        heap.use_one(0);
        assert_eq!(heap.blocks(), (0, 1));
        let other = Arc::clone(&heap);
        let user = thread::spawn(move || other.use_one(1));
        heap.use_one(0);
        user.join().expect("the user");
        let (memory, depots) = heap.blocks();
        assert_eq!(memory + depots, 1, "a block is lost, or there are two");
    });
}
