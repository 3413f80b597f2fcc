//! The handlers of a line, which the line's word guards.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::word::{Begin, End, LineWord};
use crate::sync::{UnsafeCell, const_unless_loom};

/// What a handler has done with an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqReturn {
    /// Its device hasn't raised it.
    None,
    /// It has served its device.
    Handled,
}

/// A function that serves a device.
pub type HandlerFn = Box<dyn FnMut() -> IrqReturn + Send>;

/// A handler, and which of the users of its line it belongs to.
pub(super) struct Handler {
    pub(super) user: u64,
    pub(super) handle_fn: HandlerFn,
}

/// The handlers of one line.
pub(super) struct Handlers {
    pub(super) word: LineWord,
    list: UnsafeCell<Vec<Handler>>,
}

// SAFETY: the handlers are `Send`. `run` is in the list while the word says that it runs, and
// `change` while it is shut and nothing runs; the word makes the one end before the other
// begins (one-runs, changed-at-rest).
unsafe impl Sync for Handlers {}

impl Handlers {
    const_unless_loom! {
        /// Returns an empty list, which is shut.
        pub(super) const fn new() -> Handlers {
            Handlers {
                word: LineWord::new(),
                list: UnsafeCell::new(Vec::new()),
            }
        }
    }

    /// Runs the handlers, if they may run and no other CPU runs them; once more if the interrupt
    /// has come again meanwhile. Calls `ran_fn` after each run: with [`IrqReturn::Handled`] if one
    /// of the handlers says so. Returns what the word has said.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub(super) fn run(&self, mut ran_fn: impl FnMut(IrqReturn)) -> Begin {
        let begin = self.word.begin();
        if begin != Begin::Run {
            return begin;
        }
        loop {
            let mut result = IrqReturn::None;
            // SAFETY: the word says that this CPU runs the handlers, so no other CPU does, and
            // none changes them (one-runs, changed-at-rest).
            let list = unsafe { &mut *self.list.get() };
            for handler in list {
                if (handler.handle_fn)() == IrqReturn::Handled {
                    result = IrqReturn::Handled;
                }
            }
            ran_fn(result);
            if self.word.end() == End::Over {
                return begin;
            }
        }
    }

    /// Calls `change_fn` with the list.
    ///
    /// # Safety
    /// The word is shut, [`LineWord::is_running`] has returned false since, and the word is opened
    /// by nothing before this returns. No other call of this runs.
    pub(super) unsafe fn change<R>(&self, change_fn: impl FnOnce(&mut Vec<Handler>) -> R) -> R {
        // SAFETY: nothing runs and nothing may begin to, and the Acquire of `is_running` has
        // ordered the last run before this. The caller promises that it is the only change.
        change_fn(unsafe { &mut *self.list.get() })
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("word", &self.word)
            .finish_non_exhaustive()
    }
}
