//! What waits for an instant, in the order in which it comes due.
//!
//! Pure bookkeeping: the owner (one per CPU) takes a lock around it, arms the
//! one-shot timer for [`TimerQueue::next`], and asks for what has expired.

use alloc::collections::BTreeMap;

use crate::time::Instant;

/// Names an entry of one queue, to cancel it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    at: Instant,
    /// Keeps entries for one instant apart, in the order they came.
    serial: u64,
}

/// Entries of type `T`, each due at an instant.
#[derive(Debug)]
pub struct TimerQueue<T> {
    entries: BTreeMap<TimerKey, T>,
    serial: u64,
}

impl<T> TimerQueue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        TimerQueue {
            entries: BTreeMap::new(),
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
        self.entries.insert(key, entry);
        key
    }

    /// Takes an entry out, if it has not expired yet.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.entries.remove(&key)
    }

    /// Takes out the first entry that is due at `now` or earlier.
    pub fn pop_expired(&mut self, now: Instant) -> Option<T> {
        let first = self.entries.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    /// When the first entry is due.
    pub fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(key, _)| key.at)
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
