//! After what time the log says that a wait goes on: `watchdog_thresh`, as Linux calls the time
//! after which it reports a CPU that is stuck.

use core::time::Duration;

use crate::sched::PATIENCE;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The time, in nanoseconds, or 0 while it is [`PATIENCE`]. Relaxed: it orders nothing.
static THRESHOLD: AtomicU64 = AtomicU64::new(0);

/// Returns the time, if one was chosen.
#[inline]
pub(super) fn chosen() -> Option<Duration> {
    match THRESHOLD.load(Ordering::Relaxed) {
        0 => None,
        nanoseconds => Some(Duration::from_nanos(nanoseconds)),
    }
}

/// Returns after how many seconds a wait is reported; 0: never.
///
/// # Context
/// Any.
pub(crate) fn seconds() -> u8 {
    let time = chosen().unwrap_or(PATIENCE);
    if time == NEVER {
        0
    } else {
        u8::try_from(time.as_secs()).unwrap_or(u8::MAX)
    }
}

/// Has waits that begin from now on reported after so many seconds; 0: never.
///
/// # Context
/// Any.
pub(crate) fn set_seconds(seconds: u8) {
    set(match seconds {
        0 => NEVER,
        seconds => Duration::from_secs(seconds.into()),
    });
}

/// Has waits that begin from now on reported after `time`, which isn't 0.
pub(super) fn set(time: Duration) {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    THRESHOLD.store(nanoseconds, Ordering::Relaxed);
}

/// Longer than any machine runs.
const NEVER: Duration = Duration::from_nanos(u64::MAX);
