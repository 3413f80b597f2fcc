//! Locks that sleep, spin locks, and the two guards that keep a thread where it is.
//!
//! # Panics
//! What may wait panics with preemption off, in a still point and in an interrupt
//! handler, whether it would have to wait or not. A debug build has a validator: an order
//! of locks that could deadlock ends in a panic that shows both sides.

use crate::kernel::Hw;
use crate::sched::lock;
use crate::sync as spin;

pub use crate::sync::CachePadded;
pub use crate::sync::lockdep::Nesting;

/// A value that one thread at a time may touch; the others sleep.
pub type Mutex<T> = lock::Mutex<T, Hw>;

/// A [`Mutex`] is held while this exists.
pub type MutexGuard<'a, T> = lock::MutexGuard<'a, T, Hw>;

/// A value that many threads may read, or one may change; the others sleep.
pub type RwLock<T> = lock::RwLock<T, Hw>;

/// An [`RwLock`] is held for reading while this exists.
pub type RwLockReadGuard<'a, T> = lock::ReadGuard<'a, T, Hw>;

/// An [`RwLock`] is held for writing while this exists.
pub type RwLockWriteGuard<'a, T> = lock::WriteGuard<'a, T, Hw>;

/// Where threads wait, with a [`Mutex`] open, until its value has changed.
pub type Condvar = lock::Condvar<Hw>;

/// An event that threads wait for.
pub type Completion = lock::Completion<Hw>;

/// A number of permits; a thread that finds none sleeps until one is returned.
pub type Semaphore = lock::Semaphore<Hw>;

/// A value that the first caller makes, once; others that come meanwhile sleep.
pub type Once<T> = lock::Once<T, Hw>;

/// Where threads wait until a condition holds.
pub type WaitQueue = lock::WaitQueue<Hw>;

/// A value that one CPU at a time may touch; the others spin. For a few instructions, and
/// for what interrupt handlers share with threads.
pub type SpinLock<T> = spin::SpinLock<T, Hw>;

/// A [`SpinLock`] is held while this exists.
pub type SpinLockGuard<'a, T> = spin::SpinLockGuard<'a, T, Hw>;

/// IRQs are masked on this CPU while this exists.
pub type IrqGuard = spin::IrqGuard<Hw>;

/// The running thread isn't preempted while this exists.
pub type PreemptGuard = spin::PreemptGuard<Hw>;
