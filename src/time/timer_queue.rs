//! What waits for an instant, in the order in which it comes due.
//!
//! Pure bookkeeping: the owner (one per CPU) takes a lock around it, arms the
//! one-shot timer for [`TimerQueue::next`], and asks for what has expired.

use alloc::vec::Vec;

use crate::time::Instant;

/// Names an entry of one queue, to cancel it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    at: Instant,
    /// Keeps entries for one instant apart, in the order they came.
    serial: u64,
}

/// Entries for which there is room from the start.
const ROOM: usize = 16;

/// Entries of type `T`, each due at an instant.
#[derive(Debug)]
pub struct TimerQueue<T> {
    /// The last one is due first. Few threads of one CPU wait with a limit at a
    /// time, so finding a place is cheap; and with room made beforehand, who waits
    /// takes no memory unless many do.
    entries: Vec<(TimerKey, T)>,
    serial: u64,
}

impl<T> TimerQueue<T> {
    /// An empty queue. Allocates.
    pub fn new() -> Self {
        TimerQueue {
            entries: Vec::with_capacity(ROOM),
            serial: 0,
        }
    }

    /// Adds `entry`, due at `at`.
    pub fn insert(&mut self, at: Instant, entry: T) -> TimerKey {
        self.serial += 1;
        let key = TimerKey {
            at,
            serial: self.serial,
        };
        let place = self.entries.partition_point(|(other, _)| *other > key);
        self.entries.insert(place, (key, entry));
        key
    }

    /// Takes an entry out, if it has not expired yet.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        let place = self
            .entries
            .binary_search_by(|(other, _)| key.cmp(other))
            .ok()?;
        Some(self.entries.remove(place).1)
    }

    /// Takes out the first entry that is due at `now` or earlier.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let (key, _) = self.entries.last()?;
        if key.at > now {
            return None;
        }
        self.entries.pop().map(|(_, entry)| entry)
    }

    /// When the first entry is due.
    pub fn next(&self) -> Option<Instant> {
        self.entries.last().map(|(key, _)| key.at)
    }
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_in_order_never_early_and_once() {
        let mut queue = TimerQueue::new();
        queue.insert(Instant(20), 'c');
        queue.insert(Instant(10), 'a');
        let gone = queue.insert(Instant(10), 'x');
        queue.insert(Instant(10), 'b');
        assert_eq!(queue.remove(gone), Some('x'));
        assert_eq!(queue.remove(gone), None);
        assert_eq!(queue.pop_expired(Instant(9)), None);
        assert_eq!(queue.next(), Some(Instant(10)));
        assert_eq!(queue.pop_expired(Instant(15)), Some('a'));
        assert_eq!(queue.pop_expired(Instant(15)), Some('b'));
        assert_eq!(queue.pop_expired(Instant(15)), None);
        assert_eq!(queue.pop_expired(Instant(20)), Some('c'));
        assert_eq!(queue.next(), None);
    }
}
