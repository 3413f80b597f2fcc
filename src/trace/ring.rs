//! A ring of events, and the slots that it has: see [`trace`](crate::trace).

use core::borrow::Borrow;
use core::marker::PhantomData;

use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::time::Instant;

/// The place of one event of `WORDS` words.
pub(super) struct Slot<const WORDS: usize> {
    /// Stored with Release after the words, loaded with Acquire before them
    /// (`whole-slots-only` of [`trace`](crate::trace)).
    sequence: AtomicU64,
    /// The counter's value at the event. Relaxed: ordered by `sequence`.
    at: AtomicU64,
    /// The event, encoded. Relaxed: ordered by `sequence`.
    event: [AtomicU64; WORDS],
}

/// Some events, the last of them: as many as `slots` has places.
pub(super) struct Ring<S, const WORDS: usize> {
    /// The number of the next event. Relaxed: there is one writer (`one-writer-per-ring` of
    /// [`trace`](crate::trace)).
    next: AtomicU64,
    slots: S,
    _slots: PhantomData<[Slot<WORDS>]>,
}

/// How many events of a ring a reader has not got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Those that later ones had replaced before it looked.
    pub lost: u64,
    /// Those that it found half replaced, or replaced since it looked.
    pub torn: u64,
}

impl Missing {
    /// Adds those of another ring.
    pub fn add(&mut self, other: Missing) {
        self.lost += other.lost;
        self.torn += other.torn;
    }
}

impl<const WORDS: usize> Slot<WORDS> {
    pub(super) fn new() -> Self {
        Slot {
            sequence: AtomicU64::new(0),
            at: AtomicU64::new(0),
            event: core::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Returns the event of number `number` with its time, or `None` if it isn't here whole.
    fn read(&self, number: u64) -> Option<(Instant, [u64; WORDS])> {
        if self.sequence.load(Ordering::Acquire) != number + 1 {
            return None;
        }
        let at = Instant(self.at.load(Ordering::Relaxed));
        let event = core::array::from_fn(|word| self.event[word].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if self.sequence.load(Ordering::Relaxed) != number + 1 {
            return None;
        }
        Some((at, event))
    }
}

impl<S: Borrow<[Slot<WORDS>]>, const WORDS: usize> Ring<S, WORDS> {
    /// Returns an empty ring of these slots, of which there is at least one.
    pub(super) fn new(slots: S) -> Self {
        Ring {
            next: AtomicU64::new(0),
            slots,
            _slots: PhantomData,
        }
    }

    /// Writes an event (`one-writer-per-ring` of [`trace`](crate::trace)).
    #[inline]
    pub(super) fn put(&self, at: Instant, event: [u64; WORDS]) {
        let number = self.next.load(Ordering::Relaxed);
        let next = number.wrapping_add(1);
        self.next.store(next, Ordering::Relaxed);
        let slot = self.slot(number);
        slot.sequence.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // The 0 before the words: pairs with the reader's Acquire fence.
        slot.at.store(at.0, Ordering::Relaxed);
        for (word, value) in slot.event.iter().zip(event) {
            word.store(value, Ordering::Relaxed);
        }
        slot.sequence.store(next, Ordering::Release);
    }

    /// Returns the number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Calls `each_fn` with the number, the time and the words of each event from number `first` on
    /// that the ring has, oldest first; returns how many it has had besides.
    pub(super) fn read(
        &self,
        first: u64,
        each_fn: &mut impl FnMut(u64, Instant, [u64; WORDS]),
    ) -> Missing {
        // Relaxed: each slot's own sequence number tells what it holds (whole-slots-only).
        let end = self.next.load(Ordering::Relaxed);
        let begin = end.saturating_sub(self.slots.borrow().len() as u64);
        let begin = begin.max(first);
        let mut torn = 0;
        for number in begin..end {
            match self.slot(number).read(number) {
                Some((at, event)) => each_fn(number, at, event),
                None => torn += 1,
            }
        }
        let lost = begin - first;
        Missing { lost, torn }
    }

    /// Returns the slot of event `number`.
    #[inline]
    fn slot(&self, number: u64) -> &Slot<WORDS> {
        let slots = self.slots.borrow();
        let place = number % slots.len() as u64;
        &slots[usize::try_from(place).expect("BUG: a ring's size fits")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<S: Borrow<[Slot<WORDS>]>, const WORDS: usize> Ring<S, WORDS> {
        /// Has the slot of event `number` look as if it were being replaced.
        pub(in super::super) fn tear(&self, number: u64) {
            self.slot(number).sequence.store(0, Ordering::Relaxed);
        }
    }
}
