//! Stops that a CPU asks for before it is online, in the startup of an INIT step: which CPUs
//! take part, one CPU after the other in each way up, faults, and what is said of CPUs that hang.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, CpuUpError, FailError, Parallel, Passing, Place, StepError, StepHandle,
};
use stillpoint::platform::{Platform, PreemptWork};
use stillpoint::sched::Timer;
use stillpoint::stop_machine::{
    CancelToken, StopError, StopHost, StopMachine, StopMode, StopRequest,
};
use stillpoint::sync::{LocalCpu, PreemptGuard};

use crate::affinity::spawn;
use crate::alone::message;
use crate::batches::{all_up, check_online, cpu, hotplug, installed, mask};
use crate::batches_up::in_each_way;
use crate::deadlines::{Flag, sleep};
use crate::sim::Sim;

const CPUS: usize = 4;
/// Longer than the patience of what waits, and shorter than that, but not twice.
const LONG: u64 = 12_000_000_000;
const SHORT: u64 = 8_000_000_000;

/// What the steps of a test have done, in order.
type Done<T> = Arc<Mutex<Vec<T>>>;

fn note<T>(done: &Done<T>, what: T) {
    done.lock().expect("no panic under it").push(what);
}

fn take<T>(done: &Done<T>) -> Vec<T> {
    std::mem::take(&mut done.lock().expect("no panic under it"))
}

fn stop() -> &'static StopMachine<Sim> {
    Sim::stop_machine()
}

/// Installs an INIT step that calls `start_fn`, and says whether it stops the machine.
fn init_step(
    start_fn: impl Fn(CpuId) + Send + Sync + 'static,
    stops_machine: bool,
) -> StepHandle<Sim> {
    let callbacks = Callbacks::init::<Sim>(Some(Box::new(start_fn)), None, stops_machine);
    installed("stops", Place::Init, callbacks, Passing::Skipped)
}

pub(crate) fn stopping(start_fn: impl Fn(CpuId) + Send + Sync + 'static) -> StepHandle<Sim> {
    init_step(start_fn, true)
}

pub(crate) fn remove(step: StepHandle<Sim>) {
    assert!(step.remove(Passing::Called).is_ok());
}

/// Returns what a stop from `here`, which isn't online, does: where its function ran, and which CPUs
/// were still then, as each says when it leaves. The function runs on `runner`, if that is given.
fn stop_from(here: CpuId, runner: Option<CpuId>) -> (CpuId, CpuMask) {
    assert!(!Sim::masks().is_online(here) && !Sim::irqs_enabled());
    let still: Done<CpuId> = Done::default();
    let release = |on: CpuId| {
        assert_eq!(on, Sim::this_cpu());
        assert!(Sim::is_closed() && !Sim::irqs_enabled());
        note(&still, on);
    };
    let mut request = StopRequest::new().and_release(&release);
    if let Some(runner) = runner {
        request = request.on(runner);
    }
    let stopped = stop().stop_from_inactive(&request, || {
        assert!(Sim::is_closed() && !Sim::irqs_enabled());
        Sim::this_cpu()
    });
    let (ran_on, report) = stopped.expect("it asks for nothing that can fail");
    assert!(report.called <= report.fn_began && report.fn_ended <= report.ended);
    assert!(!Sim::irqs_enabled() && !Sim::is_closed(), "as before");
    (ran_on, take(&still).into_iter().collect())
}

#[test]
fn a_cpu_stops_the_machine_before_it_is_online() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let done: Done<(CpuId, CpuMask)> = Done::default();
        for runner in [None, Some(0), Some(2), Some(3)] {
            let runner = runner.map(cpu);
            let theirs = Arc::clone(&done);
            let step = stopping(move |here| note(&theirs, stop_from(here, runner)));
            let stops = stop().stops();
            assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
            let ran_on = runner.unwrap_or(cpu(3));
            assert_eq!(take(&done), [(ran_on, CpuMask::first_n(CPUS))]);
            assert_eq!(stop().stops(), stops + 1);
            check_online(CPUS, &[0, 1, 2, 3]);
            assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
            remove(step);
        }
        // The next CPU and the next stop are as ever.
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        let still = stop().lock();
        assert_eq!(stop().stop_once(&still, || 7).0, 7);
    });
}

#[test]
fn the_function_runs_on_each_that_is_asked_and_takes_part() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let done: Done<CpuId> = Done::default();
        let theirs = Arc::clone(&done);
        let step = stopping(move |here| {
            for asked in [&[0, 1, 2, 3][..], &[1, 2], &[3]] {
                let request = StopRequest::new();
                let ran = stop().stop_each_from_inactive(&request, mask(asked), &|on| {
                    assert_eq!(on, Sim::this_cpu());
                    note(&theirs, on);
                });
                assert!(ran.is_ok());
                let ran_on: CpuMask = take(&theirs).into_iter().collect();
                assert_eq!(ran_on, mask(asked));
            }
            let absent = cpu(CPUS);
            let nowhere = stop().stop_from_inactive(&StopRequest::new().on(absent), || ());
            assert_eq!(nowhere.map(drop), Err(StopError::NotOnline(absent)));
            let none = StopRequest::new();
            let with_absent = mask(&[0, CPUS]);
            let nowhere = stop().stop_each_from_inactive(&none, with_absent, &|_| ());
            assert_eq!(nowhere.map(drop), Err(StopError::NotOnline(absent)));
            note(&theirs, here);
        });
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        assert_eq!(take(&done), [cpu(3)]);
        remove(step);
    });
}

/// In each way up a CPU finds those online that came before it, no other comes meanwhile, and the
/// stop mutex isn't open in between.
#[test]
fn the_cpus_of_a_window_come_one_after_the_other() {
    in_each_way(&Parallel::ALL, 8, |how| {
        let done: Done<(usize, CpuMask)> = Done::default();
        let theirs = Arc::clone(&done);
        let step = stopping(move |here| {
            let before = Sim::masks().online();
            let (_, took_part) = stop_from(here, None);
            assert_eq!(Sim::masks().online(), before);
            let mut wanted = before;
            wanted.insert(here);
            assert_eq!(took_part, wanted);
            note(&theirs, (before.count(), took_part));
        });
        for _ in 0..2 {
            assert_eq!(hotplug().cpus_up(&CpuMask::first_n(8)), Ok(()));
            let counts: Vec<_> = take(&done).into_iter().map(|(count, _)| count).collect();
            assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7], "{how:?}");
            check_online(8, &[0, 1, 2, 3, 4, 5, 6, 7]);
            let secondaries = CpuMask::first_n(8).without(&mask(&[0]));
            assert_eq!(hotplug().cpus_down(&secondaries), Ok(()));
        }
        remove(step);
    });
}

/// An INIT step that doesn't stop the machine leaves the window as it is: its CPUs are in INIT at
/// the same time.
#[test]
fn other_init_steps_are_passed_together() {
    in_each_way(&[Parallel::On], CPUS, |_| {
        let inside = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let theirs = Arc::clone(&inside);
        let step = init_step(
            move |_| {
                let [now, most] = &*theirs;
                let together = now.fetch_add(1, Ordering::Relaxed) + 1;
                most.fetch_max(together, Ordering::Relaxed);
                for _ in 0..100 {
                    Sim::relax(); // The others of the window come here.
                }
                now.fetch_sub(1, Ordering::Relaxed);
            },
            false,
        );
        assert_eq!(hotplug().cpus_up(&CpuMask::first_n(CPUS)), Ok(()));
        assert_eq!(inside[1].load(Ordering::Relaxed) as usize, CPUS - 1);
        remove(step);
    });
}

/// What comes after the step fails: the CPU goes back, past the step's teardown, which is called in
/// the still point of the take-down.
#[test]
fn a_later_step_that_fails_takes_it_back() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let done: Done<&str> = Done::default();
        let (up, down) = (Arc::clone(&done), Arc::clone(&done));
        let start: Box<dyn Fn(CpuId) + Send + Sync> = Box::new(move |here| {
            assert_eq!(stop_from(here, None).1, CpuMask::first_n(CPUS));
            note(&up, "up");
        });
        let take_back: Box<dyn Fn(CpuId) + Send + Sync> = Box::new(move |here| {
            assert!(here == cpu(3) && Sim::is_closed() && !Sim::irqs_enabled());
            assert!(!Sim::masks().is_online(here));
            note(&down, "down");
        });
        let callbacks = Callbacks::init::<Sim>(Some(start), Some(take_back), true);
        let step = installed("stops", Place::Init, callbacks, Passing::Skipped);
        let refuse = Callbacks::enable(Some(Box::new(|_| Err(Errno::Busy))), None);
        let refuses = installed("refuses", Place::Enable, refuse, Passing::Skipped);
        for _ in 0..2 {
            let error = CpuUpError::Step {
                cpu: cpu(3),
                step: "enable:refuses".into(),
                error: StepError::Refused(Errno::Busy),
            };
            assert_eq!(hotplug().cpu_up(cpu(3)), Err(error));
            assert_eq!(take(&done), ["up", "down"]);
            check_online(CPUS, &[0, 1, 2]);
        }
        assert!(refuses.remove(Passing::Skipped).is_ok());
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        assert_eq!(take(&done), ["up"]);
        // It is called for CPUs that come or go, not when it is removed.
        remove(step);
        assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
        assert_eq!(take(&done), [""; 0]);
    });
}

/// Neither side can fail, so no failure can be injected.
#[test]
fn it_can_not_be_made_to_fail() {
    Sim::run(2, || {
        let step = stopping(|_| ());
        let row = Place::Init.rows().start;
        let refused = hotplug().inject_failure(cpu(1), Some(row));
        assert_eq!(refused, Err(FailError::CannotFail));
        remove(step);
        let refused = hotplug().inject_failure(cpu(1), Some(row));
        assert_eq!(refused, Err(FailError::NoSuchStep));
    });
}

/// Returns the message with which a stop panics.
fn fault(request: &StopRequest<'_, Sim>) -> String {
    message(|| drop(stop().stop_from_inactive(request, || ())))
}

#[test]
fn elsewhere_it_is_a_fault() {
    Sim::run(3, || {
        let plain = StopRequest::new;
        let outside = fault(&plain());
        assert_eq!(
            outside,
            "BUG: a thread calls stop_machine_from_inactive_cpu on CPU 0, which is online"
        );
        let done: Done<String> = Done::default();
        let faults = Arc::clone(&done);
        let undeclared = init_step(move |_| note(&faults, fault(&plain())), false);
        let wanted = "BUG: stop_machine_from_inactive_cpu in a step that does not say that it \
                      stops the machine";
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(take(&done), [wanted]);
        // Nor if another step says so.
        let declared = stopping(|here| assert!(stop_from(here, None).0 == here));
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
        assert_eq!(take(&done), [wanted]);
        remove(declared);
        remove(undeclared);
        // Nor the teardown of a step that says so.
        let faults = Arc::clone(&done);
        let take_back: Box<dyn Fn(CpuId) + Send + Sync> =
            Box::new(move |_| note(&faults, fault(&plain())));
        let callbacks = Callbacks::init::<Sim>(None, Some(take_back), true);
        let step = installed("stops", Place::Init, callbacks, Passing::Skipped);
        assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
        let wanted =
            "BUG: the function of a stop calls stop_machine_from_inactive_cpu, which may wait";
        assert_eq!(take(&done), [wanted]);
        remove(step);
    });
}

#[test]
fn what_it_can_not_do_is_a_fault() {
    Sim::run(2, || {
        let done: Done<String> = Done::default();
        let faults = Arc::clone(&done);
        let step = stopping(move |_| {
            let off = PreemptGuard::<Sim>::new();
            note(&faults, fault(&StopRequest::new()));
            drop(off);
            let on_cpu_0 = Arc::clone(&faults);
            for on in [0, 1] {
                let outer = StopRequest::new().on(cpu(on));
                let nested = stop().stop_from_inactive(&outer, || {
                    note(&on_cpu_0, fault(&StopRequest::new()));
                });
                assert!(nested.is_ok());
            }
            let late = StopRequest::new().before(Sim::now());
            note(&faults, fault(&late));
            let token = CancelToken::new();
            note(&faults, fault(&StopRequest::new().cancelled_by(&token)));
            let flushes = StopRequest::new().mode(StopMode::FlushPreempted);
            note(&faults, fault(&flushes));
            assert_eq!(stop_from(cpu(1), None).0, cpu(1)); // It may go on.
        });
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        let name = "stop_machine_from_inactive_cpu";
        let given_up = "BUG: a stop from a CPU that isn't online is to be given up";
        assert_eq!(
            take(&done),
            [
                format!("BUG: {name} with preemption off (count 1)"),
                format!("BUG: the function of a stop calls {name} on CPU 0, which is online"),
                format!("BUG: the function of a stop calls {name}, which may wait"),
                given_up.to_owned(),
                given_up.to_owned(),
                "BUG: a stop from a CPU that isn't online is to begin with a flush".to_owned(),
            ]
        );
        remove(step);
    });
}

/// In a debug build an allocation panics where this mark is set.
#[test]
fn behind_its_stop_the_step_has_the_mark_of_a_still_point_too() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let done: Done<bool> = Done::default();
        let theirs = Arc::clone(&done);
        let step = stopping(move |here| {
            let _stopped = stop_from(here, None);
            note(&theirs, Sim::has_preempt_work(PreemptWork::Still));
        });
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        assert_eq!(take(&done), [true]);
        remove(step);
    });
}

/// No operation gives up a CPU in INIT, so what hangs there is named, and the stop goes on when it
/// goes on.
#[test]
fn what_hangs_is_named() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let done: Done<CpuMask> = Done::default();
        let theirs = Arc::clone(&done);
        // It ends with the step: where IRQs are masked it may not.
        let long = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), LONG));
        let step = stopping(move |here| {
            // An online CPU doesn't come.
            Sim::hold_cpu(cpu(1), LONG);
            note(&theirs, stop_from(here, None).1);
            // The CPU that comes up doesn't go on.
            let stopped = stop().stop_from_inactive(&StopRequest::new(), || {
                Sim::hold_cpu(here, LONG);
            });
            assert!(stopped.is_ok());
            // One that leaves the still point keeps the CPU that comes up waiting.
            let request = StopRequest::new().on(cpu(1));
            let stopped = stop().stop_from_inactive(&request, || long.start(Sim::now()));
            assert!(stopped.is_ok());
            // To come and to run the function take long, but neither takes too long.
            Sim::hold_cpu(cpu(1), SHORT);
            let stopped = stop().stop_from_inactive(&request, || Sim::hold_cpu(cpu(1), SHORT));
            assert!(stopped.is_ok());
        });
        Sim::take_notes();
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        assert_eq!(take(&done), [CpuMask::first_n(CPUS)]);
        let notes = Sim::take_notes();
        let late: Vec<_> = notes.iter().filter(|line| line.contains("late")).collect();
        assert_eq!(
            late,
            [
                "CPU3 late in Prepare: 1, for idle/3",
                "CPU0 late in Run: 3, for idle/3",
                "CPU3 late in Exit: 1, for idle/3"
            ]
        );
        remove(step);
        check_online(CPUS, &[0, 1, 2, 3]);
    });
}

/// A stop that can't begin because a CPU is in INIT ends at its deadline.
#[test]
fn other_stops_end_by_their_own() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let (asks, asked) = (Flag::default(), Flag::default());
        let theirs = (asks.clone(), asked.clone());
        spawn("asks", cpu(2), move || {
            theirs.0.sleep_until_set();
            let until = Sim::deadline(Duration::from_millis(1));
            assert!(stop().lock_until(until).is_none());
            let owner = stop().owner_racy().map(|name| name.as_str().to_owned());
            assert_eq!(owner.as_deref(), Some("main"));
            theirs.1.set();
        });
        let flags = (asks.clone(), asked.clone());
        let step = stopping(move |here| {
            flags.0.set();
            while !flags.1.is_set() {
                Sim::relax();
            }
            assert_eq!(stop_from(here, None).0, here);
        });
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
        assert!(asked.is_set());
        remove(step);
    });
}

/// Works of one CPU and of two, which don't wait for the stop mutex, beside CPUs that stop the
/// machine as they come; a CPU that is slow to come to both.
#[test]
fn works_of_others_are_before_it_or_behind_it() {
    Sim::run(CPUS, || {
        all_up(CPUS - 1);
        let step = stopping(|here| {
            for _ in 0..3 {
                assert_eq!(stop_from(here, None).1, CpuMask::first_n(CPUS));
            }
        });
        let over = Flag::default();
        let done: Done<u32> = Done::default();
        for number in 0..CPUS - 1 {
            let (over, done) = (over.clone(), Arc::clone(&done));
            spawn("works", cpu(number), move || {
                let mut turns = 0;
                while !over.is_set() {
                    let other = cpu((number + 1) % (CPUS - 1));
                    let ran = stop().stop_two_cpus(cpu(number), other, Sim::this_cpu);
                    assert_eq!(ran, Ok(cpu(number)));
                    assert_eq!(stop().stop_one_cpu(other, Sim::this_cpu), Ok(other));
                    sleep(Duration::from_micros(3));
                    turns += 1;
                }
                note(&done, turns);
            });
        }
        for turn in 0..10 {
            let until = Sim::deadline(Duration::from_micros(200));
            spawn("busy", cpu(turn % 3), move || {
                let _here = PreemptGuard::<Sim>::new();
                while Sim::now() < until {
                    Sim::relax();
                }
            });
            assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));
            assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
        }
        over.set();
        while done.lock().expect("no panic under it").len() < CPUS - 1 {
            sleep(Duration::from_micros(50));
        }
        assert!(take(&done).into_iter().all(|turns| turns > 10));
        remove(step);
    });
}
