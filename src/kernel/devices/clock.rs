//! The time of day.
//!
//! The clock is read once, at boot, and the system counter counts on from there: it is finer, and
//! reading it costs no exit to a hypervisor.

use core::time::Duration;

use crate::dt::PhysRange;
use crate::kernel::Hw;
use crate::platform::Platform;
use crate::sync::Once;
use crate::time::Instant;

/// What the clock showed, in seconds since 1970, and when.
static READ: Once<(u32, Instant)> = Once::new();

/// Reads the clock whose registers are these.
pub(super) fn start(registers: PhysRange) {
    // SAFETY: the tree says that it is there, and `boot` mapped it as device memory, for ever.
    let seconds = unsafe { crate::drivers::pl031::read(registers.start()) };
    if let Some(seconds) = seconds {
        READ.call_once(|| (seconds, Hw::now()));
    }
}

/// Returns the time since the beginning of 1970, UTC; `None` if the machine has no clock.
///
/// # Context
/// Any.
pub(super) fn unix_time() -> Option<Duration> {
    let (seconds, at) = *READ.get()?;
    let since = Hw::frequency().ticks_to_ns(Hw::now().ticks_since(at));
    Some(Duration::from_secs(seconds.into()) + Duration::from_nanos(since))
}
