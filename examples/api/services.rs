use core::sync::atomic::{AtomicUsize, Ordering};

use alloc::vec::Vec;

use stillpoint::api::cpu::{CpuId, possible};
use stillpoint::api::hotplug::{
    InstallError, NotRemoved, RegisteredService, Service, register_service,
};

/// Does what CPUs are given, each on the CPU that it was given to.
pub(crate) struct Worker {
    /// How much each CPU has left to do.
    given: Vec<AtomicUsize>,
}

impl Service for Worker {
    fn should_run(&self, cpu: CpuId) -> bool {
        self.given[cpu.index()].load(Ordering::Relaxed) > 0
    }

    fn run(&self, cpu: CpuId) {
        // One of the things that it was given would be done here.
        self.given[cpu.index()].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives `cpu` one thing to do. If it is offline, it does that when it is back.
pub(crate) fn give(worker: &RegisteredService<Worker>, cpu: CpuId) {
    worker.given[cpu.index()].fetch_add(1, Ordering::Relaxed);
    worker.wake(cpu);
}

pub(crate) fn start() -> Result<RegisteredService<Worker>, InstallError> {
    let cpus = possible();
    let given = cpus.iter().map(|_| AtomicUsize::new(0)).collect();
    register_service("worker", Worker { given })
}

/// Ends the service; what was given and not done is lost. A thread that hotplug waits for can't
/// end it: then it goes on for ever. Returns whether it has ended.
pub(crate) fn end(worker: RegisteredService<Worker>) -> bool {
    match worker.remove() {
        Ok(()) => true,
        Err(NotRemoved { handle, .. }) => {
            handle.keep();
            false
        }
    }
}
