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
//! What a block is, is the user's business: an address in the kernel, a number in
//! a test. Nothing here allocates.
//!
//! # Invariants
//! - **layout-of-class**: every block of a class is [`SizeClass::layout`] large,
//!   whichever CPU asked for it and whenever: so any cache can serve any request of the
//!   class with it.
//! - **taken-once**: a block that was put is taken once.
//! - **bounded-magazine**: a class holds at most [`MAGAZINE_BYTES`], or
//!   [`MAGAZINE_BLOCKS`] blocks if that is less.

#![forbid(unsafe_code)]

use core::alloc::Layout;

/// Sizes of the classes, in bytes. Larger requests have no class.
const SIZES: [usize; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// How many classes there are.
const CLASSES: usize = 12;

/// Alignment of every block with a class. What wants more has no class.
const ALIGN: usize = 16;

/// The most bytes that one CPU keeps of one class.
pub const MAGAZINE_BYTES: usize = 2048;

/// The most blocks that one CPU keeps of one class.
pub const MAGAZINE_BLOCKS: usize = 32;

/// The class of each size, by the size in units of [`ALIGN`], rounded up.
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

/// Where the magazine of each class begins among the slots, and where the last ends.
const STARTS: [usize; CLASSES + 1] = {
    let mut starts = [0; CLASSES + 1];
    let mut class = SizeClass(0);
    while class.index() < CLASSES {
        starts[class.index() + 1] = starts[class.index()] + class.capacity();
        class = SizeClass(class.0 + 1);
    }
    starts
};

/// Slots of all magazines.
const SLOTS: usize = STARTS[CLASSES];

/// A range of request sizes that are served with blocks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass(u8);

impl SizeClass {
    /// Returns all of them, smallest first.
    pub fn all() -> impl Iterator<Item = SizeClass> {
        (0u8..).take(CLASSES).map(SizeClass)
    }

    /// Returns the class that serves `layout`; `None` if it is too large, or wants more
    /// alignment than a block has.
    #[inline]
    pub const fn of(layout: Layout) -> Option<SizeClass> {
        if layout.align() > ALIGN || layout.size() > SIZES[CLASSES - 1] {
            return None;
        }
        Some(SizeClass(CLASS_OF[layout.size().div_ceil(ALIGN)]))
    }

    /// Returns the number of bytes of a block.
    #[inline]
    pub const fn size(self) -> usize {
        SIZES[self.0 as usize]
    }

    /// Returns what to ask the allocator below for, for a block (layout-of-class).
    pub const fn layout(self) -> Layout {
        match Layout::from_size_align(self.size(), ALIGN) {
            Ok(layout) => layout,
            Err(_) => panic!("BUG: a size class has an impossible layout"),
        }
    }

    /// Returns how many blocks one CPU keeps (bounded-magazine).
    pub const fn capacity(self) -> usize {
        let blocks = MAGAZINE_BYTES / self.size();
        if blocks < MAGAZINE_BLOCKS {
            blocks
        } else {
            MAGAZINE_BLOCKS
        }
    }

    /// Returns how many blocks go to or come from the allocator below at a time: half of
    /// what fits, so that neither a free nor a request right after goes there too.
    pub const fn batch(self) -> usize {
        self.capacity().div_ceil(2)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The free blocks that one CPU keeps.
pub struct HeapCache<B> {
    slots: [Option<B>; SLOTS],
    /// Blocks in each magazine. What lies above is `None`.
    filled: [u8; CLASSES],
}

impl<B: Copy> HeapCache<B> {
    /// Nothing is kept.
    pub const fn new() -> Self {
        HeapCache {
            slots: [None; SLOTS],
            filled: [0; CLASSES],
        }
    }

    /// Takes out the block of `class` that was put last, if there is one.
    #[inline]
    pub fn take(&mut self, class: SizeClass) -> Option<B> {
        let filled = &mut self.filled[class.index()];
        *filled = filled.checked_sub(1)?;
        self.slots[STARTS[class.index()] + usize::from(*filled)].take()
    }

    /// Keeps `block`, which is one of `class` and free.
    ///
    /// # Errors
    /// The block, if no more of its class are kept.
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

    /// Takes out all blocks, and tells each to `give_fn` with its class.
    pub fn flush(&mut self, mut give_fn: impl FnMut(SizeClass, B)) {
        for class in SizeClass::all() {
            while let Some(block) = self.take(class) {
                give_fn(class, block);
            }
        }
    }

    /// Returns the number of bytes that are kept.
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
