//! How long a console waits for room, and when it doesn't.

use core::time::Duration;

use crate::sync::atomic::{AtomicBool, Ordering};

/// How long [`Console::put`](crate::platform::Console::put) waits for room; at 9600
/// baud a byte takes 1 ms.
pub const ROOM_LIMIT: Duration = Duration::from_millis(10);

/// Remembers whether the last wait was in vain: no caller waits again until there has
/// been room, so that a console which is stuck costs 10 ms once.
#[derive(Debug)]
pub struct Patience {
    /// There was no room for a whole [`ROOM_LIMIT`], and none since. A hint of the
    /// console lock's holder to the next, Relaxed: nothing pairs with it.
    stuck: AtomicBool,
}

impl Patience {
    /// Makes one for which no wait has failed yet.
    #[allow(
        clippy::new_without_default,
        reason = "a console is never made by default"
    )]
    pub fn new() -> Patience {
        Patience {
            stuck: AtomicBool::new(false),
        }
    }

    /// Returns whether there is room, asked by `wait` with the time that it may take.
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
    fn nobody_waits_twice_in_vain() {
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
