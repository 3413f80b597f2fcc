use core::time::Duration;

use stillpoint::api::hotplug::{InstallError, Residents, spawn_on_each_cpu};
use stillpoint::println;

/// Has a thread on each CPU count seconds. It doesn't count while its CPU is away, and goes on
/// where it was when that is back.
pub(crate) fn count_seconds() -> Result<Residents, InstallError> {
    spawn_on_each_cpu("seconds", |residence| {
        let mut seconds = 0;
        while residence.stay() {
            println!("CPU{} was here for {seconds} s", residence.cpu());
            residence.park_timeout(Duration::from_secs(1));
            seconds += 1;
        }
    })
}
