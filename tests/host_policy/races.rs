//! What happens between two steps of one CPU: the random loads let a CPU do all that it does
//! in one go.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use stillpoint::cpu::CpuMask;
use stillpoint::sched::{Class, Nice, Thread, ThreadState};

use crate::bound::{busy, fifo};
use crate::checks;
use crate::driver::{act, cpu, interrupt, sched};
use crate::platform::{Many, machine};
use crate::world::{Habits, MS, World};

/// Has a CPU go idle, look for work in vain and sleep, while another one queues a thread
/// for which it has seen no idle CPU. The idle CPU must be called (`none-beside-idle` of
/// `sched::balance`).
pub(crate) fn a_cpu_goes_idle_in_the_midst_of_a_wake() {
    let mut world = World::new(1, 2, 0, Habits::default());
    world.spawn_busy(Nice::default());
    world.spawn_busy(Nice::default());
    world.spawn_with(Nice::default(), vec![(MS, MS / 2)]);
    world.run_until(20 * MS);
    let sleeper = Arc::clone(&world.workers[2].thread);
    // It has just had a turn where it will wait: a CPU that has not looked around for a slice
    // would do so at once, and call the idle one.
    while sleeper.state_racy() != ThreadState::Blocked {
        assert!(World::now() < 100 * MS, "it never sleeps");
        world.step();
    }
    let queues = sleeper.cpu().index();
    let idles = 1 - queues;
    let leaves = world.workers.iter().find(|it| it.on == Some(idles));
    let leaves = Arc::clone(&leaves.expect("both CPUs are busy").thread);

    let slept = Rc::new(Cell::new(false));
    let (woken, sleeps) = (Arc::clone(&sleeper), Rc::clone(&slept));
    machine().meanwhile(move || {
        assert_eq!(woken.state_racy(), ThreadState::Runnable, "it has a CPU");
        block(idles, &leaves);
        act(idles, || sched().idle_turn(|| sleeps.set(true)));
    });
    interrupt(queues, || sched().wake(&sleeper));
    assert!(slept.get(), "the CPU has gone idle meanwhile");
    world.driver.fell_asleep(idles);
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
}

/// The CPUs of [`the_next_thread_is_taken`].
const IDLE: usize = 0;
const TURNS: usize = 1;
const FULL: usize = 2;

fn mask(cpus: &[usize]) -> CpuMask {
    cpus.iter().map(|index| cpu(*index)).collect()
}

/// Has a CPU lose the realtime thread that it was about to switch to, while a less urgent one
/// is left waiting that could run there now (`most-urgent-run` of `sched::balance`).
pub(crate) fn the_next_thread_is_taken() {
    while_it_turns(|taken| {
        act(IDLE, || {
            sched().idle_turn(|| panic!("it has found nothing"))
        });
        assert_eq!(taken.cpu(), cpu(IDLE));
    });
    while_it_turns(|sent| {
        let gone = act(FULL, || sched().set_affinity(sent, &mask(&[IDLE])));
        gone.expect("an active CPU");
    });
}

fn while_it_turns(take_fn: fn(&Arc<Thread<Many>>)) {
    let habits = Habits {
        sleeps: true,
        ..Habits::default()
    };
    let mut world = World::new(1, 3, 0, habits);
    busy(&mut world, Class::Normal, mask(&[TURNS]));
    busy(&mut world, fifo(60), mask(&[FULL]));
    let mut sleeper = |on: usize, priority, cpus: &[usize]| {
        busy(&mut world, fifo(70), mask(&[on]));
        world.driver.rest(&mut world.random);
        world.settle();
        let worker = world.workers.last().expect("it was started");
        assert_eq!(worker.on, Some(on));
        let thread = Arc::clone(&worker.thread);
        block(on, &thread);
        act(IDLE, || sched().set_affinity(&thread, &mask(cpus))).expect("active CPUs");
        act(IDLE, || sched().set_class(&thread, fifo(priority)));
        thread
    };
    let first = sleeper(TURNS, 50, &[IDLE, TURNS]);
    let second = sleeper(FULL, 40, &[TURNS, FULL]);
    world.settle();
    interrupt(FULL, || sched().wake(&first));
    assert_eq!(first.cpu(), cpu(TURNS));
    machine().cpus[TURNS].called.set(false);
    interrupt(TURNS, || {
        sched().reschedule_interrupt();
        machine().meanwhile(move || {
            interrupt(FULL, || sched().wake(&second));
            assert_eq!(second.cpu(), cpu(FULL), "it waits");
            take_fn(&first);
        });
    });
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
}

/// Starts a thread of `class` that may run on CPU `on` only, and lets the machine come to rest.
pub(crate) fn start(world: &mut World, class: Class, on: usize) -> Arc<Thread<Many>> {
    busy(world, class, mask(&[on]));
    world.driver.rest(&mut world.random);
    world.settle();
    Arc::clone(&world.workers.last().expect("it was started").thread)
}

/// Has `thread`, which runs on CPU `on`, block there.
pub(crate) fn block(on: usize, thread: &Arc<Thread<Many>>) {
    act(on, || {
        sched().about_to_block(thread);
        sched().schedule();
    });
}

/// The CPUs of [`one_is_taken_in_a_stop`].
const STOPS: usize = 0;
const TAKES: usize = 1;
const SLEEPS: usize = 2;

/// Has a CPU lose the thread that waited there while its stopper runs, and gain an urgent one.
/// So as many wait when the stopper leaves as did before, but now it is the one that has made
/// room. The CPU that sleeps, and that could not run the other, must be called for it
/// (`none-beside-idle` of `sched::balance`).
pub(crate) fn one_is_taken_in_a_stop() {
    let mut world = World::new(1, 3, 0, Habits::default());
    let mut start = |class, on| start(&mut world, class, on);
    let urgent = start(fifo(50), STOPS);
    block(STOPS, &urgent);
    let makes_room = start(Class::Normal, STOPS);
    let waits = start(Class::Normal, STOPS);
    start(Class::Normal, TAKES);
    for (thread, other) in [(&waits, TAKES), (&makes_room, SLEEPS)] {
        let cpus = mask(&[STOPS, other]);
        act(SLEEPS, || sched().set_affinity(thread, &cpus)).expect("active CPUs");
    }
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert!(world.driver.is_idle(SLEEPS));

    world.driver.begin_stop(STOPS);
    assert_eq!(makes_room.state_racy(), ThreadState::Runnable);
    act(TAKES, || sched().set_affinity(&waits, &mask(&[TAKES]))).expect("an active CPU");
    assert_eq!(waits.cpu(), cpu(TAKES));
    interrupt(TAKES, || sched().wake(&urgent));
    // The stopper leaves.
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert_eq!(makes_room.cpu(), cpu(SLEEPS));
}

/// The CPUs of [`a_call_serves_another`].
const PREEMPTS: usize = 0;
const FIRST: usize = 1;
const SECOND: usize = 2;
const BUSY: usize = 3;

/// Has a CPU go idle and be called for a thread, but take another one that waits and is more
/// urgent. The other idle CPU must be called for the first one (`none-beside-idle` of
/// `sched::balance`).
pub(crate) fn a_call_serves_another() {
    let mut world = World::new(1, 4, 0, Habits::default());
    let mut start = |class, on| start(&mut world, class, on);
    let urgent = start(fifo(50), PREEMPTS);
    block(PREEMPTS, &urgent);
    let is_preempted = start(Class::Normal, PREEMPTS);
    let leaves = start(fifo(60), FIRST);
    start(fifo(60), BUSY);
    let waits = start(fifo(40), BUSY);
    let all = CpuMask::first_n(4);
    for (thread, cpus) in [
        (&waits, mask(&[FIRST, BUSY])),
        (&urgent, mask(&[PREEMPTS, BUSY])),
        (&is_preempted, all),
    ] {
        act(BUSY, || sched().set_affinity(thread, &cpus)).expect("active CPUs");
    }
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert!(world.driver.is_idle(SECOND) && waits.cpu() == cpu(BUSY));

    // As many wait when `urgent` has the CPU as when it was queued.
    act(FIRST, || sched().wake(&urgent));
    block(FIRST, &leaves);
    machine().cpus[PREEMPTS].called.set(false);
    interrupt(PREEMPTS, || sched().reschedule_interrupt());
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert_eq!(waits.cpu(), cpu(FIRST));
    assert_eq!(is_preempted.cpu(), cpu(SECOND));
}

/// Has a CPU turn to an ordinary thread while the most urgent thread that waits may not run
/// there, but a less urgent one behind it may, and one in between on another CPU. That one must
/// get the CPU in the end (`most-urgent-run` of `sched::balance`).
pub(crate) fn one_behind_the_most_urgent_is_pulled() {
    const OTHER: usize = 1;
    const TURNS: usize = 2;
    let mut world = World::new(1, 3, 0, Habits::default());
    let mut start = |class, on| start(&mut world, class, on);
    start(fifo(60), 0);
    start(fifo(60), OTHER);
    let leaves = start(fifo(60), TURNS);
    start(Class::Normal, TURNS);
    let may_not_come = start(fifo(50), 0);
    let behind_it = start(fifo(20), 0);
    let between = start(fifo(30), OTHER);
    for (thread, cpus) in [
        (&may_not_come, mask(&[0, OTHER])),
        (&behind_it, mask(&[0, TURNS])),
        (&between, mask(&[OTHER, TURNS])),
    ] {
        act(0, || sched().set_affinity(thread, &cpus)).expect("active CPUs");
    }
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);

    block(TURNS, &leaves);
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert_eq!(between.cpu(), cpu(TURNS));
}

/// Has a CPU that must not switch, because its thread forbids preemption, get two realtime
/// threads that wait there while other CPUs turn to less urgent ones. When it may switch again,
/// to a more urgent one, both other CPUs must get one of the three (`most-urgent-run` of
/// `sched::balance`), although on each of them another thread is left waiting.
pub(crate) fn several_wait_where_one_is_pushed_from() {
    const SECTION: usize = 0;
    let others = [1, 2];
    let mut world = World::new(1, 3, 0, Habits::default());
    let leave = others.map(|on| start(&mut world, fifo(30), on));
    for on in others {
        start(&mut world, fifo(10), on);
        let movable = start(&mut world, fifo(10), on);
        act(0, || sched().set_affinity(&movable, &mask(&others))).expect("active CPUs");
    }
    let mut sleeper = |priority, cpus: &[usize]| {
        let thread = start(&mut world, fifo(priority), SECTION);
        block(SECTION, &thread);
        act(0, || sched().set_affinity(&thread, &mask(cpus))).expect("active CPUs");
        thread
    };
    let waits = sleeper(20, &[0, 1, 2]);
    let urgent = sleeper(50, &[SECTION]);
    let loses = start(&mut world, fifo(20), SECTION);
    act(0, || sched().set_affinity(&loses, &mask(&[0, 1, 2]))).expect("active CPUs");

    machine().cpus[SECTION].set_section(true);
    for thread in [&urgent, &waits] {
        interrupt(1, || sched().wake(thread));
        assert_eq!(thread.cpu(), cpu(SECTION));
    }
    for (on, thread) in others.into_iter().zip(&leave) {
        block(on, thread);
    }
    world.driver.rest(&mut world.random);
    assert_eq!(
        waits.cpu(),
        cpu(SECTION),
        "the other CPUs know nothing of it"
    );
    world.driver.end_section(SECTION);
    world.driver.rest(&mut world.random);
    world.settle();
    checks::none_waits_in_vain(&world);
    assert_ne!(waits.cpu(), loses.cpu());
}
