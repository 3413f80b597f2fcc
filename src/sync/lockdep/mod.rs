//! The lock validator of debug builds: finds an order of locks that can deadlock the
//! first time that it is *seen*, not when it hangs.
//!
//! ```text
//!   SpinLock, Mutex, LockMap ── LockKey ──► LocalCpu::lock_acquire ──► Lockdep
//!     (a class: where it was made)                │                  graph of orders,
//!                                                 └─ HeldLocks       how each is used
//!                                                    of the thread
//! ```
//!
//! Locks that are made at one place in the source, around values of one type, are one
//! *class*, however many there are. `.map(Mutex::new)` makes them at a place in `core`,
//! whichever program says so; there the type alone tells them apart, and
//! `.map(|value| Mutex::new(value))` has a place of its own.
//!
//! What is found is reported with both sides and the threads that they were seen in:
//!
//! 1. an order that closes a circle: B is taken with A held, and somewhere, some time,
//!    A was taken with B held, or by way of others;
//! 2. a class that is taken again by a thread that holds one of it, unless the program
//!    has declared the order in which it takes several: [`Nesting`];
//! 3. a spin lock that is taken in an interrupt handler, and elsewhere with IRQs on;
//!    also by way of others: what a handler takes leads to what is taken with IRQs on;
//! 4. a wait with preemption or IRQs off, or in a handler;
//! 5. a spin lock that is held where a CPU stops the machine before it is online.
//!
//! A *map* stands for work that threads wait for: "the work of that thread". The thread that
//! works holds it; a thread that waits until the work is done takes it for a moment. So
//! to wait for work that takes a lock which the waiter holds is a circle like any other.
//! A circle of maps only is not reported: threads of two kinds that start and join each other
//! by turns are a tree, because a thread is joined by another than it joins.
//!
//! A lock of another kind has a [`LockKey`](crate::sync::LockKey), calls `acquire`
//! before it waits, keeps what that returns, and calls `release` on it before it opens.
//! Readers do so too: one that is inside may not read again, because a writer may have
//! come in between that both would wait for.
//!
//! Where a table is full the validator says so once, as soon as a thread may wait, and
//! checks no orders any more: [`Full`]. The program goes on.
//!
//! In a release build, and in a model, a `LockKey` is nothing and does nothing.
//!
//! # Invariants
//! - **own-lock-stack**: each thread has a stack of the locks that it holds. A handler
//!   puts its own on top, and takes them off before it returns; between the two no
//!   order is noted.
//! - **order-is-permanent**: a bit of the graph is set under the graph's lock, and never
//!   cleared. A thread that finds it set need not check again: the thread that set it
//!   has checked, or has panicked.
//! - **silent-after-report**: after a report nothing is checked any more: a panic takes
//!   locks as it can.
//!
//! # Not seen
//! Locks that are made by
//! [`SpinLock::new_untracked`](crate::sync::SpinLock::new_untracked):
//! - Run queues. One thread takes the lock, and the next one opens it, after the context
//!   switch. A CPU that holds one never waits for a second, and takes no other lock under
//!   it but that of its timers.
//! - The timers of a CPU. No lock is taken under them, not even another one of these.
//! - The graph's own lock. The validator takes it itself.
//!
//! The registers of the GIC, behind plain locks of `spin`. Two threads that wait for each
//! other's end and hold no lock. Waits for a program's own
//! [`Completion`](crate::sched::lock::Completion), whose docs say why.

#![forbid(unsafe_code)]
// A report is made once, where there may be no heap to put it on.
#![allow(clippy::result_large_err, clippy::large_enum_variant)]

#[cfg(not(loom))]
mod graph;
#[cfg(not(loom))]
mod held;
#[cfg(not(loom))]
mod report;
#[cfg(not(loom))]
mod search;

#[cfg(not(loom))]
pub use graph::{Full, LinkRecord, Lockdep, Taking};
#[cfg(not(loom))]
pub use held::{HeldLock, HeldLocks};
#[cfg(not(loom))]
pub use report::{Name, Report, SleepReport};

use core::fmt;
use core::panic::Location;

/// A place in the source.
pub type Place = &'static Location<'static>;

/// What kind of lock a class is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A spin lock.
    Spin,
    /// A lock whose waiters sleep.
    Sleep,
    /// Sleeps too, and lets several readers in; to read twice is as wrong as to lock twice.
    Rw,
    /// Work that threads wait for.
    Map,
}

/// How a thread takes a lock while it holds another one of the same class. To the
/// validator it is a promise, which it checks; in a release build it is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nesting {
    /// The locks of the class stand on levels, as the directories of a tree do, and are
    /// taken from one level to another. Locks that are taken without a `Nesting` stand
    /// on level 0. Each level counts as a class of its own: two locks of one level, or
    /// levels in both orders, are reported.
    Level(u8),
    /// The locks of the class are taken in the order of their addresses, which in a
    /// vector is that of their indices. A lock below one that is held is reported.
    Ascending,
}

/// How a lock comes to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The thread waits for it.
    Lock,
    /// The thread has tried, and got it.
    Try,
    /// The thread waits for it, and may hold others of its class.
    Nested(Nesting),
}

/// A class: what, of which type, where it is made, and on which level it is taken.
#[derive(Clone, Copy, Debug)]
pub struct LockClass {
    /// The kind of lock.
    pub kind: LockKind,
    /// Where its locks are made.
    pub site: Place,
    /// The name of the type that it protects. A function, because a constant can't ask
    /// for the name.
    pub type_name_fn: fn() -> &'static str,
    /// The level: see [`Nesting::Level`].
    pub level: u8,
}

impl PartialEq for LockClass {
    /// By what the places say: a place has no one address.
    fn eq(&self, other: &LockClass) -> bool {
        self.kind == other.kind
            && self.level == other.level
            && self.site.line() == other.site.line()
            && self.site.column() == other.site.column()
            && self.site.file() == other.site.file()
            && (self.type_name_fn)() == (other.type_name_fn)()
    }
}

impl fmt::Display for LockClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            LockKind::Spin => "spin lock",
            LockKind::Sleep => "mutex",
            LockKind::Rw => "rw lock",
            LockKind::Map => "work",
        };
        write!(f, "{kind} of {} ({})", (self.type_name_fn)(), self.site)?;
        match self.level {
            0 => Ok(()),
            level => write!(f, " on level {level}"),
        }
    }
}

/// Where it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Where {
    /// In an interrupt handler.
    pub in_irq: bool,
    /// With IRQs on.
    pub irqs_on: bool,
}

#[cfg(test)]
mod tests;
