use stillpoint::api::hotplug::{InstallError, Step, cpus_read_lock, post_dead};
use stillpoint::api::thread;
use stillpoint::println;

/// Tells of each CPU that has gone, in a thread that needs the set of CPUs to stand still.
pub(crate) fn tell() -> Result<Step, InstallError> {
    post_dead("tell", |cpu| {
        let teller = thread::spawn(move || {
            let cpus = cpus_read_lock();
            println!("CPU{cpu} has gone; left are {}", cpus.online());
        });
        teller.join();
    })
}
