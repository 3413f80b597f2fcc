//! What realtime threads may take of a CPU that ordinary threads want.

use std::cell::Cell;
use std::time::Duration;

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, Nice, Priority};

use crate::driver::{cpu, sched};
use crate::platform::{NEVER, machine};
use crate::shares::SECOND;
use crate::world::{Habits, MS, US, World};

pub(crate) fn fifo(priority: u8) -> Class {
    Class::fifo(Priority::new(priority).expect("1 to 99"))
}

pub(crate) fn round_robin(priority: u8) -> Class {
    Class::round_robin(Priority::new(priority).expect("1 to 99"))
}

/// Starts a thread of `class` that computes for ever on `cpus`.
pub(crate) fn busy(world: &mut World, class: Class, cpus: CpuMask) {
    world.spawn_as(class, Nice::default(), cpus);
    world.workers.last_mut().expect("a CPU is up").left = NEVER;
}

/// Lets `time` pass. Returns for how long each thread has run meanwhile.
fn run_for(world: &mut World, time: u64) -> Vec<u64> {
    let before = world.run_times();
    world.run_until(World::now() + time);
    let after = world.run_times().into_iter();
    after
        .zip(before)
        .map(|(after, before)| after - before)
        .collect()
}

thread_local! {
    /// How often this thread's machine has said that realtime threads are held back.
    static LINES: Cell<u32> = const { Cell::new(0) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string() == "sched: RT throttling activated" {
            LINES.set(LINES.get() + 1);
        }
    }

    fn flush(&self) {}
}

/// Has the log counted.
fn count_lines() {
    // Another test may have set it.
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

fn bound(ms: Option<u64>) {
    sched().set_realtime_runtime(ms.map(Duration::from_millis));
}

/// Checks that an ordinary thread has what realtime threads must leave, on each CPU, and a
/// realtime thread all if there is no bound.
pub(crate) fn the_rest_is_left() {
    count_lines();
    let cpus = 3;
    let mut world = World::new(1, cpus, 0, Habits::default());
    for index in 0..cpus {
        busy(&mut world, Class::Normal, CpuMask::of(cpu(index)));
        busy(&mut world, fifo(10), CpuMask::of(cpu(index)));
    }
    for (ms, left) in [
        (Some(950), 50),
        (Some(300), 700),
        (None, 0),
        (Some(0), 1000),
    ] {
        bound(ms);
        // The new bound holds from the next period on.
        run_for(&mut world, SECOND);
        for _ in 0..5 {
            let ran = run_for(&mut world, SECOND);
            for pair in ran.chunks(2) {
                assert!(pair[0].abs_diff(left * MS) <= MS, "{ms:?}: {ran:?}");
            }
        }
    }
    assert_eq!(LINES.get(), 1, "it is said once");
    sched().set_realtime_runtime(Some(Duration::MAX));
    let all = Some(Duration::from_secs(1));
    assert_eq!(sched().realtime_runtime(), all, "no bound at all");
}

/// Checks that threads that are held back on one CPU run on another one, where that is
/// allowed, and that of two realtime threads the more urgent one still goes first.
pub(crate) fn held_back_here_they_run_there() {
    let mut world = World::new(1, 2, 0, Habits::default());
    busy(&mut world, Class::Normal, CpuMask::of(cpu(0)));
    busy(&mut world, fifo(20), CpuMask::of(cpu(0)));
    busy(&mut world, fifo(10), CpuMask::first_n(2));
    let ran = run_for(&mut world, 5 * SECOND);
    assert!(
        ran[2] >= 5 * SECOND - MS,
        "the movable one has CPU1: {ran:?}"
    );
    assert!(ran[0].abs_diff(250 * MS) <= 55 * MS, "{ran:?}");
    assert_eq!(ran[0] + ran[1], 5 * SECOND, "CPU0 was never idle");
    // It has two CPUs to run on, and neither is held back for as long as the other is not.
    let mut world = World::new(1, 2, 0, Habits::default());
    for index in 0..2 {
        busy(&mut world, Class::Normal, CpuMask::of(cpu(index)));
    }
    busy(&mut world, fifo(10), CpuMask::first_n(2));
    let ran = run_for(&mut world, 5 * SECOND);
    assert!(ran[2] >= 5 * SECOND - MS, "{ran:?}");
}

/// Checks that a CPU that ordinary threads don't want is left to realtime threads, and that
/// it has no tick then.
pub(crate) fn an_idle_cpu_is_not_taken() {
    let mut world = World::new(1, 1, 0, Habits::default());
    busy(&mut world, fifo(10), CpuMask::first_n(1));
    let ran = run_for(&mut world, 3 * SECOND);
    assert_eq!(ran, [3 * SECOND]);
    assert_eq!(machine().cpus[0].armed.get(), NEVER, "a tick");
    // An ordinary thread that wants it for a moment doesn't have it for longer.
    busy(&mut world, Class::Normal, CpuMask::first_n(1));
    world.workers[1].left = 10 * US;
    world.habits.sleeps = true;
    let before = World::now();
    while World::now() < before + 20 * SECOND {
        world.step();
        let held = sched().holds_realtime_back(cpu(0));
        if held && world.workers[1].on.is_none() && !world.workers[1].waits() {
            assert!(world.workers[0].on.is_some(), "the CPU idles");
        }
    }
    let ran = world.run_times();
    assert!(ran[1] > 0, "the ordinary thread has never run");
}

/// Checks that a realtime thread that is held back on all its CPUs stays on one of them: a CPU
/// that holds it back is no better than another (`most-urgent-run` of `sched::balance`).
pub(crate) fn held_back_everywhere_they_stay() {
    let mut world = World::new(1, 2, 0, Habits::default());
    bound(Some(0));
    for index in 0..2 {
        busy(&mut world, Class::Normal, CpuMask::of(cpu(index)));
    }
    busy(&mut world, fifo(10), CpuMask::first_n(2));
    run_for(&mut world, SECOND);
    let moved = |world: &World| world.workers[2].thread.usage().migrations;
    let before = moved(&world);
    let ran = run_for(&mut world, 5 * SECOND);
    assert_eq!(ran, [5 * SECOND, 5 * SECOND, 0]);
    // At the end of each CPU's period it may run for no time.
    let moves = moved(&world) - before;
    assert!(moves <= 2 * 5, "it has moved {moves} times");
}

/// Returns a machine whose CPU1 has gone while its realtime threads were held back.
fn gone_while_held_back() -> World {
    let mut world = World::new(1, 2, 0, Habits::default());
    for index in 0..2 {
        busy(&mut world, Class::Normal, CpuMask::of(cpu(index)));
        busy(&mut world, fifo(10), CpuMask::of(cpu(index)));
    }
    while !sched().holds_realtime_back(cpu(1)) {
        assert!(World::now() < 2 * SECOND, "they are never held back");
        run_for(&mut world, MS);
    }
    world.driver.take_down(1);
    run_for(&mut world, MS);
    assert!(!world.driver.is_active(1));
    world.driver.power_off(1);
    world
}

/// Checks that a CPU that comes back while the period is not over in which its realtime
/// threads were held back begins anew.
pub(crate) fn a_cpu_that_comes_back_begins_anew() {
    let mut world = gone_while_held_back();
    world.driver.bring_up(1);
    run_for(&mut world, MS);
    assert!(!sched().holds_realtime_back(cpu(1)));
}

/// Checks that the kernel's own threads are neither held back nor counted: a CPU goes while
/// its realtime threads are held back, and begins anew when it comes.
pub(crate) fn a_cpu_may_go_meanwhile() {
    let mut world = gone_while_held_back();
    let ran = run_for(&mut world, 3 * SECOND);
    let ordinary = ran[0] + ran[2];
    assert!(ordinary.abs_diff(150 * MS) <= 55 * MS, "{ran:?}");
    world.driver.bring_up(1);
    run_for(&mut world, MS);
    assert!(!sched().holds_realtime_back(cpu(1)));
    let ran = run_for(&mut world, 3 * SECOND);
    let realtime = ran[1] + ran[3];
    assert!(realtime >= 2 * 3 * SECOND * 90 / 100, "{ran:?}");
}
