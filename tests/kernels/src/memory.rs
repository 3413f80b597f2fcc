//! The memory in use on a machine that has come to rest, and a heap that is used up.

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;

use stillpoint::{api, println};

use crate::machine::eventually;

/// How much of the heap and how many stacks are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The part of the heap that is in use, in bytes.
    heap: usize,
    /// The number of stacks in use.
    stacks: usize,
}

impl InUse {
    fn now() -> InUse {
        InUse {
            heap: api::heap_in_use(),
            stacks: api::stacks_in_use(),
        }
    }

    /// Returns the memory in use after the memory of all ended threads has been freed. A
    /// thread's CPU frees it shortly after the thread was joined.
    pub fn settled() -> InUse {
        let mut last = InUse::now();
        eventually(|| {
            api::sleep(Duration::from_millis(20));
            let now = InUse::now();
            core::mem::replace(&mut last, now) == now
        });
        last
    }

    /// Waits until the same amount is in use again; returns whether it is.
    pub fn is_back(self) -> bool {
        let back = eventually(|| InUse::now() == self);
        if !back {
            println!("# in use: {:?}, before: {self:?}", InUse::now());
        }
        back
    }
}

/// A block of the heap that is used up. The blocks are a linked list.
struct Taken {
    next: Option<NonNull<Taken>>,
    layout: Layout,
}

/// All of the heap that was free.
pub struct WholeHeap {
    list: Option<NonNull<Taken>>,
    bytes: usize,
}

impl WholeHeap {
    /// Allocates all that is free in smaller and smaller blocks. Other CPUs may keep a few free
    /// blocks for themselves.
    #[must_use]
    pub fn take() -> WholeHeap {
        let mut all = WholeHeap {
            list: None,
            bytes: 0,
        };
        all.take_more();
        all
    }

    /// Allocates what has become free, and what the calling thread's CPU keeps for itself.
    pub fn take_more(&mut self) {
        let sizes = [1 << 20, 1 << 16, 1 << 12, 2048, 1024, 512, 256, 128, 64];
        for size in sizes.into_iter().chain([size_of::<Taken>()]) {
            let layout = Layout::from_size_align(size, align_of::<Taken>()).expect("a layout");
            loop {
                // SAFETY: the size is not 0.
                let memory = unsafe { alloc(layout) };
                let Some(block) = NonNull::new(memory.cast::<Taken>()) else {
                    break;
                };
                let content = Taken {
                    next: self.list,
                    layout,
                };
                // SAFETY: the block was just allocated, and is aligned and large enough.
                unsafe { block.write(content) };
                self.list = Some(block);
                self.bytes += size;
            }
        }
    }

    /// Returns how many bytes were allocated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees all blocks. Returns how many bytes they have by what is written in them.
    #[must_use]
    pub fn give_back(self) -> usize {
        let (mut list, mut returned) = (self.list, 0);
        while let Some(block) = list {
            // SAFETY: it was written when it was allocated, and nothing else has it.
            let Taken { next, layout } = unsafe { block.read() };
            returned += layout.size();
            // SAFETY: it came from there by this layout.
            unsafe { dealloc(block.as_ptr().cast(), layout) };
            list = next;
        }
        returned
    }
}
