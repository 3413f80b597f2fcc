//! `selftest`: whether all that the kernel offers works on this machine.
//!
//! Each check leaves the machine as it found it: CPUs that are off stay off.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use crate::cpu::{CpuId, CpuMask, PerCpu};
use crate::hotplug::ONLINE;
use crate::kernel::Hw;
use crate::kernel::{TEST_SGI, kernel};
use crate::platform::{Platform, Sgi};
use crate::sched::{Class, JoinHandle, ThreadName};
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How long an interrupt may take: a virtual CPU may have to wait for its host.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the function of a stop takes, so that the other CPUs fall asleep.
const LONG: Duration = Duration::from_millis(2);

/// Runs every check, in order, and tells the outcome of each to `tell_fn`.
pub(super) fn run(mut tell_fn: impl FnMut(&str, Result<String, String>)) {
    tell_fn("boot", boot());
    tell_fn("SGIs", sgis());
    tell_fn("timers", timers());
    tell_fn("stop", stop());
    tell_fn("hotplug", hotplug());
    tell_fn("SGIs again", sgis());
    tell_fn("timers again", timers());
    tell_fn("stop again", stop());
}

fn online() -> CpuMask {
    let _held = kernel().hotplug.cpus_read_lock();
    kernel().masks.online()
}

/// The masks and the steps of every CPU agree.
fn boot() -> Result<String, String> {
    let _held = kernel().hotplug.cpus_read_lock();
    let masks = &kernel().masks;
    let online = masks.online();
    if masks.active() != online {
        return Err(format!("online {online}, active {}", masks.active()));
    }
    for cpu in masks.possible().iter() {
        let state = kernel().hotplug.state(cpu).state();
        let wanted = if online.contains(cpu) { ONLINE } else { 0 };
        if state != wanted {
            return Err(format!("CPU{cpu} has {state} steps up instead of {wanted}"));
        }
    }
    Ok(format!("CPUs {online} of {}", masks.possible()))
}

/// Waits until `check_fn` says yes; returns whether it did.
fn soon(check_fn: impl Fn() -> bool) -> bool {
    let limit = Hw::deadline(LIMIT);
    while !check_fn() {
        if Hw::now() >= limit {
            return check_fn();
        }
        Hw::relax();
    }
    true
}

/// Checks that an SGI which the kernel doesn't use reaches every CPU, once.
fn sgis() -> Result<String, String> {
    let online = online();
    let taken = |cpu| kernel().interrupts.sgis(cpu, TEST_SGI);
    let before = PerCpu::new(kernel().mpidrs.len(), taken);
    kernel().irq_chip().send_sgi(TEST_SGI, &online);
    for cpu in online.iter() {
        let wanted = before.get(cpu) + 1;
        if !soon(|| taken(cpu) >= wanted) {
            return Err(format!("SGI {TEST_SGI} does not reach CPU{cpu}"));
        }
        if taken(cpu) != wanted {
            return Err(format!("SGI {TEST_SGI} reaches CPU{cpu} more than once"));
        }
    }
    Ok(format!("to CPUs {online}"))
}

/// A thread on every CPU sleeps, and not too short.
fn timers() -> Result<String, String> {
    let online = online();
    for cpu in online.iter() {
        let sleeper = JoinHandle::<bool, Hw>::start(sleeps_long_enough, |body| {
            let _held = kernel().hotplug.cpus_read_lock();
            let name = ThreadName::new(format_args!("selftest"));
            let cpus = CpuMask::of(cpu);
            kernel().sched.spawn_bound(name, Class::Normal, &cpus, body)
        });
        if !sleeper.map_err(|error| error.to_string())?.join() {
            return Err(format!("a thread of CPU{cpu} wakes too early"));
        }
    }
    Ok(format!("on CPUs {online}"))
}

/// Sleeps for a millisecond, and tells whether that was no less.
fn sleeps_long_enough() -> bool {
    let time = Duration::from_millis(1);
    let from = Hw::now();
    kernel().sched.sleep_until(Hw::deadline(time));
    Hw::now().ticks_since(from) >= Hw::frequency().duration_to_ticks(time)
}

/// Every CPU runs the function with interrupts off, in one still point; and one in
/// which the others wait long enough to sleep.
fn stop() -> Result<String, String> {
    let writes = || kernel().sgi_writes(Sgi::Wake.number());
    let before = writes();
    let runs = AtomicU32::new(0);
    let stopped = {
        let _held = kernel().hotplug.cpus_read_lock();
        let still = kernel().stop_machine.lock();
        let all = kernel().masks.online();
        kernel()
            .stop_machine
            .stop_all(&still, all, &|_| {
                assert!(!Hw::irqs_enabled(), "BUG: a still point with IRQs on");
                // Relaxed: read after the stop.
                runs.fetch_add(1, Ordering::Relaxed);
            })
            .map(|_| all)
    };
    let all = stopped.map_err(|error| error.to_string())?;
    let ran = runs.load(Ordering::Relaxed) as usize;
    if ran != all.count() {
        return Err(format!("{ran} of {} CPUs ran the function", all.count()));
    }
    let value = {
        let _held = kernel().hotplug.cpus_read_lock();
        let still = kernel().stop_machine.lock();
        let stopped = kernel().stop_machine.stop_on(&still, CpuId::BOOT, || {
            let until = Hw::deadline(LONG);
            while Hw::now() < until {
                Hw::relax();
            }
            7
        });
        stopped.map(|(value, _)| value)
    };
    if value != Ok(7) {
        return Err(format!("the function returned {value:?} instead of 7"));
    }
    Ok(format!("CPUs {all}, woken by {} writes", writes() - before))
}

/// Every CPU but the boot CPU leaves; then they come back.
fn hotplug() -> Result<String, String> {
    let secondaries = online().without(&CpuMask::of(CpuId::BOOT));
    for cpu in secondaries.iter() {
        kernel()
            .hotplug
            .cpu_down(cpu)
            .map_err(|error| error.to_string())?;
    }
    let left = online();
    for cpu in secondaries.iter() {
        kernel()
            .hotplug
            .cpu_up(cpu)
            .map_err(|error| error.to_string())?;
    }
    if left != CpuMask::of(CpuId::BOOT) {
        return Err(format!("CPUs {left} were still online"));
    }
    boot().map(|_| format!("CPUs {secondaries} left and came back"))
}
