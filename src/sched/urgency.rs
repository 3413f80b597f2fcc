//! How urgent a thread is: by its class, or by a thread that waits for it.

#![forbid(unsafe_code)]

use crate::sched::class::{LEVELS, NORMAL_LEVEL};
use crate::sched::{Class, Policy, Priority};
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// The bit of the class word that says that a realtime thread takes turns.
const ROUND_ROBIN: u32 = 1 << 8;

/// A thread's class, and the level at which it queues.
///
/// # Invariants
/// - **most-urgent-of-both**: `level` is the lower of the class's own level and of the
///   inherited one.
///
/// All fields are Relaxed: they change under the lock of the run queue to which the
/// thread belongs, with the thread in no queue.
#[derive(Debug)]
pub(crate) struct Urgency {
    /// The level of the class, and [`ROUND_ROBIN`].
    class: AtomicU32,
    /// The level that a thread that waits for this one lends it; [`LEVELS`]: none.
    inherited: AtomicU8,
    level: AtomicU8,
}

impl Urgency {
    pub(crate) fn new(class: Class) -> Urgency {
        let urgency = Urgency {
            class: AtomicU32::new(0),
            inherited: AtomicU8::new(byte(LEVELS)),
            level: AtomicU8::new(0),
        };
        urgency.set_class(class);
        urgency
    }

    /// Returns the thread's class.
    pub(crate) fn class(&self) -> Class {
        let word = self.class.load(Ordering::Relaxed);
        match (word & 0xff) as usize {
            0 => Class::Stop,
            NORMAL_LEVEL => Class::Normal,
            LEVELS => Class::Idle,
            level => {
                let policy = if word & ROUND_ROBIN != 0 {
                    Policy::RoundRobin
                } else {
                    Policy::Fifo
                };
                Class::Realtime(Priority::of_level(level), policy)
            }
        }
    }

    /// Returns whether the thread shares the CPU by virtual runtime: it is an ordinary
    /// one, and at no inherited level.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        self.level() == NORMAL_LEVEL
    }

    /// Sets the thread's class.
    pub(crate) fn set_class(&self, class: Class) {
        let policy = match class {
            Class::Realtime(_, Policy::RoundRobin) => ROUND_ROBIN,
            _ => 0,
        };
        let word = u32::from(byte(class.level())) | policy;
        self.class.store(word, Ordering::Relaxed);
        self.update();
    }

    /// Lends the thread `level`, or takes that back ([`LEVELS`]).
    pub(crate) fn inherit(&self, level: usize) {
        self.inherited.store(byte(level), Ordering::Relaxed);
        self.update();
    }

    fn update(&self) {
        let own = self.class.load(Ordering::Relaxed) as u8;
        let level = own.min(self.inherited.load(Ordering::Relaxed));
        self.level.store(level, Ordering::Relaxed); // (most-urgent-of-both)
    }

    /// Returns the level at which the thread queues.
    #[inline]
    pub(crate) fn level(&self) -> usize {
        usize::from(self.level.load(Ordering::Relaxed))
    }

    /// Returns whether the thread takes turns with others of its level. A thread that
    /// runs at an inherited level doesn't: what it holds is waited for.
    #[inline]
    pub(crate) fn takes_turns(&self) -> bool {
        let level = self.level();
        let word = self.class.load(Ordering::Relaxed);
        level == NORMAL_LEVEL || word == (level as u32 | ROUND_ROBIN)
    }
}

/// Returns `level`, which is at most [`LEVELS`], as a byte.
fn byte(level: usize) -> u8 {
    u8::try_from(level).expect("BUG: levels fit a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_survives_its_encoding() {
        let rr = Class::round_robin(Priority::MAX);
        let fifo = Class::fifo(Priority::MIN);
        for class in [
            Class::Stop,
            Class::KERNEL,
            rr,
            fifo,
            Class::Normal,
            Class::Idle,
        ] {
            let urgency = Urgency::new(class);
            assert_eq!(urgency.class(), class);
            assert_eq!(urgency.level(), class.level());
            assert_eq!(urgency.takes_turns(), class.slice().is_some());
        }
    }

    #[test]
    fn the_more_urgent_of_both_counts() {
        let urgency = Urgency::new(Class::Normal);
        urgency.inherit(Class::fifo(Priority::MAX).level());
        assert_eq!(urgency.level(), 2);
        assert!(!urgency.takes_turns());
        urgency.set_class(Class::KERNEL);
        assert_eq!(urgency.level(), 1);
        urgency.inherit(LEVELS);
        urgency.set_class(Class::round_robin(Priority::MIN));
        assert!(urgency.takes_turns());
    }
}
