//! The end of the machine, and the status that it leaves behind.
//!
//! A test runner asks for the status by semihosting, with `exit=semihosting` on
//! the command line; otherwise the last line says `stillpoint: exit N` and
//! firmware, or else the board's watchdog, turns the machine off. A boot that is refused
//! ends in the same way where the status was asked for; otherwise its CPU sleeps, the
//! reason left in `boot_failure_reason`.

use core::fmt;

use crate::arch::aarch64::boot::{halt, halt_with_reason};
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::semihosting;
use crate::kernel::try_kernel;
use crate::kernel::{Hw, console};
use crate::platform::CpuOps;
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The exit status of a panic, Rust's own, and of a boot that is refused.
pub(super) const FAILED: u32 = 101;

/// Set once at boot, before other CPUs run: Relaxed. A plain store: the MMU is off.
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);

/// Says whether the boot arguments ask for a status by semihosting.
///
/// # Context
/// The boot CPU, alone, MMU on or off.
pub(crate) fn set_semihosting(asked_for: bool) {
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

/// Ends a boot that is refused, `reason` having been said: with a status where the boot
/// arguments ask for one and a host takes it, otherwise asleep.
///
/// # Context
/// The boot CPU, alone, MMU on or off.
pub(crate) fn end_refused(reason: BootFailure) -> ! {
    if SEMIHOSTING.load(Ordering::Relaxed) {
        semihosting::exit(FAILED);
    }
    halt_with_reason(reason)
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
pub(crate) struct Describe<'a>(pub(crate) &'a dyn CpuOps);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}
