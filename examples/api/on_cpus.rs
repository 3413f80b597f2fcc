use core::sync::atomic::{AtomicUsize, Ordering};

use stillpoint::api::hotplug::{InstallError, on_cpus};
use stillpoint::println;

static HERE: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn count_cpus() -> Result<(), InstallError> {
    let followed = on_cpus(
        |_cpu| {
            HERE.fetch_add(1, Ordering::Relaxed);
        },
        |_cpu| {
            HERE.fetch_sub(1, Ordering::Relaxed);
        },
    )?;
    println!("{} CPUs are online", HERE.load(Ordering::Relaxed));
    drop(followed); // Calls the second function on each of them.
    assert_eq!(HERE.load(Ordering::Relaxed), 0);
    Ok(())
}
