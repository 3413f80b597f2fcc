//! The first thread: finishes the boot, then runs the program.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::bootargs::BootArgs;
use crate::cpu::{CpuId, CpuMask};
use crate::hotplug::{BatchError, CpuUpError};
use crate::kernel::{Hw, console, exit, governor, kernel, log_boot_walk, log_walk};
use crate::platform::Platform;
use crate::sched::{Class, run_app};
use crate::sync::Once;
use crate::time::Instant;

/// How many ticks it took at boot to bring the other CPUs up.
static BRING_UP: Once<u64> = Once::new();

/// Returns how many ticks it took at boot to bring the other CPUs up; `None` before that.
pub(crate) fn bring_up_ticks() -> Option<u64> {
    BRING_UP.get().copied()
}

unsafe extern "Rust" {
    /// The program: see `entry!`. Returns the status that the machine ends with. In a link without
    /// one, the symbol's name is what the linker prints. It is a variable's, so that no backtrace
    /// has it.
    #[link_name = "put_#[stillpoint::main]_before_the_main_function"]
    safe static PROGRAM: fn() -> u8;
}

/// Makes the thread `main`.
pub(super) fn spawn_main() {
    let spawned = kernel().sched.spawn_first(Box::new(main));
    assert!(spawned.is_ok(), "BUG: no stack for the first thread");
}

/// Runs in the first thread.
fn main() {
    let kernel = kernel();
    let walked = kernel.hotplug.finish_boot_cpu();
    assert!(walked.is_ok(), "BUG: the boot CPU fails: {walked:?}");
    start_rcu();
    bring_up_others();
    governor::start(BootArgs::parse(kernel.bootargs).governor);
    console::enable_input();
    crate::kernel::devices::start(&kernel.places);
    #[cfg(feature = "net")]
    crate::kernel::net::start();
    let status = run_app::<Hw, _>(PROGRAM);
    exit(status.into());
}

/// Starts the threads of RCU, as the command line has them.
fn start_rcu() {
    let kernel = kernel();
    let arguments = BootArgs::parse(kernel.bootargs);
    if let Some(mark) = arguments.rcu_mark {
        kernel.grace_periods.set_callback_mark(mark);
    }
    let class = arguments.rcu_priority.map_or(Class::Normal, Class::fifo);
    let started = kernel.grace_periods.start_threads(class);
    assert!(started.is_ok(), "BUG: no stacks for the threads of RCU");
}

/// Brings up as many CPUs as the command line allows. Nothing is printed until all have come or
/// failed: a console is slow, and under a hypervisor each character costs exits.
fn bring_up_others() {
    let kernel = kernel();
    let arguments = BootArgs::parse(kernel.bootargs);
    let wanted = arguments.boot_cpus().unwrap_or(usize::MAX);
    let online = kernel.masks.online();
    let all_others = kernel.masks.possible().without(&online);
    let mut others = all_others.iter();
    let mut to_come = wanted.saturating_sub(online.count());
    let mut called = CpuMask::EMPTY;
    let mut failed = Vec::new();
    let began = Hw::now();
    loop {
        let next: CpuMask = others.by_ref().take(to_come).collect();
        if next.is_empty() {
            break;
        }
        called = called.or(&next);
        let result = kernel.hotplug.cpus_up(&next);
        let failures = result
            .err()
            .map(BatchError::into_failed)
            .unwrap_or_default();
        // For each that has failed another one is called, if there is one.
        to_come = failures.len();
        failed.extend(failures);
    }
    let ticks = Hw::now().ticks_since(began);
    BRING_UP.call_once(|| ticks);
    report(&called, &failed, ticks);
}

/// Logs how the boot CPU came, how each of `called`, and how long all of these took: `ticks`.
fn report(called: &CpuMask, failed: &[(CpuId, CpuUpError)], ticks: u64) {
    let masks = &kernel().masks;
    if log::log_enabled!(log::Level::Debug) {
        log_walk(CpuId::BOOT, Instant(0));
    }
    for cpu in called.iter() {
        match failed.iter().find(|(of, _)| *of == cpu) {
            None => log_boot_walk(cpu),
            Some((_, error)) => {
                if log::log_enabled!(log::Level::Debug) {
                    log_walk(cpu, Instant(0));
                }
                log::error!("{error} ({})", error.errno().name());
            }
        }
    }
    let us = Hw::frequency().ticks_to_ns(ticks) / 1000;
    log::info!(
        "Brought up {} of {} CPUs in {us} us: online {}",
        masks.online().count(),
        masks.possible().count(),
        masks.online()
    );
}
