//! The pool that all stacks are taken from. [`StackLayout`] says where they lie; [`StackPool`]
//! records which of them are in use. Its owner protects it with a lock.

use core::ops::Range;

use super::stack_layout::{MAX_STACKS, StackLayout};
use crate::config::STACK_SIZE;

/// How many words of 64 bits [`StackPool`] has for the stacks.
const WORDS: usize = MAX_STACKS.div_ceil(64);

/// A stack that was taken from a pool: the right to use that memory. It can't be copied. If
/// it is dropped without [`StackPool::free`], the stack stays in use for ever, as those of
/// a CPU do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Stack {
    /// The number of the stack in its pool.
    index: usize,
    /// The lowest address of the stack.
    bottom: usize,
}

impl Stack {
    /// Returns the number of the stack in its pool.
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Returns its lowest address.
    pub const fn bottom(&self) -> usize {
        self.bottom
    }

    /// Returns the address behind its highest byte, which is SP of an empty stack. It is a
    /// multiple of 16.
    pub const fn top(&self) -> usize {
        self.bottom + STACK_SIZE
    }

    /// Returns its addresses.
    pub const fn range(&self) -> Range<usize> {
        self.bottom()..self.top()
    }
}

/// The stacks of a layout, and which of them are in use.
#[derive(Debug)]
pub struct StackPool {
    layout: StackLayout,
    /// Bit n is set if stack n is in use or doesn't exist.
    used: [u64; WORDS],
    /// How many words at the beginning of `used` have no free stack, or fewer.
    full: usize,
    /// How many stacks are in use.
    in_use: usize,
}

impl StackPool {
    /// Returns the pool of all stacks in `layout`, none of which is in use.
    ///
    /// Make only one pool of a layout: two pools would both give out the same stacks.
    pub fn new(layout: StackLayout) -> StackPool {
        let mut used = [u64::MAX; WORDS];
        for index in 0..layout.count() {
            used[index / 64] &= !(1 << (index % 64));
        }
        StackPool {
            layout,
            used,
            full: 0,
            in_use: 0,
        }
    }

    /// Returns the geometry.
    pub const fn layout(&self) -> StackLayout {
        self.layout
    }

    /// Returns how many stacks are in use.
    pub const fn in_use(&self) -> usize {
        self.in_use
    }

    /// Takes a stack and returns it, or `None` if all are in use. Its content is that of its
    /// last use.
    pub fn alloc(&mut self) -> Option<Stack> {
        while *self.used.get(self.full)? == u64::MAX {
            self.full += 1;
        }
        let bits = self.used.get_mut(self.full)?;
        let bit = bits.trailing_ones() as usize;
        let index = self.full * 64 + bit;
        let bottom = self.layout.bottom(index)?;
        *bits |= 1 << bit;
        self.in_use += 1;
        Some(Stack { index, bottom })
    }

    /// Frees `stack`. No CPU may run on it any more: the thread has ended, and its CPU has
    /// switched to another stack.
    ///
    /// # Panics
    /// If `stack` is not one of this pool that is in use.
    pub fn free(&mut self, stack: Stack) {
        let bit = 1 << (stack.index % 64);
        assert!(
            self.layout.bottom(stack.index) == Some(stack.bottom)
                && self.used[stack.index / 64] & bit != 0,
            "BUG: stack {} was not taken from this pool",
            stack.index
        );
        self.used[stack.index / 64] &= !bit;
        self.full = self.full.min(stack.index / 64);
        self.in_use -= 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::config::PAGE_SIZE;
    use crate::memory::MemoryPlan;
    use std::vec::Vec;

    const BASE: u64 = 0x4100_0000;

    /// Returns a pool of `count` stacks, which lie in one piece if `in_one`, else in two.
    fn pool(count: usize, in_one: bool) -> StackPool {
        let size = StackLayout::bytes_for(count) as u64;
        let hole = BASE + size / 2;
        let reserved = if in_one { hole..hole } else { hole..hole + 1 };
        let more = StackLayout::bytes_for(2) as u64;
        let mut plan = MemoryPlan::new(Some(BASE..BASE + size + more), [reserved]);
        StackPool::new(StackLayout::take(&mut plan, count).unwrap())
    }

    #[test]
    fn gives_every_stack_once_and_then_none() {
        for in_one in [true, false] {
            let mut pool = pool(70, in_one);
            assert_eq!(pool.layout().ranges().count(), if in_one { 1 } else { 2 });
            let mut stacks: Vec<Stack> = core::iter::from_fn(|| pool.alloc()).collect();
            assert_eq!((stacks.len(), pool.in_use()), (70, 70));
            stacks.sort_by_key(Stack::bottom);
            for pair in stacks.windows(2) {
                assert!(pair[1].bottom() >= pair[0].top() + PAGE_SIZE);
            }
            // The last of them, and the first, which is in another word.
            for nth in [69, 0] {
                let stack = stacks.remove(nth);
                let index = stack.index();
                pool.free(stack);
                assert_eq!(pool.alloc().unwrap().index(), index);
                assert_eq!(pool.alloc(), None);
            }
        }
    }

    #[test]
    #[should_panic(expected = "BUG: stack 1 was not taken from this pool")]
    fn a_foreign_stack_is_refused() {
        let mut other = pool(2, true);
        let (_first, second) = (other.alloc(), other.alloc().unwrap());
        pool(1, true).free(second);
    }
}
