//! The function of a stop, which one CPU calls once, and then its value.

#![forbid(unsafe_code)]

use crate::sync::{LocalCpu, SpinLock};

/// A function, until it is called, and then its value. In the frame of a stop's caller: a stopper
/// calls the function, and after that the caller takes the value.
pub(super) struct CallCell<F, R, P: LocalCpu> {
    /// Closed while the function runs: no other CPU waits for it here.
    call: SpinLock<Call<F, R>, P>,
}

enum Call<F, R> {
    Waits(F),
    Runs,
    Done(R),
    Taken,
}

impl<R, F: FnOnce() -> R, P: LocalCpu> CallCell<F, R, P> {
    /// Returns a cell whose function has not been called.
    pub(super) fn new(call_fn: F) -> Self {
        CallCell {
            call: SpinLock::new(Call::Waits(call_fn)),
        }
    }

    /// Calls the function.
    ///
    /// # Context
    /// As the function asks for.
    ///
    /// # Panics
    /// If it was called before.
    pub(super) fn run(&self) {
        let Call::Waits(call_fn) = self.replace(Call::Runs) else {
            panic!("BUG: the function of a stop is called twice");
        };
        let value = call_fn();
        self.replace(Call::Done(value));
    }

    /// Returns the value.
    ///
    /// # Panics
    /// If the function has not returned, or the value was taken before.
    pub(super) fn take(&self) -> R {
        let Call::Done(value) = self.replace(Call::Taken) else {
            panic!("BUG: a stop is over and its function has not run");
        };
        value
    }

    fn replace(&self, call: Call<F, R>) -> Call<F, R> {
        core::mem::replace(&mut self.call.lock(), call)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::nowhere::Nowhere;

    #[test]
    fn the_function_runs_once_and_its_value_is_taken() {
        let text = alloc::string::String::from("moved in, and out");
        let cell = CallCell::<_, _, Nowhere>::new(|| text);
        cell.run();
        assert_eq!(cell.take(), "moved in, and out");
    }

    #[test]
    #[should_panic(expected = "BUG: a stop is over")]
    fn a_value_is_taken_only_if_the_function_has_run() {
        CallCell::<_, _, Nowhere>::new(|| ()).take();
    }

    #[test]
    #[should_panic(expected = "BUG: the function of a stop is called twice")]
    fn the_function_runs_no_second_time() {
        let cell = CallCell::<_, _, Nowhere>::new(|| ());
        cell.run();
        cell.run();
    }
}
