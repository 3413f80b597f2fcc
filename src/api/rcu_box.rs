//! A value that threads read without a lock while it is replaced.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;

use crate::api::rcu::{ReadGuard, call_rcu, synchronize};
use crate::kernel::entry::enter;
use crate::sync::atomic::{AtomicPtr, Ordering};

/// A value on the heap that threads read in read-side sections, without waiting, while others
/// replace it. A reader has the old value or the new one, whole, for as long as its section lasts.
///
/// ```no_run
#[doc = include_str!("../../examples/api/rcu_box.rs")]
/// ```
pub struct RcuBox<T> {
    /// From `Box::into_raw`.
    value: AtomicPtr<T>,
    /// It owns the value.
    owned: PhantomData<T>,
}

// SAFETY: threads share references to the value (`T: Sync`), and one of them may drop it, or move
// it out, that has not made it (`T: Send`).
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T: Send + Sync> RcuBox<T> {
    /// Returns a box with `value`.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(value: T) -> RcuBox<T> {
        RcuBox {
            value: AtomicPtr::new(Box::into_raw(Box::new(value))),
            owned: PhantomData,
        }
    }

    /// Returns the value as it is now. It is there until the section of `guard` ends, whatever is
    /// put in its place.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn read<'a>(&'a self, guard: &'a ReadGuard) -> &'a T {
        let _section = guard;
        // SAFETY: from `Box::into_raw`. A value that is replaced is freed, or moved, after a grace
        // period that began when it was no longer here, so not before the section ends. While the
        // reference lives, the box can't be dropped.
        // Pairs with the Release in `exchange`: the value is seen whole.
        unsafe { &*self.value.load(Ordering::Acquire) }
    }

    /// Puts `value` in the place of the value, and returns the old one after a grace period, when
    /// no reader has it.
    ///
    /// # Context
    /// As for [`synchronize`]; allocates.
    ///
    /// # Panics
    /// In a section.
    pub fn replace(&self, value: T) -> T {
        let _in_kernel = enter();
        let old = self.exchange(value);
        synchronize();
        *into_box(old)
    }

    /// Puts `value` in the place of the value. The old one is dropped after a grace period, as a
    /// callback of [`call_rcu`].
    ///
    /// # Context
    /// As for [`call_rcu`].
    pub fn replace_later(&self, value: T)
    where
        T: 'static,
    {
        let _in_kernel = enter();
        let old = self.exchange(value);
        call_rcu(move || drop(into_box(old)));
    }

    /// Puts `value` in the place of the value, and returns the old one, which readers still have.
    fn exchange(&self, value: T) -> Replaced<T> {
        let new = Box::into_raw(Box::new(value));
        // The Release pairs with the Acquire in `read` and here, that of the value taken out.
        Replaced(self.value.swap(new, Ordering::AcqRel))
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        // SAFETY: from `Box::into_raw`, and no reader has a reference: it would borrow the box.
        drop(unsafe { Box::from_raw(*self.value.get_mut()) });
    }
}

impl<T> fmt::Debug for RcuBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RcuBox").finish_non_exhaustive()
    }
}

/// A value that is in its box no longer, and that readers still have until a grace period is over.
struct Replaced<T>(*mut T);

// SAFETY: it is the value, on its way to where it is dropped.
unsafe impl<T: Send> Send for Replaced<T> {}

/// Returns the value; the caller has waited for the grace period.
fn into_box<T>(replaced: Replaced<T>) -> Box<T> {
    // SAFETY: from `Box::into_raw`, and taken out by one exchange. Both callers call this after a
    // grace period that began after the exchange.
    unsafe { Box::from_raw(replaced.0) }
}
