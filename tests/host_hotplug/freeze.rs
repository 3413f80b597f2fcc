//! Freeze and thaw: all CPUs but any one go and come back, and hotplug is disabled meanwhile.

use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, CpuDownError, CpuHealth, CpuUpError, FreezeError, Hotplug, HotplugDisabled,
    HotplugHost, Passing, Place, Quarantine, StepError, TargetError, ThawError,
};
use stillpoint::platform::{Platform, PsciError};
use stillpoint::sched::SchedHost;
use stillpoint::sched::lock::WouldDeadlock;
use stillpoint::trace::Direction::Down;

use crate::affinity::{log_lines, start_log};
use crate::batches::{Watch, counters, installed};
use crate::deadlines::{LONG, end_after, holder, name, sleep};
use crate::every_cpu::look;
use crate::failures::{set_limits, step};
use crate::sim::{NEVER, Off, On, Sim};

const ALL: [usize; 4] = [0, 1, 2, 3];

const fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

/// Runs `test` on a machine of four CPUs, all of them up.
fn with_four(test: impl FnOnce() + Send + 'static) {
    Sim::run(4, move || {
        for number in ALL {
            assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
        }
        test();
    });
}

/// Checks that every operation is refused.
fn is_disabled() {
    for number in ALL {
        let cpu = cpu(number);
        assert_eq!(
            hotplug().cpu_up(cpu),
            Err(CpuUpError::Disabled(HotplugDisabled))
        );
        assert_eq!(
            hotplug().cpu_down(cpu),
            Err(CpuDownError::Disabled(HotplugDisabled))
        );
        assert_eq!(
            hotplug().cpu_set_target(cpu, 0),
            Err(TargetError::Disabled(HotplugDisabled))
        );
        assert_eq!(
            hotplug().freeze(cpu).err(),
            Some(FreezeError::Disabled(HotplugDisabled))
        );
    }
}

#[test]
fn all_but_any_one() {
    with_four(|| {
        for stays in ALL {
            let mut frozen = hotplug().freeze(cpu(stays)).expect("all go");
            look(&[stays]);
            let others = CpuMask::first_n(4).without(&CpuMask::of(cpu(stays)));
            assert_eq!(frozen.cpus(), others);
            is_disabled();
            look(&[stays]);
            assert_eq!(frozen.thaw(), Ok(()));
            look(&ALL);
            // Once more changes nothing, and neither does the drop.
            assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
            assert_eq!((frozen.thaw(), frozen.cpus()), (Ok(()), CpuMask::EMPTY));
            drop(frozen);
            look(&[0, 2, 3]);
            assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        }
    });
}

#[test]
fn dropping_thaws_and_those_that_were_off_stay_off() {
    with_four(|| {
        assert_eq!(hotplug().cpu_down(cpu(0)), Ok(()));
        let frozen = hotplug().freeze(cpu(2)).expect("the others go");
        assert_eq!(frozen.cpus(), [cpu(1), cpu(3)].into_iter().collect());
        drop(frozen);
        look(&[1, 2, 3]);
        let off = hotplug().freeze(cpu(0)).err();
        assert_eq!(off, Some(FreezeError::NotActive(cpu(0))));
        let none = hotplug().freeze(cpu(4)).err();
        assert_eq!(none, Some(FreezeError::NotActive(cpu(4))));
        look(&[1, 2, 3]);
    });
}

/// The others go as a batch: one still point, and one grace period, also where ways down have a
/// limit.
#[test]
fn a_freeze_is_a_batch() {
    with_four(|| {
        for limit in [None, Some(LONG)] {
            hotplug().set_down_limit(limit);
            let before = counters();
            let frozen = hotplug().freeze(cpu(2)).expect("the others go");
            assert_eq!(counters(), (before.0 + 1, before.1 + 1));
            drop(frozen);
            look(&ALL);
        }
    });
}

/// At the limit the freeze fails, and those that have gone come back.
#[test]
fn a_freeze_that_is_late_is_taken_back() {
    with_four(|| {
        hotplug().set_down_limit(Some(LONG));
        let done = holder("pins", cpu(1), || Sim::sched().migrate_disable());
        let error = CpuDownError::Step {
            cpu: cpu(1),
            step: "sched:drain".into(),
            error: StepError::Pinned(name("pins")),
        };
        let refused = FreezeError::Down { error, away: 0 };
        assert_eq!(hotplug().freeze(cpu(2)).err(), Some(refused));
        look(&ALL);
        done.set();
        drop(hotplug().freeze(cpu(2)).expect("the others go"));
        look(&ALL);
    });
}

/// A CPU comes back to where it rested.
#[test]
fn a_cpu_that_rests_half_way_does_so_again() {
    with_four(|| {
        let rest = step("sched:threads") + 1;
        assert_eq!(hotplug().cpu_set_target(cpu(3), rest), Ok(()));
        let frozen = hotplug().freeze(cpu(1)).expect("the others go");
        assert_eq!(Sim::masks().online(), CpuMask::of(cpu(1)));
        drop(frozen);
        assert_eq!(hotplug().state(cpu(3)).state(), rest);
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        look(&ALL);
    });
}

/// One doesn't go: those that have gone come back.
#[test]
fn a_cpu_that_does_not_go() {
    with_four(|| {
        let refused = FreezeError::Down {
            error: CpuDownError::Step {
                cpu: cpu(0),
                step: "sched:threads".into(),
                error: StepError::Injected,
            },
            away: 0,
        };
        let fails = vec![(step("sched:threads"), Down)];
        Sim::script(|script| script.fails = fails);
        assert_eq!(hotplug().freeze(cpu(3)).err(), Some(refused));
        look(&ALL);
        // The second one that goes is refused.
        let error = StepError::Injected;
        let threads = hotplug().inject_failure(cpu(2), Some(step("sched:threads")));
        assert_eq!(threads, Ok(()));
        let refused = FreezeError::Down {
            error: CpuDownError::Step {
                cpu: cpu(2),
                step: "sched:threads".into(),
                error,
            },
            away: 0,
        };
        assert_eq!(hotplug().freeze(cpu(0)).err(), Some(refused));
        look(&ALL);
        drop(hotplug().freeze(cpu(0)).expect("it is enabled"));
        look(&ALL);
    });
}

/// Some have left, and were not seen off. They are quarantined, so they don't come back, are
/// counted, and the log says it of each.
#[test]
fn cpus_that_are_not_seen_off_are_away() {
    start_log();
    with_four(|| {
        set_limits();
        Sim::script(|script| script.off = Off::After(NEVER));
        let refused = None;
        let error = CpuDownError::NotOff {
            cpu: cpu(0),
            refused,
        };
        let failed = FreezeError::Down { error, away: 3 };
        assert_eq!(hotplug().freeze(cpu(3)).err(), Some(failed));
        assert_eq!(Sim::masks().online(), CpuMask::of(cpu(3)));
        for number in 0..3 {
            let line = CpuDownError::NotOff {
                cpu: cpu(number),
                refused,
            };
            let lines = log_lines(&format!("freeze: {line}"));
            assert_eq!(lines.len(), 1, "{lines:?}");
            let quarantined = CpuHealth::Unknown(Quarantine::NotOff(refused));
            assert_eq!(hotplug().health(cpu(number)), quarantined);
        }
        // Hotplug is enabled: they can be called again.
        Sim::heal();
        for number in 0..3 {
            assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
        }
        look(&ALL);
    });
}

/// Those that come back from a freeze that fails come under the hotplug lock: a thread that holds
/// it for reading sees none come.
#[test]
fn no_cpu_comes_back_under_a_reader() {
    with_four(|| {
        // Time in which a reader could come before the CPUs do.
        let start_fn = |_: CpuId| {
            sleep(Duration::from_micros(100));
            Ok(())
        };
        let callbacks = Callbacks::prep(Some(Box::new(start_fn)), None);
        let slow = installed("slow", Place::Prep, callbacks, Passing::Skipped);
        let failing = hotplug().inject_failure(cpu(2), Some(step("sched:threads")));
        assert_eq!(failing, Ok(()));
        let watch = Watch::start(cpu(0));
        assert!(hotplug().freeze(cpu(0)).is_err());
        watch.end();
        slow.keep();
        look(&ALL);
    });
}

/// The limit for ways down holds while a freeze waits for the locks too.
#[test]
fn a_freeze_waits_for_the_locks_until_the_limit() {
    with_four(|| {
        hotplug().set_down_limit(Some(LONG));
        let done = holder("reads", cpu(0), || hotplug().cpus_read_lock());
        end_after(&done, 10 * LONG);
        let began = Sim::time();
        let failed = hotplug().freeze(cpu(0)).err().expect("a thread reads");
        let took = Duration::from_nanos(Sim::time() - began);
        assert!(took >= LONG && took < 2 * LONG, "{took:?}: {failed}");
        assert_eq!(failed.errno(), Errno::TimedOut);
        let says = "thread reads held cpus_read_lock until the deadline";
        assert!(failed.to_string().ends_with(says), "{failed}");
        done.sleep_until_set();
        drop(hotplug().freeze(cpu(0)).expect("none reads"));
        look(&ALL);
    });
}

/// One doesn't come back: all others do, and hotplug is enabled.
#[test]
fn a_cpu_that_does_not_come_back() {
    with_four(|| {
        let mut frozen = hotplug().freeze(cpu(2)).expect("the others go");
        let refuses = On {
            answer: Err(PsciError::Denied),
            starts: 0,
        };
        Sim::script(|script| script.on.push_front(refuses));
        let error = CpuUpError::Step {
            cpu: cpu(0),
            step: "prep:hardware".into(),
            error: StepError::Psci(PsciError::Denied),
        };
        assert_eq!(frozen.thaw(), Err(ThawError::Up { error, away: 1 }));
        look(&[1, 2, 3]);
        drop(frozen);
        assert_eq!(hotplug().cpu_up(cpu(0)), Ok(()));
        look(&ALL);
    });
}

#[test]
fn guards_are_counted() {
    with_four(|| {
        let first = hotplug().disable().expect("a thread may");
        let second = hotplug().disable().expect("a thread may");
        drop(first);
        is_disabled();
        // A thaw takes place in spite of a guard.
        drop(second);
        let mut frozen = hotplug().freeze(cpu(1)).expect("the others go");
        let guard = hotplug().disable().expect("a thread may");
        assert_eq!(frozen.thaw(), Ok(()));
        look(&ALL);
        is_disabled();
        drop(guard);
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        look(&[0, 2, 3]);
    });
}

/// Where an operation would wait for its own thread, each of them says so, and a machine that
/// is frozen stays so.
#[test]
fn a_reader_neither_freezes_nor_thaws() {
    with_four(|| {
        let mut frozen = hotplug().freeze(cpu(1)).expect("the others go");
        let reader = hotplug().cpus_read_lock();
        let why = WouldDeadlock::HoldsIt;
        assert_eq!(frozen.thaw(), Err(ThawError::WouldDeadlock(why)));
        assert_eq!(hotplug().disable().err(), Some(why));
        let again = hotplug().freeze(cpu(1)).err();
        assert_eq!(again, Some(FreezeError::WouldDeadlock(why)));
        drop(reader);
        look(&[1]);
        assert_eq!(frozen.thaw(), Ok(()));
        look(&ALL);
    });
}
