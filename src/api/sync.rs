//! Locks that sleep, spin locks, and the two guards that keep a thread where it is.
//!
//! # Panics
//! A function that may wait panics with preemption off, in a still point and in an interrupt
//! handler, even if it would not have to wait. A debug build has a lock validator: it panics
//! where two orders of taking locks could deadlock, and the message shows both.

use crate::kernel::Hw;
use crate::sched::lock;
use crate::sync as spin;

pub use crate::sync::CachePadded;
pub use crate::sync::lockdep::Nesting;

/// A value that one thread at a time may use; other threads sleep until it is free.
pub type Mutex<T> = lock::Mutex<T, Hw>;

/// A [`Mutex`] is held while this exists.
pub type MutexGuard<'a, T> = lock::MutexGuard<'a, T, Hw>;

/// A value that many threads may read, or one may change; other threads sleep until then.
pub type RwLock<T> = lock::RwLock<T, Hw>;

/// An [`RwLock`] is held for reading while this exists.
pub type RwLockReadGuard<'a, T> = lock::ReadGuard<'a, T, Hw>;

/// An [`RwLock`] is held for writing while this exists.
pub type RwLockWriteGuard<'a, T> = lock::WriteGuard<'a, T, Hw>;

/// A place where threads wait until the value of a [`Mutex`] has changed; the mutex is
/// unlocked meanwhile.
pub type Condvar = lock::Condvar<Hw>;

/// An event that threads wait for.
pub type Completion = lock::Completion<Hw>;

/// A number of permits; a thread that finds none sleeps until one is returned.
pub type Semaphore = lock::Semaphore<Hw>;

/// A value that the first caller makes, once; other callers sleep until it is made.
pub type Once<T> = lock::Once<T, Hw>;

/// A place where threads wait until a condition holds.
pub type WaitQueue = lock::WaitQueue<Hw>;

/// A value that one CPU at a time may use; other CPUs spin until it is free. For sections of
/// a few instructions, and for data that interrupt handlers and threads share.
pub type SpinLock<T> = spin::SpinLock<T, Hw>;

/// A [`SpinLock`] is held while this exists.
pub type SpinLockGuard<'a, T> = spin::SpinLockGuard<'a, T, Hw>;

/// IRQs are masked on this CPU while this exists.
pub type IrqGuard = spin::IrqGuard<Hw>;

/// The running thread isn't preempted while this exists.
pub type PreemptGuard = spin::PreemptGuard<Hw>;
