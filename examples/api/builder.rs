use stillpoint::api::cpu::{CpuId, CpuMask};
use stillpoint::api::thread::{Builder, JoinHandle, Nice, OnOffline, SpawnError, spawn_on};
use stillpoint::println;

/// Starts a thread that computes in the background: others get nearly all of the time if they
/// want it. It prefers `cpus`, and goes on elsewhere if all of them go offline.
pub(crate) fn compute(cpus: CpuMask) -> Result<JoinHandle<u64>, SpawnError> {
    Builder::new()
        .name("background")
        .nice(Nice::MAX)
        .affinity(cpus)
        .on_offline(OnOffline::BreakAffinity)
        .spawn(|| (1..1_000_000).sum())
}

/// Starts the thread of a device that sends its interrupts to `cpu`. As long as it lives, the CPU
/// can't go offline. `spawn_on` is short for a builder with [`OnOffline::Refuse`].
pub(crate) fn serve(cpu: CpuId) -> Option<JoinHandle<()>> {
    match spawn_on(cpu, "device", || println!("the device is served")) {
        Ok(handle) => Some(handle),
        Err(SpawnError::NotActive(cpu)) => {
            println!("CPU{cpu} has to be brought up first");
            None
        }
        Err(SpawnError::OutOfStacks) => {
            println!("there are too many threads");
            None
        }
        Err(error) => panic!("one CPU was asked for: {error}"),
    }
}
