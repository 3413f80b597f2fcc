//! Limits of a batch on its way down: it turns back at a deadline as one CPU does, and those
//! that are late by themselves don't keep the others; and what control waits for behind the
//! still point has one limit for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Awaited, BatchError, CpuDownError, CpuHealth, Hotplug, HotplugHost, Left, Quarantine,
    StepError, StepHandle, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;
use stillpoint::sched::SchedHost;
use stillpoint::trace::Direction;

use crate::affinity::{log_lines, spawn, start_log};
use crate::batches::{all_up, check_online, counters, cpu, mask};
use crate::deadlines::{
    Flag, LONG, SHORT, busy_from, holder, name, sleep, slow_on, stop_waits_for,
};
use crate::every_cpu::look;
use crate::failures::{DIE, OFF, set_limits, step};
use crate::sim::{NEVER, Off, Sim};

type Went = Result<(), BatchError<CpuDownError>>;

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

/// Runs a test on a machine of four CPUs, all online.
fn with_four(test: impl FnOnce() + Send + 'static) {
    Sim::run(4, move || {
        all_up(4);
        test();
    });
}

/// The CPUs that are to go in most tests.
fn set() -> CpuMask {
    mask(&[1, 2, 3])
}

/// Takes them down before a deadline that is [`SHORT`] from now.
fn down() -> Went {
    hotplug().cpus_down_before(&set(), Sim::deadline(SHORT))
}

/// Takes CPUs down, and returns how many still points there were.
fn stops_of(down_fn: impl FnOnce() -> Went) -> (Went, u64) {
    let before = counters().0;
    let went = down_fn();
    (went, counters().0 - before)
}

/// Checks that all CPUs are as before, and that a batch without a deadline goes.
fn check_back() {
    look(&[0, 1, 2, 3]);
    assert_eq!(hotplug().cpus_down(&set()), Ok(()));
    all_up(4);
    look(&[0, 1, 2, 3]);
}

/// Checks that each of the set has stayed, with `error_fn` of it.
fn check_all_stay(went: Went, error_fn: impl Fn(CpuId) -> CpuDownError) {
    let failed = went.expect_err("the deadline comes first");
    assert_eq!(failed.cpus(), set());
    for (cpu, error) in failed.failed() {
        assert_eq!(*error, error_fn(*cpu));
    }
    assert_eq!(failed.errno(), Errno::TimedOut);
}

fn late(awaited: Awaited) -> impl Fn(CpuId) -> CpuDownError {
    move |cpu| CpuDownError::Late { cpu, awaited }
}

fn step_failed(step: &'static str, error: StepError) -> impl Fn(CpuId) -> CpuDownError {
    move |cpu| CpuDownError::Step {
        cpu,
        step: step.into(),
        error,
    }
}

/// Installs a step whose teardown takes `time` on CPU 2.
fn slow_on_two(time: Duration) -> StepHandle<Sim> {
    slow_on(|cpu| cpu.index() == 2, time)
}

#[test]
fn with_a_limit_it_is_one_still_point_too() {
    with_four(|| {
        hotplug().set_down_limit(Some(SHORT));
        let (stops, graces) = counters();
        assert_eq!(hotplug().cpus_down(&set()), Ok(()));
        assert_eq!(counters(), (stops + 1, graces + 1));
        check_online(4, &[0]);
        hotplug().set_down_limit(None);
        all_up(4);
        check_back();
    });
}

#[test]
fn a_cpu_that_is_late_leaves_the_set_and_the_others_go_in_time() {
    with_four(|| {
        let done = holder("pins", cpu(2), || Sim::sched().migrate_disable());
        let deadline = Sim::deadline(SHORT);
        let (went, stops) = stops_of(|| hotplug().cpus_down_before(&set(), deadline));
        let failed = went.expect_err("one is pinned");
        assert_eq!((failed.cpus(), stops), (mask(&[2]), 1));
        let error = step_failed("sched:drain", StepError::Pinned(name("pins")))(cpu(2));
        assert_eq!(failed.of(cpu(2)), Some(&error));
        assert!(Sim::now() < deadline, "they went too late");
        look(&[0, 2]);
        done.set();
        all_up(4);

        // It ends in time for itself, but not for the others.
        let step = slow_on_two(SHORT * 85 / 100);
        let (went, stops) = stops_of(down);
        let failed = went.expect_err("one is slow");
        assert_eq!((failed.cpus(), stops), (mask(&[2]), 1));
        let error = step_failed("enable:slow", StepError::Late)(cpu(2));
        assert_eq!(failed.of(cpu(2)), Some(&error));
        drop(step);
        all_up(4);
        check_back();
    });
}

/// A step that isn't over at the deadline can't be interrupted. The others go in time, and the
/// operation waits until that CPU has turned back.
#[test]
fn a_step_that_lasts_longer_keeps_no_other_cpu() {
    with_four(|| {
        let step = slow_on_two(LONG);
        let (gone_at, theirs) = shared(0);
        spawn("looks", CpuId::BOOT, move || {
            while Sim::masks().online().without(&mask(&[2])).count() > 1 {
                sleep(Duration::from_micros(10));
            }
            theirs.store(Sim::time(), Ordering::Relaxed);
        });
        let (began, deadline) = (Sim::time(), Sim::deadline(SHORT));
        let (went, stops) = stops_of(|| hotplug().cpus_down_before(&set(), deadline));
        let failed = went.expect_err("one is slow");
        assert_eq!((failed.cpus(), stops), (mask(&[2]), 1));
        let error = step_failed("enable:slow", StepError::Late)(cpu(2));
        assert_eq!(failed.of(cpu(2)), Some(&error));
        let took = Duration::from_nanos(gone_at.load(Ordering::Relaxed) - began);
        assert!(took < SHORT, "the others went after {took:?}");
        assert!(Sim::time() - began >= nanoseconds(LONG));
        look(&[0, 2]);
        drop(step);
        all_up(4);
        check_back();
    });
}

/// Of each CPU that has not walked for ten seconds the log names the step and says how its thread
/// is.
#[test]
fn the_log_names_the_steps_that_take_long() {
    start_log();
    with_four(|| {
        let is_slow = |cpu: CpuId| cpu.index() > 1;
        let step = slow_on(is_slow, Duration::from_secs(11));
        assert_eq!(hotplug().cpus_down(&set()), Ok(()));
        drop(step);
    });
    let mut lines = log_lines("cpuhp/");
    lines.retain(|line| line.contains("in step enable:slow"));
    let line = |number| {
        let state = "(it is Blocked, in step enable:slow)";
        format!("{number} has not finished a walk for 10 s {state}")
    };
    assert_eq!(lines, [line(2), line(3)]);
}

/// Behind such a step all turn back, if the machine can't be stopped.
#[test]
fn all_turn_back_behind_a_step_that_lasts_longer() {
    with_four(|| {
        let step = slow_on_two(LONG);
        let goes = mask(&[1, 2]);
        let is_down = || hotplug().state(cpu(1)).state() == UP_TO_ONLINE;
        let done = busy_from(cpu(3), is_down);
        sleep(Duration::from_millis(1));
        let went = || hotplug().cpus_down_before(&goes, Sim::deadline(SHORT));
        let (went, stops) = stops_of(went);
        let failed = went.expect_err("a CPU is busy");
        assert_eq!((failed.cpus(), stops), (goes, 0));
        let error = late(stop_waits_for(cpu(3)))(cpu(1));
        assert_eq!(failed.of(cpu(1)), Some(&error));
        let error = step_failed("enable:slow", StepError::Late)(cpu(2));
        assert_eq!(failed.of(cpu(2)), Some(&error));
        done.set();
        drop(step);
        check_back();
    });
}

/// Returns a word and another handle of it.
fn shared(value: u64) -> (Arc<AtomicU64>, Arc<AtomicU64>) {
    let word = Arc::new(AtomicU64::new(value));
    (Arc::clone(&word), word)
}

/// One alone has all the time until the deadline, in a batch of one too.
#[test]
fn no_time_is_kept_for_others_where_there_are_none() {
    with_four(|| {
        let step = slow_on(|_| true, SHORT * 9 / 10);
        let alone = hotplug().cpus_down_before(&mask(&[3]), Sim::deadline(SHORT));
        assert_eq!(alone, Ok(()));
        let off_too = hotplug().cpus_down_before(&mask(&[2, 3]), Sim::deadline(SHORT));
        assert_eq!(off_too, Ok(()));
        look(&[0, 1]);
        drop(step);
        all_up(4);
        check_back();
    });
}

#[test]
fn readers_and_operations_are_named_for_each() {
    with_four(|| {
        let done = holder("reads", CpuId::BOOT, || hotplug().cpus_read_lock());
        let (went, stops) = stops_of(down);
        check_all_stay(went, late(Awaited::Reader(name("reads"))));
        assert_eq!(stops, 0);
        done.set();
        check_back();

        let step = slow_on_two(LONG);
        let went = Flag::default();
        let theirs = went.clone();
        spawn("goes", CpuId::BOOT, move || {
            assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
            theirs.set();
        });
        while hotplug().state(cpu(2)).state() == stillpoint::hotplug::ALL_UP {
            sleep(Duration::from_micros(10));
        }
        check_all_stay(down(), late(Awaited::Operation(name("goes"))));
        went.sleep_until_set();
        drop(step);
        all_up(4);
        check_back();
    });
}

#[test]
fn nothing_begins_after_the_deadline() {
    with_four(|| {
        Sim::take_notes();
        let went = hotplug().cpus_down_before(&set(), Sim::now());
        check_all_stay(went, late(Awaited::Nothing));
        let walked = Sim::take_notes();
        assert!(walked.is_empty(), "{walked:?}");
        check_back();
        // Where there is nothing to do it isn't late.
        assert_eq!(hotplug().cpus_down(&set()), Ok(()));
        assert_eq!(hotplug().cpus_down_before(&set(), Sim::now()), Ok(()));
    });
}

/// CPU 3 stays, and doesn't come to the grace period, or to the stop.
#[test]
fn all_turn_back_where_the_machine_would_not_stop() {
    with_four(|| {
        let goes = mask(&[1, 2]);
        let down = || hotplug().cpus_down_before(&goes, Sim::deadline(SHORT));
        let check = |went: Went, awaited: Awaited| {
            let failed = went.expect_err("a CPU is busy");
            assert_eq!(failed.cpus(), goes);
            let late = late(awaited);
            for (cpu, error) in failed.failed() {
                assert_eq!(*error, late(*cpu));
            }
        };
        let try_beside = |done: Flag, awaited: Awaited| {
            sleep(Duration::from_millis(1));
            let (went, stops) = stops_of(down);
            check(went, awaited);
            assert_eq!(stops, 0);
            done.set();
            check_back();
        };
        // From the start.
        try_beside(busy_from(cpu(3), || true), Awaited::Cpu(cpu(3)));

        // It begins when all steps in thread context are down.
        let down_to_online = |number| hotplug().state(cpu(number)).state() == UP_TO_ONLINE;
        let both_are = move || down_to_online(1) && down_to_online(2);
        try_beside(busy_from(cpu(3), both_are), stop_waits_for(cpu(3)));
    });
}

/// A CPU comes back to where it rested, and one of whose steps fails on the way back stays half
/// way.
#[test]
fn each_comes_back_to_where_it_was() {
    with_four(|| {
        let rest = step("sched:drain") + 1;
        assert_eq!(hotplug().cpu_set_target(cpu(1), rest), Ok(()));
        let goes = mask(&[1, 2]);
        let is_down = |number| hotplug().state(cpu(number)).state() == UP_TO_ONLINE;
        let done = busy_from(cpu(3), move || is_down(1) && is_down(2));
        sleep(Duration::from_millis(1));
        let failed = hotplug().cpus_down_before(&goes, Sim::deadline(SHORT));
        let failed = failed.expect_err("a CPU is busy");
        assert_eq!(failed.cpus(), goes);
        assert_eq!(hotplug().state(cpu(1)).state(), rest);
        assert_eq!(hotplug().health(cpu(2)), CpuHealth::Online);
        done.set();

        let threads = step("sched:threads");
        let done = busy_from(cpu(3), move || is_down(1) && is_down(2));
        sleep(Duration::from_millis(1));
        Sim::script(|script| script.fails = vec![(threads, Direction::Up)]);
        let failed = hotplug().cpus_down_before(&goes, Sim::deadline(SHORT));
        let failed = failed.expect_err("a CPU is busy");
        let late = late(stop_waits_for(cpu(3)));
        assert_eq!(failed.of(cpu(1)), Some(&late(cpu(1))));
        assert_eq!(hotplug().state(cpu(1)).state(), rest);
        let half = CpuDownError::NotUndone {
            cpu: cpu(2),
            step: "sched:threads".into(),
            error: StepError::Injected,
            left: Left::HalfWay("init:online".into()),
        };
        assert_eq!(failed.of(cpu(2)), Some(&half));
        assert_eq!(hotplug().health(cpu(2)), CpuHealth::HalfWay(UP_TO_ONLINE));
        done.set();
        all_up(4);
        check_back();
    });
}

/// Takes the set down, and returns for how long that took.
fn time_of_down() -> (BatchError<CpuDownError>, Duration) {
    let before = Sim::time();
    let failed = hotplug().cpus_down(&set()).expect_err("none is seen off");
    (failed, Duration::from_nanos(Sim::time() - before))
}

/// However many are late, control waits for one limit.
#[test]
fn all_have_one_limit_to_go_off() {
    with_four(|| {
        set_limits();
        Sim::script(|script| script.off = Off::After(NEVER));
        let (failed, took) = time_of_down();
        assert_eq!(failed.cpus(), set());
        assert!(took >= OFF && took < 2 * OFF, "{took:?}");
        for (cpu, error) in failed.failed() {
            let (cpu, refused) = (*cpu, None);
            assert_eq!(*error, CpuDownError::NotOff { cpu, refused });
        }
        // Those that are quarantined are asked once more, all within one limit.
        let (failed, took) = time_of_down();
        assert_eq!(failed.cpus(), set());
        assert!(took >= OFF && took < 2 * OFF, "{took:?}");
        Sim::heal();
        assert_eq!(hotplug().cpus_down(&set()), Ok(()));
        check_online(4, &[0]);
    });
}

/// As above, for DEAD.
#[test]
fn all_have_one_limit_to_die() {
    with_four(|| {
        set_limits();
        Sim::script(|script| script.dies_after = NEVER);
        let (failed, took) = time_of_down();
        assert_eq!(failed.cpus(), set());
        assert!(took >= DIE && took < 2 * DIE, "{took:?}");
        let dead = |error: &CpuDownError| matches!(error, CpuDownError::NotDead { .. });
        assert!(failed.failed().iter().all(|(_, error)| dead(error)));
        let quarantined = |number| matches!(hotplug().health(cpu(number)), CpuHealth::Unknown(_));
        assert!((1..4).all(quarantined));
    });
}

/// The limit counts from the last CPU that was in time: together they may take longer.
#[test]
fn each_that_is_in_time_gives_the_next_its_limit() {
    with_four(|| {
        set_limits();
        for (dies_after, off) in [(0, OFF * 4 / 5), (nanoseconds(DIE * 4 / 5), Duration::ZERO)] {
            Sim::script(|script| {
                script.by_number = true;
                script.dies_after = dies_after;
                script.off = Off::After(nanoseconds(off));
            });
            assert_eq!(hotplug().cpus_down(&set()), Ok(()));
            check_online(4, &[0]);
            Sim::heal();
            all_up(4);
        }
    });
}

/// Takes `gone` down such that it isn't seen off; it stays on from then on, and it alone.
pub(crate) fn quarantine(gone: CpuId) {
    set_limits();
    Sim::script(|script| script.off = Off::After(NEVER));
    let refused = None;
    let not_off = CpuDownError::NotOff { cpu: gone, refused };
    assert_eq!(hotplug().cpu_down(gone), Err(not_off));
    Sim::script(|script| script.off = Off::After(0));
}

/// Time that is shorter than firmware's limit to say OFF.
const BEFORE_OFF: Duration = Duration::from_millis(3);

/// Control looks once more at a quarantined CPU when the others have gone, and not longer than
/// until the deadline.
#[test]
fn one_that_is_quarantined_takes_no_time_from_the_others() {
    for quarantined in [1, 3] {
        with_four(move || {
            quarantine(cpu(quarantined));
            let began = Sim::time();
            let (went, stops) =
                stops_of(|| hotplug().cpus_down_before(&set(), Sim::deadline(BEFORE_OFF)));
            let took = Duration::from_nanos(Sim::time() - began);
            let failed = went.expect_err("one is quarantined");
            let error = CpuDownError::Quarantined {
                cpu: cpu(quarantined),
                quarantine: Quarantine::NotOff(None),
            };
            assert_eq!(failed.failed(), [(cpu(quarantined), error)]);
            assert_eq!((Sim::masks().online(), stops), (CpuMask::of(cpu(0)), 1));
            assert!(took < OFF, "{took:?}");
        });
    }
}

/// As above, for one CPU.
#[test]
fn a_quarantined_cpu_is_not_waited_for_after_the_deadline() {
    with_four(|| {
        quarantine(cpu(2));
        let began = Sim::time();
        let went = hotplug().cpu_down_before(cpu(2), Sim::deadline(BEFORE_OFF));
        let took = Duration::from_nanos(Sim::time() - began);
        let error = CpuDownError::Quarantined {
            cpu: cpu(2),
            quarantine: Quarantine::NotOff(None),
        };
        assert_eq!(went, Err(error));
        assert!(took < OFF, "{took:?}");
    });
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("short times")
}
