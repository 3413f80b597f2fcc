//! Works of stoppers beside CPUs that go: what a CPU accepts runs before the still point in which
//! it goes, and what comes too late is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{CpuDownError, UP_TO_ONLINE};
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, ThreadState};
use stillpoint::stop_machine::{NowaitError, StopError, StopWork};
use stillpoint::sync::{LocalCpu, PreemptGuard};

use crate::affinity::spawn;
use crate::batches::{cpu, hotplug, mask};
use crate::deadlines::{Flag, SHORT, sleep};
use crate::sim::Sim;
use crate::stops::{stop, with_all_up};

/// Runs a test on CPU 0, so that its other threads have CPUs of their own.
fn beside_others(test: impl FnOnce() + Send + 'static) {
    with_all_up(|| {
        let me = Sim::sched().current();
        let bound = Sim::sched().set_affinity(&me, &mask(&[0]));
        assert_eq!(bound, Ok(()));
        test();
    });
}

/// Returns a work that checks that its CPU hasn't gone, and counts its runs.
fn work(ran: &Arc<AtomicU32>) -> &'static StopWork<Sim> {
    let ran = Arc::clone(ran);
    StopWork::leak(move |on| {
        check_here(on);
        ran.fetch_add(1, Ordering::Relaxed);
    })
}

fn check_here(on: CpuId) {
    assert_eq!(on, Sim::this_cpu());
    assert!(
        Sim::masks().is_online(on),
        "a work runs on a CPU that has gone"
    );
}

/// Waits, with preemption off in the end, until `goers` are in their stop, which this CPU keeps from
/// going on; then calls `hold_fn`. For a thread of CPU 3, which stays: in the round of turns it comes
/// between the goers and CPU 0, which calls for the stop.
fn hold_stop_of(goers: &'static [usize], hold_fn: impl FnOnce()) {
    let is_down = |goer: &usize| hotplug().state(cpu(*goer)).state() == UP_TO_ONLINE;
    while !goers.iter().all(is_down) {
        Sim::relax();
    }
    let _here = PreemptGuard::<Sim>::new();
    while !stop().sleepers_racy().contains(cpu(goers[0])) {
        Sim::relax();
    }
    hold_fn();
}

/// Queues `work` on `goers`, which are on their way, and on CPU 0, which isn't.
fn check_refused(goers: &[usize], work: &'static StopWork<Sim>) {
    for goer in goers {
        assert!(Sim::masks().is_online(cpu(*goer)), "until the still point");
        let queued = stop().stop_one_cpu_nowait(cpu(*goer), work);
        assert_eq!(queued, Err(NowaitError::NotOnline(cpu(*goer))));
    }
    assert_eq!(stop().stop_one_cpu_nowait(cpu(0), work), Ok(()));
}

#[test]
fn a_cpu_that_goes_accepts_nothing_behind_its_part_in_the_stop() {
    beside_others(|| {
        for goers in [&[1][..], &[1, 2]] {
            let ran = Arc::new(AtomicU32::new(0));
            let work = work(&ran);
            let done = Flag::default();
            let theirs = done.clone();
            spawn("queues", cpu(3), move || {
                hold_stop_of(goers, || check_refused(goers, work));
                theirs.set();
            });
            sleep(Duration::from_millis(1));
            assert_eq!(hotplug().cpus_down(&mask(goers)), Ok(()));
            done.sleep_until_set();
            for goer in goers {
                let gone = Err(StopError::NotOnline(cpu(*goer)));
                assert_eq!(stop().stop_one_cpu(cpu(*goer), || ()), gone);
            }
            assert_eq!(ran.load(Ordering::Relaxed), 1);
            assert_eq!(hotplug().cpus_up(&mask(goers)), Ok(()));
        }
    });
}

#[test]
fn the_stopper_of_a_cpu_that_has_gone_is_parked() {
    beside_others(|| {
        let stopper = stop().stopper(cpu(1)).thread().expect("it was made");
        assert_eq!(stopper.state_racy(), ThreadState::Blocked);
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        assert_eq!(stopper.state_racy(), ThreadState::Parked);
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(stopper.state_racy(), ThreadState::Blocked);
    });
}

#[test]
fn a_cpu_whose_stop_is_given_up_accepts_works_again() {
    beside_others(|| {
        for goers in [&[1][..], &[1, 2]] {
            let ran = Arc::new(AtomicU32::new(0));
            let work = work(&ran);
            let (stops, done) = (Flag::default(), Flag::default());
            let theirs = (stops.clone(), done.clone());
            spawn("holds", cpu(3), move || {
                hold_stop_of(goers, || {
                    check_refused(goers, work);
                    theirs.0.set();
                    while !theirs.1.is_set() {
                        Sim::relax();
                    }
                });
            });
            sleep(Duration::from_millis(1));
            let went = hotplug().cpus_down_before(&mask(goers), Sim::deadline(SHORT));
            let failed = went.expect_err("a CPU doesn't come to the stop");
            let is_late = |error: &CpuDownError| matches!(error, CpuDownError::Late { .. });
            assert!(failed.failed().iter().all(|(_, error)| is_late(error)));
            assert_eq!(failed.failed().len(), goers.len());
            assert!(stops.is_set());
            for goer in goers {
                let ran = stop().stop_one_cpu(cpu(*goer), Sim::this_cpu);
                assert_eq!(ran, Ok(cpu(*goer)));
                let ran = stop().stop_two_cpus(cpu(*goer), cpu(0), Sim::this_cpu);
                assert_eq!(ran, Ok(cpu(*goer)));
            }
            done.set();
            assert_eq!(hotplug().cpus_down(&mask(goers)), Ok(()));
            assert_eq!(hotplug().cpus_up(&mask(goers)), Ok(()));
        }
    });
}

/// A work is accepted and still waits when the CPU's part in its last stop comes.
#[test]
fn what_was_accepted_runs_before_the_cpu_goes() {
    beside_others(|| {
        // The operation comes as far as to its stop.
        let still = stop().lock();
        let (gone, part_is_queued) = (Flag::default(), Flag::default());
        let theirs = gone.clone();
        spawn("control", cpu(0), move || {
            assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
            theirs.set();
        });
        while hotplug().state(cpu(2)).state() != UP_TO_ONLINE {
            sleep(Duration::from_micros(20));
        }
        sleep(Duration::from_micros(500));
        let theirs = part_is_queued.clone();
        let first = StopWork::<Sim>::leak(move |_| {
            while !theirs.is_set() {
                Sim::relax();
            }
        });
        let ran = Arc::new(AtomicU32::new(0));
        assert_eq!(stop().stop_one_cpu_nowait(cpu(2), first), Ok(()));
        assert_eq!(stop().stop_one_cpu_nowait(cpu(2), work(&ran)), Ok(()));
        let sees = Flag::default();
        let theirs = (sees.clone(), Arc::clone(&ran));
        spawn("sees", cpu(1), move || {
            let _here = PreemptGuard::<Sim>::new();
            theirs.0.set();
            while !stop().sleepers_racy().contains(cpu(3)) {
                Sim::relax();
            }
            assert_eq!(theirs.1.load(Ordering::Relaxed), 0);
            part_is_queued.set();
        });
        sees.sleep_until_set();
        drop(still);
        gone.sleep_until_set();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
    });
}

/// What the threads of the storm have counted.
#[derive(Default)]
struct Counts {
    accepted: AtomicU32,
    ran: Arc<AtomicU32>,
    /// Works that a CPU refused that was online still.
    too_late: AtomicU32,
    /// Stops of one and of two CPUs that were, and that weren't.
    stopped: AtomicU32,
    refused: AtomicU32,
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Queues works on the goers at each turn, in sections with preemption off.
fn queue_works(counts: &Counts, over: &Flag) {
    let works: Vec<_> = (0..8).map(|_| work(&counts.ran)).collect();
    let mut turn = 0;
    while !over.is_set() {
        let here = PreemptGuard::<Sim>::new();
        for _ in 0..6 {
            let goer = cpu(2 + turn % 2);
            match stop().stop_one_cpu_nowait(goer, works[turn % works.len()]) {
                Ok(()) => count(&counts.accepted),
                Err(NowaitError::NotOnline(_)) if Sim::masks().is_online(goer) => {
                    count(&counts.too_late);
                }
                Err(_) => {}
            }
            turn += 1;
            Sim::relax();
        }
        drop(here);
        sleep(Duration::from_nanos(700 * (turn as u64 % 7)));
    }
}

/// Stops the goers, one and both, again and again.
fn stop_goers(counts: &Counts, over: &Flag) {
    let both_are_here = || {
        assert!(Sim::masks().is_online(cpu(2)) && Sim::masks().is_online(cpu(3)));
    };
    while !over.is_set() {
        let alone = stop().stop_one_cpu(cpu(2), || check_here(cpu(2)));
        let both = [(2, 3), (3, 2)]
            .map(|(one, other)| stop().stop_two_cpus(cpu(one), cpu(other), both_are_here));
        let mixed = stop().stop_two_cpus(cpu(1), cpu(2), || check_here(cpu(1)));
        for stopped in [alone, both[0].clone(), both[1].clone(), mixed] {
            match stopped {
                Ok(()) => count(&counts.stopped),
                Err(StopError::NotOnline(_)) => count(&counts.refused),
                Err(error) => panic!("{error}"),
            }
        }
        sleep(Duration::from_micros(3));
    }
}

#[test]
fn a_storm_of_works_beside_cpus_that_go() {
    beside_others(|| {
        let counts = Arc::new(Counts::default());
        let over = Flag::default();
        let ended = [Flag::default(), Flag::default()];
        for (nth, run_fn) in [queue_works, stop_goers].into_iter().enumerate() {
            let theirs = (Arc::clone(&counts), over.clone(), ended[nth].clone());
            spawn("storms", cpu(1), move || {
                run_fn(&theirs.0, &theirs.1);
                theirs.2.set();
            });
        }
        for turn in 0..30 {
            let goers = [&[2][..], &[3], &[2, 3]][turn % 3];
            assert_eq!(hotplug().cpus_down(&mask(goers)), Ok(()));
            sleep(Duration::from_nanos(300 * turn as u64));
            assert_eq!(hotplug().cpus_up(&mask(goers)), Ok(()));
            sleep(Duration::from_nanos(400 * turn as u64));
        }
        over.set();
        ended.iter().for_each(Flag::sleep_until_set);
        sleep(Duration::from_millis(1));
        let of = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
        assert_eq!(of(&counts.ran), of(&counts.accepted));
        let seen = [
            &counts.accepted,
            &counts.too_late,
            &counts.stopped,
            &counts.refused,
        ]
        .map(of);
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    });
}
