//! A value that is made once, by the thread that needs it first; the others sleep meanwhile.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::Mutex;
use crate::sync::{const_unless_loom, might_sleep_in};

/// A value that is made at its first use. The function that makes it may sleep.
pub struct Once<T, P: SchedHost> {
    value: crate::sync::Once<T>,
    making: Mutex<(), P>,
}

impl<T, P: SchedHost> Once<T, P> {
    const_unless_loom! {
        /// Returns a `Once` whose value isn't made yet.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            Once {
                value: crate::sync::Once::new(),
                making: Mutex::new(()),
            }
        }
    }

    /// Returns the value, if it has been made.
    ///
    /// # Context
    /// Any.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Returns the value. The first call makes it by `make_fn`.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If `make_fn` needs the value itself. In a context where no thread may sleep,
    /// whether the value is made or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn call_once(&self, make_fn: impl FnOnce() -> T) -> &T {
        might_sleep_in::<P>("Once::call_once");
        if let Some(value) = self.value.get() {
            return value;
        }
        let _one = self.making.lock();
        if let Some(value) = self.value.get() {
            return value;
        }
        let value = make_fn();
        self.value.call_once(|| value)
    }
}

impl<T, P: SchedHost> Default for Once<T, P> {
    #[cfg_attr(debug_assertions, track_caller)]
    fn default() -> Self {
        Self::new()
    }
}
