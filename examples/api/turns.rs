use core::sync::atomic::{AtomicU32, Ordering};

use stillpoint::api::cpu::CpuId;
use stillpoint::api::hotplug::{InstallError, Residence, Residents, spawn_on_each_cpu};
use stillpoint::println;

static ASKED: AtomicU32 = AtomicU32::new(0);

/// Serves requests on one CPU until that goes. What it has on its stack it loses then, and it is
/// called again when the CPU is back: for a server that sets its CPU up anew each time.
fn serve(residence: &Residence<'_>) {
    println!("CPU{} serves", residence.cpu());
    while !residence.is_leaving() {
        // It returns too when the CPU is about to go, and so doesn't hold that up.
        if residence.park() {
            ASKED.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

pub(crate) fn start() -> Result<Residents, InstallError> {
    spawn_on_each_cpu("serve", serve)
}

/// Has the server of `cpu` take a request.
pub(crate) fn ask(servers: &Residents, cpu: CpuId) {
    ASKED.fetch_add(1, Ordering::Relaxed);
    servers.unpark(cpu);
}

/// Ends the servers, or leaves them where the calling thread may not wait for them.
pub(crate) fn end(servers: Residents) {
    if let Err(failed) = servers.remove() {
        println!("the servers stay: {}", failed.why);
        failed.handle.keep();
    }
}
