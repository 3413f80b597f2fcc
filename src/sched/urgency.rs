//! How urgent a thread is: the level at which it queues, and whether it takes turns there.

#![forbid(unsafe_code)]

use crate::sched::class::{LEVELS, NORMAL_LEVEL};
use crate::sched::{Class, Policy, Priority};
use crate::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// A thread's class, and the level at which it queues.
///
/// All fields are Relaxed: they change under the lock of the run queue to which the
/// thread belongs, with the thread in no queue.
#[derive(Debug)]
pub(crate) struct Urgency {
    level: AtomicU8,
    /// Whether a realtime thread takes turns.
    round_robin: AtomicBool,
}

impl Urgency {
    pub(crate) fn new(class: Class) -> Urgency {
        let urgency = Urgency {
            level: AtomicU8::new(0),
            round_robin: AtomicBool::new(false),
        };
        urgency.set_class(class);
        urgency
    }

    /// Returns the thread's class.
    pub(crate) fn class(&self) -> Class {
        let level = self.level.load(Ordering::Relaxed);
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

    /// Returns whether the thread shares the CPU by virtual runtime: it is an
    /// ordinary one.
    #[inline]
    pub(crate) fn is_ordinary(&self) -> bool {
        self.level() == NORMAL_LEVEL
    }

    /// Sets the thread's class.
    pub(crate) fn set_class(&self, class: Class) {
        let round_robin = matches!(class, Class::Realtime(_, Policy::RoundRobin));
        self.level.store(byte(class.level()), Ordering::Relaxed);
        self.round_robin.store(round_robin, Ordering::Relaxed);
    }

    /// Returns the level at which the thread queues.
    #[inline]
    pub(crate) fn level(&self) -> usize {
        usize::from(self.level.load(Ordering::Relaxed))
    }

    /// Returns whether the thread takes turns with others of its level.
    #[inline]
    pub(crate) fn takes_turns(&self) -> bool {
        self.is_ordinary() || self.round_robin.load(Ordering::Relaxed)
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
}
