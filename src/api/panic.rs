//! Panics. A panic stops the other CPUs, prints its place and the chain of calls, calls the
//! program's hook, and ends the machine with status 101. So does an exception that the
//! kernel doesn't expect, such as a fault.

pub use crate::kernel::{HookIsSet, PanicReport};

use crate::kernel;
use crate::kernel::entry::enter;

/// Has a panic call `hook` once, after its report on the console and before the machine
/// ends. A hook can't be replaced.
///
/// The other CPUs have stopped at any point of their code, or could not be stopped; IRQs stay
/// masked. So the hook may:
///
/// * print and log, for which the console's lock is no longer taken;
/// * read and write atomics and statics, [`time::now`](crate::api::time::now), per-CPU
///   variables;
/// * end the machine itself, with another status or by
///   [`reboot`](crate::api::reboot).
///
/// A hook that does more may fail, but the machine ends all the same. The hook ends where it
/// panics or faults, sleeps, takes a lock that sleeps, or waits for another CPU's answer. It
/// also ends where it waits for a spin lock for more than 10 ms, because a stopped CPU may
/// hold the lock. The heap has such a lock, so a hook that allocates may end there. The
/// console then says why the hook ended, and the status is 101. A hook that computes for
/// ever is never ended.
///
/// The hook runs on the stack of the code that has panicked, which may be an interrupt's
/// stack, and nearly full.
///
/// ```no_run
#[doc = include_str!("../../examples/api/panic_hook.rs")]
/// ```
///
/// # Context
/// Any. `hook` is called on the CPU that has panicked.
///
/// # Errors
/// [`HookIsSet`] if a hook is set already; it stays.
pub fn set_hook(hook: fn(&PanicReport<'_>)) -> Result<(), HookIsSet> {
    let _in_kernel = enter();
    kernel::set_hook(hook)
}
