//! Time: instants of the system counter, and functions that are called at an instant.
//!
//! ```no_run
//! # use core::time::Duration;
//! # use stillpoint::{api::{sync::Completion, time::{self, Timer}}, println};
//! # static DONE: Completion = Completion::new();
//! let began = time::now();
//! let timer = Timer::new(|| DONE.complete());
//! timer.start(began + Duration::from_millis(10));
//! DONE.wait();
//! println!("{:?}", began.elapsed());
//! ```

use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

use crate::kernel::Hw;
use crate::kernel::entry::{Entered, enter};
use crate::platform::Platform;
use crate::sched;

pub use crate::time::{Frequency, Instant};

/// A function that is called at an instant, once or periodically. Dropping the timer cancels
/// it, and drops the function with all that it owns, in the thread that drops the timer. The
/// drop waits as [`Timer::cancel`] does, and panics where that does.
///
/// ```no_run
#[doc = include_str!("../../examples/api/timers.rs")]
/// ```
pub struct Timer(Entered<sched::Timer<Hw>>);

impl Timer {
    /// Returns a timer that is not set. `call_fn` is called in an interrupt handler
    /// with IRQs masked: it may wake threads and set timers. It may not wait, and
    /// should not free much memory.
    ///
    /// # Context
    /// Any; allocates.
    pub fn new(call_fn: impl Fn() + Send + Sync + 'static) -> Timer {
        Timer(Entered::new(sched::Timer::new(call_fn)))
    }

    /// Sets the timer: its function is called once, at `at` or as soon after that as
    /// possible. This replaces an earlier setting. A timer that is set by a timer's
    /// function is called by a later interrupt, even if `at` has passed.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn start(&self, at: Instant) {
        let _in_kernel = enter();
        self.0.start(at);
    }

    /// Sets the timer: its function is called at `first`, and then once every `period`.
    /// Calls that were missed altogether are left out.
    ///
    /// # Context
    /// Any.
    ///
    /// # Panics
    /// If `period` is less than a tick of the counter.
    #[inline]
    pub fn start_periodic(&self, first: Instant, period: Duration) {
        let _in_kernel = enter();
        self.0.start_periodic(first, period);
    }

    /// Returns whether the timer is set.
    ///
    /// # Context
    /// Any.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.is_set()
    }

    /// Cancels the timer without waiting: its function may be running. Returns whether
    /// the timer was set.
    ///
    /// # Context
    /// Any, the timer's own function included.
    #[inline]
    pub fn try_cancel(&self) -> bool {
        let _in_kernel = enter();
        self.0.try_cancel()
    }

    /// Cancels the timer, and waits until its function is not running. Returns whether
    /// the timer was set.
    ///
    /// # Context
    /// Thread, preemption on. So neither the timer's own function nor another timer's
    /// may call this.
    ///
    /// # Panics
    /// In any other context, whether the function is running or not.
    #[inline]
    #[cfg_attr(debug_assertions, track_caller)]
    pub fn cancel(&self) -> bool {
        let _in_kernel = enter();
        self.0.cancel()
    }
}

/// Returns the present instant.
///
/// ```no_run
#[doc = include_str!("../../examples/api/instants.rs")]
/// ```
///
/// # Context
/// Any.
pub fn now() -> Instant {
    Hw::now()
}

/// Returns the time since the beginning of 1970, UTC; `None` if the machine has no clock with the
/// time of day (a PL031), or the program was built without the feature `pl031`. The clock was read
/// at boot, and the system counter has counted on from there.
///
/// # Context
/// Any.
pub fn unix_time() -> Option<Duration> {
    let _in_kernel = enter();
    crate::kernel::devices::unix_time()
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
