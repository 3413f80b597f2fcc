//! How long a wait may take before the log says what is waited for.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::platform::Platform;
use crate::sched::SchedHost;
use crate::sched::timers::LOOK;
use crate::time::{Instant, WaitLimit};

/// How long a wait for another thread or CPU may take before the log says what is
/// waited for, unless another time was chosen ([`SchedHost::chosen_patience`]; the boot argument
/// `watchdog_thresh=`). The wait goes on.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns how long a wait may take before the log says what is waited for.
pub fn patience<P: SchedHost>() -> Duration {
    P::chosen_patience().unwrap_or(PATIENCE)
}

/// The patience of one wait. Time in which the machine didn't run tries none of it: see
/// [`WaitLimit`].
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    limit: WaitLimit,
    /// All of it, in ticks.
    ticks: u64,
}

impl Patience {
    /// Begins it, now.
    #[inline]
    pub fn begin<P: SchedHost>() -> Patience {
        Patience::since::<P>(P::now())
    }

    /// Returns the patience of a wait that has begun at `began`, a moment ago.
    #[inline]
    pub fn since<P: SchedHost>(began: Instant) -> Patience {
        let ticks = match P::chosen_patience() {
            // [`PATIENCE`] is a constant, so the compiler makes this cheap to compute.
            None => ticks::<P>(PATIENCE),
            Some(patience) => ticks::<P>(patience),
        };
        // A CPU that sleeps with a watch looks no more often.
        let limit = WaitLimit::new(began, ticks).looked_at_each(began, self::ticks::<P>(LOOK));
        Patience { limit, ticks }
    }

    /// Returns the same patience for a wait that begins at `now`.
    #[inline]
    #[must_use]
    pub fn again(&self, now: Instant) -> Patience {
        Patience {
            limit: self.limit.again(now, self.ticks),
            ticks: self.ticks,
        }
    }

    /// Returns all of it, in ticks.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Returns when the waiter must ask again whether it is out: until then it may sleep.
    #[inline]
    pub fn next_look(&self) -> Instant {
        self.limit.next_look()
    }

    /// Returns whether it is out at `now`. If so it begins anew: the wait goes on.
    #[inline]
    pub fn is_out(&mut self, now: Instant) -> bool {
        let is_out = self.limit.is_over(now);
        if is_out {
            *self = self.again(now);
        }
        is_out
    }
}

#[inline]
fn ticks<P: Platform>(time: Duration) -> u64 {
    P::frequency().duration_to_ticks(time)
}
