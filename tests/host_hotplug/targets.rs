//! CPUs that are moved to a place of rest: where that is, what it means for masks and later
//! operations, and that nothing else than a place of rest is taken.

use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::errno::Errno;
use stillpoint::hotplug::{
    ALL_UP, Awaited, Callbacks, CpuDownError, CpuHealth, Hotplug, HotplugHost, NewStep, ONLINE,
    Passing, Place, TargetError, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;

use crate::deadlines::{LONG, end_after, holder, name};
use crate::failures::step;
use crate::sim::Sim;

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn victim() -> CpuId {
    CpuId::from_index(1)
}

/// Returns the number of the state whose last step is `name`.
fn state(name: &str) -> usize {
    step(name) + 1
}

fn set_target(state: usize) -> Result<(), TargetError> {
    hotplug().cpu_set_target(victim(), state)
}

/// Checks that the victim rests with `up` steps up.
fn check_rests(up: usize) {
    let cpu = victim();
    assert_eq!(hotplug().state(cpu).state(), up);
    assert!(hotplug().is_balanced(cpu));
    assert_eq!(Sim::masks().is_online(cpu), up >= UP_TO_ONLINE);
    assert_eq!(Sim::masks().is_active(cpu), up == ALL_UP);
    let health = match up {
        0 => CpuHealth::Off,
        ALL_UP => CpuHealth::Online,
        up => CpuHealth::HalfWay(up),
    };
    assert_eq!(hotplug().health(cpu), health);
}

fn enable_step(name: &'static str) -> NewStep {
    NewStep {
        name,
        place: Place::Enable,
        callbacks: Some(Callbacks::enable(
            Some(Box::new(|cpu| {
                Sim::note(&format!("starts for CPU{cpu}"));
                Ok(())
            })),
            Some(Box::new(|cpu| {
                Sim::note(&format!("stops for CPU{cpu}"));
                Ok(())
            })),
        )),
    }
}

fn install(name: &'static str) -> stillpoint::hotplug::StepHandle<Sim> {
    let installed = hotplug().install(enable_step(name), Passing::Called);
    installed.expect("a slot is free")
}

/// Returns what the callbacks of installed steps have noted.
fn calls() -> Vec<String> {
    let mut notes = Sim::take_notes();
    notes.retain(|note| note.contains("for CPU"));
    notes
}

#[test]
fn the_places_of_rest_are_these() {
    Sim::run(2, || {
        let step = install("mine");
        let row = step.row();
        let places = || -> Vec<_> {
            let places = hotplug().resting_places();
            places
                .map(|place| (place.state, place.name.to_string()))
                .collect()
        };
        let named = |name: &str| (state(name), name.to_string());
        let mut wanted = vec![
            (0, "offline".to_string()),
            named("init:online"),
            named("sched:drain"),
            named("sched:threads"),
            named("enable:irq-affinity"),
            (row + 1, "enable:mine".to_string()),
            named("sync:active"),
            (ONLINE, "online".to_string()),
        ];
        assert_eq!(places(), wanted);
        drop(step);
        wanted.remove(5);
        assert_eq!(places(), wanted);
    });
}

#[test]
fn no_cpu_is_moved_to_where_it_can_not_rest() {
    Sim::run(2, || {
        let places: Vec<usize> = hotplug()
            .resting_places()
            .map(|place| place.state)
            .collect();
        for from in [0, UP_TO_ONLINE, ONLINE] {
            assert_eq!(set_target(from), Ok(()));
            let up = from.min(ALL_UP);
            Sim::take_notes();
            for state in (0..=ONLINE + 3).chain([usize::MAX]) {
                // The last step is the same as `online`.
                if places.contains(&state) || state == ALL_UP {
                    continue;
                }
                let refused = TargetError::NoRestingPlace(state);
                assert_eq!(set_target(state), Err(refused));
                assert_eq!(refused.errno(), Errno::Invalid);
                check_rests(up);
            }
            assert_eq!(Sim::take_notes(), Vec::<String>::new());
        }
        let missing = hotplug().cpu_set_target(CpuId::from_index(2), ONLINE);
        assert_eq!(missing, Err(TargetError::NoSuchCpu(2)));
    });
}

/// From each place of rest to each other one, and from each by `cpu_up` and by `cpu_down`.
#[test]
fn a_cpu_goes_from_each_place_of_rest_to_each_other_one() {
    Sim::run(2, || {
        let _first = install("first");
        let _second = install("second");
        let places: Vec<usize> = hotplug()
            .resting_places()
            .map(|place| place.state)
            .collect();
        for from in &places {
            for to in &places {
                assert_eq!(set_target(*from), Ok(()), "{from}");
                check_rests((*from).min(ALL_UP));
                assert_eq!(set_target(*to), Ok(()), "{from} to {to}");
                check_rests((*to).min(ALL_UP));
                Sim::take_notes();
                assert_eq!(set_target(*to), Ok(()));
                assert_eq!(Sim::take_notes(), Vec::<String>::new(), "it is there");
            }
            assert_eq!(set_target(*from), Ok(()));
            assert_eq!(hotplug().cpu_up(victim()), Ok(()));
            check_rests(ALL_UP);
            assert_eq!(set_target(*from), Ok(()));
            assert_eq!(hotplug().cpu_down(victim()), Ok(()));
            check_rests(0);
        }
    });
}

/// A step that is installed while a CPU rests is called there if the CPU is past it, and
/// otherwise when the CPU comes past.
#[test]
fn an_installation_calls_those_that_rest_past_the_step() {
    Sim::run(3, || {
        let first = install("first");
        for (cpu, state) in [(1, first.row() + 1), (2, UP_TO_ONLINE)] {
            let moved = hotplug().cpu_set_target(CpuId::from_index(cpu), state);
            assert_eq!(moved, Ok(()));
        }
        calls();
        // It stands behind the first: no CPU but the boot CPU is past it.
        let second = install("second");
        assert_eq!(calls(), ["CPU0 starts for CPU0"]);
        assert_eq!(set_target(second.row() + 1), Ok(()));
        assert_eq!(calls(), ["CPU1 starts for CPU1"]);
        // A removal calls those that are past, and no others.
        assert_eq!(
            first.remove(Passing::Called).map_err(|left| left.why),
            Ok(())
        );
        assert_eq!(calls(), ["CPU1 stops for CPU1", "CPU0 stops for CPU0"]);
        let row = second.row();
        assert_eq!(
            second.remove(Passing::Called).map_err(|left| left.why),
            Ok(())
        );
        assert_eq!(calls(), ["CPU1 stops for CPU1", "CPU0 stops for CPU0"]);
        // The CPU rests where no step is any more, so none would be moved there now.
        check_rests(row + 1);
        assert_eq!(
            set_target(row + 1),
            Err(TargetError::NoRestingPlace(row + 1))
        );
        let third = install("third");
        assert!(third.row() < row);
        assert_eq!(calls(), ["CPU0 starts for CPU0", "CPU1 starts for CPU1"]);
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        assert_eq!(calls(), Vec::<String>::new());
        assert_eq!(hotplug().cpu_up(CpuId::from_index(2)), Ok(()));
        assert_eq!(calls(), ["CPU2 starts for CPU2"]);
    });
}

/// A CPU that rests half way is online, and takes no threads. So the last one that does stays.
#[test]
fn the_last_active_cpu_stays() {
    Sim::run(2, || {
        for state in [UP_TO_ONLINE, state("sync:active")] {
            assert_eq!(set_target(state), Ok(()));
            let refused = CpuDownError::LastOnline(CpuId::BOOT);
            assert_eq!(hotplug().cpu_down(CpuId::BOOT), Err(refused));
            let moved = hotplug().cpu_set_target(CpuId::BOOT, UP_TO_ONLINE);
            assert_eq!(moved, Err(TargetError::Down(refused)));
            assert_eq!(refused.errno(), Errno::Busy);
        }
    });
}

/// The limit for ways down holds while one waits for the locks too. A way up has none.
#[test]
fn a_way_down_waits_for_the_locks_until_the_limit() {
    Sim::run(2, || {
        hotplug().set_down_limit(Some(LONG));
        let rest = state("sync:active");
        assert_eq!(set_target(rest), Ok(()));
        let reads = || {
            let done = holder("reads", CpuId::BOOT, || hotplug().cpus_read_lock());
            end_after(&done, 10 * LONG);
            done
        };
        let done = reads();
        let began = Sim::time();
        let moved = set_target(0);
        let took = Duration::from_nanos(Sim::time() - began);
        let (cpu, awaited) = (victim(), Awaited::Reader(name("reads")));
        let late = CpuDownError::Late { cpu, awaited };
        assert_eq!(moved, Err(TargetError::Down(late)));
        assert!(took >= LONG && took < 2 * LONG, "{took:?}");
        check_rests(rest);
        done.sleep_until_set();
        reads();
        assert_eq!(set_target(ONLINE), Ok(()));
        check_rests(ALL_UP);
        assert_eq!(set_target(0), Ok(()));
        check_rests(0);
    });
}
