//! `selftest`: checks on this machine that the functions of the kernel work.
//!
//! Each check leaves the machine as it found it: CPUs that are off stay off.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use crate::cpu::{CpuMask, PerCpu};
use crate::hotplug::ALL_UP;
use crate::kernel::Hw;
use crate::kernel::{TEST_SGI, kernel};
use crate::platform::{Platform, Sgi};
use crate::sched::{Class, JoinHandle, ThreadName};
use crate::sync::LocalCpu;
use crate::sync::atomic::{AtomicU32, Ordering};

/// How long an interrupt may take. A virtual CPU may have to wait for its host.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the function of a stop takes: so long that the other CPUs go to sleep.
const LONG: Duration = Duration::from_millis(2);

/// Runs every check, in order, and calls `tell_fn` with the name and the outcome of each.
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

/// Returns the online CPUs.
fn online() -> CpuMask {
    let _held = kernel().hotplug.cpus_read_lock();
    kernel().masks.online()
}

/// Checks that the masks agree with the number of steps that each CPU has up.
fn boot() -> Result<String, String> {
    let _held = kernel().hotplug.cpus_read_lock();
    let masks = &kernel().masks;
    let online = masks.online();
    if masks.active() != online {
        return Err(format!("online {online}, active {}", masks.active()));
    }
    for cpu in masks.possible().iter() {
        let state = kernel().hotplug.state(cpu).state();
        let wanted = if online.contains(cpu) { ALL_UP } else { 0 };
        if state != wanted {
            return Err(format!("CPU{cpu} has {state} steps up instead of {wanted}"));
        }
    }
    Ok(format!("CPUs {online} of {}", masks.possible()))
}

/// Waits for [`LIMIT`] at most until `check_fn` returns true; returns whether it did.
fn wait_for(check_fn: impl Fn() -> bool) -> bool {
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
        if !wait_for(|| taken(cpu) >= wanted) {
            return Err(format!("SGI {TEST_SGI} does not reach CPU{cpu}"));
        }
        if taken(cpu) != wanted {
            return Err(format!("SGI {TEST_SGI} reaches CPU{cpu} more than once"));
        }
    }
    Ok(format!("to CPUs {online}"))
}

/// Checks that a thread on every CPU sleeps, and not too short a time.
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

/// Sleeps for a millisecond; returns whether that took a millisecond or more.
fn sleeps_long_enough() -> bool {
    let time = Duration::from_millis(1);
    let from = Hw::now();
    kernel().sched.sleep_until(Hw::deadline(time));
    Hw::now().ticks_since(from) >= Hw::frequency().duration_to_ticks(time)
}

/// Checks two still points: one in which every CPU runs the function with interrupts off, and
/// one in which the other CPUs wait long enough to go to sleep.
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
        let (value, _) = kernel().stop_machine.stop_once(&still, || {
            let until = Hw::deadline(LONG);
            while Hw::now() < until {
                Hw::relax();
            }
            7
        });
        value
    };
    if value != 7 {
        return Err(format!("the function returned {value} instead of 7"));
    }
    Ok(format!("CPUs {all}, woken by {} writes", writes() - before))
}

/// Takes down every CPU but the one of the lowest number, and brings them up again.
fn hotplug() -> Result<String, String> {
    let all = online();
    let stays = all.first().map_or(CpuMask::EMPTY, CpuMask::of);
    let others = all.without(&stays);
    for cpu in others.iter() {
        kernel()
            .hotplug
            .cpu_down(cpu)
            .map_err(|error| error.to_string())?;
    }
    let left = online();
    for cpu in others.iter() {
        kernel()
            .hotplug
            .cpu_up(cpu)
            .map_err(|error| error.to_string())?;
    }
    if left != stays {
        return Err(format!("CPUs {left} were still online"));
    }
    boot().map(|_| format!("CPUs {others} left and came back"))
}
