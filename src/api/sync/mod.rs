//! Locks that sleep, spin locks, and the two guards that keep a thread where it is.
//!
//! # Panics
//! A function that may wait panics with preemption off, in a still point and in an interrupt
//! handler, even if it would not have to wait. A debug build has a lock validator: it panics
//! where two orders of taking locks could deadlock, and the message shows both.

mod locks;
mod pins;
mod waits;

pub use crate::sync::CachePadded;
pub use crate::sync::lockdep::Nesting;
pub use locks::{Mutex, MutexGuard, Once, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use pins::{IrqGuard, KeepsCpu, PreemptGuard, SpinLock, SpinLockGuard};
pub use waits::{Completion, Condvar, Semaphore, WaitQueue};

/// Lets a guard read the value of its lock.
macro_rules! reads {
    ($guard:ident) => {
        impl<T> core::ops::Deref for $guard<'_, T> {
            type Target = T;

            #[inline]
            fn deref(&self) -> &T {
                &self.0
            }
        }
    };
}

/// Lets a guard read and change the value of its lock.
macro_rules! changes {
    ($guard:ident) => {
        $crate::api::sync::reads!($guard);

        impl<T> core::ops::DerefMut for $guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }
    };
}

use {changes, reads};
