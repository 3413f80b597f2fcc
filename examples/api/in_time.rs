use core::time::Duration;

use stillpoint::api::Errno;
use stillpoint::api::cpu::{CpuId, CpuMask};
use stillpoint::api::hotplug::{Awaited, BatchError, CpuDownError};
use stillpoint::api::hotplug::{cpu_down_before, cpus_down_before, down_limit, set_down_limit};
use stillpoint::api::time::deadline;
use stillpoint::println;

/// Gives one CPU back within 20 ms, or keeps it and says what was in the way.
pub(crate) fn give_back_soon(cpu: CpuId) {
    match cpu_down_before(cpu, deadline(Duration::from_millis(20))) {
        Ok(()) => println!("CPU{cpu} is free"),
        Err(CpuDownError::Late { awaited, .. }) => match awaited {
            Awaited::Operation(thread) => println!("{thread} moves another CPU"),
            Awaited::Reader(thread) => println!("{thread} keeps the CPUs where they are"),
            Awaited::Cpu(other) => println!("CPU{other} had preemption off all the time"),
            Awaited::Stop(missing) => println!("CPU{} did not come", missing.cpu),
            Awaited::Nothing => println!("the time was too short"),
        },
        Err(error) => println!("{error}"),
    }
}

/// Gives back as many of `cpus` as go within 100 ms; returns those that have gone.
pub(crate) fn give_back_some(cpus: &CpuMask, urgent: CpuId) -> CpuMask {
    let before = deadline(Duration::from_millis(100));
    let Err(error) = cpus_down_before(cpus, before) else {
        return *cpus;
    };
    let gone = cpus.without(&error.cpus());
    if let Some(why) = error.of(urgent) {
        println!("the one that matters stays: {why}");
    }
    if error.errno() == Errno::TimedOut {
        println!("some would go if they had more time");
    }
    log(error);
    gone
}

fn log(error: BatchError<CpuDownError>) {
    for (cpu, why) in error.into_failed() {
        println!("CPU{cpu}: {why}");
    }
}

/// Has every way down turn back after a second, those of other threads and of the shell too.
pub(crate) fn limit_all() -> Option<Duration> {
    let before = down_limit();
    set_down_limit(Some(Duration::from_secs(1)));
    before
}
