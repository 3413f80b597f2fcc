//! One CPU's cache of free heap blocks: a magazine of two chains for each size class.
//!
//! ```text
//!   alloc ──► take ──► block                 free ──► put
//!               │                                      │
//!             loaded, 0 to `batch` blocks ◄────────────┘
//!               │ empty: the spare is loaded           │ full: it becomes the spare
//!             spare, none or `batch` blocks ◄──────────┘
//!               ▲ no spare: a chain                    ▼ a spare already: that one
//!               └──────────────── `heap_supply` ───────┘
//! ```
//!
//! Behind an exchange with the supply the magazine has one whole chain. So it takes `batch`
//! requests, or `batch` frees, until the next (J. Bonwick and J. Adams, "Magazines and Vmem",
//! USENIX 2001).
//!
//! The type of a block is a parameter: memory in the kernel, a number in a test. Nothing here
//! allocates.
//!
//! # Invariants
//! - **taken-once**: a block that was put is taken once. Blocks are moved and never copied.
//! - **bounded-magazine**: a magazine has at most
//!   [`MAGAZINE_BLOCKS`](crate::memory::MAGAZINE_BLOCKS) blocks, and at most
//!   [`MAGAZINE_BYTES`](crate::memory::MAGAZINE_BYTES) bytes: two whole chains.

#![forbid(unsafe_code)]

use crate::memory::size_class::CLASSES;
use crate::memory::{Chain, FreeBlock, SizeClass, WholeChain};

/// The free blocks of one class (bounded-magazine).
struct Magazine<B> {
    loaded: Chain<B>,
    spare: Option<WholeChain<B>>,
}

/// The free blocks that one CPU keeps.
pub struct HeapCache<B> {
    magazines: [Magazine<B>; CLASSES],
}

impl<B: FreeBlock> HeapCache<B> {
    /// Returns a cache without blocks.
    pub const fn new() -> Self {
        HeapCache {
            magazines: [const {
                Magazine {
                    loaded: Chain::new(),
                    spare: None,
                }
            }; CLASSES],
        }
    }

    /// Removes and returns the block of `class` that was put last, if there is one.
    #[inline]
    pub fn take(&mut self, class: SizeClass) -> Option<B> {
        let magazine = &mut self.magazines[class.index()];
        if let Some(block) = magazine.loaded.pop() {
            return Some(block);
        }
        magazine.loaded = magazine.spare.take()?.into_chain(class);
        magazine.loaded.pop()
    }

    /// Keeps `block`, a free block of `class`. If the magazine was full, returns a chain that
    /// it doesn't keep any more.
    #[inline]
    #[must_use]
    pub fn put(&mut self, class: SizeClass, block: B) -> Option<WholeChain<B>> {
        let magazine = &mut self.magazines[class.index()];
        let full = magazine.loaded.take_whole(class);
        let surplus = full.and_then(|full| magazine.spare.replace(full));
        magazine.loaded.push(block);
        surplus
    }

    /// Keeps `chain`, in place of the chain of `class` that is used up.
    ///
    /// # Panics
    /// If there are blocks of `class` still.
    pub fn load(&mut self, class: SizeClass, chain: Chain<B>) {
        let magazine = &mut self.magazines[class.index()];
        assert!(
            magazine.loaded.is_empty() && magazine.spare.is_none() && chain.len() <= class.batch(),
            "BUG: a chain is loaded into a magazine that needs none"
        );
        magazine.loaded = chain;
    }

    /// Removes and returns blocks of `class`, a chain at a time; `None` if there is none.
    pub fn unload(&mut self, class: SizeClass) -> Option<Chain<B>> {
        let magazine = &mut self.magazines[class.index()];
        let spare = magazine.spare.take().map(|chain| chain.into_chain(class));
        let loaded = || core::mem::take(&mut magazine.loaded);
        Some(spare.unwrap_or_else(loaded)).filter(|chain| !chain.is_empty())
    }

    /// Returns the size of all blocks together, in bytes.
    pub fn bytes(&self) -> usize {
        SizeClass::all().map(|class| self.bytes_of(class)).sum()
    }

    /// Returns the size of the blocks of `class`, in bytes.
    pub fn bytes_of(&self, class: SizeClass) -> usize {
        let magazine = &self.magazines[class.index()];
        let spare = magazine.spare.as_ref().map_or(0, |_| class.batch());
        (magazine.loaded.len() + spare) * class.size()
    }
}

impl<B: FreeBlock> Default for HeapCache<B> {
    fn default() -> Self {
        Self::new()
    }
}
