//! How long a wait may take before the log says what is waited for.

#![forbid(unsafe_code)]

use core::time::Duration;

use crate::sched::SchedHost;
use crate::time::Instant;

/// How long a wait for another thread or CPU may take before the log says what is
/// waited for, unless another time was chosen ([`SchedHost::chosen_patience`]; the boot argument
/// `watchdog_thresh=`). The wait goes on.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Returns how long a wait may take before the log says what is waited for.
pub fn patience<P: SchedHost>() -> Duration {
    P::chosen_patience().unwrap_or(PATIENCE)
}

/// Returns the instant at which a wait that begins now has taken too long.
#[inline]
pub fn late_at<P: SchedHost>() -> Instant {
    match P::chosen_patience() {
        // [`PATIENCE`] is a constant, so the compiler makes this deadline cheap to
        // compute.
        None => P::deadline(PATIENCE),
        Some(patience) => P::deadline(patience),
    }
}
