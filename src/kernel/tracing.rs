//! The switch of the trace points: a static key, so that each of them costs one NOP while tracing
//! is off. It is on unless the boot argument `tracing_on=0` says otherwise.
//!
//! A switch holds the add/remove lock. So no CPU is on its way and no step is installed or
//! removed: the rings have whole walks and calls, or nothing of them.

use crate::kernel::static_key::{StaticKey, change, change_alone};
use crate::kernel::{Kernel, kernel};
use crate::patch::KeyError;

/// Whether events are recorded. Its count is 0 or 1.
pub(super) static TRACING: StaticKey<true> = StaticKey::new();

/// Returns whether events are recorded, or were a moment ago.
///
/// # Context
/// Any.
pub fn is_tracing() -> bool {
    TRACING.count_racy() != 0
}

/// Has events recorded or not, from the return on.
///
/// # Context
/// Thread, preemption on; waits while CPUs come or go, and stops the machine.
///
/// # Errors
/// [`KeyError::WouldDeadlock`], in a callback of hotplug, under the hotplug lock and in a pinned
/// thread.
pub fn set_tracing(on: bool) -> Result<(), KeyError> {
    let registration = kernel().hotplug.registration_lock();
    let _alone = registration.map_err(|_| KeyError::WouldDeadlock)?;
    match (is_tracing(), on) {
        (false, true) => change(&[TRACING.enabling()]),
        (true, false) => change(&[TRACING.disabling()]),
        _ => Ok(()),
    }
}

/// Has no event recorded from the beginning.
///
/// # Context
/// As for [`change_alone`], once.
pub(crate) fn start_without(kernel: &Kernel) {
    let changed = change_alone(kernel, &[TRACING.disabling()]);
    changed.expect("BUG: tracing is on at first");
}
