//! The heap: `talc`, behind a spin lock of ours, fed with all free memory.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;

use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

use crate::memory::MemoryPlan;
use crate::start::Hw;
use crate::start::early::bytes;
use crate::sync::SpinLock;
use crate::sync::atomic::{AtomicUsize, Ordering};

struct Heap {
    talc: SpinLock<Talc<Manual, DefaultBinning>, Hw>,
    /// Bytes asked for and not given back. Relaxed: a counter.
    in_use: AtomicUsize,
    /// Bytes that it was given. Relaxed: a counter.
    total: AtomicUsize,
}

#[global_allocator]
static HEAP: Heap = Heap {
    talc: SpinLock::new(Talc::new(Manual)),
    in_use: AtomicUsize::new(0),
    total: AtomicUsize::new(0),
};

/// Gives all free memory of `plan` to the heap.
///
/// # Safety
/// The memory is mapped, and nobody else's from now on. Called once.
pub(super) unsafe fn init(plan: &MemoryPlan) {
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

/// Bytes that are in use now, by all CPUs.
pub(crate) fn in_use() -> usize {
    HEAP.in_use.load(Ordering::Relaxed)
}

/// Bytes that there are, in use or not.
pub(crate) fn total() -> usize {
    HEAP.total.load(Ordering::Relaxed)
}

// SAFETY: every call goes through one allocator under its lock; `talc` keeps the
// contract of `GlobalAlloc`. The count changes nothing of it.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises that the size is not 0.
        let memory = unsafe { self.talc.lock_irqsave().allocate(layout) };
        match memory {
            Some(memory) => {
                self.in_use.fetch_add(layout.size(), Ordering::Relaxed);
                memory.as_ptr()
            }
            None => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let Some(_not_null) = NonNull::new(memory) else {
            return;
        };
        self.in_use.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller promises that it came from here, with this layout.
        unsafe { self.talc.lock_irqsave().deallocate(memory, layout) };
    }
}
