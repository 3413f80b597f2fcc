//! The heap: all free memory, managed by `talc` under a spin lock, with depots in front of it,
//! and a cache of free blocks for each CPU in front of those
//! ([`heap_supply`](crate::memory::HeapSupply)).
//!
//! A request that `talc` can't serve is made again after all that depots and this CPU's cache
//! have has gone back to `talc`. The caches of other CPUs stay as they are.
//!
//! # Invariants
//! - **own-cpu-cache**: only the CPU itself, with IRQs masked, touches its cache and
//!   writes its counts. While the CPU is off the control CPU does so. IRQs are masked
//!   because an interrupt handler may allocate.
//! - **asked-by-class**: a request that has a size class takes the layout of the class from
//!   `talc`, also before there are caches (`layout-of-class` of
//!   [`size_class`](crate::memory::SizeClass)).
//! - **in-use-is-a-sum**: the number of bytes in use is a sum of differences, bytes
//!   allocated less bytes freed: one difference for each possible CPU, and one for the time
//!   before the CPUs had counts. A block that is freed on another CPU is counted there,
//!   and goes into that CPU's cache.
//! - **one-owner**: a [`Block`] is free memory that only the code that has the value uses. It
//!   can't be copied.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

use crate::cpu::{CpuId, PerCpu};
use crate::kernel::hw::preempt_point_after_allocation;
use crate::kernel::{Hw, kernel};
use crate::memory::{
    BlockAllocator, Depots, FreeBlock, HeapCache, HeapSupply, Links, MemoryPlan, SharedHeap,
    SizeClass, bytes, group_members,
};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{IrqGuard, Once, SpinLock, SpinLockGuard, UnsafeCell};

/// A free block of memory of a size class, which begins with its links (one-owner).
struct Block(NonNull<Links<Block>>);

// SAFETY: a block is free memory, which belongs to no CPU.
unsafe impl Send for Block {}

impl Block {
    /// Returns the free memory at `memory` as a block.
    ///
    /// # Safety
    /// It is memory of a size class that came from the heap, and only the caller uses it; from
    /// now on only the block does (one-owner).
    #[inline]
    unsafe fn new(memory: NonNull<u8>) -> Block {
        let links = memory.cast::<Links<Block>>();
        // SAFETY: the smallest class has room for the links, and all are aligned for them, as
        // is checked below. The caller promises that no other code uses the memory.
        unsafe { links.write(Links::none()) };
        Block(links)
    }

    /// Returns the memory, which the caller has to itself.
    #[inline]
    fn into_memory(self) -> NonNull<u8> {
        self.0.cast()
    }
}

const _: () = {
    let smallest = SizeClass::of(Layout::new::<u8>());
    let layout = smallest.expect("BUG: one byte has no class").layout();
    assert!(size_of::<Links<Block>>() <= layout.size());
    assert!(align_of::<Links<Block>>() <= layout.align());
};

impl FreeBlock for Block {
    #[inline]
    fn links(&mut self) -> &mut Links<Block> {
        // SAFETY: `new` has written links there, and only this block uses them (one-owner).
        unsafe { self.0.as_mut() }
    }
}

/// `talc`, and what was asked of it.
struct Memory(Talc<Manual, DefaultBinning>);

impl BlockAllocator for Memory {
    type Block = Block;

    fn allocate(&mut self, class: SizeClass) -> Option<Block> {
        // SAFETY: a class has a size.
        let memory = unsafe { self.0.allocate(class.layout()) }?;
        // SAFETY: it was allocated just now, for the class.
        Some(unsafe { Block::new(memory) })
    }

    fn free(&mut self, class: SizeClass, block: Block) {
        let memory = block.into_memory();
        // SAFETY: the block came from `talc` with this layout (asked-by-class), and nothing
        // else uses it (one-owner).
        unsafe { self.0.deallocate(memory.as_ptr(), class.layout()) };
    }
}

/// The caches of the CPUs, and the depots between them.
struct Parts {
    cpus: PerCpu<HeapCpu>,
    depots: Depots<Block, Hw>,
}

struct Heap {
    /// The free memory that is in no cache and in no depot.
    shared: SpinLock<SharedHeap<Memory>, Hw>,
    /// The bytes allocated and freed before `parts` was set.
    early: Counts,
    /// Set once at boot.
    parts: Once<Parts>,
    /// The bytes that the heap was given. Relaxed: a counter.
    total: AtomicUsize,
}

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: Heap = Heap {
    shared: SpinLock::new(SharedHeap {
        allocator: Memory(Talc::new(Manual)),
        takings: 0,
    }),
    early: Counts::new(),
    parts: Once::new(),
    total: AtomicUsize::new(0),
};

/// Bytes allocated and freed since boot. Relaxed: counters, with one writer (own-cpu-cache).
struct Counts {
    allocated: AtomicUsize,
    freed: AtomicUsize,
}

impl Counts {
    const fn new() -> Counts {
        Counts {
            allocated: AtomicUsize::new(0),
            freed: AtomicUsize::new(0),
        }
    }

    /// Returns the difference. It wraps where more was freed than allocated, because a block
    /// may be freed on another CPU; only the sum over all CPUs means something
    /// (in-use-is-a-sum).
    fn in_use(&self) -> usize {
        let allocated = self.allocated.load(Ordering::Relaxed);
        allocated.wrapping_sub(self.freed.load(Ordering::Relaxed))
    }
}

/// Adds to a counter that no other CPU writes meanwhile.
fn add(counter: &AtomicUsize, amount: usize) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(amount);
    counter.store(sum, Ordering::Relaxed);
}

/// The part of the heap that belongs to one CPU.
struct HeapCpu {
    /// The CPU's free blocks (own-cpu-cache).
    cache: UnsafeCell<HeapCache<Block>>,
    counts: Counts,
    /// The bytes in `cache`, for statistics of other CPUs. Relaxed: a counter, with one writer
    /// (own-cpu-cache).
    cached: AtomicUsize,
}

// SAFETY: one CPU at a time touches the cache (own-cpu-cache); the rest is atomic.
unsafe impl Sync for HeapCpu {}

impl HeapCpu {
    /// Calls `use_fn` with the cache.
    ///
    /// # Safety
    /// `self` belongs to the running CPU, with IRQs masked, or to a CPU that is off
    /// (own-cpu-cache); and `use_fn` neither allocates nor frees.
    unsafe fn with_cache<R>(&self, use_fn: impl FnOnce(&mut HeapCache<Block>) -> R) -> R {
        // SAFETY: by the caller's promise no other code uses the cache now.
        use_fn(unsafe { &mut *self.cache.get() })
    }
}

/// How the memory of the heap is used, in bytes. `in_use`, `cached`, `in_depots` and `free` add
/// up to less than `total`: `talc` needs memory for itself, and rounds requests up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStats {
    /// The size of the heap.
    pub total: usize,
    /// Bytes that the program and the kernel have allocated and not freed.
    pub in_use: usize,
    /// Free bytes in the caches of the CPUs.
    pub cached: usize,
    /// Free bytes in the depots between the CPUs.
    pub in_depots: usize,
    /// Free bytes in no cache and no depot.
    pub free: usize,
    /// How often the lock of what all CPUs share was taken to allocate or to free.
    pub shared_lock_takings: u64,
}

/// Gives all free memory of `plan` to the heap.
///
/// # Safety
/// The memory is mapped, and only the heap uses it from now on. Called once.
pub(crate) unsafe fn init(plan: &MemoryPlan) {
    for range in plan.free() {
        let range = bytes(&range);
        let start = core::ptr::with_exposed_provenance_mut::<u8>(range.start);
        let size = range.len();
        // SAFETY: the caller's promise; the ranges of a plan don't overlap. `talc` leaves a
        // range alone that is too small to be of use.
        let _claimed = unsafe { HEAP.shared.lock_irqsave().allocator.0.claim(start, size) };
        HEAP.total.fetch_add(size, Ordering::Relaxed);
    }
}

/// Gives each of `cpus` CPUs a cache, and makes the depots between them.
///
/// # Context
/// The boot CPU, before another CPU runs.
pub(crate) fn init_caches(cpus: usize) {
    HEAP.parts.call_once(|| Parts {
        cpus: PerCpu::new(cpus, |_| HeapCpu {
            cache: UnsafeCell::new(HeapCache::new()),
            counts: Counts::new(),
            cached: AtomicUsize::new(0),
        }),
        depots: Depots::new(cpus),
    });
}

/// Gives the free blocks in the cache of `cpu` back to `talc`, and those that the depots of its
/// group keep for it.
///
/// # Safety
/// `cpu` is off, as the caller has seen, and stays so until this returns.
pub(super) unsafe fn empty_cache_of(cpu: CpuId) {
    if let Some(parts) = HEAP.parts.get() {
        // SAFETY: the caller promises that the CPU is off (own-cpu-cache).
        unsafe { HEAP.empty(parts, parts.cpus.get(cpu)) };
        let online = kernel().masks.online();
        let staying = group_members(cpu).filter(|other| online.contains(*other));
        HEAP.supply(parts).trim(cpu, staying.count());
    }
}

/// Returns how many bytes are in use. The number is exact if no thread allocates or frees
/// meanwhile.
pub(crate) fn in_use() -> usize {
    let sum = cpus().fold(HEAP.early.in_use(), |sum, (_, cpu)| {
        sum.wrapping_add(cpu.counts.in_use())
    });
    // A block that is freed meanwhile may be seen to be freed and not to be allocated: then
    // the sum can be below 0.
    usize::try_from(sum.cast_signed()).unwrap_or(0)
}

/// Returns how many bytes are in the cache of `cpu`; 0 if that CPU isn't possible.
pub(crate) fn cached(cpu: CpuId) -> usize {
    cpus()
        .filter(|(other, _)| *other == cpu)
        .map(|(_, cache)| cache.cached.load(Ordering::Relaxed))
        .sum()
}

/// Returns how the memory is used. The numbers are exact if no thread allocates or frees
/// meanwhile.
pub(crate) fn stats() -> HeapStats {
    let in_use = in_use();
    let cached = cpus().map(|(cpu, _)| cached(cpu)).sum();
    let in_depots = HEAP.parts.get().map_or(0, |parts| parts.depots.bytes());
    let shared = HEAP.shared.lock_irqsave();
    HeapStats {
        total: HEAP.total.load(Ordering::Relaxed),
        in_use,
        cached,
        in_depots,
        free: shared.allocator.0.counters().available_bytes,
        shared_lock_takings: shared.takings,
    }
}

/// Returns the parts of the heap that belong to a CPU.
fn cpus() -> impl Iterator<Item = (CpuId, &'static HeapCpu)> {
    let parts = HEAP.parts.get().into_iter();
    parts.flat_map(|parts| parts.cpus.iter())
}

impl Heap {
    fn supply<'a>(&'a self, parts: &'a Parts) -> HeapSupply<'a, Memory, Hw> {
        HeapSupply {
            shared: &self.shared,
            depots: &parts.depots,
        }
    }

    /// Takes the lock of what all CPUs share, to allocate or to free.
    fn lock(&self) -> SpinLockGuard<'_, SharedHeap<Memory>, Hw> {
        let mut shared = self.shared.lock_irqsave();
        shared.takings += 1;
        shared
    }

    /// Returns a block for `layout` from `talc`, without a look into a cache.
    ///
    /// # Safety
    /// The size is not 0.
    unsafe fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        let layout = SizeClass::of(layout).map_or(layout, SizeClass::layout); // (asked-by-class)
        // SAFETY: the caller's promise.
        unsafe { self.lock().allocator.0.allocate(layout) }
    }

    /// Gives a block of `layout` back to `talc`, without a look into a cache.
    ///
    /// # Safety
    /// The block came from this heap for `layout`, and is used no more.
    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        let layout = SizeClass::of(layout).map_or(layout, SizeClass::layout); // (asked-by-class)
        // SAFETY: the caller's promise.
        unsafe { self.lock().allocator.0.deallocate(memory.as_ptr(), layout) };
    }

    /// Returns memory for `layout`, from the cache of this CPU if there is some, and counts it.
    ///
    /// # Safety
    /// The size of `layout` is not 0.
    #[inline]
    unsafe fn allocate_here(
        &self,
        parts: &Parts,
        layout: Layout,
        masked: &IrqGuard<Hw>,
    ) -> Option<NonNull<u8>> {
        let id = Hw::this_cpu();
        let cpu = parts.cpus.get(id);
        let memory = match SizeClass::of(layout) {
            // SAFETY: the caller's promise.
            None => unsafe { self.allocate(layout) },
            // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
            Some(class) => match unsafe { cpu.with_cache(|cache| cache.take(class)) } {
                Some(block) => {
                    add(&cpu.cached, class.size().wrapping_neg());
                    Some(block.into_memory())
                }
                None => self.refill(parts, id, class, masked),
            },
        }?;
        add(&cpu.counts.allocated, layout.size());
        Some(memory)
    }

    /// Returns a block of `class`, and puts others into the cache of this CPU, `id`, which has
    /// none.
    #[cold]
    fn refill(
        &self,
        parts: &Parts,
        id: CpuId,
        class: SizeClass,
        masked: &IrqGuard<Hw>,
    ) -> Option<NonNull<u8>> {
        let cpu = parts.cpus.get(id);
        let mut chain = self.supply(parts).fetch(id, class, masked);
        let block = chain.pop()?;
        add(&cpu.cached, chain.len() * class.size());
        // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
        unsafe { cpu.with_cache(|cache| cache.load(class, chain)) };
        Some(block.into_memory())
    }

    /// Does as [`Heap::allocate_here`] where that has failed: this CPU's cache and the depots may
    /// have what `talc` lacks.
    ///
    /// # Safety
    /// The size of `layout` is not 0.
    #[cold]
    unsafe fn allocate_last(&self, parts: &Parts, layout: Layout) -> Option<NonNull<u8>> {
        let supply = self.supply(parts);
        let _draining = supply.drain();
        let masked = IrqGuard::<Hw>::new();
        // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
        unsafe { self.empty(parts, parts.cpus.get(Hw::this_cpu())) };
        // SAFETY: the caller's promise.
        unsafe { self.allocate_here(parts, layout, &masked) }
    }

    /// Gives all blocks in the cache of `cpu` back to `talc`.
    ///
    /// # Safety
    /// `cpu` belongs to the running CPU, with IRQs masked, or to a CPU that is off
    /// (own-cpu-cache).
    unsafe fn empty(&self, parts: &Parts, cpu: &HeapCpu) {
        let supply = self.supply(parts);
        // SAFETY: the caller's promise; the supply allocates nothing from this heap.
        unsafe { cpu.with_cache(|cache| supply.empty(cache)) };
        cpu.cached.store(0, Ordering::Relaxed);
    }
}

// SAFETY: every block comes from `talc`, which keeps the contract of `GlobalAlloc`. A block
// is as large as its layout or larger (layout-of-class), and a cache gives it out once
// (taken-once). The counts have no influence on that.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let memory = match self.parts.get() {
            None => {
                let _masked = IrqGuard::<Hw>::new();
                // SAFETY: the caller promises that the size is not 0.
                let memory = unsafe { self.allocate(layout) };
                if memory.is_some() {
                    add(&self.early.allocated, layout.size());
                }
                memory
            }
            Some(parts) => {
                let masked = IrqGuard::<Hw>::new();
                // SAFETY: the caller promises that the size is not 0.
                let first = unsafe { self.allocate_here(parts, layout, &masked) };
                masked.end_no_resched();
                preempt_point_after_allocation();
                // SAFETY: the caller promises that the size is not 0.
                first.or_else(|| unsafe { self.allocate_last(parts, layout) })
            }
        };
        memory.map_or(core::ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let Some(memory) = NonNull::new(memory) else {
            return;
        };
        let masked = IrqGuard::<Hw>::new();
        let Some(parts) = self.parts.get() else {
            add(&self.early.freed, layout.size());
            // SAFETY: the caller promises that the block came from here, with this layout.
            unsafe { self.deallocate(memory, layout) };
            return;
        };
        let id = Hw::this_cpu();
        let cpu = parts.cpus.get(id);
        add(&cpu.counts.freed, layout.size());
        let Some(class) = SizeClass::of(layout) else {
            // SAFETY: the caller promises that the block came from here, with this layout.
            unsafe { self.deallocate(memory, layout) };
            return;
        };
        // SAFETY: the caller promises that the block came from here, with a layout of this
        // class, and uses it no more.
        let block = unsafe { Block::new(memory) };
        // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
        let surplus = unsafe { cpu.with_cache(|cache| cache.put(class, block)) };
        add(&cpu.cached, class.size());
        if let Some(chain) = surplus {
            let bytes = class.batch() * class.size();
            add(&cpu.cached, bytes.wrapping_neg());
            self.supply(parts).give(id, class, chain, &masked);
        }
    }
}
