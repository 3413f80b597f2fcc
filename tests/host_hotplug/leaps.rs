//! The counter leaps, because the host has not run the machine for a while: no CPU and no firmware
//! has had any of that time, so none is late.

use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{CpuHealth, HotplugHost};
use stillpoint::platform::Platform;
use stillpoint::sched::SchedHost;

use crate::affinity::spawn;
use crate::failures::{MS, set_limits};
use crate::sim::Sim;

/// How far it leaps: farther than all limits of [`set_limits`] together.
const LEAP: u64 = 100 * MS;

/// How long the operations take, in nanoseconds, and how much later each leap comes.
const LASTS: u64 = 40_000;
const EACH: usize = 1600;

fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

/// Does `move_fn` again and again, and has the counter leap a little later each time.
fn leap_in(move_fn: fn()) {
    for after in (0..LASTS).step_by(EACH) {
        let leaper = spawn("leaper", cpu(3), move || {
            Sim::sched().sleep_until(Sim::deadline(Duration::from_nanos(after)));
            Sim::leap(LEAP);
        });
        move_fn();
        leaper.wait_until_dead();
        for number in 0..4 {
            let health = Sim::hotplug().health(cpu(number));
            assert!(
                !matches!(health, CpuHealth::Unknown(_)),
                "{after}: {health:?}"
            );
        }
    }
}

#[test]
fn a_leap_of_the_counter_makes_no_cpu_late() {
    Sim::run(4, || {
        let hotplug = Sim::hotplug();
        assert_eq!(hotplug.cpu_up(cpu(3)), Ok(()));
        set_limits();
        leap_in(|| {
            assert_eq!(Sim::hotplug().cpu_up(cpu(1)), Ok(()));
            assert_eq!(Sim::hotplug().cpu_down(cpu(1)), Ok(()));
        });
        leap_in(|| {
            let both: CpuMask = [cpu(1), cpu(2)].into_iter().collect();
            assert_eq!(Sim::hotplug().cpus_up(&both), Ok(()));
            assert_eq!(Sim::hotplug().cpus_down(&both), Ok(()));
        });
    });
}
