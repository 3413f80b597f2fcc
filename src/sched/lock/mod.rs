//! Locks whose waiters sleep. They need the scheduler, so they are here and not in
//! [`crate::sync`]. None may be taken with preemption off or in a still point.
//!
//! # Panics
//! A function that may wait panics in those contexts and in an interrupt handler,
//! whether it would have to wait or not.

#![forbid(unsafe_code)]

mod add_remove_lock;
mod completion;
mod condvar;
mod cpus_lock;
mod held_cpus_lock;
mod held_rw_locks;
mod inherit;
mod mutex;
mod once;
mod reader_counts;
mod reader_loans;
mod rw_lock;
mod semaphore;
mod spin_first;
mod turns;
mod wait_queue;
mod waiters;

pub(crate) use add_remove_lock::HeldAddRemoveLock;
pub use completion::Completion;
pub use condvar::Condvar;
pub use cpus_lock::CpusReadGuard;
pub use held_cpus_lock::WouldDeadlock;
pub(crate) use held_rw_locks::HeldRwLocks;
pub use mutex::{Mutex, MutexGuard};
pub use once::Once;
pub use rw_lock::{ReadGuard, RwLock, WriteGuard};
pub use semaphore::Semaphore;
pub use wait_queue::WaitQueue;

pub use crate::sync::lockdep::Nesting;

internal!(add_remove_lock::{AddRemoveGuard, AddRemoveLock});
internal!(cpus_lock::{CpusLock, CpusWriteGuard});
internal!(held_cpus_lock::HeldCpusLock);
internal!(inherit::{Heir, Lenders, Place});
internal!(reader_counts::ReaderCounts);
internal!(turns::{Turn, Turns});
