//! A value that is made once, by the thread that needs it first; the others sleep meanwhile.

#![forbid(unsafe_code)]

use crate::sched::SchedHost;
use crate::sched::lock::Mutex;
use crate::sync::{const_unless_loom, might_sleep};

/// A value that is made at its first use. What makes it may sleep.
pub struct Once<T, P: SchedHost> {
    value: crate::sync::Once<T>,
    making: Mutex<(), P>,
}

impl<T, P: SchedHost> Once<T, P> {
    const_unless_loom! {
        /// Not made yet.
        #[cfg_attr(debug_assertions, track_caller)]
        pub const fn new() -> Self {
            Once {
                value: crate::sync::Once::new(),
                making: Mutex::new(()),
            }
        }
    }

    /// The value, if it has been made. Any context.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, made by `make_fn` if it is the first call.
    ///
    /// # Context
    /// Thread, preemption on.
    ///
    /// # Panics
    /// If `make_fn` needs the value itself. Where no thread may sleep, made or not.
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn call_once(&self, make_fn: impl FnOnce() -> T) -> &T {
        might_sleep::<P>();
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
