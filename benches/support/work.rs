//! What the threads of a load do: they compute, and they pass messages.

use alloc::collections::VecDeque;
use core::arch::asm;

use stillpoint::api::args::var;
use stillpoint::api::sync::{Condvar, Mutex};

/// Computes for `turns` turns of two instructions. A program of another system that contains
/// the same two instructions has exactly the same work.
pub(crate) fn compute(turns: u64) {
    if turns == 0 {
        return;
    }
    // SAFETY: the instructions change a register that the compiler has given away, and the
    // flags, which it takes for changed.
    unsafe {
        asm!(
            "2: subs {turns}, {turns}, #1",
            "b.ne 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack)
        );
    }
}

/// Returns the number that the boot argument `name` has, or `default`.
///
/// # Panics
/// If the argument is no number.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// A channel of words, without a limit.
pub(crate) struct Channel {
    words: Mutex<VecDeque<u64>>,
    filled: Condvar,
}

impl Channel {
    /// Returns an empty channel.
    pub(crate) fn new() -> Channel {
        Channel {
            words: Mutex::new(VecDeque::with_capacity(16)),
            filled: Condvar::new(),
        }
    }

    /// Sends `word`.
    pub(crate) fn send(&self, word: u64) {
        self.words.lock().push_back(word);
        self.filled.notify_one();
    }

    /// Waits for a word, and returns it.
    pub(crate) fn receive(&self) -> u64 {
        let mut words = self
            .filled
            .wait_while(self.words.lock(), |words| words.is_empty());
        words.pop_front().expect("it is not empty")
    }
}
