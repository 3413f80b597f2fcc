//! The handlers of a line, which the line's word guards.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::IrqHost;
use super::thread::IrqThread;
use super::word::{Begin, End, LineWord};
use crate::sync::{UnsafeCell, const_unless_loom};

/// What a handler has done with an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqReturn {
    /// Its device hasn't raised it.
    None,
    /// It has served its device.
    Handled,
    /// The rest is for the thread of its user.
    WakeThread,
}

/// A function that serves a device.
pub type HandlerFn = Box<dyn FnMut() -> IrqReturn + Send>;

/// A handler, and which of the users of its line it belongs to.
pub(super) struct Handler<P: IrqHost> {
    pub(super) user: u64,
    pub(super) handle_fn: HandlerFn,
    pub(super) thread: Option<Arc<IrqThread<P>>>,
}

/// The handlers of one line.
pub(super) struct Handlers<P: IrqHost> {
    pub(super) word: LineWord,
    list: UnsafeCell<Vec<Handler<P>>>,
}

// SAFETY: the handlers are `Send`. `run` is in the list while the word says that it runs, and
// `change` while it is shut and nothing runs; the word makes the one end before the other
// begins (one-runs, changed-at-rest).
unsafe impl<P: IrqHost> Sync for Handlers<P> {}

impl<P: IrqHost> Handlers<P> {
    const_unless_loom! {
        /// Returns an empty list, which is shut.
        pub(super) const fn new() -> Self {
            Handlers {
                word: LineWord::new(),
                list: UnsafeCell::new(Vec::new()),
            }
        }
    }

    /// Runs the handlers, if they may run and no other CPU runs them; once more if the interrupt
    /// has come again meanwhile. Calls `count_fn` before each run, `wake_fn` with the user's thread
    /// for each handler that says so, and `ran_fn` after each run: with [`IrqReturn::None`] if none of the handlers has had a
    /// reason to run. Returns what the word has said.
    ///
    /// # Context
    /// The handler of the interrupt, IRQs masked.
    #[inline]
    pub(super) fn run(
        &self,
        count_fn: impl Fn(),
        mut wake_fn: impl FnMut(Option<&Arc<IrqThread<P>>>),
        mut ran_fn: impl FnMut(IrqReturn),
    ) -> Begin {
        let begin = self.word.begin();
        if begin != Begin::Run {
            return begin;
        }
        loop {
            count_fn();
            let mut result = IrqReturn::None;
            // SAFETY: the word says that this CPU runs the handlers, so no other CPU does, and
            // none changes them (one-runs, changed-at-rest).
            let list = unsafe { &mut *self.list.get() };
            for handler in list {
                match (handler.handle_fn)() {
                    IrqReturn::None => continue,
                    IrqReturn::Handled => {}
                    IrqReturn::WakeThread => wake_fn(handler.thread.as_ref()),
                }
                result = IrqReturn::Handled;
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
    pub(super) unsafe fn change<R>(&self, change_fn: impl FnOnce(&mut Vec<Handler<P>>) -> R) -> R {
        // SAFETY: nothing runs and nothing may begin to, and the Acquire of `is_running` has
        // ordered the last run before this. The caller promises that it is the only change.
        change_fn(unsafe { &mut *self.list.get() })
    }
}

impl<P: IrqHost> fmt::Debug for Handlers<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers")
            .field("word", &self.word)
            .finish_non_exhaustive()
    }
}
