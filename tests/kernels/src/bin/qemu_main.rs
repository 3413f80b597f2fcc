//! The value of `main` is the status with which the machine ends: a number of the program, or 1
//! after an error, which is printed. It also checks other items that only `api` has.

//@ smp: 1 4
//@ append: quiet verbose usb.debug -- loglevel=7 "two words"
//@ plan: none
//@ cases: status error
//@ case: status
//@ output: ^\[ *[0-9.]+\] error: the log shows what it is to show$
//@ output: ^\[ *[0-9.]+\] and more, when the program says so$
//@ output: ^all is as it is documented$
//@ status: 42
//@ case: error
//@ output: ^error: the last CPU can't go$
//@ status: 1

#![no_std]
#![no_main]

use core::fmt;
use core::time::Duration;

use stillpoint::api::time::{self, Instant};
use stillpoint::api::{ExitStatus, args, console, cpu, hotplug, log, thread};
use stillpoint::println;

stillpoint::entry!(main);

/// The error of the case `error`.
struct LastCpuStays;

impl fmt::Display for LastCpuStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the last CPU can't go")
    }
}

fn main() -> Result<ExitStatus, LastCpuStays> {
    if args::var("case") == Some("error") {
        for cpu in cpu::possible().iter() {
            hotplug::cpu_down(cpu).map_err(|_| LastCpuStays)?;
        }
        return Ok(ExitStatus::SUCCESS);
    }
    instants();
    handles();
    sets();
    arguments();
    silence();
    levels();
    println!("all is as it is documented");
    Ok(ExitStatus::from(42))
}

/// Checks the arithmetic of instants and durations.
fn instants() {
    let began = time::now();
    let nap = Duration::from_millis(2);
    thread::sleep_until(began + nap);
    let passed = began.elapsed();
    assert!(passed >= nap, "{passed:?}");
    let later = time::now();
    assert!(later - began >= passed && later.duration_since(began) >= passed);
    assert_eq!(began - later, Duration::ZERO);
    assert_eq!((began + nap) - nap, began);
    assert_eq!((began + nap) - began, nap);
    assert_eq!(began + Duration::MAX, Instant::FOREVER);
}

/// Checks a handle of a thread against the thread's own view of itself.
fn handles() {
    let own = thread::current();
    assert_eq!((own.name(), own.id()), ("main", thread::current().id()));
    let worker = thread::Builder::new().name("worker").spawn(|| {
        thread::park();
        thread::current()
    });
    let worker = worker.expect("a stack is free");
    let handle = worker.thread();
    assert_eq!(handle.name(), "worker");
    assert_eq!(handle, worker.thread());
    assert_ne!(handle, own);
    assert_ne!(handle.id(), own.id());
    assert!(!worker.is_finished());
    let here = cpu::CpuMask::of(cpu::CpuId::BOOT);
    assert!(handle.set_affinity(&here).is_ok());
    assert_eq!(handle.affinity(), here);
    handle.unpark();
    assert_eq!(worker.join(), handle);
    // An operation on a thread that has ended has no effect.
    handle.unpark();
    assert_eq!(handle.name(), "worker");
}

/// Checks the CPU sets: a CPU that goes leaves all sets that are not fixed.
fn sets() {
    let all = cpu::possible();
    assert_eq!(cpu::present(), all);
    assert_eq!(cpu::online_racy(), all);
    assert_eq!(cpu::active_racy(), all);
    assert!(cpu::online_racy().contains(cpu::current()));
    let Some(last) = all.iter().filter(|cpu| *cpu != cpu::CpuId::BOOT).last() else {
        return;
    };
    assert!(hotplug::cpu_down(last).is_ok());
    assert!(!cpu::online_racy().contains(last) && !cpu::active_racy().contains(last));
    assert_eq!((cpu::possible(), cpu::present()), (all, all));
    assert!(hotplug::cpu_up(last).is_ok());
    assert_eq!(cpu::active_racy(), all);
}

/// Checks the program's words of the command line, one of which is the rig's word for the case.
fn arguments() {
    assert_eq!(args::args(), ["verbose", "loglevel=7", "two words"]);
    assert_eq!(args::var("case"), Some("status"));
    assert_eq!(args::var("loglevel"), None);
}

/// Checks that a read with a time limit returns when nothing is typed.
fn silence() {
    let until = time::now() + Duration::from_millis(5);
    assert_eq!(console::read_byte(until), None);
    assert!(time::now() >= until);
}

/// `quiet` lets errors through, and the `loglevel=` behind `--` is not the kernel's.
fn levels() {
    assert_eq!(log::max_level(), log::LevelFilter::Error);
    assert!(!log::log_enabled!(log::Level::Warn));
    log::error!("the log shows what it is to show");
    log::set_max_level(log::LevelFilter::Info);
    log::info!("and more, when the program says so");
    log::debug!("but not this");
    assert!(!log::log_enabled!(log::Level::Debug));
    log::set_max_level(log::LevelFilter::Off);
    log::error!("nor this");
}
