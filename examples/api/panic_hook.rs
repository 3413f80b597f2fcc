use core::sync::atomic::{AtomicU32, Ordering};

use stillpoint::api::panic::{HookIsSet, PanicReport, set_hook};
use stillpoint::api::reboot;
use stillpoint::println;

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// Says on the console what was under way, and starts the machine again. It takes no lock and
/// allocates nothing: a CPU may have been stopped anywhere.
fn restart(report: &PanicReport<'_>) {
    let requests = REQUESTS.load(Ordering::Relaxed);
    let (cpu, thread) = (report.cpu(), report.thread());
    println!("CPU{cpu}, {thread}: {requests} requests are lost");
    match (report.location(), report.message()) {
        (Some(place), Some(message)) => println!("{place} says {message}"),
        // A fault has no place in the source; its registers are in the report above.
        _ => println!("it was an exception"),
    }
    reboot()
}

/// Sets the hook, as a library may do whose program has none.
pub(crate) fn restart_on_panic() {
    match set_hook(restart) {
        Ok(()) => println!("a panic starts the machine again"),
        Err(HookIsSet) => println!("the program has a hook of its own"),
    }
}
