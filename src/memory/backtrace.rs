//! The walk along the chain of frame records, which may be corrupt.
//!
//! Every function of the kernel keeps a frame record: the caller's frame pointer and the
//! return address, at the address in `x29` (AAPCS64, "The Frame Pointer"). The records are
//! a linked list from the innermost frame outwards. A backtrace is printed when something
//! is broken, and the list may be broken too. So [`Frames`] follows these rules:
//!
//! 1. A record is read only if all of it lies in a stack that the caller knows.
//! 2. Inside one stack the chain only goes up, because stacks grow down.
//! 3. The chain enters each stack once: overflow stack, IRQ stack, thread stack.
//!
//! So the walk ends, and reads only stack memory, whatever is in `x29`.

use core::ops::Range;

/// The most frames that are walked.
pub const MAX_FRAMES: usize = 32;

/// Size of a frame record, in bytes: saved `x29` and saved `x30`.
const RECORD_SIZE: usize = 16;

/// The return addresses of a chain of frame records, innermost first.
#[derive(Debug)]
pub struct Frames<'a, R> {
    /// The addresses of the stacks that may be read.
    stacks: &'a [Range<usize>],
    /// Bit n is set if the chain has been in `stacks[n]`.
    seen: u32,
    /// Index of the stack that the last record was in.
    current: Option<usize>,
    /// Address of the next record.
    frame_pointer: usize,
    /// How many more frames may be walked.
    left: usize,
    /// Returns the word at an address.
    read: R,
}

impl<'a, R: FnMut(usize) -> usize> Frames<'a, R> {
    /// Returns the walk from the record at `frame_pointer` through `stacks`, of which only
    /// the first 32 are used.
    ///
    /// `read` returns the word at an address. It is called only with addresses inside
    /// `stacks` that are multiples of 8.
    pub fn new(frame_pointer: usize, stacks: &'a [Range<usize>], read: R) -> Self {
        Frames {
            stacks: &stacks[..stacks.len().min(32)],
            seen: 0,
            current: None,
            frame_pointer,
            left: MAX_FRAMES,
            read,
        }
    }

    /// Returns the index of the stack that contains all of the record at `address`.
    fn stack_of_record(&self, address: usize) -> Option<usize> {
        let end = address.checked_add(RECORD_SIZE)?;
        self.stacks
            .iter()
            .position(|stack| stack.start <= address && end <= stack.end)
    }
}

impl<R: FnMut(usize) -> usize> Iterator for Frames<'_, R> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let record = self.frame_pointer;
        if self.left == 0 || !record.is_multiple_of(8) {
            return None;
        }
        let stack = self.stack_of_record(record)?;
        if self.current != Some(stack) {
            if self.seen & 1 << stack != 0 {
                return None;
            }
            self.seen |= 1 << stack;
            self.current = Some(stack);
        }
        let caller_record = (self.read)(record);
        let return_address = (self.read)(record + 8);
        let goes_back = self.stacks[stack].contains(&caller_record) && caller_record <= record;
        // Address 0 is in no stack, so the next call ends the walk.
        self.frame_pointer = if goes_back { 0 } else { caller_record };
        self.left -= 1;
        (return_address != 0).then_some(return_address)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    const THREAD: Range<usize> = 0x1000..0x2000;
    const IRQ: Range<usize> = 0x8000..0x9000;

    /// Returns the walk from `start` over `records`, each of which is its address, the
    /// address of the caller's record and the return address.
    fn walk(start: usize, records: &[(usize, usize, usize)]) -> Vec<usize> {
        let stacks = [THREAD, IRQ];
        Frames::new(start, &stacks, |address| {
            assert!(stacks.iter().any(|stack| stack.contains(&address)));
            records
                .iter()
                .find_map(|&(record, caller, pc)| match address.wrapping_sub(record) {
                    0 => Some(caller),
                    8 => Some(pc),
                    _ => None,
                })
                .unwrap_or(0)
        })
        .collect()
    }

    #[test]
    fn follows_the_chain_from_one_stack_into_the_next() {
        let chain = [(0x8f00, 0x1e00, 1), (0x1e00, 0x1f00, 2), (0x1f00, 0, 3)];
        assert_eq!(walk(0x8f00, &chain), [1, 2, 3]);
    }

    #[test]
    fn ends_at_the_terminator() {
        assert_eq!(walk(0x1e00, &[(0x1e00, 0x1f00, 1), (0x1f00, 0, 0)]), [1]);
        assert_eq!(walk(0, &[]), []);
    }

    #[test]
    fn reads_nothing_outside_the_stacks() {
        for garbage in [0xdead_0000, usize::MAX - 7, 0x1ff8, 0x1e01, 0x2000, 0xff8] {
            assert_eq!(walk(garbage, &[]), []);
            assert_eq!(walk(0x1e00, &[(0x1e00, garbage, 1)]), [1]);
        }
    }

    #[test]
    fn loops_end() {
        assert_eq!(walk(0x1e00, &[(0x1e00, 0x1e00, 1)]), [1]);
        assert_eq!(
            walk(0x1f00, &[(0x1f00, 0x1e00, 1), (0x1e00, 0x1f00, 2)]),
            [1]
        );
        let between = [(0x1f00, 0x8f00, 1), (0x8f00, 0x1f80, 2), (0x1f80, 0, 3)];
        assert_eq!(walk(0x1f00, &between), [1, 2]);
    }

    #[test]
    fn a_long_chain_is_cut() {
        let chain: Vec<_> = (0..100)
            .map(|n| (0x1000 + n * 16, 0x1010 + n * 16, n + 1))
            .collect();
        assert_eq!(walk(0x1000, &chain).len(), MAX_FRAMES);
    }
}
