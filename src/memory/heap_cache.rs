//! One CPU's cache of free heap blocks: a magazine for each size class.
//!
//! ```text
//!   alloc ──► take ──────────────► block          free ──► put
//!               │ empty                                     │ full
//!               ▼                                           ▼
//!       a batch from the allocator                 a batch to the allocator
//!       below, under its lock                      below, under its lock
//! ```
//!
//! The type of a block is a parameter: an address in the kernel, a number in a test.
//! Nothing here allocates.
//!
//! # Invariants
//! - **layout-of-class**: every block of a class has the layout [`SizeClass::layout`],
//!   whichever CPU asked for it. So any cache can serve any request of the class with it.
//! - **taken-once**: a block that was put is taken once.
//! - **bounded-magazine**: a magazine has at most [`MAGAZINE_BLOCKS`] blocks, and at most
//!   [`MAGAZINE_BYTES`] bytes.

#![forbid(unsafe_code)]

use core::alloc::Layout;

/// Sizes of the classes' blocks, in bytes. A larger request has no class.
const SIZES: [usize; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// The number of classes.
const CLASSES: usize = 12;

/// Alignment of the blocks of every class, in bytes. A request for a larger alignment has
/// no class.
const ALIGN: usize = 16;

/// How many bytes one CPU keeps of one class at most.
pub const MAGAZINE_BYTES: usize = 2048;

/// How many blocks one CPU keeps of one class at most.
pub const MAGAZINE_BLOCKS: usize = 32;

/// The class of each request size, indexed by the size in units of [`ALIGN`], rounded up.
const CLASS_OF: [u8; SIZES[CLASSES - 1] / ALIGN + 1] = {
    let mut table = [0; SIZES[CLASSES - 1] / ALIGN + 1];
    let (mut unit, mut class) = (0, 0);
    while unit < table.len() {
        if unit * ALIGN > SIZES[class as usize] {
            class += 1;
        }
        table[unit] = class;
        unit += 1;
    }
    table
};

/// Index of the first slot of each class's magazine, and at last the number of all slots.
const STARTS: [usize; CLASSES + 1] = {
    let mut starts = [0; CLASSES + 1];
    let mut class = SizeClass(0);
    while class.index() < CLASSES {
        starts[class.index() + 1] = starts[class.index()] + class.capacity();
        class = SizeClass(class.0 + 1);
    }
    starts
};

/// The number of slots of all magazines.
const SLOTS: usize = STARTS[CLASSES];

/// A class of request sizes that are served with blocks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Returns all classes, the smallest first.
    pub fn all() -> impl Iterator<Item = SizeClass> {
        (0u8..).take(CLASSES).map(SizeClass)
    }

    /// Returns the class that serves `layout`; `None` if its size or its alignment is larger
    /// than that of any class.
    #[inline]
    pub const fn of(layout: Layout) -> Option<SizeClass> {
        if layout.align() > ALIGN || layout.size() > SIZES[CLASSES - 1] {
            return None;
        }
        Some(SizeClass(CLASS_OF[layout.size().div_ceil(ALIGN)]))
    }

    /// Returns the size of a block, in bytes.
    #[inline]
    pub const fn size(self) -> usize {
        SIZES[self.0 as usize]
    }

    /// Returns the layout with which a block is allocated from the allocator below
    /// (layout-of-class).
    pub const fn layout(self) -> Layout {
        match Layout::from_size_align(self.size(), ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("BUG: a size class has an impossible layout"),
        }
    }

    /// Returns how many blocks one CPU keeps of this class at most (bounded-magazine).
    pub const fn capacity(self) -> usize {
        let blocks = MAGAZINE_BYTES / self.size();
        if blocks < MAGAZINE_BLOCKS {
            blocks
        } else {
            MAGAZINE_BLOCKS
        }
    }

    /// Returns how many blocks are moved to or from the allocator below at a time. It is half
    /// of the capacity, so that neither a free nor a request that comes next moves blocks
    /// again.
    pub const fn batch(self) -> usize {
        self.capacity().div_ceil(2)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The free blocks that one CPU keeps.
pub struct HeapCache<B> {
    /// The magazines, one after the other: [`STARTS`].
    slots: [Option<B>; SLOTS],
    /// How many blocks each magazine has. The slots behind them are `None`.
    filled: [u8; CLASSES],
}

impl<B: Copy> HeapCache<B> {
    /// Returns a cache without blocks.
    pub const fn new() -> Self {
        HeapCache {
            slots: [None; SLOTS],
            filled: [0; CLASSES],
        }
    }

    /// Removes and returns the block of `class` that was put last, if there is one.
    #[inline]
    pub fn take(&mut self, class: SizeClass) -> Option<B> {
        let filled = &mut self.filled[class.index()];
        *filled = filled.checked_sub(1)?;
        self.slots[STARTS[class.index()] + usize::from(*filled)].take()
    }

    /// Keeps `block`, a free block of `class`.
    ///
    /// # Errors
    /// Returns `block` if the magazine of its class is full.
    #[inline]
    pub fn put(&mut self, class: SizeClass, block: B) -> Result<(), B> {
        let filled = &mut self.filled[class.index()];
        if usize::from(*filled) == class.capacity() {
            return Err(block);
        }
        self.slots[STARTS[class.index()] + usize::from(*filled)] = Some(block);
        *filled += 1;
        Ok(())
    }

    /// Removes all blocks, and passes each to `give_fn` with its class.
    pub fn flush(&mut self, mut give_fn: impl FnMut(SizeClass, B)) {
        for class in SizeClass::all() {
            while let Some(block) = self.take(class) {
                give_fn(class, block);
            }
        }
    }

    /// Returns the size of all blocks together, in bytes.
    pub fn bytes(&self) -> usize {
        SizeClass::all()
            .map(|class| usize::from(self.filled[class.index()]) * class.size())
            .sum()
    }
}

impl<B: Copy> Default for HeapCache<B> {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(MAGAZINE_BLOCKS <= u8::MAX as usize);

#[cfg(test)]
#[path = "heap_cache/tests.rs"]
mod tests;
