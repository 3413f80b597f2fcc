use stillpoint::api::hotplug::cpus_read_lock;
use stillpoint::println;

/// Prints each CPU that is online. None comes or goes meanwhile.
pub(crate) fn print_cpus() {
    let cpus = cpus_read_lock();
    for cpu in cpus.each_online() {
        println!("CPU{cpu}");
    }
}
