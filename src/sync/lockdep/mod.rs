//! The lock validator of debug builds: finds an order of locks that can deadlock the
//! first time that it is *seen*, not when it hangs.
//!
//! ```text
//!   SpinLock, Mutex, LockMap ── LockKey ──► Exec::lock_acquire ──► Lockdep
//!     (a class: where it was made)                │                  graph of orders,
//!                                                 └─ HeldLocks       how each is used
//!                                                    of the thread
//! ```
//!
//! Locks that are made at one place in the source are one *class*, however many there
//! are. What is found, and is reported with both sides and who they were:
//!
//! 1. an order that closes a circle: B is taken with A held, and somewhere, some time,
//!    A was taken with B held, or by way of others;
//! 2. a class that is taken again by who holds one of it;
//! 3. a spin lock that is taken in an interrupt handler, and elsewhere with IRQs on;
//!    also by way of others: what a handler takes leads to what is taken with IRQs on;
//! 4. a wait with preemption or IRQs off, or in a handler.
//!
//! A *map* is no lock but stands for one: "the work of that thread". Who works holds
//! it; who waits until the work is done takes it for a moment. So to wait for work that
//! takes a lock which the waiter holds is a circle like any other.
//!
//! A lock of another kind has a [`LockKey`](crate::sync::LockKey), calls `acquire`
//! before it waits, keeps what that returns, and calls `release` on it before it opens.
//! Readers do so too: one that is inside may not read again, because a writer may have
//! come in between that both would wait for.
//!
//! In a release build, and in a model, a `LockKey` is nothing and does nothing.
//!
//! # Invariants
//! - D1: each thread has a stack of what it holds. A handler puts its own on top, and
//!   takes them off before it returns; between the two no order is noted.
//! - D2: a bit of the graph is set under the graph's lock, and never cleared. Who finds
//!   it set need not check again: whoever set it did so, or has panicked.
//! - D3: after a report nothing is checked any more: a panic takes locks as it can.
//!
//! # Not seen
//! Run queues ([`SpinLock::new_untracked`](crate::sync::SpinLock::new_untracked)): they
//! nest in nothing of ours, come in CPU order where there are two, and change hands
//! across a context switch. The registers of the GIC, behind plain locks of `spin`. And
//! the graph's own lock.

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
pub use graph::{LinkRecord, Lockdep, Taking};
#[cfg(not(loom))]
pub use held::{HeldLock, HeldLocks};
#[cfg(not(loom))]
pub use report::{Name, Report, SleepReport};

use core::fmt;
use core::panic::Location;

/// Where something in the source is.
pub type Place = &'static Location<'static>;

/// What a class is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A spin lock.
    Spin,
    /// A lock whose waiters sleep.
    Sleep,
    /// Sleeps too, and lets several readers in; to read twice is as wrong as to lock twice.
    Rw,
    /// Work that is waited for.
    Map,
}

/// A class: what, and where it is made.
#[derive(Clone, Copy, Debug)]
pub struct LockClass {
    /// What.
    pub kind: LockKind,
    /// Where.
    pub site: Place,
}

impl PartialEq for LockClass {
    /// By what the places say: a place has no one address.
    fn eq(&self, other: &LockClass) -> bool {
        self.kind == other.kind
            && self.site.line() == other.site.line()
            && self.site.column() == other.site.column()
            && self.site.file() == other.site.file()
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
        write!(f, "{kind} ({})", self.site)
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
