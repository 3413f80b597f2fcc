//! Ways down with a deadline: whatever is in the way until then is named, and all is as it was
//! before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    ALL_UP, Awaited, Callbacks, CpuDownError, CpuHealth, Hotplug, HotplugHost, Left, Passing,
    Place, StepError, StepHandle, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, ThreadName};
use stillpoint::stop_machine::{HeldBy, HeldUp, NotCome};
use stillpoint::sync::{LocalCpu, PreemptGuard};
use stillpoint::trace::Direction;

use crate::affinity::spawn;
use crate::batches::installed;
use crate::failures::step;
use crate::sim::Sim;

pub(crate) const SHORT: Duration = Duration::from_millis(10);
pub(crate) const LONG: Duration = Duration::from_millis(20);

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn victim() -> CpuId {
    CpuId::from_index(1)
}

pub(crate) fn sleep(time: Duration) {
    Sim::sched().sleep_until(Sim::deadline(time));
}

pub(crate) fn name(text: &str) -> ThreadName {
    ThreadName::new(format_args!("{text}"))
}

/// Takes the victim down before a deadline that is [`SHORT`] from now.
fn down() -> Result<(), CpuDownError> {
    hotplug().cpu_down_before(victim(), Sim::deadline(SHORT))
}

/// Checks that all is as before a way down, and that one without a deadline succeeds.
fn check_back() {
    check_up();
    assert_eq!(hotplug().cpu_down(victim()), Ok(()));
    assert_eq!(hotplug().cpu_up(victim()), Ok(()));
}

fn check_up() {
    let cpu = victim();
    assert_eq!(hotplug().state(cpu).state(), ALL_UP);
    assert!(hotplug().is_balanced(cpu));
    assert_eq!(hotplug().health(cpu), CpuHealth::Online);
    assert!(Sim::masks().is_online(cpu) && Sim::masks().is_active(cpu));
    // Its threads run.
    let ran = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&ran);
    spawn("runs", cpu, move || theirs.store(true, Ordering::Relaxed));
    while !ran.load(Ordering::Relaxed) {
        sleep(Duration::from_micros(10));
    }
}

/// Runs a test on a machine of `cpus` CPUs, all online.
fn with_all_up(cpus: usize, test: impl FnOnce() + Send + 'static) {
    Sim::run(cpus, move || {
        for number in 1..cpus {
            assert_eq!(hotplug().cpu_up(CpuId::from_index(number)), Ok(()));
        }
        test();
    });
}

/// A flag that a test sets to have its other threads go on.
#[derive(Clone, Default)]
pub(crate) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn sleep_until_set(&self) {
        while !self.is_set() {
            sleep(Duration::from_micros(100));
        }
    }
}

/// Starts a thread on `cpu` that calls `hold_fn` and keeps its value until the flag is set.
pub(crate) fn holder<G>(
    text: &str,
    cpu: CpuId,
    hold_fn: impl FnOnce() -> G + Send + 'static,
) -> Flag {
    let (holds, done) = (Flag::default(), Flag::default());
    let theirs = (holds.clone(), done.clone());
    spawn(text, cpu, move || {
        let held = hold_fn();
        theirs.0.set();
        theirs.1.sleep_until_set();
        drop(held);
    });
    holds.sleep_until_set();
    done
}

/// Has a thread set `flag` when `time` is over.
pub(crate) fn end_after(flag: &Flag, time: Duration) {
    let flag = flag.clone();
    spawn("ends", CpuId::BOOT, move || {
        sleep(time);
        flag.set();
    });
}

fn step_failed(step: &'static str, error: StepError) -> CpuDownError {
    let cpu = victim();
    CpuDownError::Step {
        cpu,
        step: step.into(),
        error,
    }
}

fn late(awaited: Awaited) -> CpuDownError {
    let cpu = victim();
    CpuDownError::Late { cpu, awaited }
}

/// Installs a step on CPUs whose teardown sleeps for `time`.
fn slow(time: Duration) -> StepHandle<Sim> {
    slow_on(|_| true, time)
}

/// Installs a step `slow` on CPUs whose teardown sleeps for `time` on those for which `is_slow_fn`
/// returns true.
pub(crate) fn slow_on(
    is_slow_fn: impl Fn(CpuId) -> bool + Send + Sync + 'static,
    time: Duration,
) -> StepHandle<Sim> {
    let stop_fn = move |cpu: CpuId| {
        if is_slow_fn(cpu) {
            sleep(time);
        }
        Ok(())
    };
    let callbacks = Callbacks::enable(Some(Box::new(|_| Ok(()))), Some(Box::new(stop_fn)));
    installed("slow", Place::Enable, callbacks, Passing::Called)
}

#[test]
fn a_thread_that_is_pinned_is_named() {
    with_all_up(2, || {
        let done = holder("pins", victim(), || Sim::sched().migrate_disable());
        let error = step_failed("sched:drain", StepError::Pinned(name("pins")));
        assert_eq!(down(), Err(error));
        assert_eq!(error.errno(), Errno::TimedOut);
        assert!(error.to_string().contains("thread pins"), "{error}");
        check_up();
        done.set();
        check_back();
    });
}

#[test]
fn a_step_that_dawdles_is_the_last() {
    with_all_up(2, || {
        let step = slow(LONG);
        let error = step_failed("enable:slow", StepError::Late);
        assert_eq!(down(), Err(error));
        assert_eq!(error.errno(), Errno::TimedOut);
        check_back();
        drop(step);
        assert_eq!(down(), Ok(()), "without it there is time");
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        check_back();
    });
}

#[test]
fn a_reader_is_named_and_keeps_nobody_out_afterwards() {
    with_all_up(2, || {
        let done = holder("reads", CpuId::BOOT, || hotplug().cpus_read_lock());
        // One that comes while the operation waits is let in when it gives up.
        let came = Flag::default();
        let theirs = came.clone();
        spawn("comes", victim(), move || {
            sleep(SHORT / 2);
            drop(hotplug().cpus_read_lock());
            theirs.set();
        });
        let error = late(Awaited::Reader(name("reads")));
        assert_eq!(down(), Err(error));
        assert_eq!(error.errno(), Errno::TimedOut);
        came.sleep_until_set();
        drop(hotplug().cpus_read_lock());
        done.set();
        check_back();
    });
}

#[test]
fn another_operation_is_named() {
    with_all_up(3, || {
        let step = slow(LONG);
        let went = Flag::default();
        let theirs = went.clone();
        spawn("goes", CpuId::BOOT, move || {
            assert_eq!(hotplug().cpu_down(CpuId::from_index(2)), Ok(()));
            theirs.set();
        });
        // It has the locks when it has begun.
        while hotplug().state(CpuId::from_index(2)).state() == ALL_UP {
            sleep(Duration::from_micros(10));
        }
        assert_eq!(down(), Err(late(Awaited::Operation(name("goes")))));
        went.sleep_until_set();
        drop(step);
        check_back();
    });
}

#[test]
fn nothing_begins_after_the_deadline() {
    with_all_up(2, || {
        Sim::take_notes();
        let error = hotplug().cpu_down_before(victim(), Sim::now());
        assert_eq!(error, Err(late(Awaited::Nothing)));
        let walked = Sim::take_notes();
        assert!(walked.is_empty(), "{walked:?}");
        check_back();
        // Where there is nothing to do it isn't late.
        assert_eq!(hotplug().cpu_down(victim()), Ok(()));
        assert_eq!(hotplug().cpu_down_before(victim(), Sim::now()), Ok(()));
    });
}

/// Starts a thread on `cpu` that has preemption off from when `when_fn` returns true until the
/// flag is set.
pub(crate) fn busy_from(cpu: CpuId, when_fn: impl Fn() -> bool + Send + 'static) -> Flag {
    let done = Flag::default();
    let theirs = done.clone();
    spawn("busy", cpu, move || {
        while !when_fn() {
            Sim::relax();
        }
        let _here = PreemptGuard::<Sim>::new();
        while !theirs.is_set() {
            Sim::relax();
        }
    });
    done
}

/// Returns what a way down waits for in its stop, when a thread of [`busy_from`] is on `cpu`.
pub(crate) fn stop_waits_for(cpu: CpuId) -> Awaited {
    let thread = Some(ThreadName::new(format_args!("busy")));
    let by = HeldBy::PreemptionOff;
    Awaited::Stop(NotCome {
        cpu,
        held_up: HeldUp { thread, by },
    })
}

#[test]
fn a_cpu_with_preemption_off_is_named() {
    with_all_up(3, || {
        let busy = CpuId::from_index(2);
        let done = busy_from(busy, || true); // From the start.
        sleep(Duration::from_millis(1));
        let error = step_failed("sync:active", StepError::NotQuiescent(busy));
        assert_eq!(down(), Err(error));
        done.set();
        check_back();

        // All steps in thread context are down when it begins: the machine would not stop.
        let done = busy_from(busy, || hotplug().state(victim()).state() == UP_TO_ONLINE);
        sleep(Duration::from_millis(1));
        assert_eq!(down(), Err(late(stop_waits_for(busy))));
        done.set();
        check_back();
    });
}

#[test]
fn the_default_limit_holds_for_each_way_down() {
    with_all_up(2, || {
        assert_eq!(hotplug().down_limit(), None);
        hotplug().set_down_limit(Some(SHORT));
        assert_eq!(hotplug().down_limit(), Some(SHORT));
        let step = slow(LONG);
        let error = step_failed("enable:slow", StepError::Late);
        assert_eq!(hotplug().cpu_down(victim()), Err(error));
        check_up();
        let moved = hotplug().cpu_set_target(victim(), UP_TO_ONLINE);
        assert_eq!(moved, Err(stillpoint::hotplug::TargetError::Down(error)));
        // A deadline of its own wins.
        let later = Sim::deadline(LONG * 2);
        assert_eq!(hotplug().cpu_down_before(victim(), later), Ok(()));
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        hotplug().set_down_limit(None);
        check_back();
        drop(step);
    });
}

/// A step fails on the way back from the deadline: the CPU stays half way.
#[test]
fn a_failure_on_the_way_back_from_the_deadline_is_told() {
    with_all_up(3, || {
        let busy = CpuId::from_index(2);
        let cpu = victim();
        let threads = step("sched:threads");
        let done = busy_from(busy, || hotplug().state(victim()).state() == UP_TO_ONLINE);
        sleep(Duration::from_millis(1));
        Sim::script(|script| script.fails = vec![(threads, Direction::Up)]);
        let error = CpuDownError::NotUndone {
            cpu,
            step: "sched:threads".into(),
            error: StepError::Injected,
            left: Left::HalfWay("init:online".into()),
        };
        assert_eq!(down(), Err(error), "CPU{busy} is in the way");
        assert_eq!(hotplug().health(cpu), CpuHealth::HalfWay(UP_TO_ONLINE));
        done.set();
        assert_eq!(hotplug().cpu_up(cpu), Ok(()));
        check_back();
    });
}
