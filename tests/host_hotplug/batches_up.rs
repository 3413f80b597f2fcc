//! Several CPUs that come up in one operation, in each of the four ways: one hold of the stop
//! mutex for each window, which fail and what the others do then, and what goes on meanwhile.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    ALL_UP, ApRefusal, Callbacks, CpuHealth, CpuUpError, Left, Parallel, Passing, Place,
    Quarantine, StepError, StepHandle, state_number,
};
use stillpoint::platform::{Platform, PsciError};
use stillpoint::sched::SchedHost;
use stillpoint::stop_machine::StopHost;
use stillpoint::sync::LocalCpu;
use stillpoint::trace::Direction;

use crate::affinity::spawn;
use crate::batches::{Watch, all_up, check_online, cpu, hotplug, installed, mask};
use crate::failures::{MS, set_limits, step};
use crate::sim::{NEVER, Off, On, Sim};

const CPUS: usize = 8;

/// The ways in which CPUs come together.
const TOGETHER: [Parallel; 3] = [Parallel::Split, Parallel::On, Parallel::Late];

fn others(cpus: usize) -> CpuMask {
    CpuMask::first_n(cpus).without(&mask(&[0]))
}

/// Returns the error of a step that failed on CPU `number`, which is off again.
pub(crate) fn failed_at(number: usize, step: &'static str, error: StepError) -> CpuUpError {
    CpuUpError::Step {
        cpu: cpu(number),
        step: step.into(),
        error,
    }
}

/// Runs `test` on a machine of `cpus` CPUs, once for each of `ways`.
pub(crate) fn in_each_way(ways: &[Parallel], cpus: usize, test: fn(Parallel)) {
    for how in ways.iter().copied() {
        Sim::run(cpus, move || {
            set_limits();
            hotplug().set_parallel(how);
            assert_eq!(hotplug().parallel(), how);
            test(how);
        });
    }
}

#[test]
fn seven_come_in_each_way() {
    in_each_way(&Parallel::ALL, CPUS, |_| {
        for _ in 0..3 {
            assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
            check_online(CPUS, &[0, 1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(Sim::masks().active(), CpuMask::first_n(CPUS));
            // They are up: nothing is left to do.
            Sim::take_notes();
            assert_eq!(hotplug().cpus_up(&CpuMask::first_n(CPUS)), Ok(()));
            assert_eq!(Sim::take_notes(), [""; 0]);
            assert_eq!(hotplug().cpus_down(&others(CPUS)), Ok(()));
            check_online(CPUS, &[0]);
        }
    });
}

/// Each CPU runs as soon as it is told what to do, and sleeps again before control goes on.
#[test]
fn they_come_though_control_stands_still_where_it_tells_them() {
    in_each_way(&Parallel::ALL, 4, |_| {
        Sim::script(|script| script.stands_after_sgi = true);
        for _ in 0..3 {
            assert_eq!(hotplug().cpus_up(&others(4)), Ok(()));
            check_online(4, &[0, 1, 2, 3]);
            assert_eq!(hotplug().cpus_down(&others(4)), Ok(()));
            check_online(4, &[0]);
        }
    });
}

/// Returns how many CPUs a thread saw online each time when it had the stop mutex, while `cpus`
/// came up. It runs on CPU 1, which is up before.
fn seen_with_the_stop_mutex(cpus: &CpuMask) -> BTreeSet<usize> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let over = Arc::new(AtomicBool::new(false));
    let (theirs, its_end) = (Arc::clone(&seen), Arc::clone(&over));
    let looks = spawn("looks", cpu(1), move || {
        while !its_end.load(Ordering::Relaxed) {
            let still = Sim::stop_machine().lock();
            let online = Sim::masks().online().count();
            drop(still);
            theirs.lock().expect("no panic under it").insert(online);
            Sim::sched().sleep_until(Sim::deadline(Duration::from_micros(1)));
        }
    });
    assert_eq!(hotplug().cpus_up(cpus), Ok(()));
    over.store(true, Ordering::Relaxed);
    Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
    drop(looks);
    seen.lock().expect("no panic under it").clone()
}

/// Has every third CPU come late to `init:online`.
fn dawdle(row: usize, direction: Direction) {
    if (row, direction) == (step("init:online"), Direction::Up) && Sim::this_cpu().index() % 3 == 0
    {
        (0..20).for_each(|_| Sim::relax());
    }
}

/// `one-hold-a-window`: no other thread has the stop mutex between the CPUs of a window.
#[test]
fn a_window_joins_under_one_hold_of_the_stop_mutex() {
    const MANY: usize = 45;
    in_each_way(&[Parallel::On, Parallel::Late], MANY, |_| {
        all_up(2);
        // Time for the other thread between the release and the last online bit.
        Sim::script(|script| script.before_step = Some(dawdle));
        let seen = seen_with_the_stop_mutex(&others(MANY));
        assert_eq!(seen, BTreeSet::from([2, 34, 45]));
    });
    // With the others it does, which also shows that it would be seen.
    in_each_way(&[Parallel::Off, Parallel::Split], CPUS, |_| {
        all_up(2);
        let seen = seen_with_the_stop_mutex(&others(CPUS));
        assert!(seen.len() > 3, "{seen:?}");
    });
}

/// Has the CPU that is called as number `nth` be answered with `answer`, and start after `starts`.
pub(crate) fn nth_call(nth: usize, answer: Result<(), PsciError>, starts: u64) {
    Sim::script(|script| {
        let good = script.on[0];
        for _ in 0..nth {
            script.on.push_front(good);
        }
        script.on.insert(nth, On { answer, starts });
    });
}

#[test]
fn firmware_refuses_one_of_seven() {
    in_each_way(&Parallel::ALL, CPUS, |_| {
        nth_call(2, Err(PsciError::Denied), NEVER);
        let failed = hotplug().cpus_up(&others(CPUS));
        let failed = failed.expect_err("firmware refuses one");
        let error = failed_at(3, "prep:hardware", StepError::Psci(PsciError::Denied));
        assert_eq!(failed.failed(), [(cpu(3), error)]);
        assert_eq!(
            hotplug().health(cpu(3)),
            CpuHealth::Refused(PsciError::Denied)
        );
        assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
        check_online(CPUS, &[0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn one_of_seven_never_arrives() {
    in_each_way(&Parallel::ALL, CPUS, |_| {
        nth_call(2, Ok(()), NEVER);
        let failed = hotplug().cpus_up(&others(CPUS));
        let failed = failed.expect_err("one doesn't come");
        let error = failed_at(3, "sync:alive", StepError::NeverArrived);
        assert_eq!(failed.failed(), [(cpu(3), error)]);
        let unknown = CpuHealth::Unknown(Quarantine::NeverArrived);
        assert_eq!(hotplug().health(cpu(3)), unknown);
        assert_eq!(Sim::masks().active().count(), CPUS - 1);
        // The next operation calls it again, and it comes.
        Sim::heal();
        assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
        check_online(CPUS, &[0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

/// `limit-from-last`: the limit is 25 ms. Seven that arrive one each 20 ms have all come in time;
/// seven that don't come are late together.
#[test]
fn the_limit_counts_from_the_last_arrival() {
    in_each_way(&TOGETHER, CPUS, |_| {
        Sim::script(|script| {
            let starts = (1..CPUS as u64).map(|nth| 20 * nth * MS);
            let answer = Ok(());
            script.on = starts.map(|starts| On { answer, starts }).collect();
        });
        assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
        assert_eq!(hotplug().cpus_down(&others(CPUS)), Ok(()));

        Sim::script(|script| script.on[0].starts = NEVER);
        let began = Sim::time();
        let failed = hotplug().cpus_up(&others(CPUS));
        let failed = failed.expect_err("none comes");
        assert_eq!(failed.cpus(), others(CPUS));
        let took = Sim::time() - began;
        assert!((25 * MS..30 * MS).contains(&took), "{took} ns");
    });
}

#[test]
fn those_that_refuse_themselves_are_seen_off() {
    in_each_way(&Parallel::ALL, 4, |_| {
        Sim::script(|script| script.refuses = Some(ApRefusal::WrongMpidr));
        let failed = hotplug().cpus_up(&others(4));
        let failed = failed.expect_err("all refuse");
        for number in 1..4 {
            let refused = StepError::RefusedItself(ApRefusal::WrongMpidr);
            let error = failed_at(number, "sync:alive", refused);
            assert_eq!(failed.of(cpu(number)), Some(&error));
            let health = CpuHealth::Failed(ApRefusal::WrongMpidr);
            assert_eq!(hotplug().health(cpu(number)), health);
        }
        Sim::heal();
        assert_eq!(hotplug().cpus_up(&others(4)), Ok(()));
    });
}

/// Installs a step whose startup on CPU `number` is refused.
fn refuses_on(number: usize, place: Place) -> StepHandle<Sim> {
    let start_fn = move |on: CpuId| {
        if on.index() == number {
            return Err(Errno::Busy);
        }
        Ok(())
    };
    let callbacks = if place == Place::Prep {
        Callbacks::prep(Some(Box::new(start_fn)), None)
    } else {
        Callbacks::enable(Some(Box::new(start_fn)), None)
    };
    installed("refuses", place, callbacks, Passing::Called)
}

/// A CPU is walked back to where it was, whether its step fails before its release or after.
#[test]
fn a_step_fails_on_one_of_seven() {
    in_each_way(&Parallel::ALL, CPUS, |how| {
        for (place, name) in [
            (Place::Prep, "prep:refuses"),
            (Place::Enable, "enable:refuses"),
        ] {
            let step = refuses_on(5, place);
            let stops = Sim::stop_machine().stops();
            let failed = hotplug().cpus_up(&others(CPUS));
            let failed = failed.expect_err("it refuses");
            let error = failed_at(5, name, StepError::Refused(Errno::Busy));
            assert_eq!(failed.failed(), [(cpu(5), error)]);
            check_online(CPUS, &[0, 1, 2, 3, 4, 6, 7]);
            let stopped = Sim::stop_machine().stops() - stops;
            assert_eq!(stopped, u64::from(place == Place::Enable), "{how:?}");
            assert!(step.remove(Passing::Called).is_ok());
            assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
            assert_eq!(hotplug().cpus_down(&others(CPUS)), Ok(()));
        }
    });
}

/// All that fail in their threads are taken down in one still point.
#[test]
fn several_that_fail_go_with_one_still_point() {
    in_each_way(&[Parallel::On, Parallel::Late], CPUS, |_| {
        let steps = [2, 4, 7].map(|number| refuses_on(number, Place::Enable));
        let stops = Sim::stop_machine().stops();
        let failed = hotplug().cpus_up(&others(CPUS));
        let failed = failed.expect_err("three refuse");
        assert_eq!(failed.cpus(), mask(&[2, 4, 7]));
        assert_eq!(Sim::stop_machine().stops(), stops + 1);
        check_online(CPUS, &[0, 1, 3, 5, 6]);
        for step in steps {
            assert!(step.remove(Passing::Called).is_ok());
        }
        // One that has failed and isn't seen to go off is quarantined, and the error says so.
        let step = refuses_on(2, Place::Enable);
        Sim::script(|script| script.off = Off::After(NEVER));
        let failed = hotplug().cpus_up(&mask(&[2, 4]));
        let failed = failed.expect_err("it refuses");
        let error = CpuUpError::NotUndone {
            cpu: cpu(2),
            step: "enable:refuses".into(),
            error: StepError::Refused(Errno::Busy),
            left: Left::Quarantined(Quarantine::NotOff(None)),
        };
        assert_eq!(failed.failed(), [(cpu(2), error)]);
        Sim::heal();
        assert!(step.remove(Passing::Called).is_ok());
        assert_eq!(hotplug().cpus_up(&others(CPUS)), Ok(()));
        check_online(CPUS, &[0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

/// One is online, one rests half way, one is quarantined, one doesn't exist, the rest is off.
#[test]
fn each_goes_on_from_where_it_is() {
    in_each_way(&Parallel::ALL, 6, |_| {
        all_up(3);
        let state = state_number(step("sched:threads") + 1);
        assert_eq!(hotplug().cpu_set_target(cpu(2), state), Ok(()));
        nth_call(0, Ok(()), NEVER);
        assert!(hotplug().cpu_up(cpu(3)).is_err());
        Sim::heal();
        Sim::take_notes();
        let all = mask(&[0, 1, 2, 3, 4, 5, 9]);
        let failed = hotplug().cpus_up(&all).expect_err("there is no CPU 9");
        assert_eq!(failed.failed(), [(cpu(9), CpuUpError::NoSuchCpu(9))]);
        check_online(6, &[0, 1, 2, 3, 4, 5]);
        let notes = Sim::take_notes();
        let count = |line: &str| notes.iter().filter(|note| *note == line).count();
        assert_eq!(count("CPU2 Up sched:threads"), 0);
        assert_eq!(count("CPU2 Up sched:active"), 1);
        assert_eq!(count("CPU1 Up sched:active"), 0);
        assert_eq!(count("CPU3 Up sched:active"), 1);
    });
}

/// Those that rest half way walk as the others do: one by one with `off` and `split`.
#[test]
fn those_that_rest_half_way_walk_as_the_way_says() {
    in_each_way(&Parallel::ALL, 4, |how| {
        all_up(4);
        let state = state_number(step("sched:threads") + 1);
        for number in [1, 2] {
            assert_eq!(hotplug().cpu_set_target(cpu(number), state), Ok(()));
        }
        assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
        let (inside, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::clone(&most);
        let start_fn = move |_: CpuId| {
            let together = inside.fetch_add(1, Ordering::SeqCst) + 1;
            seen.fetch_max(together, Ordering::SeqCst);
            Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        let callbacks = Callbacks::enable(Some(Box::new(start_fn)), None);
        installed("counts", Place::Enable, callbacks, Passing::Skipped).keep();
        assert_eq!(hotplug().cpus_up(&others(4)), Ok(()));
        check_online(4, &[0, 1, 2, 3]);
        let one_by_one = matches!(how, Parallel::Off | Parallel::Split);
        let most = most.load(Ordering::SeqCst);
        assert_eq!(most == 1, one_by_one, "{how:?}: {most} at the same time");
    });
}

/// Those that rested half way, at different places, and whose walks fail, rest there again: they
/// aren't taken down.
#[test]
fn those_that_fail_half_way_rest_where_they_did() {
    in_each_way(&Parallel::ALL, 5, |how| {
        all_up(4);
        let lowest = state_number(step("init:online") + 1);
        let higher = state_number(step("sched:threads") + 1);
        assert_eq!(hotplug().cpu_set_target(cpu(1), lowest), Ok(()));
        assert_eq!(hotplug().cpu_set_target(cpu(2), higher), Ok(()));
        let states = || [1, 2, 3, 4].map(|number| hotplug().state(cpu(number)).state());
        assert_eq!(hotplug().cpu_down(cpu(3)), Ok(()));
        let before = states();
        let steps = [1, 2, 3].map(|number| refuses_on(number, Place::Enable));
        let failed = hotplug().cpus_up(&others(5)).expect_err("three refuse");
        assert_eq!(failed.cpus(), mask(&[1, 2, 3]));
        assert_eq!(
            states(),
            [before[0], before[1], before[2], ALL_UP],
            "{how:?}"
        );
        for step in steps {
            assert!(step.remove(Passing::Called).is_ok());
        }
        assert_eq!(hotplug().cpus_up(&others(5)), Ok(()));
        check_online(5, &[0, 1, 2, 3, 4]);
    });
}

/// One by one each comes under the hotplug lock, also after one that has failed: a thread that
/// holds the lock for reading sees none come.
#[test]
fn no_cpu_comes_under_a_reader_after_one_that_failed() {
    in_each_way(&Parallel::ALL, 4, |_| {
        let start_fn = |on: CpuId| {
            Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(2)));
            if on.index() == 1 {
                return Err(Errno::Busy);
            }
            Ok(())
        };
        let callbacks = Callbacks::enable(Some(Box::new(start_fn)), None);
        let step = installed("one refuses", Place::Enable, callbacks, Passing::Skipped);
        let watch = Watch::start(cpu(0));
        let failed = hotplug().cpus_up(&others(4)).expect_err("one refuses");
        assert_eq!(failed.cpus(), mask(&[1]));
        watch.end();
        step.keep();
    });
}

/// How many steps of CPU 1 were up when those of the second window had arrived.
static WALKED_MEANWHILE: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_later_window_is_called_while_an_earlier_one_walks() {
    const MANY: usize = 36;
    fn look(at: usize, direction: Direction) {
        let is_second = Sim::masks().online().count() == 33;
        if at == step("sync:alive") && direction == Direction::Up && is_second {
            let up = hotplug().state(cpu(1)).state();
            WALKED_MEANWHILE.store(up, Ordering::Relaxed);
        }
    }
    in_each_way(&[Parallel::On, Parallel::Late], MANY, |_| {
        let start_fn = |on: CpuId| {
            if on.index() == 1 {
                // A step that takes its time.
                Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(200)));
            }
            Ok(())
        };
        let callbacks = Callbacks::enable(Some(Box::new(start_fn)), None);
        let step = installed("dawdles", Place::Enable, callbacks, Passing::Skipped);
        let row = step.row();
        Sim::script(|script| script.before_step = Some(look));
        assert_eq!(hotplug().cpus_up(&others(MANY)), Ok(()));
        let up = WALKED_MEANWHILE.swap(0, Ordering::Relaxed);
        assert_eq!(up, row + 1, "CPU1 was in the step that dawdles");
        step.keep();
    });
}

/// Where in the walks CPUs are called: in `late` when all PREP steps of the window are up.
#[test]
fn cpus_are_called_where_the_way_says() {
    for (how, prepared_before) in [
        (Parallel::Off, 0),
        (Parallel::Split, 0),
        (Parallel::On, 0),
        (Parallel::Late, 3),
    ] {
        Sim::run(4, move || {
            hotplug().set_parallel(how);
            // The first call of CPU_ON fails, which tells when it was.
            nth_call(0, Err(PsciError::InternalFailure), NEVER);
            Sim::take_notes();
            assert!(hotplug().cpus_up(&others(4)).is_err());
            let notes = Sim::take_notes();
            let failed = notes
                .iter()
                .position(|note| note == "CPU0 failed prep:hardware");
            let failed = failed.expect("it is refused");
            let before = &notes[..failed];
            let prepared = before.iter().filter(|note| *note == "CPU0 Up prep:threads");
            assert_eq!(prepared.count(), prepared_before, "{how:?}");
            let health = CpuHealth::Refused(PsciError::InternalFailure);
            assert_eq!(hotplug().health(cpu(1)), health);
            assert_eq!(Sim::masks().active(), mask(&[0, 2, 3]));
        });
    }
}

#[test]
fn a_batch_is_refused_while_hotplug_is_disabled() {
    Sim::run(3, || {
        let guard = hotplug().disable().expect("no operation is under way");
        let up = hotplug().cpus_up(&mask(&[1, 2]));
        let up = up.expect_err("hotplug is disabled");
        assert_eq!((up.cpus(), up.errno()), (mask(&[1, 2]), Errno::Busy));
        drop(guard);
        assert_eq!(hotplug().cpus_up(&mask(&[1, 2])), Ok(()));
        assert_eq!(hotplug().state(cpu(2)).state(), ALL_UP);
    });
}
