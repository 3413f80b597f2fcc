use stillpoint::api::cpu::possible;
use stillpoint::api::hotplug::cpus_up;
use stillpoint::println;

/// Brings up all CPUs that the machine has; returns whether all came.
pub(crate) fn all_up() -> bool {
    let Err(error) = cpus_up(&possible()) else {
        return true;
    };
    for (cpu, why) in error.failed() {
        println!("CPU{cpu} stays down: {why}");
    }
    false
}
