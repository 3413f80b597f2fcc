//! The calls of installations and removals in the trace: one for each CPU that was called.

use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{Callbacks, NewStep, Passing, Place, RecordedCall};
use stillpoint::time::Instant;
use stillpoint::trace::Direction::{self, Down, Up};
use stillpoint::trace::{Event, Record};

use crate::batches::{all_up, cpu, hotplug, installed};
use crate::deadlines::sleep;
use crate::sim::Sim;

const CPUS: usize = 4;
/// How long each callback takes.
const TIME: Duration = Duration::from_micros(700);

/// Runs a test on a machine whose CPUs are online, but for the last one.
fn recorded(test: impl FnOnce() + Send + 'static) {
    Sim::run(CPUS, move || {
        all_up(CPUS - 1);
        Sim::record_walks();
        test();
    });
}

/// Returns callbacks that take some time; the startup on CPU `refusing` is refused.
fn slow(refusing: Option<usize>) -> Callbacks {
    let start_fn = move |cpu: CpuId| {
        sleep(TIME);
        match refusing == Some(cpu.index()) {
            true => Err(Errno::Busy),
            false => Ok(()),
        }
    };
    let stop_fn = |_: CpuId| {
        sleep(TIME);
        Ok(())
    };
    Callbacks::enable(Some(Box::new(start_fn)), Some(Box::new(stop_fn)))
}

/// What is said of a call: its way, the CPU that it ran on, its name, and whether it succeeded.
type Said = (Direction, usize, String, Option<bool>);

/// Returns what is said of the calls for CPU `number`, each of which takes its time.
fn calls(number: usize) -> Vec<Said> {
    let calls = Sim::last_calls(cpu(number)).into_iter();
    calls
        .map(|call: RecordedCall| {
            assert!(call.ticks >= 700_000, "{call:?}");
            let name = hotplug().last_step_name(call.step).to_string();
            (call.direction, call.on.index(), name, call.done)
        })
        .collect()
}

fn said(direction: Direction, on: usize, name: &str, ok: bool) -> Said {
    (direction, on, name.into(), Some(ok))
}

#[test]
fn each_cpu_that_is_past_has_its_calls() {
    recorded(|| {
        let cache = Callbacks::prep(
            Some(Box::new(|_| {
                sleep(TIME);
                Ok(())
            })),
            None,
        );
        let cache = installed("cache", Place::Prep, cache, Passing::Called);
        let pool = installed("pool", Place::Enable, slow(None), Passing::Called);
        drop((cache, pool));
        for number in 0..CPUS - 1 {
            let wanted = [
                said(Up, 0, "prep:cache", true),
                said(Up, number, "enable:pool", true),
                said(Down, number, "enable:pool", true),
            ];
            assert_eq!(calls(number), wanted, "CPU{number}");
        }
        assert_eq!(calls(CPUS - 1), []);
    });
}

#[test]
fn an_installation_that_is_taken_back_says_so() {
    recorded(|| {
        let new = NewStep {
            name: "pool",
            place: Place::Enable,
            callbacks: Some(slow(Some(1))),
        };
        assert!(hotplug().install(new, Passing::Called).is_err());
        let up = |number, ok| said(Up, number, "enable:pool", ok);
        assert_eq!(calls(0), [up(0, true), said(Down, 0, "enable:pool", true)]);
        assert_eq!(calls(1), [up(1, false)]);
        assert_eq!(calls(2), []);
    });
}

/// Only what is called is in the trace; and it is in no walk.
#[test]
fn what_is_not_called_is_not_said() {
    recorded(|| {
        let walk = || {
            assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
            assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        };
        walk();
        let skipped = installed("skipped", Place::Enable, slow(None), Passing::Skipped);
        let reap = Callbacks::post_dead(Box::new(|_| ()));
        let reaper = installed("reaper", Place::PostDead, reap, Passing::Called);
        let nothing = installed(
            "nothing",
            Place::Prep,
            Callbacks::default(),
            Passing::Called,
        );
        assert_eq!(calls(1), []);
        let queues = NewStep {
            name: "queues",
            place: Place::Enable,
            callbacks: None,
        };
        let queues = hotplug().install(queues, Passing::Called);
        let queues = queues.expect("a slot is free");
        let before = Sim::last_walk(cpu(1));
        let queue = queues.add_instance(slow(None), Passing::Called);
        let queue = queue.expect("it has instances");
        assert_eq!(Sim::last_walk(cpu(1)), before);
        assert_eq!(calls(1), [said(Up, 1, "enable:queues", true)]);
        walk();
        let after = Sim::last_walk(cpu(1));
        assert!(after.whole && !after.turned_back, "{after:#?}");
        assert_eq!(
            calls(1).len(),
            1,
            "a walk calls the instance too, as a step"
        );
        drop((queue, queues, nothing, reaper, skipped));
    });
}

/// The oldest records are lost first, and the last call may not be over.
#[test]
fn what_the_ring_has_lost_is_not_made_up() {
    let (cpu, step) = (cpu(1), 5);
    let record = |at, event| Record {
        at: Instant(at),
        on: CpuId::BOOT,
        event,
    };
    let begin = |direction| Event::CallBegin {
        cpu,
        step,
        direction,
    };
    let end = |direction, ok| Event::CallEnd {
        cpu,
        step,
        direction,
        ok,
    };
    let records = [
        record(1, begin(Up)),
        record(3, end(Up, true)),
        record(5, begin(Down)),
        record(9, end(Down, false)),
    ];
    let all = stillpoint::hotplug::recorded_calls(cpu, &records);
    let of = |call: &RecordedCall| (call.at.0, call.ticks, call.direction, call.done);
    let all: Vec<_> = all.iter().map(of).collect();
    assert_eq!(all, [(1, 2, Up, Some(true)), (5, 4, Down, Some(false))]);
    let some = stillpoint::hotplug::recorded_calls(cpu, &records[1..3]);
    let some: Vec<_> = some.iter().map(of).collect();
    assert_eq!(some, [(5, 0, Down, None)]);
    let without = [records[0], records[1], records[3]];
    let without = stillpoint::hotplug::recorded_calls(cpu, &without);
    let without: Vec<_> = without.iter().map(of).collect();
    assert_eq!(without, [(1, 2, Up, Some(true))]);
    assert_eq!(
        stillpoint::hotplug::recorded_calls(CpuId::BOOT, &records),
        []
    );
}
