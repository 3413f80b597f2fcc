//! The first thread: finishes the boot, then runs the program.

use alloc::boxed::Box;

use crate::cpu::CpuId;
use crate::hotplug::CpuUpError;
use crate::platform::Platform;
use crate::shell::{BootArgs, Outcome, Shell, run_line};
use crate::start::kernel::kernel;
use crate::start::{Hw, KernelMachine, console, exit, log_walk, reboot};
use crate::sync::Once;

/// How many ticks bringing the other CPUs up took at boot.
static BRING_UP: Once<u64> = Once::new();

/// How many ticks bringing the other CPUs up took at boot, printing included.
pub(crate) fn bring_up_ticks() -> Option<u64> {
    BRING_UP.get().copied()
}

unsafe extern "Rust" {
    /// The program: see `entry!`.
    safe fn stillpoint_main();
}

/// Makes the thread `main`.
pub(super) fn spawn_main() {
    let spawned = kernel().sched.spawn_first(Box::new(main));
    assert!(spawned.is_ok(), "BUG: no stack for the first thread");
}

fn main() {
    let kernel = kernel();
    let walked = kernel.hotplug.finish_boot_cpu();
    assert!(walked.is_ok(), "BUG: the boot CPU fails: {walked:?}");
    log_walk(CpuId::BOOT, crate::time::Instant(0));
    let started = kernel.grace_periods.start_thread();
    assert!(started.is_ok(), "BUG: no stack for the thread rcu");
    bring_up_others();
    console::enable_input();
    stillpoint_main();
    exit(0);
}

/// Brings up as many CPUs as the command line allows.
fn bring_up_others() {
    let kernel = kernel();
    let arguments = BootArgs::parse(kernel.bootargs);
    let wanted = arguments.boot_cpus().unwrap_or(usize::MAX);
    let began = Hw::now();
    for cpu in kernel.masks.possible().iter() {
        if kernel.masks.online().count() >= wanted {
            break;
        }
        if kernel.masks.is_online(cpu) {
            continue;
        }
        match bring_up(cpu) {
            Ok(()) => {}
            Err(error) => log::error!("{error} ({})", error.errno().name()),
        }
    }
    BRING_UP.call_once(|| Hw::now().ticks_since(began));
    let us = Hw::frequency().ticks_to_ns(Hw::now().ticks_since(began)) / 1000;
    log::info!(
        "Brought up {} of {} CPUs in {us} us: online {}",
        kernel.masks.online().count(),
        kernel.masks.possible().count(),
        kernel.masks.online()
    );
}

/// Brings `cpu` up and prints its walk.
fn bring_up(cpu: CpuId) -> Result<(), CpuUpError> {
    let began = Hw::now();
    let result = kernel().hotplug.cpu_up(cpu);
    log_walk(cpu, began);
    result
}

/// Runs the commands of `init=`, then a shell on the console; returns never.
///
/// # Context
/// Thread.
pub fn run_shell() -> ! {
    let machine = KernelMachine;
    let arguments = BootArgs::parse(kernel().bootargs);
    if let Some(line) = arguments.init {
        leave(run_line(&machine, line).outcome);
    }
    let mut shell = Shell::new(&machine);
    loop {
        if let Some(outcome) = shell.feed(console::read_byte()) {
            leave(outcome);
        }
    }
}

fn leave(outcome: Outcome) {
    match outcome {
        Outcome::Continue(_) => {}
        Outcome::PowerOff => exit(0),
        Outcome::Reboot => reboot(),
    }
}
