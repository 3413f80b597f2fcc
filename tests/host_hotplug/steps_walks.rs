//! The four walks, success and failure, up and down, as they are printed with steps of a program
//! in the table, one of which has three instances and stands in the middle. `plain_walks.rs` has
//! those of the kernel's own table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    Callbacks, CpuDownError, CpuUpError, Hotplug, HotplugHost, InstanceHandle, Left, NewStep,
    Passing, Place, StepError, StepHandle,
};
use stillpoint::trace::Direction::{self, Down, Up};

use crate::sim::Sim;

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn victim() -> CpuId {
    CpuId::from_index(1)
}

/// Returns callbacks that note their calls.
fn noting(name: &'static str) -> Callbacks {
    let call = move |way: Direction| {
        Box::new(move |_| {
            Sim::note(&format!("  {name} {way:?}"));
            Ok::<(), Errno>(())
        })
    };
    Callbacks::enable(Some(call(Up)), Some(call(Down)))
}

struct Steps {
    steps: [StepHandle<Sim>; 4],
    queues: [InstanceHandle<Sim>; 3],
}

fn install() -> Steps {
    let install = |name, place, callbacks| {
        let new = NewStep {
            name,
            place,
            callbacks,
        };
        hotplug()
            .install(new, Passing::Skipped)
            .expect("a slot is free")
    };
    let note = |what: &'static str| Box::new(move |_| Sim::note(what));
    let cache = Callbacks::prep(
        Some(Box::new(|_| {
            Sim::note("  cache Up");
            Ok(())
        })),
        Some(note("  cache Down")),
    );
    let reaper = Callbacks::post_dead(note("  reaper Down"));
    let queues = install("queues", Place::Enable, None);
    let added = ["first", "second", "third"].map(|name| {
        let added = queues.add_instance(noting(name), Passing::Skipped);
        added.expect("it is a step with instances")
    });
    let steps = [
        install("reaper", Place::PostDead, Some(reaper)),
        install("cache", Place::Prep, Some(cache)),
        queues,
        install("pool", Place::Enable, Some(noting("pool"))),
    ];
    Steps {
        steps,
        queues: added,
    }
}

/// Compares the walk that was noted with `wanted`, which begins with an empty line.
pub(crate) fn same(walk: &str, wanted: &str) {
    let seen = Sim::take_notes();
    let wanted: Vec<&str> = wanted.lines().skip(1).collect();
    assert_eq!(seen, wanted, "{walk}:\n{}", seen.join("\n"));
}

#[test]
fn the_walks_with_steps_of_a_program() {
    Sim::run(2, || {
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        let steps = install();
        let [_, _, queues, _] = &steps.steps;
        let cpu = victim();
        let error = StepError::Injected;
        Sim::take_notes();

        assert_eq!(hotplug().cpu_down(cpu), Ok(()));
        same("down", DOWN);
        assert_eq!(hotplug().cpu_up(cpu), Ok(()));
        same("up", UP);

        // The second instance refuses on the way down.
        let row = queues.row();
        assert_eq!(hotplug().inject_instance(cpu, row, 1), Ok(()));
        let step = queues.name();
        let refused = CpuDownError::Step { cpu, step, error };
        assert_eq!(hotplug().cpu_down(cpu), Err(refused));
        same("down and back", DOWN_AND_BACK);

        // And fails on the way up.
        assert_eq!(hotplug().cpu_down(cpu), Ok(()));
        Sim::take_notes();
        assert_eq!(hotplug().inject_instance(cpu, row, 1), Ok(()));
        let failed = CpuUpError::Step { cpu, step, error };
        assert_eq!(hotplug().cpu_up(cpu), Err(failed));
        same("up and back", UP_AND_BACK);
        drop(steps.queues);
        drop(steps.steps);
    });
}

/// An instance refuses, and the one before it on the way fails when it is to be started again:
/// the CPU is left within the step. From there it goes on, up or down or no further than the
/// rest of the step, and each instance is started and stopped once.
#[test]
fn a_cpu_left_within_a_step_goes_on() {
    Sim::run(2, || {
        let cpu = victim();
        assert_eq!(hotplug().cpu_up(cpu), Ok(()));
        let steps = install();
        let [_, _, queues, _] = &steps.steps;
        let fails = Arc::new(AtomicBool::new(false));
        let (theirs, error) = (Arc::clone(&fails), StepError::Injected);
        let start = move |_| {
            Sim::note("  fourth Up");
            match theirs.swap(false, Ordering::Relaxed) {
                true => Err(Errno::Busy),
                false => Ok(()),
            }
        };
        let stop = |_| {
            Sim::note("  fourth Down");
            Ok(())
        };
        let fourth = Callbacks::enable(Some(Box::new(start)), Some(Box::new(stop)));
        let fourth = queues.add_instance(fourth, Passing::Skipped);
        let onward = [
            (None, &ON_UP[..1]),
            (Some(Up), ON_UP),
            (Some(Down), ON_DOWN),
        ];
        for (onward, wanted) in onward {
            assert_eq!(hotplug().inject_instance(cpu, queues.row(), 2), Ok(()));
            fails.store(true, Ordering::Relaxed);
            let step = queues.name();
            let refused = CpuDownError::NotUndone {
                cpu,
                step,
                error,
                left: Left::HalfWay(step),
            };
            assert_eq!(hotplug().cpu_down(cpu), Err(refused));
            assert!(hotplug().state(cpu).is_within() && hotplug().is_balanced(cpu));
            Sim::take_notes();
            match onward {
                None => assert_eq!(hotplug().cpu_set_target(cpu, queues.row() + 1), Ok(())),
                Some(Up) => assert_eq!(hotplug().cpu_up(cpu), Ok(())),
                Some(Down) => assert_eq!(hotplug().cpu_down(cpu), Ok(())),
            }
            let calls = Sim::take_notes();
            let calls: Vec<&str> = calls
                .iter()
                .filter_map(|one| one.split("   ").nth(1))
                .collect();
            assert_eq!(calls, wanted);
            assert!(!hotplug().state(cpu).is_within() && hotplug().is_balanced(cpu));
            if onward.is_none() {
                assert_eq!(hotplug().cpu_up(cpu), Ok(()));
            }
        }
        drop(fourth);
        drop(steps.queues);
        drop(steps.steps);
        assert_eq!(hotplug().slots().iter().count(), 0);
    });
}

/// A step is removed while a CPU rests within it: the CPU goes on from the empty slot, either way,
/// also if another step is there by then.
#[test]
fn a_step_goes_while_a_cpu_rests_within_it() {
    for (onward, again) in [(Up, false), (Down, false), (Up, true), (Down, true)] {
        Sim::run(2, move || {
            let cpu = victim();
            assert_eq!(hotplug().cpu_up(cpu), Ok(()));
            let Steps { steps, queues } = install();
            let [reaper, cache, step, pool] = steps;
            let (name, row, error) = (step.name(), step.row(), StepError::Injected);
            // The first instance refuses, and so does the second on the way back.
            let refuse = |_: CpuId| Err(Errno::Busy);
            let last = Callbacks::enable(Some(Box::new(refuse)), None);
            let last = step.add_instance(last, Passing::Skipped);
            assert_eq!(hotplug().inject_instance(cpu, row, 0), Ok(()));
            let left = Left::HalfWay(name);
            let refused = CpuDownError::NotUndone {
                cpu,
                step: name,
                error,
                left,
            };
            assert_eq!(hotplug().cpu_down(cpu), Err(refused));
            assert!(hotplug().state(cpu).is_within());
            drop((step, queues, last));
            assert!(!hotplug().state(cpu).is_within() && hotplug().is_balanced(cpu));
            let new = again.then(|| {
                let new = NewStep {
                    name: "new",
                    place: Place::Enable,
                    callbacks: Some(noting("new")),
                };
                let new = hotplug().install(new, Passing::Called);
                new.expect("a slot is free")
            });
            match onward {
                Up => assert_eq!(hotplug().cpu_up(cpu), Ok(())),
                Down => assert_eq!(hotplug().cpu_down(cpu), Ok(())),
            }
            assert!(hotplug().is_balanced(cpu));
            drop((reaper, cache, pool, new));
        });
    }
}

const ON_UP: &[&str] = &["fourth Up", "pool Up"];
const ON_DOWN: &[&str] = &[
    "third Down",
    "second Down",
    "first Down",
    "cache Down",
    "reaper Down",
];
const DOWN: &str = "
CPU1 Down sched:active
CPU1 Down sync:active
CPU1 Down enable:pool
CPU1   pool Down
CPU1 Down enable:queues
CPU1   third Down
CPU1   second Down
CPU1   first Down
CPU1 Down enable:irq-affinity
CPU1 Down sched:threads
CPU1 Down sched:drain
CPU1 Down init:online
CPU1 Down init:stopper
CPU1 Down init:calls
CPU1 Down init:timer
CPU1 Down init:irqchip
CPU1 Down init:rcu
CPU1 Down init:cpu
CPU0 Down sync:timers
CPU0 Down sync:alive
CPU0 Down prep:cache
CPU0   cache Down
CPU0 Down prep:threads
CPU0 Down prep:calls
CPU0 Down prep:heap
CPU0 Down prep:percpu
CPU0 Down prep:hardware
CPU0 Down prep:reaper
CPU0   reaper Down
";
const UP: &str = "
CPU0 Up prep:reaper
CPU0 Up prep:hardware
CPU0 Up prep:percpu
CPU0 Up prep:heap
CPU0 Up prep:calls
CPU0 Up prep:threads
CPU0 Up prep:cache
CPU0   cache Up
CPU0 Up sync:alive
CPU0 Up sync:timers
CPU1 Up init:cpu
CPU1 Up init:rcu
CPU1 Up init:irqchip
CPU1 Up init:timer
CPU1 Up init:calls
CPU1 Up init:stopper
CPU1 Up init:online
CPU1 Up sched:drain
CPU1 Up sched:threads
CPU1 Up enable:irq-affinity
CPU1 Up enable:queues
CPU1   first Up
CPU1   second Up
CPU1   third Up
CPU1 Up enable:pool
CPU1   pool Up
CPU1 Up sync:active
CPU1 Up sched:active
";
const DOWN_AND_BACK: &str = "
CPU1 Down sched:active
CPU1 Down sync:active
CPU1 Down enable:pool
CPU1   pool Down
CPU1 Down enable:queues
CPU1   third Down
CPU1 failed enable:queues
CPU1 Up enable:queues
CPU1   third Up
CPU1 Up enable:pool
CPU1   pool Up
CPU1 Up sync:active
CPU1 Up sched:active
";
const UP_AND_BACK: &str = "
CPU0 Up prep:reaper
CPU0 Up prep:hardware
CPU0 Up prep:percpu
CPU0 Up prep:heap
CPU0 Up prep:calls
CPU0 Up prep:threads
CPU0 Up prep:cache
CPU0   cache Up
CPU0 Up sync:alive
CPU0 Up sync:timers
CPU1 Up init:cpu
CPU1 Up init:rcu
CPU1 Up init:irqchip
CPU1 Up init:timer
CPU1 Up init:calls
CPU1 Up init:stopper
CPU1 Up init:online
CPU1 Up sched:drain
CPU1 Up sched:threads
CPU1 Up enable:irq-affinity
CPU1 Up enable:queues
CPU1   first Up
CPU1 failed enable:queues
CPU1 Down enable:queues
CPU1   first Down
CPU1 Down enable:irq-affinity
CPU1 Down sched:threads
CPU1 Down sched:drain
CPU1 Down init:online
CPU1 Down init:stopper
CPU1 Down init:calls
CPU1 Down init:timer
CPU1 Down init:irqchip
CPU1 Down init:rcu
CPU1 Down init:cpu
CPU0 Down sync:timers
CPU0 Down sync:alive
CPU0 Down prep:cache
CPU0   cache Down
CPU0 Down prep:threads
CPU0 Down prep:calls
CPU0 Down prep:heap
CPU0 Down prep:percpu
CPU0 Down prep:hardware
CPU0 Down prep:reaper
CPU0   reaper Down
";
