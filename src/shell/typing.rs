//! What is typed while `top` or `watch` shows a screen.
//!
//! They wait for a key, and for a whole one: the rest of an arrow key isn't typed at the prompt
//! behind them. They take what comes before that key out of the input, and say how much that was
//! (`no-input-lost` of the shell). What the terminal itself answers is no key.

use core::time::Duration;

use super::keys::{Key, Keys};
use super::machine::{Machine, Typed};

/// The keys that are typed, from the beginning of a command on.
pub(super) struct Typing {
    keys: Keys,
    /// How many bytes of a key have come that isn't complete.
    begun: usize,
    /// How many bytes have come in keys that mean nothing here.
    dropped: usize,
    /// Whether the console has lost bytes.
    lost: bool,
}

impl Typing {
    pub(super) const fn new() -> Typing {
        Typing {
            keys: Keys::new(),
            begun: 0,
            dropped: 0,
            lost: false,
        }
    }

    /// Waits for `within` at most. Returns the next key, except one that is an answer of the
    /// terminal; `None` if none has come. A key other than Ctrl-C and `q` counts as dropped.
    pub(super) fn key<M: Machine>(&mut self, machine: &M, within: Duration) -> Option<Key> {
        let until = machine.now_ns().saturating_add(nanos(within));
        loop {
            let left = until.saturating_sub(machine.now_ns());
            let byte = match machine.typed(Duration::from_nanos(left)) {
                Typed::Byte(byte) => byte,
                Typed::Lost => {
                    self.keys = Keys::new();
                    self.lost = true;
                    continue;
                }
                Typed::Nothing => return None,
            };
            self.begun += 1;
            // If there are two the first is damaged.
            let Some(key) = self.keys.feed(byte).last() else {
                continue;
            };
            let bytes = core::mem::take(&mut self.begun);
            match key {
                Key::Position(_) => continue,
                // What stood before it was the beginning of another key.
                Key::Interrupt | Key::Char('q') => self.dropped += bytes - 1,
                _ => self.dropped += bytes,
            }
            return Some(key);
        }
    }

    /// Says what was dropped, if anything was; `name` is the command.
    pub(super) fn tell<M: Machine>(&self, machine: &M, name: &str) {
        let dropped = self.dropped + self.begun;
        if dropped > 0 {
            let bytes = match dropped {
                1 => "byte that was",
                _ => "bytes that were",
            };
            machine.write(format_args!("{name}: dropped {dropped} {bytes} typed\n"));
        }
        if self.lost {
            machine.write(format_args!(
                "{name}: the console has lost some of what was typed\n"
            ));
        }
    }
}

/// Returns `time` in nanoseconds; saturates.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
