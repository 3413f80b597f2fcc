//! Where the CPUs' caches of free heap blocks get chains from, and leave them: depots, and
//! behind them the allocator that all CPUs share.
//!
//! ```text
//!              HeapCache of a CPU         IRQs masked, no lock
//!               │ ▲
//!      surplus  │ │ fetch                 a whole chain at a time
//!               ▼ │
//!              depot of the CPU's group   a lock for each group and class, O(1)
//!               │ ▲     ▲
//!          full │ │     │ empty: another group's depot
//!               │ empty everywhere
//!               ▼ │
//!              allocator                  one lock, a chain at a time
//! ```
//!
//! CPUs that free each other's blocks exchange chains at depots, and don't come to the
//! allocator unless they free by far more, or less, than they have just allocated.
//!
//! A free block is in one place at a time: in the allocator, in a depot, in a CPU's cache, or
//! in the hands of a CPU that moves it from one of these to another with IRQs masked.
//!
//! # Invariants
//! - **free-needs-nothing**: a block is freed without an allocation, whatever is full.
//! - **depot-after-allocator**: the lock of a depot is taken with that of the allocator held, or
//!   alone; never the other way round, and no two depots' at a time.
//! - **moved-under-the-lock**: a drain takes a chain from a depot and gives it to the allocator
//!   in one hold of the allocator's lock. So no other CPU, which finds the depot empty, fails
//!   to find the chain in the allocator.
//! - **none-left-behind**: a request that is made behind a [drain](HeapSupply::drain), while it
//!   lives, fails only if the allocator with all that was in depots can't serve it. It holds
//!   by `moved-under-the-lock` and `closed-while-drained`.

#![forbid(unsafe_code)]

use crate::cpu::CpuId;
use crate::memory::depots::{CHAINS_PER_CPU, Draining};
use crate::memory::{Chain, Depots, FreeBlock, HeapCache, Place, SizeClass, WholeChain};
use crate::sync::{IrqGuard, LocalCpu, SpinLock, SpinLockGuard};

/// The allocator that all CPUs share.
pub trait BlockAllocator {
    /// A free block, as caches and depots keep it.
    type Block: FreeBlock;

    /// Returns a free block of `class`; `None` if there is no memory for one.
    fn allocate(&mut self, class: SizeClass) -> Option<Self::Block>;

    /// Takes back a block of `class`.
    fn free(&mut self, class: SizeClass, block: Self::Block);
}

/// The shared allocator, and how often it was used.
pub struct SharedHeap<A> {
    /// The allocator.
    pub allocator: A,
    /// How often the lock around this was taken to allocate or to free.
    pub takings: u64,
}

/// The depots and the shared allocator.
pub struct HeapSupply<'a, A: BlockAllocator, E: LocalCpu> {
    /// The shared allocator.
    pub shared: &'a SpinLock<SharedHeap<A>, E>,
    /// The depots.
    pub depots: &'a Depots<A::Block, E>,
}

impl<'a, A: BlockAllocator, E: LocalCpu> HeapSupply<'a, A, E> {
    /// Returns free blocks of `class` for the cache of `cpu`: a whole chain if possible, and no
    /// block if there is none.
    #[must_use]
    pub fn fetch(&self, cpu: CpuId, class: SizeClass, masked: &IrqGuard<E>) -> Chain<A::Block> {
        if let Some(chain) = self.depots.take(cpu, class, masked) {
            return chain.into_chain(class);
        }
        let mut shared = self.lock(masked);
        let mut chain = Chain::new();
        while chain.len() < class.batch()
            && let Some(block) = shared.allocator.allocate(class)
        {
            chain.push(block);
        }
        chain
    }

    /// Takes a chain that the cache of `cpu` has no room for (free-needs-nothing).
    pub fn give(
        &self,
        cpu: CpuId,
        class: SizeClass,
        chain: WholeChain<A::Block>,
        masked: &IrqGuard<E>,
    ) {
        if let Err(chain) = self.depots.put(cpu, class, chain, masked) {
            self.free(class, chain.into_chain(class), masked);
        }
    }

    /// Gives all blocks of `cache` to the allocator. IRQs are masked for one chain at a time.
    pub fn empty(&self, cache: &mut HeapCache<A::Block>) {
        for class in SizeClass::all() {
            while let Some(chain) = cache.unload(class) {
                self.free(class, chain, &IrqGuard::new());
            }
        }
    }

    /// Gives the allocator what the depots of the group of `cpu` have above the part of
    /// `staying` CPUs. IRQs are masked for one chain at a time.
    pub fn trim(&self, cpu: CpuId, staying: usize) {
        let kept = CHAINS_PER_CPU * staying;
        for place in self.depots.places_of(cpu) {
            while self.depots.exceeds(place, kept) && self.move_down(place, kept) {}
        }
    }

    /// Gives the allocator all that is in depots, for a request that has failed. The depots stay
    /// empty until the answer is dropped (none-left-behind). IRQs are masked for one chain at a
    /// time.
    pub fn drain(&self) -> Draining<'a, A::Block, E> {
        let draining = self.depots.close();
        for place in self.depots.places() {
            while self.move_down(place, 0) {}
        }
        draining
    }

    /// Moves a chain from the depot at `place` to the allocator, if more than `kept` are there;
    /// returns whether it has.
    fn move_down(&self, place: Place, kept: usize) -> bool {
        let (masked, class) = (IrqGuard::new(), place.class());
        // (moved-under-the-lock), (depot-after-allocator)
        let mut shared = self.lock(&masked);
        let chain = self.depots.take_at(place, kept, &masked);
        let moves = chain.is_some();
        if let Some(chain) = chain {
            shared.free_all(class, chain.into_chain(class));
        }
        moves
    }

    fn free(&self, class: SizeClass, chain: Chain<A::Block>, masked: &IrqGuard<E>) {
        self.lock(masked).free_all(class, chain);
    }

    fn lock<'b>(&'b self, masked: &'b IrqGuard<E>) -> SpinLockGuard<'b, SharedHeap<A>, E> {
        let mut shared = self.shared.lock_masked(masked);
        shared.takings += 1;
        shared
    }
}

impl<A: BlockAllocator> SharedHeap<A> {
    fn free_all(&mut self, class: SizeClass, mut chain: Chain<A::Block>) {
        while let Some(block) = chain.pop() {
            self.allocator.free(class, block);
        }
    }
}
