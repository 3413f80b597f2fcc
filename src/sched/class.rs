//! Scheduling classes: which thread goes first, and which threads take turns.
//!
//! ```text
//!   level   0   stop        a stopper: if it is runnable, it runs
//!           1   realtime    the kernel's own, above all priorities
//!     2 ..100   realtime    priority 99 down to 1; FIFO, or round robin by slice
//!         101   normal      by virtual runtime, a slice at a time (see `fair`)
//!               idle        when nothing else is runnable; never queued
//! ```
//! A lower level always goes before a higher one. Within a realtime level the order is
//! first come, first served. A thread that takes turns goes behind the others of its
//! level when its slice is over; an ordinary thread goes where its virtual runtime says.
//! A thread that was preempted by a lower level stays in front, with the rest of its
//! slice.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::config::{NORMAL_SLICE, ROUND_ROBIN_SLICE};

/// A realtime priority, 1 to 99; more is more urgent (as in Linux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(u8);

impl Priority {
    /// The least urgent priority.
    pub const MIN: Priority = Priority(1);
    /// The most urgent priority that a program may use.
    pub const MAX: Priority = Priority(99);
    /// The priority of the kernel's own threads, such as `cpuhp/N`.
    const KERNEL: Priority = Priority(100);

    /// Returns priority `value`, or `None` if it isn't 1 to 99.
    pub const fn new(value: u8) -> Option<Priority> {
        if Self::MIN.0 <= value && value <= Self::MAX.0 {
            Some(Priority(value))
        } else {
            None
        }
    }

    /// Returns the priority of the threads that queue at `level`, a realtime one.
    pub(crate) const fn of_level(level: u8) -> Priority {
        assert!(0 < level && level < NORMAL, "BUG: no realtime level");
        Priority(NORMAL - level)
    }

    /// Returns the priority's number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// How realtime threads of one priority share a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A thread keeps the CPU until it waits, yields or is preempted.
    Fifo,
    /// Threads take turns, a time slice each.
    RoundRobin,
}

/// The scheduling class of a thread.
///
/// ```no_run
#[doc = include_str!("../../examples/api/classes.rs")]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A stopper: if it is runnable, it runs.
    Stop,
    /// Fixed priority above all ordinary work.
    Realtime(Priority, Policy),
    /// Ordinary threads, which take turns.
    Normal,
    /// Runs when nothing else does; one for each CPU, never queued.
    Idle,
}

/// Number of levels at which threads queue.
pub(crate) const LEVELS: usize = 102;

/// The level of ordinary threads, the last at which threads queue.
pub(crate) const NORMAL_LEVEL: usize = NORMAL as usize;

/// The level of the kernel's own threads.
pub(crate) const KERNEL_LEVEL: usize = Class::KERNEL.level();

/// [`NORMAL_LEVEL`] as a byte.
const NORMAL: u8 = 101;

const _: () = assert!(NORMAL_LEVEL == LEVELS - 1);

impl Class {
    /// The class of the kernel's own threads, which no thread of a program may delay.
    pub(crate) const KERNEL: Class = Class::Realtime(Priority::KERNEL, Policy::Fifo);

    /// Returns the realtime class with `priority` that is FIFO.
    pub const fn fifo(priority: Priority) -> Class {
        Class::Realtime(priority, Policy::Fifo)
    }

    /// Returns the realtime class with `priority` that is round robin.
    pub const fn round_robin(priority: Priority) -> Class {
        Class::Realtime(priority, Policy::RoundRobin)
    }

    /// Returns the class's level: a lower level goes first. The level of `Idle` is
    /// behind all.
    pub const fn level(self) -> usize {
        match self {
            Class::Stop => 0,
            Class::Realtime(priority, _) => NORMAL_LEVEL - priority.0 as usize,
            Class::Normal => NORMAL_LEVEL,
            Class::Idle => LEVELS,
        }
    }

    /// Returns whether only the kernel's own threads have this class.
    #[allow(dead_code, reason = "called by `api`, which the host hasn't")]
    pub(crate) const fn is_kernels(self) -> bool {
        let level = self.level();
        level <= KERNEL_LEVEL || level > NORMAL_LEVEL
    }

    /// Returns how long a thread of this class may keep the CPU while another thread of
    /// its level wants it, or `None` if there is no limit.
    pub const fn slice(self) -> Option<Duration> {
        match self {
            Class::Normal => Some(NORMAL_SLICE),
            Class::Realtime(_, Policy::RoundRobin) => Some(ROUND_ROBIN_SLICE),
            Class::Stop | Class::Realtime(_, Policy::Fifo) | Class::Idle => None,
        }
    }
}

/// Returns the class of the kernel's own threads. For tests: programs have no name for it.
#[cfg(feature = "internals")]
pub const fn kernel_class() -> Class {
    Class::KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_the_order_of_urgency() {
        let realtime = |priority| Class::fifo(Priority::new(priority).expect("1 to 99"));
        let order = [
            Class::Stop,
            Class::KERNEL,
            realtime(99),
            realtime(50),
            realtime(1),
            Class::Normal,
            Class::Idle,
        ];
        assert!(order.is_sorted_by(|a, b| a.level() < b.level()));
        assert!(order.map(Class::is_kernels) == [true, true, false, false, false, false, true]);
        assert_eq!(Class::Idle.level(), LEVELS);
        assert_eq!((Priority::new(0), Priority::new(100)), (None, None));
    }
}
