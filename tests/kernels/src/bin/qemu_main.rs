//! What `main` returns is the status that the machine ends with: a number of the program's
//! own, or 1 after an error, which is printed.
//!
//! SMP: 1 4
//! PLAN: none
//! CASES: status error
//! CASE: status
//! OUTPUT: ^time and sets are as they are documented$
//! STATUS: 42
//! CASE: error
//! OUTPUT: ^error: the boot CPU can't go$
//! STATUS: 1
#![no_std]
#![no_main]

use core::fmt;
use core::time::Duration;

use kernel_support::case::case;
use stillpoint::api::time::{self, Instant};
use stillpoint::api::{ExitStatus, cpu, hotplug, thread};
use stillpoint::println;

stillpoint::entry!(main);

/// What goes wrong in the case `error`.
struct BootCpuStays;

impl fmt::Display for BootCpuStays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the boot CPU can't go")
    }
}

fn main() -> Result<ExitStatus, BootCpuStays> {
    if case() == "error" {
        hotplug::cpu_down(cpu::CpuId::BOOT).map_err(|_| BootCpuStays)?;
        return Ok(ExitStatus::SUCCESS);
    }
    instants();
    sets();
    println!("time and sets are as they are documented");
    Ok(ExitStatus::from(42))
}

/// An instant and a duration make an instant, two instants a duration.
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

/// All CPUs are there; one that goes leaves all sets but those that are fixed.
fn sets() {
    let all = cpu::possible();
    assert_eq!(cpu::present(), all);
    assert_eq!(cpu::online(), all);
    assert_eq!(cpu::active(), all);
    assert!(cpu::online().contains(cpu::current()));
    let Some(last) = all.iter().filter(|cpu| *cpu != cpu::CpuId::BOOT).last() else {
        return;
    };
    assert!(hotplug::cpu_down(last).is_ok());
    assert!(!cpu::online().contains(last) && !cpu::active().contains(last));
    assert_eq!((cpu::possible(), cpu::present()), (all, all));
    assert!(hotplug::cpu_up(last).is_ok());
    assert_eq!(cpu::active(), all);
}
