//! The end of the machine, and the status that it leaves behind.
//!
//! A test runner asks for the status by semihosting, with `exit=semihosting` on
//! the command line; otherwise the last line says `stillpoint: exit N` and
//! firmware, or else the board's watchdog, turns the machine off.

use core::fmt;

use crate::arch::aarch64::boot::{halt, halt_with_reason};
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::semihosting;
use crate::platform::CpuOps;
use crate::start::kernel::try_kernel;
use crate::start::{Hw, console};
use crate::sync::Exec;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Set once at boot, before other CPUs run: Relaxed.
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);

pub(super) fn set_semihosting(asked_for: bool) {
    SEMIHOSTING.store(asked_for, Ordering::Relaxed);
}

/// Ends the machine with `status`.
///
/// # Context
/// Any; nothing else runs on this CPU afterwards.
pub fn exit(status: u32) -> ! {
    let _masked = Hw::irq_save();
    if SEMIHOSTING.load(Ordering::Relaxed) {
        semihosting::exit(status);
    }
    console::print(format_args!("stillpoint: exit {status}\n"));
    match try_kernel() {
        Some(kernel) => kernel.cpu_ops.system_off(),
        // Only a panic ends the machine before it is up; there may be no console.
        None => halt_with_reason(BootFailure::Panicked),
    }
    halt()
}

/// Resets the machine.
///
/// # Context
/// As [`exit`].
pub fn reboot() -> ! {
    let _masked = Hw::irq_save();
    if let Some(kernel) = try_kernel() {
        kernel.cpu_ops.system_reset();
    }
    console::print(format_args!(
        "stillpoint: nothing here can reset the machine\n"
    ));
    halt()
}

/// Prints what turns CPUs on and off.
pub(super) struct Describe<'a>(pub(super) &'a dyn CpuOps);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}
