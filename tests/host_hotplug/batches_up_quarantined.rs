//! Several CPUs that come up in one operation, of which one is quarantined.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{CpuHealth, Parallel, Quarantine, StepError};
use stillpoint::platform::{Platform, PowerState, PsciError};
use stillpoint::sched::SchedHost;
use stillpoint::trace::Direction;

use crate::batch_limits::quarantine;
use crate::batches::{all_up, check_online, cpu, hotplug, mask};
use crate::batches_up::{failed_at, in_each_way, nth_call};
use crate::failures::step;
use crate::sim::{NEVER, Sim};

/// Has CPU 2 quarantined and the others off, but CPU 0.
fn quarantine_one() {
    all_up(4);
    quarantine(cpu(2));
    assert_eq!(hotplug().cpus_down(&mask(&[1, 3])), Ok(()));
}

/// Has the CPU that is quarantined go off.
fn let_it_go() {
    Sim::heal();
    Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
}

/// Brings all up. Firmware refuses CPU 2.
fn refused() {
    nth_call(1, Err(PsciError::Denied), NEVER);
    let failed = hotplug().cpus_up(&mask(&[1, 2, 3]));
    let failed = failed.expect_err("firmware refuses one");
    let error = failed_at(2, "prep:hardware", StepError::Psci(PsciError::Denied));
    assert_eq!(failed.failed(), [(cpu(2), error)]);
    assert_eq!(Sim::masks().active(), mask(&[0, 1, 3]));
}

/// Control looks at it first: it may have gone off since. Then it is like any that is off.
#[test]
fn one_that_has_gone_off_since_is_quarantined_no_more() {
    in_each_way(&Parallel::ALL, 4, |how| {
        quarantine_one();
        let_it_go();
        refused();
        let health = CpuHealth::Refused(PsciError::Denied);
        assert_eq!(hotplug().health(cpu(2)), health, "{how:?}");
        assert_eq!(hotplug().cpus_up(&mask(&[2])), Ok(()));
    });
}

/// The error doesn't say that the operation has left it so.
#[test]
fn one_that_is_refused_is_as_it_was() {
    in_each_way(&Parallel::ALL, 4, |how| {
        quarantine_one();
        refused();
        let health = CpuHealth::Unknown(Quarantine::NotOff(None));
        assert_eq!(hotplug().health(cpu(2)), health, "{how:?}");
        Sim::heal();
        assert_eq!(hotplug().cpus_up(&mask(&[2])), Ok(()));
    });
}

/// How often the heap cache of each CPU was emptied in its machine: a byte for each CPU.
static EMPTIED: AtomicU64 = AtomicU64::new(0);

/// Firmware starts a CPU only if it is off, whatever firmware said before. So its quarantine is
/// over then: if the walk fails before the CPU has come, it leaves no memory with the CPU.
#[test]
fn one_that_firmware_starts_is_quarantined_no_more() {
    in_each_way(&Parallel::ALL, 4, |how| {
        quarantine_one();
        let_it_go();
        let on = Some(Ok(PowerState::On));
        Sim::script(|script| {
            script.affinity = on;
            script.fails = vec![(step("sync:alive"), Direction::Up)];
            script.empties = Some(|on: CpuId| {
                EMPTIED.fetch_add(1 << (8 * on.index()), Ordering::Relaxed);
            });
        });
        let failed = hotplug().cpus_up(&mask(&[2, 3]));
        let failed = failed.expect_err("a step is broken");
        let error = failed_at(2, "sync:alive", StepError::Injected);
        assert_eq!(failed.failed(), [(cpu(2), error)]);
        let emptied = EMPTIED.swap(0, Ordering::Relaxed);
        assert_eq!(emptied, 1 << 16, "{how:?}");
        Sim::heal();
        assert_eq!(hotplug().cpus_up(&mask(&[1, 2])), Ok(()));
        check_online(4, &[0, 1, 2, 3]);
    });
}
