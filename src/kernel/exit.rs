//! The end of the machine, and its exit status.
//!
//! With `exit=semihosting` on the command line the emulator ends with the status, for a
//! test runner. Without it the last line on the console says `stillpoint: exit N`, and
//! firmware, or else the board's watchdog, turns the machine off. A boot that fails ends by
//! semihosting, too, if the command line asks for it; otherwise the CPU sleeps, with the
//! reason in `boot_failure_reason`.

use alloc::boxed::Box;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;

use crate::arch::aarch64::boot::{halt, halt_with_reason};
use crate::arch::aarch64::failure::BootFailure;
use crate::arch::aarch64::semihosting;
use crate::cpu::CpuMask;
use crate::hotplug::StepName;
use crate::kernel::{Hw, Kernel, console, is_tracing, try_kernel};
use crate::platform::{CpuOps, Platform};
use crate::sched::Timer;
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
///
/// ```no_run
/// # use core::time::Duration;
/// use stillpoint::api::exit;
/// use stillpoint::api::time::{Timer, deadline};
///
/// // Threads may hang in what follows. An interrupt ends the machine then, with a status that says
/// // so; `main` has only to return if all goes well.
/// let watchdog = Timer::new(|| exit(3));
/// watchdog.start(deadline(Duration::from_secs(60)));
/// ```
pub fn exit(status: u32) -> ! {
    let _masked = Hw::irq_save();
    if SEMIHOSTING.load(Ordering::Relaxed) {
        semihosting::exit(status);
    }
    console::print_line(format_args!("stillpoint: exit {status}\n"));
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

/// How long the CPUs may take to go, until the machine is stopped for them.
const ALL_GO: Duration = Duration::from_secs(5);

/// How long the machine may take to end: [`ALL_GO`], and as much again for the ends of the CPUs
/// and the steps after that.
const END: Duration = Duration::from_secs(10);

/// Takes all CPUs down but one, the first that is active, as a batch, and then calls `end_fn`,
/// which ends the machine. A CPU that doesn't go in time stays, with a line in the log. If the way
/// down is not over after 10 s, because a callback doesn't return or a CPU doesn't say that it is
/// off, the log says where each CPU is, and `end_fn` is called all the same.
///
/// # Context
/// As [`Hotplug::cpus_down_before`](crate::hotplug::Hotplug::cpus_down_before). `end_fn` is called
/// in the caller's thread or, if that doesn't return in time, in the timer interrupt of any CPU.
pub(crate) fn end_alone(end_fn: impl Fn() -> Infallible + Copy + Send + Sync + 'static) -> ! {
    if let Some(kernel) = try_kernel() {
        take_others_down(kernel, end_fn);
    }
    match end_fn() {}
}

fn take_others_down(
    kernel: &'static Kernel,
    end_fn: impl Fn() -> Infallible + Send + Sync + 'static,
) {
    let stays = kernel.masks.active().first();
    let stays = stays.map_or(CpuMask::EMPTY, CpuMask::of);
    let others = kernel.masks.possible().without(&stays);
    let names = (0..kernel.hotplug.steps().len()).map(|row| kernel.hotplug.step_name(row));
    let names: Box<[StepName]> = names.collect();
    // A callback that never returns keeps this thread, or its CPU. The timer interrupt comes
    // through in both cases; another thread would not, where the callback computes for ever.
    let limit = Timer::<Hw>::new(move || {
        say_where(kernel, &others, &names);
        match end_fn() {}
    });
    // The timer is set on the CPU that stays: a callback on another one may mask its interrupts.
    // A pinned thread stays where it is; its timer is adopted when that CPU goes.
    let moved = kernel.sched.set_affinity(&kernel.sched.current(), &stays);
    if let Err(why) = moved {
        log::warn!("{why}");
    }
    limit.start(Hw::deadline(END));
    // A thread may keep a CPU up for ever.
    let deadline = Hw::deadline(ALL_GO);
    let online = kernel.masks.online().and(&others);
    if let Err(failed) = kernel.hotplug.cpus_down_before(&online, deadline) {
        for (_, error) in failed.failed() {
            log::warn!("{error} ({})", error.errno().name());
        }
    }
    // From here on nothing waits for a callback or a CPU.
    drop(limit);
    log::info!(
        "The machine ends, with CPUs {} online",
        kernel.masks.online()
    );
}

/// Logs where each of `cpus` was a moment ago that has not gone, and that the machine ends.
///
/// * `names` — the name of each step. To ask for them takes locks, which the interrupted thread
///   may hold.
///
/// # Context
/// Any; doesn't wait.
fn say_where(kernel: &Kernel, cpus: &CpuMask, names: &[StepName]) {
    let seconds = END.as_secs();
    for cpu in cpus.iter() {
        let passing = kernel.trace.passing_racy(cpu);
        let step = passing.and_then(|step| names.get(usize::from(step)));
        if let Some(step) = step {
            log::warn!("CPU{cpu} has not gone in {seconds} s: it is in step {step}");
        } else if kernel.hotplug.state(cpu).state() > 0 {
            let why = if is_tracing() {
                "it is in no step"
            } else {
                "its steps are not recorded"
            };
            log::warn!("CPU{cpu} has not gone in {seconds} s: {why}");
        }
    }
    let online = kernel.masks.online();
    log::warn!("The machine ends all the same, with CPUs {online} online");
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
    console::print_line(format_args!("stillpoint: this machine can't be reset\n"));
    halt()
}

/// Displays the name of what turns CPUs on and off.
pub(crate) struct Describe<'a>(pub(crate) &'a dyn CpuOps);

impl fmt::Display for Describe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}
