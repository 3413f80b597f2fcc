//! The family of stops on the simulated machine: works of one CPU, of two and of several; stops
//! that are given up at a deadline or cancelled, and what they leave behind.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::platform::{Platform, PreemptWork, Sgi};
use stillpoint::sched::{SchedHost, Timer};
use stillpoint::smp::call::CallHost;
use stillpoint::stop_machine::{
    CancelToken, HeldBy, NowaitError, StopError, StopHost, StopMachine, StopRequest, StopWork,
};
use stillpoint::sync::{IrqGuard, LocalCpu};

use crate::affinity::spawn;
use crate::batches::{all_up, cpu, hotplug, mask};
use crate::deadlines::{Flag, LONG, busy_from, sleep};
use crate::sim::Sim;

const CPUS: usize = 4;
/// A limit, or a pause, while a CPU spins.
const MOMENT: Duration = Duration::from_millis(2);
/// Longer than what is called late, and not twice as long: 15 s, in nanoseconds.
const VERY_LONG: u64 = 15_000_000_000;

pub(crate) fn stop() -> &'static StopMachine<Sim> {
    Sim::stop_machine()
}

pub(crate) fn with_all_up(test: impl FnOnce() + Send + 'static) {
    Sim::run(CPUS, || {
        all_up(CPUS);
        test();
        // Nothing is left in a queue: the next stop and the next way down are as ever.
        let still = stop().lock();
        assert_eq!(stop().stop_once(&still, || 7).0, 7);
        drop(still);
        assert_eq!(hotplug().cpu_down(cpu(CPUS - 1)), Ok(()));
    });
}

pub(crate) fn late_stop(request: &StopRequest<'_, Sim>) -> Result<u32, StopError> {
    let still = stop().lock();
    let stopped = stop().stop(&still, request, || 1);
    stopped.map(|(value, _)| value)
}

fn before(limit: Duration) -> StopRequest<'static, Sim> {
    StopRequest::new().before(Sim::deadline(limit))
}

#[test]
fn a_stop_runs_on_the_cpu_of_its_caller_or_as_it_is_asked() {
    with_all_up(|| {
        let me = Sim::sched().current();
        let still = stop().lock();
        for number in [3, 1, 0] {
            assert_eq!(Sim::sched().set_affinity(&me, &mask(&[number])), Ok(()));
            assert_eq!(stop().stop_once(&still, Sim::this_cpu).0, cpu(number));
        }
        let there = stop().stop_on(&still, cpu(2), Sim::this_cpu);
        assert_eq!(there.map(|(ran_on, _)| ran_on), Ok(cpu(2)));
    });
}

/// In a debug build an allocation panics where this mark is set.
#[test]
fn the_mark_of_a_still_point_is_there_for_the_function_alone() {
    with_all_up(|| {
        let is_marked = || Sim::has_preempt_work(PreemptWork::Still);
        let still = stop().lock();
        for _ in 0..2 {
            assert!(!is_marked());
            assert!(stop().stop_once(&still, is_marked).0);
        }
        assert!(!is_marked());
    });
}

#[test]
fn each_cpu_is_released_after_the_function_with_irqs_masked() {
    with_all_up(|| {
        let ran = AtomicU32::new(0);
        let released = AtomicU32::new(0);
        let release = |on: CpuId| {
            assert_eq!(on, Sim::this_cpu());
            assert!(!Sim::irqs_enabled());
            let place = Sim::calls().no_wait_place(on);
            assert_eq!(place, Some("the function of a stop"), "it may not wait");
            assert_eq!(ran.load(Ordering::Relaxed), 1, "fn comes first");
            released.fetch_add(1, Ordering::Relaxed);
        };
        let request = StopRequest::new().and_release(&release);
        let still = stop().lock();
        let stopped = stop().stop(&still, &request, || ran.fetch_add(1, Ordering::Relaxed));
        assert!(stopped.is_ok());
        assert_eq!(released.load(Ordering::Relaxed) as usize, CPUS);
    });
}

#[test]
fn a_work_of_one_cpu_runs_there_with_preemption_off() {
    with_all_up(|| {
        for number in 0..CPUS {
            let ran = stop().stop_one_cpu(cpu(number), || {
                assert!(Sim::irqs_enabled());
                (Sim::this_cpu(), Sim::preempt_count())
            });
            assert_eq!(ran, Ok((cpu(number), 1)));
        }
        let absent = CpuId::from_index(CPUS);
        let error = Err(StopError::NotOnline(absent));
        assert_eq!(stop().stop_one_cpu(absent, || ()), error);
        assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
        let error = Err(StopError::NotOnline(cpu(2)));
        assert_eq!(stop().stop_one_cpu(cpu(2), || ()), error);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
    });
}

/// A caller that never sleeps sees by itself that the work has been done.
#[test]
fn a_caller_that_spins_need_not_be_woken() {
    with_all_up(|| {
        stop().set_spins(Some(u32::MAX));
        assert_eq!(stop().stop_one_cpu(cpu(1), Sim::this_cpu), Ok(cpu(1)));
        stop().set_spins(None);
    });
}

#[test]
fn what_a_stop_cost_is_noted_of_each_cpu() {
    with_all_up(|| {
        let still = stop().lock();
        for runner in 0..CPUS {
            let stopped = stop().stop_on(&still, cpu(runner), || Sim::hold_cpu(cpu(runner), 1_000));
            let ((), report) = stopped.expect("all are online");
            for number in 0..CPUS {
                let off = stop().times().irqs_off(cpu(number));
                assert!(report.called <= off.start && off.start <= report.fn_began);
                assert!(report.fn_ended <= off.end && off.end <= report.ended);
            }
        }
    });
}

#[test]
fn a_work_may_queue_itself_again_when_it_begins() {
    static WORK: OnceLock<&'static StopWork<Sim>> = OnceLock::new();
    with_all_up(|| {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let work = WORK.get_or_init(|| {
            StopWork::leak(move |on| {
                if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                    let again = WORK.get().expect("it is queued after it is made");
                    assert_eq!(stop().stop_one_cpu_nowait(on, again), Ok(()));
                }
            })
        });
        assert_eq!(stop().stop_one_cpu_nowait(cpu(1), work), Ok(()));
        while runs.load(Ordering::Relaxed) < 2 {
            sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_work_that_is_not_waited_for_is_queued_once_and_runs() {
    with_all_up(|| {
        let runs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&runs);
        let work = StopWork::<Sim>::leak(move |on| {
            assert_eq!((on, Sim::preempt_count()), (cpu(1), 1));
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let done = busy_from(cpu(1), || true);
        sleep(Duration::from_millis(1));
        assert_eq!(stop().stop_one_cpu_nowait(cpu(1), work), Ok(()));
        let again = stop().stop_one_cpu_nowait(cpu(1), work);
        assert_eq!(again, Err(NowaitError::Busy));
        assert_eq!(runs.load(Ordering::Relaxed), 0, "that CPU is busy");
        done.set();
        assert_eq!(stop().stop_one_cpu(cpu(1), || ()), Ok(())); // Behind it.
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(stop().stop_one_cpu_nowait(cpu(1), work), Ok(()));
        assert_eq!(stop().stop_one_cpu(cpu(1), || ()), Ok(()));
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        let absent = CpuId::from_index(CPUS);
        let refused = stop().stop_one_cpu_nowait(absent, work);
        assert_eq!(refused, Err(NowaitError::NotOnline(absent)));
        assert_eq!(stop().stop_one_cpu_nowait(cpu(1), work), Ok(()));
    });
}

#[test]
fn a_work_of_several_cpus_runs_on_those_that_are_online() {
    with_all_up(|| {
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        let ran = AtomicU32::new(0);
        let still = stop().lock();
        let asked: CpuMask = mask(&[0, 1, 3, CPUS + 1]);
        let ran_on = stop().stop_cpus(&still, &asked, &|on| {
            assert_eq!((on, Sim::preempt_count()), (Sim::this_cpu(), 1));
            ran.fetch_add(1 << on.index(), Ordering::Relaxed);
        });
        assert_eq!(ran_on, mask(&[0, 3]));
        assert_eq!(ran.load(Ordering::Relaxed), 0b1001);
        let none = stop().stop_cpus(&still, &mask(&[1]), &|_| ());
        assert!(none.is_empty());
        drop(still);
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
    });
}

#[test]
fn two_cpus_stop_and_the_others_go_on() {
    with_all_up(|| {
        for (one, other) in [(0, 1), (2, 3), (3, 0)] {
            let ran = stop().stop_two_cpus(cpu(one), cpu(other), || {
                assert!(!Sim::irqs_enabled());
                Sim::this_cpu()
            });
            assert_eq!(ran, Ok(cpu(one)));
        }
        assert_eq!(hotplug().cpu_down(cpu(2)), Ok(()));
        let gone = Err(StopError::NotOnline(cpu(2)));
        assert_eq!(stop().stop_two_cpus(cpu(1), cpu(2), || ()), gone);
        assert_eq!(stop().stop_two_cpus(cpu(2), cpu(1), || ()), gone);
        let absent = CpuId::from_index(CPUS);
        let error = Err(StopError::NotOnline(absent));
        assert_eq!(stop().stop_two_cpus(cpu(1), absent, || ()), error);
        assert_eq!(hotplug().cpu_up(cpu(2)), Ok(()));
    });
}

/// Pairs in a circle, from all CPUs at once, with stops of all beside them.
#[test]
fn pairs_in_a_circle_do_not_wait_for_each_other() {
    with_all_up(|| {
        let left = Arc::new(AtomicU32::new(0));
        for number in 0..CPUS {
            let theirs = Arc::clone(&left);
            theirs.fetch_add(1, Ordering::Relaxed);
            spawn("pairs", cpu(number), move || {
                for turn in 0..20 {
                    let other = cpu((number + 1 + turn % (CPUS - 1)) % CPUS);
                    let ran = stop().stop_two_cpus(cpu(number), other, Sim::this_cpu);
                    assert_eq!(ran, Ok(cpu(number)));
                    let ran = stop().stop_two_cpus(other, cpu(number), Sim::this_cpu);
                    assert_eq!(ran, Ok(other));
                }
                theirs.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while left.load(Ordering::Relaxed) > 0 {
            let still = stop().lock();
            assert_eq!(stop().stop_once(&still, || 5).0, 5);
            drop(still);
            sleep(Duration::from_micros(10));
        }
    });
}

#[test]
fn a_cpu_that_does_not_come_is_named_and_nothing_is_left() {
    with_all_up(|| {
        let stops = stop().stops();
        let done = busy_from(cpu(2), || true);
        sleep(Duration::from_millis(1));
        for _ in 0..50 {
            let Err(StopError::Late(missing)) = late_stop(&before(MOMENT)) else {
                panic!("a CPU has preemption off");
            };
            let [only] = missing[..] else {
                panic!("one CPU is busy: {missing:?}");
            };
            assert_eq!((only.cpu, only.held_up.by), (cpu(2), HeldBy::PreemptionOff));
            let thread = only.held_up.thread.expect("it can be read");
            assert_eq!(thread.as_str(), "busy");
        }
        assert_eq!(stop().stops(), stops, "the machine was never still");
        done.set();
        assert_eq!(late_stop(&before(LONG)), Ok(1));
    });
}

#[test]
fn a_cpu_with_irqs_masked_is_named_so() {
    with_all_up(|| {
        let (masked, done) = (Flag::default(), Flag::default());
        let theirs = (masked.clone(), done.clone());
        spawn("masks", cpu(1), move || {
            let _masked = IrqGuard::<Sim>::new();
            theirs.0.set();
            while !theirs.1.is_set() {
                Sim::relax();
            }
        });
        masked.sleep_until_set();
        let Err(error) = late_stop(&before(MOMENT)) else {
            panic!("a CPU has IRQs masked");
        };
        assert_eq!(
            error.to_string(),
            "the machine did not stop before the deadline: \
             CPU 1 in masks (IRQs are masked, or it is not run)"
        );
        done.set();
    });
}

#[test]
fn another_stop_in_the_way_is_named() {
    with_all_up(|| {
        // Two works wait in the stopper of CPU 3 behind one that goes on.
        let (begun, done) = (Flag::default(), Flag::default());
        let theirs = (begun.clone(), done.clone());
        let work = StopWork::<Sim>::leak(move |_| {
            theirs.0.set();
            while !theirs.1.is_set() {
                Sim::relax();
            }
        });
        assert_eq!(stop().stop_one_cpu_nowait(cpu(3), work), Ok(()));
        begun.sleep_until_set();
        let Err(StopError::Late(missing)) = late_stop(&before(MOMENT)) else {
            panic!("a stopper is busy");
        };
        let named: Vec<_> = missing
            .iter()
            .map(|one| (one.cpu, one.held_up.by))
            .collect();
        assert_eq!(named, [(cpu(3), HeldBy::OtherStop)]);
        done.set();
    });
}

/// Returns what was told of stops that are late while `stop_fn` runs, in whose stop none of the CPUs
/// `held` comes for long.
fn told_while_held(held: &[usize], stop_fn: impl FnOnce()) -> Vec<String> {
    Sim::take_notes();
    for number in held {
        Sim::hold_cpu(cpu(*number), VERY_LONG);
    }
    stop_fn();
    let mut notes = Sim::take_notes();
    notes.retain(|note| note.contains("waits for"));
    notes
}

/// Queues a work on `cpu` when its part in a stop that waits has begun.
fn queue_behind(cpu: CpuId) -> Timer<Sim> {
    let work = StopWork::<Sim>::leak(|_| ());
    let timer = Timer::<Sim>::new(move || {
        assert_eq!(stop().stop_one_cpu_nowait(cpu, work), Ok(()));
    });
    timer.start(Sim::deadline(Duration::from_secs(1)));
    timer
}

#[test]
fn a_cpu_that_has_come_is_not_named_though_more_work_waits() {
    with_all_up(|| {
        for busy in [0, 2] {
            let told = told_while_held(&[1], || {
                let _timer = queue_behind(cpu(busy));
                let still = stop().lock();
                assert_eq!(stop().stop_once(&still, || 4).0, 4);
            });
            assert_eq!(told, ["CPU0 waits for CPUs 1 in Prepare"]);
            let told = told_while_held(&[1], || {
                let _timer = queue_behind(cpu(busy));
                assert_eq!(stop().stop_two_cpus(cpu(0), cpu(1), || 4), Ok(4));
            });
            assert_eq!(told, ["CPU0 waits for CPUs 1 in Prepare"]);
        }
        // The caller, elsewhere, leaves it to the one that has come.
        let told = told_while_held(&[1], || {
            let _timer = queue_behind(cpu(2));
            assert_eq!(stop().stop_two_cpus(cpu(1), cpu(2), || 4), Ok(4));
        });
        assert_eq!(told, ["CPU2 waits for CPUs 1 in Prepare"]);
    });
}

/// The caller of a stop of two is on one of them, or elsewhere.
#[test]
fn a_cpu_of_two_that_does_not_come_is_named() {
    with_all_up(|| {
        let pair_of = |one, other| {
            move || {
                let ran_on = stop().stop_two_cpus(cpu(one), cpu(other), Sim::this_cpu);
                assert_eq!(ran_on, Ok(cpu(one)));
            }
        };
        let told = told_while_held(&[1], pair_of(0, 1));
        assert_eq!(told, ["CPU0 waits for CPUs 1 in Prepare"]);
        let told = told_while_held(&[1], pair_of(1, 0));
        assert_eq!(told, ["CPU0 waits for CPUs 1 in Prepare"]);
        let told = told_while_held(&[1], pair_of(1, 2));
        assert_eq!(told, ["CPU2 waits for CPUs 1 in Prepare"]);
        let told = told_while_held(&[1, 2], pair_of(1, 2));
        assert_eq!(told[0], "CPU0 waits for CPUs 1-2 in Prepare");
        // One takes an interrupt as it leaves: the other doesn't look any more.
        let long = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), VERY_LONG));
        let told = told_while_held(&[], || {
            let stopped = stop().stop_two_cpus(cpu(1), cpu(2), || long.start(Sim::now()));
            assert_eq!(stopped, Ok(()));
        });
        assert_eq!(told, ["CPU0 waits for CPUs 1 in Exit"]);
    });
}

#[test]
fn a_deadline_that_is_past_stops_nothing() {
    with_all_up(|| {
        let past = StopRequest::new().before(Sim::now());
        Sim::hold_cpu(cpu(1), 1_000_000); // It would take the SGI.
        let stopped = late_stop(&past);
        assert!(matches!(stopped, Err(StopError::Late(_))), "{stopped:?}");
        assert!(!Sim::is_sent(Sgi::Stop, cpu(1)), "a CPU is disturbed");
        assert_eq!(late_stop(&before(LONG)), Ok(1));
    });
}

#[test]
fn a_stop_is_cancelled_by_its_token_and_no_other() {
    with_all_up(|| {
        let token = CancelToken::<Sim>::new();
        let other = CancelToken::<Sim>::new();
        let done = busy_from(cpu(1), || true);
        sleep(Duration::from_millis(1));
        // No thread of a CPU that has come could run.
        let theirs = (token.clone(), other.clone());
        let timer = Timer::<Sim>::new(move || {
            theirs.1.cancel();
            theirs.0.cancel();
        });
        timer.start(Sim::deadline(MOMENT));
        let began = Sim::now();
        let cancelled = late_stop(&StopRequest::new().cancelled_by(&token));
        let Err(StopError::Cancelled(missing)) = cancelled else {
            panic!("it was cancelled: {cancelled:?}");
        };
        assert_eq!(missing.len(), 1);
        assert!(Sim::now() >= began.after_ticks(Sim::frequency().duration_to_ticks(MOMENT)));
        assert!(token.is_cancelled());
        done.set();
        // It stays cancelled; a token that isn't does nothing.
        let again = late_stop(&StopRequest::new().cancelled_by(&token));
        assert!(matches!(again, Err(StopError::Cancelled(_))), "{again:?}");
        let fresh = CancelToken::<Sim>::new();
        assert_eq!(late_stop(&StopRequest::new().cancelled_by(&fresh)), Ok(1));
        fresh.cancel();
    });
}

/// A stop and its deadline at every distance from each other: it runs, or it is given up, and
/// the next one is as ever.
#[test]
fn a_deadline_at_any_instant_leaves_the_machine_whole() {
    with_all_up(|| {
        let (mut ran, mut given_up) = (0, 0);
        for ticks in 0..400 {
            let at = Sim::now().after_ticks(ticks * 10);
            match late_stop(&StopRequest::new().before(at)) {
                Ok(value) => ran += value,
                Err(StopError::Late(_)) => given_up += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(ran > 0 && given_up > 0, "{ran} ran, {given_up} didn't");
    });
}
