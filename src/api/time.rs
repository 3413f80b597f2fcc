//! Time: instants of the system counter, and functions that are called at an instant.
//!
//! ```ignore
//! let began = time::now();
//! let timer = Timer::new(|| DONE.complete());
//! timer.start(began + Duration::from_millis(10));
//! DONE.wait();
//! println!("{:?}", began.elapsed());
//! ```

use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

use crate::kernel::Hw;
use crate::platform::Platform;

pub use crate::time::{Frequency, Instant};

/// A function that is called at an instant, once or periodically.
pub type Timer = crate::sched::Timer<Hw>;

/// Returns the present instant.
///
/// # Context
/// Any.
pub fn now() -> Instant {
    Hw::now()
}

/// Returns the instant that is `after` from now, rounded up to a tick. `Timer::start` and the
/// locks' `wait_until` take such an instant.
///
/// # Context
/// Any.
pub fn deadline(after: Duration) -> Instant {
    Hw::deadline(after)
}

/// Returns how many ticks of [`Instant`] are in a second.
///
/// # Context
/// Any.
pub fn frequency() -> Frequency {
    Hw::frequency()
}

// `Instant` is part of the pure kernel. The methods that need the frequency of this machine's
// counter are here.
impl Instant {
    /// Returns the time from `earlier` to this instant, rounded down to nanoseconds; zero if
    /// `earlier` is the later one.
    ///
    /// # Context
    /// Any.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(frequency().ticks_to_ns(self.ticks_since(earlier)))
    }

    /// Returns the time that has passed since this instant; zero if it is in the future.
    ///
    /// # Context
    /// Any.
    pub fn elapsed(self) -> Duration {
        now().duration_since(self)
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`Instant::duration_since`].
    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Returns the instant that is `time` later, rounded up to a tick, or
    /// [`Instant::FOREVER`] if there is none.
    fn add(self, time: Duration) -> Instant {
        self.after_ticks(frequency().duration_to_ticks(time))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        *self = *self + time;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    /// Returns the instant that is `time` earlier, rounded up to a tick, or the one at
    /// which the counter started.
    fn sub(self, time: Duration) -> Instant {
        Instant(self.0.saturating_sub(frequency().duration_to_ticks(time)))
    }
}
