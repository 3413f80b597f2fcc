//! How long a console waits for room in its transmitter.

use core::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};

/// How long [`Console::put`](crate::platform::Console::put) waits for room; at 9600
/// baud a byte takes 1 ms.
pub const ROOM_LIMIT: Duration = Duration::from_millis(10);

/// Remembers whether the last wait for room failed. If so no caller waits again until
/// there has been room, so that a stuck console costs 10 ms once and not for each byte.
#[derive(Debug)]
pub struct Patience {
    /// Whether there was no room for a whole [`ROOM_LIMIT`], and none since. It is a hint
    /// from one holder of the console lock to the next. Relaxed: nothing pairs with it.
    stuck: AtomicBool,
}

impl Patience {
    /// Returns a [`Patience`] for which no wait has failed yet.
    #[allow(
        clippy::new_without_default,
        reason = "a console is never made by default"
    )]
    pub fn new() -> Patience {
        Patience {
            stuck: AtomicBool::new(false),
        }
    }

    /// Calls `wait` with the time that it may wait for room, and returns its answer,
    /// whether there is room.
    pub fn wait(&self, wait: impl FnOnce(Duration) -> bool) -> bool {
        let stuck = self.stuck.load(Ordering::Relaxed);
        let room = wait(if stuck { Duration::ZERO } else { ROOM_LIMIT });
        if room == stuck {
            self.stuck.store(!room, Ordering::Relaxed);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_wait_the_next_one_is_short() {
        let patience = Patience::new();
        let ask = |room| {
            let mut limit = None;
            let answer = patience.wait(|given| {
                limit = Some(given);
                room
            });
            assert_eq!(answer, room);
            limit.unwrap()
        };
        assert_eq!(ask(true), ROOM_LIMIT);
        assert_eq!(ask(false), ROOM_LIMIT);
        assert_eq!(ask(false), Duration::ZERO);
        assert_eq!(ask(true), Duration::ZERO, "there is room again");
        assert_eq!(ask(true), ROOM_LIMIT);
    }
}
