//! The still point: every online CPU is inside its stopper with interrupts off, and one of
//! them runs a function while nothing else moves.
//!
//! The function excludes every region with preemption off or IRQs masked, and so every
//! holder of a spin lock and every RCU reader. It does *not* exclude holders of locks that
//! sleep, nor threads that were merely preempted.

use crate::kernel::kernel;

pub use crate::stop_machine::{StopError, StopReport};

/// Stops every online CPU, runs `call_fn` on that of the lowest number while nothing else in
/// the machine moves, and returns its value. The description of the [module](self) says what
/// that excludes.
///
/// # Context
/// Thread, preemption on; takes [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock) and
/// the stop mutex. `call_fn` neither waits nor takes a lock that sleeps.
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
///
/// # Panics
/// As for [`cpus_read_lock`](crate::api::hotplug::cpus_read_lock). Also if `call_fn` calls a
/// function that may wait for a thread, a lock or another CPU.
pub fn stop_machine<R: Send>(call_fn: impl FnOnce() -> R + Send) -> Result<R, StopError> {
    timed_stop_machine(call_fn).map(|(value, _)| value)
}

/// As [`stop_machine`], and returns the times of the stop, too.
///
/// # Context
/// As for [`stop_machine`].
///
/// # Errors
/// [`StopError`]; `call_fn` has not run then.
///
/// # Panics
/// As for [`stop_machine`].
pub fn timed_stop_machine<R: Send>(
    call_fn: impl FnOnce() -> R + Send,
) -> Result<(R, StopReport), StopError> {
    let _held = kernel().hotplug.cpus_read_lock();
    let still = kernel().stop_machine.lock();
    kernel().stop_machine.stop_once(&still, call_fn)
}
