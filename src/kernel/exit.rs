//! The end of the machine, and its exit status.
//!
//! With `exit=semihosting` on the command line the emulator ends with the status, for a
//! test runner. Without it the last line on the console says `stillpoint: exit N`, and
//! firmware, or else the board's watchdog, turns the machine off. A boot that fails ends by
//! semihosting, too, if the command line asks for it; otherwise the CPU sleeps, with the
//! reason in `boot_failure_reason`.

use core::fmt;
use core::time::Duration;

use crate::arch::aarch64::boot::{halt, halt_with_reason};
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::semihosting;
use crate::cpu::CpuMask;
use crate::kernel::try_kernel;
use crate::kernel::{Hw, console};
use crate::platform::{CpuOps, Platform};
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The exit status of a panic and of a boot that fails: the status of a panic in Rust's
/// std.
pub(super) const FAILED: u32 = 101;

/// Whether the command line has `exit=semihosting`. Relaxed: set once at boot, before other
/// CPUs run. Only loaded and stored, because exclusive accesses don't work with the MMU off.
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);

/// Records whether the boot arguments ask for an exit status by semihosting.
///
/// # Context
/// The boot CPU, before another CPU runs; MMU on or off.
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
        // Only a panic ends the machine before there is a kernel. There may be no console
        // either, so the reason is left in memory.
        None => halt_with_reason(BootFailure::Panicked),
    }
    halt()
}

/// Ends a boot that fails with `reason`, which the caller has printed: by semihosting if the
/// boot arguments ask for that and an emulator takes it, otherwise asleep for ever.
///
/// # Context
/// The boot CPU, before another CPU runs; MMU on or off.
pub(crate) fn end_refused(reason: BootFailure) -> ! {
    if SEMIHOSTING.load(Ordering::Relaxed) {
        semihosting::exit(FAILED);
    }
    halt_with_reason(reason)
}

/// How long the CPUs may take to go before the machine ends.
const ALL_GO: Duration = Duration::from_secs(5);

/// Takes all CPUs down but one, the first that is active, as a batch. A CPU that doesn't go in
/// time stays, with a line in the log: the machine ends all the same.
///
/// # Context
/// As [`Hotplug::cpus_down_before`](crate::hotplug::Hotplug::cpus_down_before).
pub(crate) fn take_others_down() {
    let Some(kernel) = try_kernel() else { return };
    let stays = kernel.masks.active().first();
    let stays = stays.map_or(CpuMask::EMPTY, CpuMask::of);
    let others = kernel.masks.online().without(&stays);
    // A thread may keep a CPU up for ever.
    let deadline = Hw::deadline(ALL_GO);
    if let Err(failed) = kernel.hotplug.cpus_down_before(&others, deadline) {
        for (_, error) in failed.failed() {
            log::warn!("{error} ({})", error.errno().name());
        }
    }
    log::info!(
        "The machine ends, with CPUs {} online",
        kernel.masks.online()
    );
}

/// Resets the machine.
///
/// # Context
/// As for [`exit`].
pub fn reboot() -> ! {
    let _masked = Hw::irq_save();
    if let Some(kernel) = try_kernel() {
        kernel.cpu_ops.system_reset();
    }
    console::print(format_args!("stillpoint: this machine can't be reset\n"));
    halt()
}

/// Displays the name of what turns CPUs on and off.
pub(crate) struct Describe<'a>(pub(crate) &'a dyn CpuOps);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}
