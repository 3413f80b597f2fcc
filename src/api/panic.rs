//! The end of a program that has a mistake: a panic stops the other CPUs, prints where it
//! is and how it came there, calls the program's hook, and ends the machine with status 101.
//! So does an exception that the kernel doesn't expect, such as a fault.

pub use crate::kernel::{HookIsSet, PanicReport};

use crate::kernel;

/// Has a panic call `hook` once, between its report on the console and the machine's end.
/// There is one hook, and it stays.
///
/// The other CPUs have stopped in the middle of what they did, or could not be reached;
/// IRQs are masked for good. So the hook may:
///
/// * print and log: nothing else prints, and the console's lock is no longer taken;
/// * read and write atomics and statics, [`time::now`](crate::api::time::now), per-CPU
///   variables;
/// * end the machine itself, with another status or by
///   [`reboot`](crate::api::reboot).
///
/// What it does beyond that is at its own risk, but it doesn't keep the machine from its
/// end. A hook that panics or faults, sleeps, takes a lock that sleeps, or waits for
/// another CPU's answer ends there, and so does one that waits for a spin lock for more
/// than 10 ms, because a CPU that has stopped may hold it: the heap's, too, so a hook that
/// allocates may end there. The console then says what the hook did, and the status is
/// 101. Nothing ends a hook that computes for ever.
///
/// The hook runs on the stack of what has panicked, which may be an interrupt's, and
/// nearly full.
///
/// # Context
/// Any. `hook` is called on the CPU that has panicked.
///
/// # Errors
/// [`HookIsSet`]; the hook is still the one that it was.
pub fn set_hook(hook: fn(&PanicReport<'_>)) -> Result<(), HookIsSet> {
    kernel::set_hook(hook)
}
