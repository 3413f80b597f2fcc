//! Chains of free blocks, which are linked through the blocks themselves.
//!
//! A chain needs no memory but its blocks'. So whatever keeps chains can take a block at any
//! time, also when there is no memory left (`free-needs-nothing` of
//! [`heap_supply`](crate::memory::HeapSupply)).

#![forbid(unsafe_code)]

use crate::memory::SizeClass;

/// What a free block holds: the names of two others.
#[derive(Debug)]
pub struct Links<B> {
    /// The next block of its chain.
    next: Option<B>,
    /// On the first block of a whole chain: the chain below it in a depot.
    below: Option<B>,
}

impl<B> Links<B> {
    /// Returns the links of a block that is in no chain.
    #[inline]
    pub const fn none() -> Links<B> {
        Links {
            next: None,
            below: None,
        }
    }
}

/// A free block of memory. It has one owner, as a `Box` has.
pub trait FreeBlock: Sized {
    /// Returns the links, which are in the block.
    fn links(&mut self) -> &mut Links<Self>;
}

/// Free blocks of one class, the latest first.
#[derive(Debug)]
pub struct Chain<B> {
    first: Option<B>,
    blocks: usize,
}

impl<B: FreeBlock> Chain<B> {
    /// Returns a chain without blocks.
    pub const fn new() -> Chain<B> {
        Chain {
            first: None,
            blocks: 0,
        }
    }

    /// Returns how many blocks the chain has.
    #[inline]
    pub const fn len(&self) -> usize {
        self.blocks
    }

    /// Returns whether the chain has no block.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Adds `block`, which is in no chain.
    #[inline]
    pub fn push(&mut self, mut block: B) {
        block.links().next = self.first.take();
        self.first = Some(block);
        self.blocks += 1;
    }

    /// Removes and returns the block that was added last, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<B> {
        let mut block = self.first.take()?;
        self.first = block.links().next.take();
        self.blocks -= 1;
        Some(block)
    }

    /// Removes and returns all blocks, if they are the `batch` of `class`.
    #[inline]
    pub fn take_whole(&mut self, class: SizeClass) -> Option<WholeChain<B>> {
        if self.blocks != class.batch() {
            return None;
        }
        self.blocks = 0;
        let first = self.first.take()?;
        Some(WholeChain { first })
    }
}

impl<B: FreeBlock> Default for Chain<B> {
    fn default() -> Self {
        Self::new()
    }
}

/// A chain of [`SizeClass::batch`] blocks, which is moved as a whole.
#[derive(Debug)]
pub struct WholeChain<B> {
    first: B,
}

impl<B: FreeBlock> WholeChain<B> {
    /// Returns the blocks. `class` is that of the blocks.
    #[inline]
    pub fn into_chain(self, class: SizeClass) -> Chain<B> {
        Chain {
            first: Some(self.first),
            blocks: class.batch(),
        }
    }
}

/// Whole chains of one class, the latest on top.
#[derive(Debug)]
pub(super) struct Stack<B> {
    top: Option<B>,
    chains: usize,
}

impl<B: FreeBlock> Stack<B> {
    pub(super) const fn new() -> Stack<B> {
        Stack {
            top: None,
            chains: 0,
        }
    }

    /// Returns how many chains there are.
    pub(super) const fn len(&self) -> usize {
        self.chains
    }

    pub(super) fn push(&mut self, chain: WholeChain<B>) {
        let mut first = chain.first;
        first.links().below = self.top.take();
        self.top = Some(first);
        self.chains += 1;
    }

    pub(super) fn pop(&mut self) -> Option<WholeChain<B>> {
        let mut first = self.top.take()?;
        self.top = first.links().below.take();
        self.chains -= 1;
        Some(WholeChain { first })
    }
}
