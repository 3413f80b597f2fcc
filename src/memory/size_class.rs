//! The sizes of heap blocks of which CPUs and depots keep free ones.
//!
//! # Invariants
//! - **layout-of-class**: every block of a class has the layout [`SizeClass::layout`],
//!   whichever CPU asked for it. So any cache can serve any request of the class with it.

#![forbid(unsafe_code)]

use core::alloc::Layout;

/// Sizes of the classes' blocks, in bytes. A larger request has no class.
const SIZES: [usize; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// The number of classes.
pub(super) const CLASSES: usize = 12;

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

    /// Returns how many blocks a whole chain of this class has: half of what one CPU keeps.
    #[inline]
    pub const fn batch(self) -> usize {
        BATCHES[self.0 as usize] as usize
    }

    #[inline]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The blocks of a whole chain of each class. Two chains are within [`MAGAZINE_BYTES`] and
/// [`MAGAZINE_BLOCKS`].
const BATCHES: [u8; CLASSES] = {
    let mut batches = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let blocks = MAGAZINE_BYTES / SIZES[class] / 2;
        let most = MAGAZINE_BLOCKS / 2;
        batches[class] = (if blocks < most { blocks } else { most }).to_le_bytes()[0];
        assert!(batches[class] > 0);
        class += 1;
    }
    batches
};

const _: () = assert!(MAGAZINE_BLOCKS <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a sane layout")
    }

    #[test]
    fn a_class_is_the_smallest_that_fits() {
        for size in 1..=1024 {
            let class = SizeClass::of(layout(size, 8)).expect("it has a class");
            assert!(class.size() >= size, "{size} in {class:?}");
            assert!(
                SizeClass::all().all(|other| other.size() < size || other.size() >= class.size()),
                "{size} in {class:?}"
            );
            // The layout of the class's blocks has the same class (layout-of-class).
            assert_eq!(SizeClass::of(class.layout()), Some(class));
        }
    }

    #[test]
    fn what_is_large_or_strictly_aligned_has_no_class() {
        assert_eq!(SizeClass::of(layout(1025, 1)), None);
        assert_eq!(SizeClass::of(layout(16, 32)), None);
        assert!(SizeClass::of(layout(16, 16)).is_some());
    }

    #[test]
    fn two_chains_are_within_the_bounds() {
        for class in SizeClass::all() {
            let most = 2 * class.batch();
            assert!(class.batch() > 0 && most <= MAGAZINE_BLOCKS, "{class:?}");
            assert!(most * class.size() <= MAGAZINE_BYTES, "{class:?}");
        }
    }
}
