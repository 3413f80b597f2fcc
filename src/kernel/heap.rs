//! The heap: all free memory, managed by `talc` under a spin lock, with a cache of free
//! blocks for each CPU in front of it.
//!
//! ```text
//!   alloc, free ──► this CPU's HeapCache     IRQs masked, no lock
//!                      │ a batch of blocks, if it is empty or full
//!                      ▼
//!                    talc                    its lock
//! ```
//!
//! # Invariants
//! - **own-cpu-cache**: only the CPU itself, with IRQs masked, touches its cache and
//!   writes its counts. While the CPU is off the control CPU does so. IRQs are masked
//!   because an interrupt handler may allocate.
//! - **asked-by-class**: a request that has a size class takes the layout of the class from
//!   `talc`, also before there are caches (`layout-of-class` of
//!   [`heap_cache`](crate::memory::HeapCache)).
//! - **in-use-is-a-sum**: the number of bytes in use is a sum of differences, bytes
//!   allocated less bytes freed: one difference for each possible CPU, and one for the time
//!   before the CPUs had counts. A block that is freed on another CPU is counted there,
//!   and goes into that CPU's cache.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

use crate::cpu::{CpuId, PerCpu};
use crate::kernel::Hw;
use crate::memory::{HeapCache, MemoryPlan, SizeClass, bytes};
use crate::platform::Platform;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{IrqGuard, Once, SpinLock, SpinLockGuard, UnsafeCell};

/// A block of memory.
type Block = NonNull<u8>;

/// What all CPUs share.
struct Shared {
    /// The free memory that is in no cache.
    talc: Talc<Manual, DefaultBinning>,
    /// How often the lock was taken to allocate or to free.
    takings: u64,
}

struct Heap {
    shared: SpinLock<Shared, Hw>,
    /// The bytes allocated and freed before `cpus` was set.
    early: Counts,
    /// Each CPU's cache and counts. Set once at boot.
    cpus: Once<PerCpu<HeapCpu>>,
    /// The bytes that the heap was given. Relaxed: a counter.
    total: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    shared: SpinLock::new(Shared {
        talc: Talc::new(Manual),
        takings: 0,
    }),
    early: Counts::new(),
    cpus: Once::new(),
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
// SAFETY: a block is free memory, which belongs to no CPU.
unsafe impl Send for HeapCpu {}

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

/// How the memory of the heap is used, in bytes. `in_use`, `cached` and `free` add up to
/// less than `total`: `talc` needs memory for itself, and rounds requests up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStats {
    /// The size of the heap.
    pub total: usize,
    /// Bytes that the program and the kernel have allocated and not freed.
    pub in_use: usize,
    /// Free bytes in the caches of the CPUs.
    pub cached: usize,
    /// Free bytes in no cache.
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
        let _claimed = unsafe { HEAP.lock().talc.claim(start, size) };
        HEAP.total.fetch_add(size, Ordering::Relaxed);
    }
}

/// Gives each of `cpus` CPUs a cache.
///
/// # Context
/// The boot CPU, before another CPU runs.
pub(crate) fn init_caches(cpus: usize) {
    HEAP.cpus.call_once(|| {
        PerCpu::new(cpus, |_| HeapCpu {
            cache: UnsafeCell::new(HeapCache::new()),
            counts: Counts::new(),
            cached: AtomicUsize::new(0),
        })
    });
}

/// Gives the free blocks in the cache of `cpu` back to `talc`.
///
/// # Safety
/// `cpu` is off, as the caller has seen, and stays so until this returns.
pub(super) unsafe fn empty_cache_of(cpu: CpuId) {
    if let Some(cpus) = HEAP.cpus.get() {
        // SAFETY: the caller promises that the CPU is off (own-cpu-cache).
        unsafe { HEAP.empty(cpus.get(cpu)) };
    }
}

/// Returns how many bytes are in use. The number is exact if no thread allocates or frees
/// meanwhile.
pub(crate) fn in_use() -> usize {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    let sum = cpus.fold(HEAP.early.in_use(), |sum, (_, cpu)| {
        sum.wrapping_add(cpu.counts.in_use())
    });
    // A block that is freed meanwhile may be seen to be freed and not to be allocated: then
    // the sum can be below 0.
    usize::try_from(sum.cast_signed()).unwrap_or(0)
}

/// Returns how many bytes are in the cache of `cpu`; 0 if that CPU isn't possible.
pub(crate) fn cached(cpu: CpuId) -> usize {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    cpus.filter(|(other, _)| *other == cpu)
        .map(|(_, cache)| cache.cached.load(Ordering::Relaxed))
        .sum()
}

/// Returns how the memory is used. The numbers are exact if no thread allocates or frees
/// meanwhile.
pub(crate) fn stats() -> HeapStats {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    let (in_use, cached) = (in_use(), cpus.map(|(cpu, _)| cached(cpu)).sum());
    let shared = HEAP.shared.lock_irqsave();
    HeapStats {
        total: HEAP.total.load(Ordering::Relaxed),
        in_use,
        cached,
        free: shared.talc.counters().available_bytes,
        shared_lock_takings: shared.takings,
    }
}

impl Heap {
    /// Takes the lock of what all CPUs share, to allocate or to free.
    fn lock(&self) -> SpinLockGuard<'_, Shared, Hw> {
        let mut shared = self.shared.lock_irqsave();
        shared.takings += 1;
        shared
    }

    /// Returns this CPU's part, or `None` before [`init_caches`].
    #[inline]
    fn here(&self, _masked: &IrqGuard<Hw>) -> Option<&HeapCpu> {
        Some(self.cpus.get()?.get(Hw::this_cpu()))
    }

    /// Returns a block for `class` from `talc`, and puts the rest of a batch into the cache of
    /// `cpu`, which is this CPU's.
    #[cold]
    fn refill(&self, cpu: &HeapCpu, class: SizeClass, _masked: &IrqGuard<Hw>) -> Option<Block> {
        let mut shared = self.lock();
        // SAFETY: a class has a size.
        let first = unsafe { shared.talc.allocate(class.layout()) }?;
        let fill = |cache: &mut HeapCache<Block>| {
            for _ in 1..class.batch() {
                // SAFETY: a class has a size.
                let Some(block) = (unsafe { shared.talc.allocate(class.layout()) }) else {
                    return;
                };
                let kept = cache.put(class, block);
                assert!(kept.is_ok(), "BUG: a cache that was empty is full");
                add(&cpu.cached, class.size());
            }
        };
        // SAFETY: `_masked` shows that IRQs are masked (own-cpu-cache); `talc` itself allocates
        // nothing from this heap.
        unsafe { cpu.with_cache(fill) };
        Some(first)
    }

    /// Gives a batch of blocks of `class` from the cache of `cpu`, which is this CPU's, back
    /// to `talc`, and puts `block` into the cache.
    #[cold]
    fn make_room(&self, cpu: &HeapCpu, class: SizeClass, block: Block, _masked: &IrqGuard<Hw>) {
        let mut shared = self.lock();
        let exchange = |cache: &mut HeapCache<Block>| {
            for _ in 0..class.batch() {
                let Some(old) = cache.take(class) else { break };
                add(&cpu.cached, class.size().wrapping_neg());
                // SAFETY: the block came from `talc` with this layout (asked-by-class), and is
                // free.
                unsafe { shared.talc.deallocate(old.as_ptr(), class.layout()) };
            }
            let kept = cache.put(class, block);
            assert!(kept.is_ok(), "BUG: a cache with room is full");
            add(&cpu.cached, class.size());
        };
        // SAFETY: as in `refill`.
        unsafe { cpu.with_cache(exchange) };
    }

    /// Gives all blocks in the cache of `cpu` back to `talc`; returns whether there were any.
    ///
    /// # Safety
    /// `cpu` belongs to the running CPU, with IRQs masked, or to a CPU that is off
    /// (own-cpu-cache).
    unsafe fn empty(&self, cpu: &HeapCpu) -> bool {
        let mut shared = self.lock();
        let empty = |cache: &mut HeapCache<Block>| {
            let kept = cache.bytes();
            cache.flush(|class, block| {
                // SAFETY: the block came from `talc` with this layout (asked-by-class), and is
                // free.
                unsafe { shared.talc.deallocate(block.as_ptr(), class.layout()) };
            });
            cpu.cached.store(0, Ordering::Relaxed);
            kept > 0
        };
        // SAFETY: the caller's promise; `talc` itself allocates nothing from this heap.
        unsafe { cpu.with_cache(empty) }
    }

    /// Returns a block for `layout` from `talc`, without a look into a cache.
    ///
    /// # Safety
    /// The size is not 0.
    unsafe fn allocate(&self, layout: Layout) -> Option<Block> {
        let layout = SizeClass::of(layout).map_or(layout, SizeClass::layout); // (asked-by-class)
        // SAFETY: the caller's promise.
        unsafe { self.lock().talc.allocate(layout) }
    }

    /// Returns a block for `layout`, from the cache of `cpu`, which is this CPU's, if it has
    /// one.
    ///
    /// # Safety
    /// The size of `layout` is not 0.
    unsafe fn allocate_on(
        &self,
        cpu: &HeapCpu,
        layout: Layout,
        masked: &IrqGuard<Hw>,
    ) -> Option<Block> {
        let Some(class) = SizeClass::of(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { self.allocate(layout) };
        };
        // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
        match unsafe { cpu.with_cache(|cache| cache.take(class)) } {
            Some(block) => {
                add(&cpu.cached, class.size().wrapping_neg());
                Some(block)
            }
            None => self.refill(cpu, class, masked),
        }
    }
}

// SAFETY: every block comes from `talc`, which keeps the contract of `GlobalAlloc`. A block
// is as large as its layout or larger (layout-of-class), and a cache gives it out once
// (taken-once). The counts have no influence on that.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let masked = IrqGuard::<Hw>::new();
        let (counts, block) = match self.here(&masked) {
            None => {
                // SAFETY: the caller promises that the size is not 0.
                let block = unsafe { self.allocate(layout) };
                (&self.early, block)
            }
            Some(cpu) => {
                // SAFETY: the caller promises that the size is not 0.
                let mut block = unsafe { self.allocate_on(cpu, layout, &masked) };
                // The blocks in this CPU's cache may be what `talc` lacks.
                // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
                if block.is_none() && unsafe { self.empty(cpu) } {
                    // SAFETY: the caller promises that the size is not 0.
                    block = unsafe { self.allocate_on(cpu, layout, &masked) };
                }
                (&cpu.counts, block)
            }
        };
        match block {
            Some(block) => {
                add(&counts.allocated, layout.size());
                block.as_ptr()
            }
            None => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(memory) else {
            return;
        };
        let masked = IrqGuard::<Hw>::new();
        let Some(cpu) = self.here(&masked) else {
            add(&self.early.freed, layout.size());
            // (asked-by-class)
            let layout = SizeClass::of(layout).map_or(layout, SizeClass::layout);
            // SAFETY: the caller promises that the block came from here, with this layout.
            unsafe { self.lock().talc.deallocate(memory, layout) };
            return;
        };
        add(&cpu.counts.freed, layout.size());
        let Some(class) = SizeClass::of(layout) else {
            // SAFETY: the caller promises that the block came from here, with this layout.
            unsafe { self.lock().talc.deallocate(memory, layout) };
            return;
        };
        // SAFETY: `masked` shows that IRQs are masked (own-cpu-cache).
        match unsafe { cpu.with_cache(|cache| cache.put(class, block)) } {
            Ok(()) => add(&cpu.cached, class.size()),
            Err(block) => self.make_room(cpu, class, block, &masked),
        }
    }
}
