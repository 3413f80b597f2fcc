//! The pool that all stacks are taken from. Each stack has a guard page below it.
//!
//! ```text
//!  base                                                        end
//!  | guard 0 | stack 0 ........ | guard 1 | stack 1 ........ | ...
//!    never     bottom ----> top
//!    mapped
//! ```
//!
//! The guards are permanent: they are left out of the address map when it is built. So
//! taking and freeing a stack changes no mapping and needs no TLB maintenance. The guard
//! lies below the stack because stacks grow down. A thread that overflows its stack writes
//! into the guard, and the fault handler can tell whose stack it was.
//!
//! [`StackLayout`] is the geometry. It never changes, is `Copy` and needs no lock, so a
//! fault handler can use it. [`StackPool`] records which stacks are in use. Its owner
//! protects it with a lock.

use core::fmt;
use core::ops::Range;

use crate::config::{MAX_CPUS, ORDINARY_STACKS, PAGE_SIZE, STACK_SIZE, STACKS_PER_CPU};

/// How many stacks a pool has at most.
const MAX_STACKS: usize = MAX_CPUS * STACKS_PER_CPU + ORDINARY_STACKS;
/// How many words of 64 bits [`StackPool`] has for them.
const WORDS: usize = MAX_STACKS.div_ceil(64);
/// Size of a guard and the stack above it, in bytes.
const SLOT_SIZE: usize = PAGE_SIZE + STACK_SIZE;

/// The places of a pool's stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackLayout {
    /// Address of the first guard.
    base: usize,
    /// How many stacks there are.
    count: usize,
}

impl StackLayout {
    /// Returns the size of the memory that a pool of `count` stacks needs, in bytes.
    pub const fn bytes_for(count: usize) -> usize {
        count * SLOT_SIZE
    }

    /// Returns the layout with as many stacks as fit the whole pages of `memory`, at most
    /// [`MAX_CPUS`] times [`STACKS_PER_CPU`] plus [`ORDINARY_STACKS`].
    pub const fn new(memory: Range<usize>) -> StackLayout {
        let base = memory.start.next_multiple_of(PAGE_SIZE);
        let fit = memory.end.saturating_sub(base) / SLOT_SIZE;
        StackLayout {
            base,
            count: if fit < MAX_STACKS { fit } else { MAX_STACKS },
        }
    }

    /// Returns the addresses of all stacks and guards.
    pub const fn range(&self) -> Range<usize> {
        self.base..self.base + self.count * SLOT_SIZE
    }

    /// Returns how many stacks there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Returns the addresses of the guard pages, which the address map leaves out.
    pub fn guards(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let Self { base, count } = *self;
        (0..count).map(move |index| {
            let guard = base + index * SLOT_SIZE;
            guard..guard + PAGE_SIZE
        })
    }

    /// Returns the stack that `address` is in or whose guard it is in; `None` if it is not in
    /// the pool.
    pub const fn locate(&self, address: usize) -> Option<StackPlace> {
        if address < self.base || address >= self.base + self.count * SLOT_SIZE {
            return None;
        }
        let offset = address - self.base;
        Some(StackPlace {
            index: offset / SLOT_SIZE,
            part: if offset % SLOT_SIZE < PAGE_SIZE {
                StackPart::Guard
            } else {
                StackPart::Stack
            },
        })
    }

    const fn stack(&self, index: usize) -> Stack {
        let bottom = self.base + index * SLOT_SIZE + PAGE_SIZE;
        Stack { index, bottom }
    }
}

/// The part of the pool that an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackPart {
    /// The guard page. If it was accessed, the stack above it has overflowed.
    Guard,
    /// The stack itself.
    Stack,
}

/// A place in the pool. It prints as, for example, `the guard page of stack 7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackPlace {
    /// The number of the stack in its pool.
    pub index: usize,
    /// Whether it is the stack or its guard.
    pub part: StackPart,
}

impl fmt::Display for StackPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            StackPart::Guard => write!(f, "the guard page of stack {}", self.index),
            StackPart::Stack => write!(f, "in stack {}", self.index),
        }
    }
}

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
    /// How many stacks are in use.
    in_use: usize,
}

impl StackPool {
    /// Returns the pool of all stacks in `layout`, none of which is in use.
    ///
    /// Make only one pool of a layout: two pools would both give out the same stacks.
    pub const fn new(layout: StackLayout) -> StackPool {
        let mut used = [u64::MAX; WORDS];
        let mut index = 0;
        while index < layout.count {
            used[index / 64] &= !(1 << (index % 64));
            index += 1;
        }
        StackPool {
            layout,
            used,
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
        let (word, bits) = self
            .used
            .iter_mut()
            .enumerate()
            .find(|(_, bits)| **bits != u64::MAX)?;
        let bit = bits.trailing_ones() as usize;
        *bits |= 1 << bit;
        self.in_use += 1;
        Some(self.layout.stack(word * 64 + bit))
    }

    /// Frees `stack`. No CPU may run on it any more: the thread has ended, and its CPU has
    /// switched to another stack.
    ///
    /// # Panics
    /// If `stack` is not one of this pool that is in use.
    pub fn free(&mut self, stack: Stack) {
        let bit = 1 << (stack.index % 64);
        assert!(
            stack.index < self.layout.count
                && stack == self.layout.stack(stack.index)
                && self.used[stack.index / 64] & bit != 0,
            "BUG: stack {} was not taken from this pool",
            stack.index
        );
        self.used[stack.index / 64] &= !bit;
        self.in_use -= 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    const BASE: usize = 0x4100_0000;

    fn pool(count: usize) -> StackPool {
        StackPool::new(StackLayout::new(BASE..BASE + StackLayout::bytes_for(count)))
    }

    #[test]
    fn gives_every_stack_once_and_then_none() {
        let mut pool = pool(70);
        let mut stacks: Vec<Stack> = core::iter::from_fn(|| pool.alloc()).collect();
        assert_eq!((stacks.len(), pool.in_use()), (70, 70));
        stacks.sort_by_key(Stack::bottom);
        for pair in stacks.windows(2) {
            assert_eq!(pair[1].bottom(), pair[0].top() + PAGE_SIZE);
        }
        let last = stacks.pop().unwrap();
        let index = last.index();
        pool.free(last);
        assert_eq!(pool.alloc().unwrap().index(), index);
        assert_eq!(pool.alloc(), None);
    }

    #[test]
    fn every_address_has_one_place() {
        let mut pool = pool(3);
        let layout = pool.layout();
        assert_eq!(layout.locate(BASE - 1), None);
        assert_eq!(layout.locate(BASE + StackLayout::bytes_for(3)), None);
        for (index, guard) in layout.guards().enumerate() {
            let stack = pool.alloc().unwrap();
            assert_eq!(guard.end, stack.bottom());
            for (address, part) in [
                (guard.start, StackPart::Guard),
                (guard.end - 1, StackPart::Guard),
                (stack.bottom(), StackPart::Stack),
                (stack.top() - 1, StackPart::Stack),
            ] {
                assert_eq!(layout.locate(address), Some(StackPlace { index, part }));
            }
        }
        let place = layout.locate(BASE).unwrap();
        assert_eq!(place.to_string(), "the guard page of stack 0");
    }

    #[test]
    fn a_layout_keeps_inside_its_memory() {
        let cut = StackLayout::new(BASE + 1..BASE + StackLayout::bytes_for(2));
        assert_eq!(cut.count(), 1);
        assert_eq!(cut.guards().next().unwrap().start, BASE + PAGE_SIZE);
        assert_eq!(StackLayout::new(BASE..BASE).count(), 0);
        assert_eq!(
            StackLayout::new(0..StackLayout::bytes_for(MAX_STACKS + 1)).count(),
            MAX_STACKS
        );
        assert_eq!(pool(0).alloc(), None);
    }

    #[test]
    #[should_panic(expected = "BUG: stack 1 was not taken from this pool")]
    fn a_foreign_stack_is_refused() {
        let mut other = pool(2);
        let (_first, second) = (other.alloc(), other.alloc().unwrap());
        pool(1).free(second);
    }
}
