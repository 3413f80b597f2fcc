//! How urgent a thread is: by its class, by what it does for the kernel, or by the threads
//! that wait for it.
//!
//! # Invariants
//! - **most-urgent-of-all**: a thread's level is the lowest of its class's own level, of the
//!   lent one, and of the inherited one.

#![forbid(unsafe_code)]

use crate::sched::class::{KERNEL_LEVEL, LEVELS, NORMAL_LEVEL};
use crate::sched::{Class, Policy, Priority};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A thread's class, and the level at which it queues.
///
/// All fields are Relaxed: they change under the lock of the run queue to which the
/// thread belongs, with the thread in no queue.
#[derive(Debug)]
pub(crate) struct Urgency {
    /// The level of the class.
    own: AtomicU8,
    /// Whether a realtime thread takes turns.
    round_robin: AtomicBool,
    /// The level at which it works for the kernel; [`LEVELS`]: it doesn't.
    lent: AtomicU8,
    /// The level of the most urgent thread that waits for it; [`LEVELS`]: none does.
    /// Changes under the lock of the thread's loans too (`inherits-the-most` of
    /// [`inherit`](crate::sched::lock)).
    inherited: AtomicU8,
    level: AtomicU8,
}

impl Urgency {
    pub(crate) fn new(class: Class) -> Urgency {
        let urgency = Urgency {
            own: AtomicU8::new(0),
            round_robin: AtomicBool::new(false),
            lent: AtomicU8::new(byte(LEVELS)),
            inherited: AtomicU8::new(byte(LEVELS)),
            level: AtomicU8::new(0),
        };
        urgency.set_class(class);
        urgency
    }

    /// Returns the thread's class.
    pub(crate) fn class(&self) -> Class {
        let level = self.own.load(Ordering::Relaxed);
        match usize::from(level) {
            0 => Class::Stop,
            NORMAL_LEVEL => Class::Normal,
            LEVELS => Class::Idle,
            _ => {
                let policy = if self.round_robin.load(Ordering::Relaxed) {
                    Policy::RoundRobin
                } else {
                    Policy::Fifo
                };
                Class::Realtime(Priority::of_level(level), policy)
            }
        }
    }

    /// Returns whether the thread shares the CPU by virtual runtime: it is an ordinary
    /// one, and at no lent or inherited level.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        self.level() == NORMAL_LEVEL
    }

    /// Sets the thread's class.
    pub(crate) fn set_class(&self, class: Class) {
        let round_robin = matches!(class, Class::Realtime(_, Policy::RoundRobin));
        self.own.store(byte(class.level()), Ordering::Relaxed);
        self.round_robin.store(round_robin, Ordering::Relaxed);
        self.update();
    }

    /// Lends the thread the level of the kernel's own threads, or takes that back.
    pub(crate) fn lend(&self, lent: bool) {
        let level = if lent { KERNEL_LEVEL } else { LEVELS };
        self.lent.store(byte(level), Ordering::Relaxed);
        self.update();
    }

    /// Returns the level that the thread inherits; [`LEVELS`]: none.
    pub(super) fn inherited(&self) -> usize {
        usize::from(self.inherited.load(Ordering::Relaxed))
    }

    /// Returns whether the thread inherits a level.
    #[inline]
    pub(super) fn inherits(&self) -> bool {
        self.inherited() < LEVELS
    }

    /// Has the thread inherit `level`; [`LEVELS`]: none.
    pub(super) fn inherit(&self, level: usize) {
        self.inherited.store(byte(level), Ordering::Relaxed);
        self.update();
    }

    /// Returns whether the thread's own level would be another if it inherited `level`.
    pub(super) fn would_change(&self, level: usize) -> bool {
        let lent = self.lent.load(Ordering::Relaxed);
        let without = self.own.load(Ordering::Relaxed).min(lent);
        usize::from(without).min(level) != self.level()
    }

    /// Returns whether the thread is more urgent than its class because another thread
    /// waits for it.
    pub(crate) fn is_boosted(&self) -> bool {
        self.inherited.load(Ordering::Relaxed) < self.own.load(Ordering::Relaxed)
    }

    fn update(&self) {
        let own = self.own.load(Ordering::Relaxed);
        let lent = self.lent.load(Ordering::Relaxed);
        let level = own.min(lent).min(self.inherited.load(Ordering::Relaxed));
        self.level.store(level, Ordering::Relaxed); // (most-urgent-of-all)
    }

    /// Returns the level at which the thread queues.
    #[inline]
    pub(crate) fn level(&self) -> usize {
        usize::from(self.level.load(Ordering::Relaxed))
    }

    /// Returns whether the thread takes turns with others of its level. A thread that
    /// runs at a lent or inherited level doesn't: what it does is waited for.
    #[inline]
    pub(crate) fn takes_turns(&self) -> bool {
        let level = self.level.load(Ordering::Relaxed);
        usize::from(level) == NORMAL_LEVEL
            || (self.round_robin.load(Ordering::Relaxed)
                && level == self.own.load(Ordering::Relaxed))
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
        let urgency = Urgency::new(Class::round_robin(Priority::MIN));
        urgency.lend(true);
        assert_eq!(urgency.level(), Class::KERNEL.level());
        assert_eq!(urgency.class(), Class::round_robin(Priority::MIN));
        assert!(!urgency.takes_turns());
        urgency.set_class(Class::Normal);
        assert_eq!(urgency.level(), Class::KERNEL.level());
        assert!(!urgency.is_ordinary());
        urgency.set_class(Class::Stop);
        assert_eq!(urgency.level(), Class::Stop.level());
        urgency.set_class(Class::Normal);
        urgency.lend(false);
        assert_eq!(urgency.level(), Class::Normal.level());
        assert!(urgency.takes_turns());
    }

    #[test]
    fn what_is_inherited_outlives_a_change_of_class() {
        let urgency = Urgency::new(Class::round_robin(Priority::MAX));
        let low = Class::fifo(Priority::MIN).level();
        assert!(!urgency.would_change(low));
        urgency.inherit(low);
        assert!(!urgency.is_boosted() && urgency.takes_turns());
        urgency.set_class(Class::Normal);
        assert!(urgency.is_boosted() && !urgency.takes_turns() && !urgency.is_ordinary());
        assert_eq!((urgency.level(), urgency.inherited()), (low, low));
        assert!(urgency.would_change(LEVELS));
        urgency.inherit(LEVELS);
        assert_eq!(urgency.level(), Class::Normal.level());
    }
}
