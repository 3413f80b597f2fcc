//! What the trace says of CPUs that come and go together: the time of each walk is that of its
//! own steps, of what it waited for itself, and of waiting for others.

use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, Parallel, PartKind, Passing, Place, RecordedWalk, UP_TO_ALIVE, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;
use stillpoint::trace::Direction::{self, Up};

use crate::batches::{all_up, cpu, hotplug, installed, mask};
use crate::deadlines::{SHORT, busy_from, end_after, sleep, slow_on};
use crate::failures::step;
use crate::sim::Sim;

const CPUS: usize = 5;
/// A millisecond, in nanoseconds.
const MS: u64 = 1_000_000;
/// How long what a test delays takes at least.
const LONG: u64 = 4 * MS;
/// How long all else of a walk may take together.
const SHORT_TIME: u64 = MS;

/// Runs a test on a machine whose walks are recorded.
fn recorded(test: impl FnOnce() + Send + 'static) {
    Sim::run(CPUS, move || {
        Sim::record_walks();
        test();
    });
}

/// Returns for how many ticks `walk` was in parts of `kind`.
fn spent(walk: &RecordedWalk, kind: PartKind) -> u64 {
    let parts = walk.parts.iter().filter(|part| part.kind == kind);
    parts.map(|part| part.ticks).sum()
}

/// Returns for how many ticks `walk` was in the step in row `row`.
fn in_row(walk: &RecordedWalk, row: usize) -> u64 {
    let is_it = |kind: PartKind| matches!(kind, PartKind::Step { step, .. } if step == row);
    let parts = walk.parts.iter().filter(|part| is_it(part.kind));
    parts.map(|part| part.ticks).sum()
}

/// Returns the last walk of CPU `number`, of which all parts but `own_fn` and those for others
/// are short.
fn walk(number: usize, own_fn: impl Fn(&RecordedWalk) -> u64) -> RecordedWalk {
    let walk = Sim::last_walk(cpu(number));
    let all = walk.ended.ticks_since(walk.began);
    let sum: u64 = walk.parts.iter().map(|part| part.ticks).sum();
    assert_eq!((sum, walk.whole), (all, true), "CPU{number}: {walk:#?}");
    let rest = all - own_fn(&walk) - walk.for_others();
    assert!(rest < SHORT_TIME, "CPU{number}: {rest} in {walk:#?}");
    walk
}

/// Returns the last walk of CPU `number`, which has waited for others, if it was `long`.
fn waits(number: usize, long: u64) -> RecordedWalk {
    let walk = walk(number, |_| 0);
    assert!(walk.for_others() >= long, "CPU{number}: {walk:#?}");
    walk
}

/// Has this CPU, if it is CPU 3, not run for a while before it passes `init:cpu` up.
fn hold_in_init(step: usize, direction: Direction) {
    let here = Sim::this_cpu();
    if (here, step, direction) == (cpu(3), UP_TO_ALIVE, Up) {
        Sim::hold_cpu(here, LONG);
    }
}

#[test]
fn a_cpu_that_waits_for_its_window_says_so() {
    for how in [Parallel::On, Parallel::Late] {
        recorded(move || {
            hotplug().set_parallel(how);
            Sim::script(|script| script.before_step = Some(hold_in_init));
            assert_eq!(hotplug().cpus_up(&mask(&[1, 2, 3, 4])), Ok(()));
            for number in [1, 2, 4] {
                waits(number, LONG);
            }
            let slow = walk(3, |walk| in_row(walk, step("init:cpu")));
            assert!(in_row(&slow, step("init:cpu")) >= LONG, "{slow:#?}");
        });
    }
}

/// One by one, those behind the slow one wait for it.
#[test]
fn a_cpu_that_waits_for_its_turn_says_so() {
    recorded(|| {
        hotplug().set_parallel(Parallel::Split);
        Sim::script(|script| script.before_step = Some(hold_in_init));
        assert_eq!(hotplug().cpus_up(&mask(&[1, 2, 3, 4])), Ok(()));
        walk(3, |walk| in_row(walk, step("init:cpu")));
        waits(4, LONG);
    });
}

/// A CPU whose step fails goes when all others are up, one of which is slow.
#[test]
fn a_cpu_that_failed_waits_for_the_others() {
    recorded(|| {
        all_up(CPUS);
        let start_fn = |cpu: CpuId| match cpu.index() {
            2 => Err(Errno::Busy),
            3 => {
                sleep(Duration::from_nanos(LONG));
                Ok(())
            }
            _ => Ok(()),
        };
        let callbacks = Callbacks::enable(Some(Box::new(start_fn)), None);
        let slow = installed("slow", Place::Enable, callbacks, Passing::Skipped);
        assert_eq!(hotplug().cpus_down(&mask(&[1, 2, 3])), Ok(()));
        let failed = hotplug().cpus_up(&mask(&[1, 2, 3]));
        assert_eq!(failed.expect_err("one fails").cpus(), mask(&[2]));
        let failed = waits(2, LONG);
        assert!(failed.turned_back, "{failed:#?}");
        let row = slow.row();
        walk(3, |walk| in_row(walk, row));
        drop(slow);
    });
}

/// Takes CPUs 1 to 3 of five down, in each of which `own_fn` returns what is its own. That is long
/// on `slow`, and the others wait for those.
fn down(own_fn: impl Fn(&RecordedWalk) -> u64, slow: &[usize]) {
    assert_eq!(hotplug().cpus_down(&mask(&[1, 2, 3])), Ok(()));
    for number in 1..=3 {
        let walk = walk(number, &own_fn);
        let own = own_fn(&walk);
        if slow.contains(&number) {
            assert!(own >= LONG, "CPU{number}: {own} in {walk:#?}");
        } else {
            assert!(own < SHORT_TIME, "CPU{number}: {own} in {walk:#?}");
            assert!(walk.for_others() >= LONG, "CPU{number}: {walk:#?}");
        }
    }
}

#[test]
fn a_cpu_that_waits_for_the_steps_of_others_says_so() {
    recorded(|| {
        all_up(CPUS);
        let slow = slow_on(|cpu| cpu.index() == 2, Duration::from_nanos(LONG));
        let row = slow.row();
        down(|walk| in_row(walk, row), &[2]);
        drop(slow);
    });
}

/// All wait for it together, so it is in each walk.
#[test]
fn the_grace_period_of_a_batch_has_a_name() {
    recorded(|| {
        all_up(CPUS);
        let done = busy_from(cpu(4), || true); // From the start.
        sleep(Duration::from_micros(100));
        end_after(&done, Duration::from_nanos(LONG + MS));
        down(|walk| spent(walk, PartKind::Grace), &[1, 2, 3]);
    });
}

/// Each dies in its own time, CPU 1 first: control waits for each in turn.
#[test]
fn a_cpu_that_dies_late_says_so() {
    recorded(|| {
        all_up(CPUS);
        Sim::script(|script| {
            script.dies_after = LONG + MS;
            script.by_number = true;
        });
        down(|walk| spent(walk, PartKind::Departure), &[1, 2, 3]);
        for number in [1, 2, 3] {
            let others = Sim::last_walk(cpu(number)).for_others();
            assert!(others >= 2 * LONG, "CPU{number}: {others}");
        }
    });
}

#[test]
fn the_ends_of_others_are_no_part_of_a_walk() {
    recorded(|| {
        all_up(CPUS);
        let reap_fn = |cpu: CpuId| {
            if cpu.index() == 1 {
                sleep(Duration::from_nanos(LONG));
            }
        };
        let reap = Callbacks::post_dead(Box::new(reap_fn));
        let reaper = installed("reaper", Place::PostDead, reap, Passing::Called);
        let row = reaper.row();
        assert_eq!(hotplug().cpus_down(&mask(&[1, 2, 3])), Ok(()));
        let first = walk(1, |walk| in_row(walk, row));
        assert!(first.for_others() < SHORT_TIME, "{first:#?}");
        waits(2, LONG);
        waits(3, LONG);
        drop(reaper);
    });
}

/// The machine can't be stopped in time: one CPU alone, and several.
#[test]
fn the_time_in_which_the_machine_did_not_stop_has_a_name() {
    for going in [&[1][..], &[1, 2, 3]] {
        recorded(move || {
            all_up(CPUS);
            let is_down = || hotplug().state(cpu(1)).state() == UP_TO_ONLINE;
            let done = busy_from(cpu(4), is_down);
            sleep(Duration::from_millis(1));
            let went = hotplug().cpus_down_before(&mask(going), Sim::deadline(SHORT));
            assert!(went.is_err(), "the deadline comes first");
            done.set();
            for number in going {
                let walk = walk(*number, |walk| spent(walk, PartKind::Request));
                assert!(walk.turned_back, "{walk:#?}");
                assert!(spent(&walk, PartKind::Request) >= LONG, "{walk:#?}");
            }
        });
    }
}

/// Where only one of several has to come or go, nothing is for others.
#[test]
fn one_of_a_batch_is_alone() {
    recorded(|| {
        for _ in 0..2 {
            assert_eq!(hotplug().cpus_up(&mask(&[0, 1])), Ok(()));
            assert_eq!(walk(1, |_| 0).for_others(), 0);
            assert_eq!(hotplug().cpus_down(&mask(&[1, 2])), Ok(()));
            assert_eq!(walk(1, |_| 0).for_others(), 0);
        }
    });
}
