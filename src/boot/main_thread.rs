//! The first thread: finishes the boot, then runs the program.

use alloc::boxed::Box;

use crate::bootargs::BootArgs;
use crate::cpu::CpuId;
use crate::kernel::{Hw, console, exit, kernel, log_walk};
use crate::platform::Platform;
use crate::sched::Class;
use crate::sync::Once;

/// How many ticks it took at boot to bring the other CPUs up.
static BRING_UP: Once<u64> = Once::new();

/// Returns how many ticks it took at boot to bring the other CPUs up; `None` before that.
pub(crate) fn bring_up_ticks() -> Option<u64> {
    BRING_UP.get().copied()
}

unsafe extern "Rust" {
    /// The program: see `entry!`. Returns the status that the machine ends with.
    safe fn stillpoint_main() -> u8;
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
    if log::log_enabled!(log::Level::Debug) {
        log_walk(CpuId::BOOT, crate::time::Instant(0));
    }
    start_rcu();
    bring_up_others();
    console::enable_input();
    let status = stillpoint_main();
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

/// Brings up as many CPUs as the command line allows.
fn bring_up_others() {
    let kernel = kernel();
    let arguments = BootArgs::parse(kernel.bootargs);
    let wanted = arguments.boot_cpus().unwrap_or(usize::MAX);
    let mut ticks = 0;
    for cpu in kernel.masks.possible().iter() {
        if kernel.masks.online().count() >= wanted {
            break;
        }
        if kernel.masks.is_online(cpu) {
            continue;
        }
        let began = Hw::now();
        let result = kernel.hotplug.cpu_up(cpu);
        ticks += Hw::now().ticks_since(began);
        // At level info there is one line for all CPUs, after the loop.
        if log::log_enabled!(log::Level::Debug) {
            log_walk(cpu, began);
        }
        if let Err(error) = result {
            log::error!("{error} ({})", error.errno().name());
        }
    }
    BRING_UP.call_once(|| ticks);
    let us = Hw::frequency().ticks_to_ns(ticks) / 1000;
    log::info!(
        "Brought up {} of {} CPUs in {us} us: online {}",
        kernel.masks.online().count(),
        kernel.masks.possible().count(),
        kernel.masks.online()
    );
}
