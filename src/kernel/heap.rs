//! The heap: `talc`, behind a spin lock of ours, fed with all free memory; and in
//! front of it a cache of free blocks for each CPU.
//!
//! ```text
//!   alloc, free ──► this CPU's HeapCache     IRQs masked, no lock
//!                      │ empty, full: a batch
//!                      ▼
//!                    talc                    its lock
//! ```
//!
//! # Invariants
//! - **own-cpu-cache**: only the CPU itself, with IRQs masked, touches its cache and
//!   writes its counts; the control CPU does while the CPU is off. A handler may
//!   allocate.
//! - **asked-by-class**: what has a size class is asked of `talc` by the layout of the
//!   class, before there are caches too (`layout-of-class` of
//!   [`heap_cache`](crate::memory::HeapCache)).
//! - **in-use-is-a-sum**: what is in use is the sum over all possible CPUs, and of what
//!   there was before them, of bytes asked for less bytes given back. A block that is
//!   freed on another CPU is counted, and kept, there.

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
use crate::sync::{IrqGuard, Once, SpinLock, UnsafeCell};

type Block = NonNull<u8>;

struct Heap {
    talc: SpinLock<Talc<Manual, DefaultBinning>, Hw>,
    /// Until there are `cpus`.
    early: Counts,
    cpus: Once<PerCpu<HeapCpu>>,
    /// Bytes that it was given. Relaxed: a counter.
    total: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: SpinLock::new(Talc::new(Manual)),
    early: Counts::new(),
    cpus: Once::new(),
    total: AtomicUsize::new(0),
};

/// Bytes asked for and given back, in all. Relaxed: counters, with one writer (own-cpu-cache).
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

    /// May wrap: a block may be freed elsewhere. The sum of all doesn't
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

/// One CPU's.
struct HeapCpu {
    cache: UnsafeCell<HeapCache<Block>>,
    counts: Counts,
    /// Bytes in `cache`, for statistics. Relaxed: a counter, written as the cache.
    cached: AtomicUsize,
}

// SAFETY: one CPU at a time touches the cache (own-cpu-cache); the rest is atomic.
unsafe impl Sync for HeapCpu {}
// SAFETY: a block is free memory, which belongs to no CPU.
unsafe impl Send for HeapCpu {}

impl HeapCpu {
    /// # Safety
    /// This is the running CPU with IRQs masked, or the CPU is off (own-cpu-cache); and
    /// `use_fn` neither allocates nor frees.
    unsafe fn with_cache<R>(&self, use_fn: impl FnOnce(&mut HeapCache<Block>) -> R) -> R {
        // SAFETY: the caller's promise: no other code has the cache now.
        use_fn(unsafe { &mut *self.cache.get() })
    }
}

/// The memory of the heap, in bytes, where it is. They add up to `total` with what
/// `talc` needs for itself and what requests were rounded up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapStats {
    /// All that there is.
    pub total: usize,
    /// Asked for by the program and the kernel, and not given back.
    pub in_use: usize,
    /// In the caches of the CPUs.
    pub cached: usize,
    /// Free, and in no cache.
    pub free: usize,
}

/// Gives all free memory of `plan` to the heap.
///
/// # Safety
/// The memory is mapped, and the heap's only from now on. Called once.
pub(crate) unsafe fn init(plan: &MemoryPlan) {
    for range in plan.free() {
        let range = bytes(&range);
        let start = core::ptr::with_exposed_provenance_mut::<u8>(range.start);
        let size = range.len();
        // SAFETY: the caller's promise; the ranges of a plan don't overlap. One
        // that is too small to be of use is left alone by the allocator.
        let _claimed = unsafe { HEAP.talc.lock_irqsave().claim(start, size) };
        HEAP.total.fetch_add(size, Ordering::Relaxed);
    }
}

/// Gives each of `cpus` CPUs a cache. Boot CPU, alone.
pub(crate) fn init_caches(cpus: usize) {
    HEAP.cpus.call_once(|| {
        PerCpu::new(cpus, |_| HeapCpu {
            cache: UnsafeCell::new(HeapCache::new()),
            counts: Counts::new(),
            cached: AtomicUsize::new(0),
        })
    });
}

/// Gives back the free blocks that `cpu` keeps.
///
/// # Safety
/// `cpu` is off, as the caller has seen, and stays so until this returns.
pub(super) unsafe fn empty_cache_of(cpu: CpuId) {
    if let Some(cpus) = HEAP.cpus.get() {
        // SAFETY: the caller's promise is that rule (own-cpu-cache).
        unsafe { HEAP.empty(cpus.get(cpu)) };
    }
}

/// Returns the number of bytes that are in use now, by all CPUs: exact if no thread
/// allocates or frees meanwhile.
pub(crate) fn in_use() -> usize {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    let sum = cpus.fold(HEAP.early.in_use(), |sum, (_, cpu)| {
        sum.wrapping_add(cpu.counts.in_use())
    });
    // What moved between two loads may have been seen to go and not to come.
    usize::try_from(sum.cast_signed()).unwrap_or(0)
}

/// Returns the number of bytes in the cache of `cpu`; none if the machine hasn't that CPU.
pub(crate) fn cached(cpu: CpuId) -> usize {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    cpus.filter(|(other, _)| *other == cpu)
        .map(|(_, cache)| cache.cached.load(Ordering::Relaxed))
        .sum()
}

/// Returns where the memory is: exact if no thread allocates or frees meanwhile.
pub(crate) fn stats() -> HeapStats {
    let cpus = HEAP.cpus.get().into_iter().flat_map(PerCpu::iter);
    HeapStats {
        total: HEAP.total.load(Ordering::Relaxed),
        in_use: in_use(),
        cached: cpus.map(|(cpu, _)| cached(cpu)).sum(),
        free: HEAP.talc.lock_irqsave().counters().available_bytes,
    }
}

impl Heap {
    /// Returns this CPU's part, once there is one.
    #[inline]
    fn here(&self, _masked: &IrqGuard<Hw>) -> Option<&HeapCpu> {
        Some(self.cpus.get()?.get(Hw::this_cpu()))
    }

    /// Returns a block for `class`, and with it a batch for the cache of `cpu`, which is
    /// this one.
    #[cold]
    fn refill(&self, cpu: &HeapCpu, class: SizeClass, _masked: &IrqGuard<Hw>) -> Option<Block> {
        let mut talc = self.talc.lock_irqsave();
        // SAFETY: a class has a size.
        let first = unsafe { talc.allocate(class.layout()) }?;
        let fill = |cache: &mut HeapCache<Block>| {
            for _ in 1..class.batch() {
                // SAFETY: a class has a size.
                let Some(block) = (unsafe { talc.allocate(class.layout()) }) else {
                    return;
                };
                let kept = cache.put(class, block);
                assert!(kept.is_ok(), "BUG: a cache that was empty is full");
                add(&cpu.cached, class.size());
            }
        };
        // SAFETY: the token shows it (own-cpu-cache); `talc` itself asks for no more memory.
        unsafe { cpu.with_cache(fill) };
        Some(first)
    }

    /// Makes room for one of `class` in the cache of `cpu`, which is this one, and
    /// puts `block` there.
    #[cold]
    fn make_room(&self, cpu: &HeapCpu, class: SizeClass, block: Block, _masked: &IrqGuard<Hw>) {
        let mut talc = self.talc.lock_irqsave();
        let exchange = |cache: &mut HeapCache<Block>| {
            for _ in 0..class.batch() {
                let Some(old) = cache.take(class) else { break };
                add(&cpu.cached, class.size().wrapping_neg());
                // SAFETY: it came from there by this layout (asked-by-class), and is free.
                unsafe { talc.deallocate(old.as_ptr(), class.layout()) };
            }
            let kept = cache.put(class, block);
            assert!(kept.is_ok(), "BUG: a cache with room is full");
            add(&cpu.cached, class.size());
        };
        // SAFETY: the token shows it (own-cpu-cache); `talc` itself asks for no more memory.
        unsafe { cpu.with_cache(exchange) };
    }

    /// Gives back all that `cpu` keeps; returns whether that was anything.
    ///
    /// # Safety
    /// `cpu` is the running CPU with IRQs masked, or is off (own-cpu-cache).
    unsafe fn empty(&self, cpu: &HeapCpu) -> bool {
        let mut talc = self.talc.lock_irqsave();
        let empty = |cache: &mut HeapCache<Block>| {
            let kept = cache.bytes();
            cache.flush(|class, block| {
                // SAFETY: it came from there by this layout (asked-by-class), and is free.
                unsafe { talc.deallocate(block.as_ptr(), class.layout()) };
            });
            cpu.cached.store(0, Ordering::Relaxed);
            kept > 0
        };
        // SAFETY: the caller's promise; `talc` itself asks for no more memory.
        unsafe { cpu.with_cache(empty) }
    }

    /// Returns a block for `layout`, past the caches.
    ///
    /// # Safety
    /// The size is not 0.
    unsafe fn allocate(&self, layout: Layout) -> Option<Block> {
        let layout = SizeClass::of(layout).map_or(layout, SizeClass::layout); // (asked-by-class)
        // SAFETY: the caller's promise.
        unsafe { self.talc.lock_irqsave().allocate(layout) }
    }

    /// Returns a block for `layout` by way of the cache of `cpu`, which is this one.
    ///
    /// # Safety
    /// The size is not 0.
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
        // SAFETY: the token shows it (own-cpu-cache).
        match unsafe { cpu.with_cache(|cache| cache.take(class)) } {
            Some(block) => {
                add(&cpu.cached, class.size().wrapping_neg());
                Some(block)
            }
            None => self.refill(cpu, class, masked),
        }
    }
}

// SAFETY: a block comes from `talc`, which keeps the contract of `GlobalAlloc`, as
// large as its layout or larger (layout-of-class), and is given out by one cache at a time
// (taken-once).
// The counts change nothing of it.
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
                // SAFETY: the token shows it (own-cpu-cache). What this CPU keeps may be
                // what lacks.
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
            // SAFETY: the caller promises that it came from here, with this layout.
            unsafe { self.talc.lock_irqsave().deallocate(memory, layout) };
            return;
        };
        add(&cpu.counts.freed, layout.size());
        let Some(class) = SizeClass::of(layout) else {
            // SAFETY: the caller promises that it came from here, with this layout.
            unsafe { self.talc.lock_irqsave().deallocate(memory, layout) };
            return;
        };
        // SAFETY: the token shows it (own-cpu-cache).
        match unsafe { cpu.with_cache(|cache| cache.put(class, block)) } {
            Ok(()) => add(&cpu.cached, class.size()),
            Err(block) => self.make_room(cpu, class, block, &masked),
        }
    }
}
