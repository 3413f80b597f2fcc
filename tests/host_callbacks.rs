//! Callbacks of RCU and the heap: no memory of a callback's own is left when its function
//! runs, so one that queues itself again, or waits for long, takes no more than it must.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;

use stillpoint::rcu::{Node, node};

thread_local! {
    /// How many blocks more this thread has taken from the heap than it has given back.
    static BLOCKS: Cell<usize> = const { Cell::new(0) };
}

/// The system's heap, which counts.
struct Counting;

// SAFETY: all is as the system's heap does it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.set(BLOCKS.get().wrapping_add(1));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BLOCKS.set(BLOCKS.get().wrapping_sub(1));
        // SAFETY: the caller's promises are the same, and the block is the system's.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// What a thread's callback sees.
struct Seen(Rc<Cell<usize>>);

// SAFETY: this test has one thread.
unsafe impl Send for Seen {}

impl Seen {
    fn note(&self) {
        self.0.set(BLOCKS.get());
    }
}

#[test]
fn a_callbacks_memory_is_free_when_its_function_runs() {
    let seen = Rc::new(Cell::new(0));
    let sees = Seen(Rc::clone(&seen));
    let before = BLOCKS.get();
    let callback: Box<dyn Node> = node(move || sees.note());
    assert_eq!(BLOCKS.get(), before.wrapping_add(1));
    callback.run();
    assert_eq!(seen.get(), before);
}
