//! A step fails for one CPU of a batch: each step that a CPU takes in its own thread, for each
//! CPU, also an instance in the middle of a step, and a second step on the way back. That CPU
//! stays as it was, or where the second failure leaves it; the others go, in one still point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{
    ALL_UP, Callbacks, CpuDownError, CpuHealth, Hotplug, HotplugHost, InstanceHandle, Left,
    NewStep, Passing, Place, SlotRows, StepError, StepHandle, UP_TO_ONLINE,
};
use stillpoint::platform::Platform;
use stillpoint::stop_machine::StopHost;
use stillpoint::trace::Direction::Up;

use crate::sim::Sim;

const CPUS: usize = 4;
/// How many instances the step with instances has.
const INSTANCES: usize = 3;

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

/// Returns the CPUs of the batch.
fn batch() -> CpuMask {
    (1..CPUS).map(cpu).collect()
}

/// How many CPUs are past each instance of the steps, as their callbacks count.
type Counts = Arc<[AtomicU64; INSTANCES + 1]>;

fn counting(counts: &Counts, number: usize) -> Callbacks {
    let (up, down) = (Arc::clone(counts), Arc::clone(counts));
    Callbacks::enable(
        Some(Box::new(move |cpu| {
            let bit = 1 << cpu.index();
            let before = up[number].fetch_or(bit, Ordering::Relaxed);
            assert_eq!(before & bit, 0, "CPU{cpu} is past {number} already");
            Ok(())
        })),
        Some(Box::new(move |cpu| {
            let bit = 1 << cpu.index();
            let before = down[number].fetch_and(!bit, Ordering::Relaxed);
            assert_ne!(before & bit, 0, "CPU{cpu} is not past {number}");
            Ok(())
        })),
    )
}

struct Steps {
    _plain: StepHandle<Sim>,
    multi: StepHandle<Sim>,
    _instances: Vec<InstanceHandle<Sim>>,
}

/// Installs a plain step and one with instances.
fn install(counts: &Counts) -> Steps {
    let install = |name, callbacks| {
        let place = Place::Enable;
        let new = NewStep {
            name,
            place,
            callbacks,
        };
        let installed = hotplug().install(new, Passing::Called);
        installed.expect("a slot is free")
    };
    let _plain = install("plain", Some(counting(counts, INSTANCES)));
    let multi = install("multi", None);
    let add = |number| multi.add_instance(counting(counts, number), Passing::Called);
    let _instances = (0..INSTANCES).map(|number| add(number).expect("it has instances"));
    Steps {
        _instances: _instances.collect(),
        _plain,
        multi,
    }
}

/// Checks that CPU 0 and `stays` are online and the others off, and that the callbacks agree.
fn check(stays: Option<CpuId>, counts: &Counts) {
    for cpu in Sim::masks().possible().iter() {
        let stays = cpu == CpuId::BOOT || stays == Some(cpu);
        let wanted = if stays {
            CpuHealth::Online
        } else {
            CpuHealth::Off
        };
        assert_eq!(hotplug().health(cpu), wanted, "{cpu:?}");
        assert!(hotplug().is_balanced(cpu), "{cpu:?}");
    }
    let online: u64 = Sim::masks()
        .online()
        .iter()
        .map(|cpu| 1 << cpu.index())
        .sum();
    for count in counts.iter() {
        assert_eq!(count.load(Ordering::Relaxed), online);
    }
}

fn cycle(counts: &Counts) {
    assert_eq!(hotplug().cpus_down(&batch()), Ok(()));
    check(None, counts);
    for cpu in batch().iter() {
        assert_eq!(hotplug().cpu_up(cpu), Ok(()));
    }
}

/// Takes the batch down while a step fails on `victim`; returns its error.
fn down_without(victim: CpuId) -> CpuDownError {
    let stops = Sim::stop_machine().stops();
    let failed = hotplug().cpus_down(&batch()).expect_err("a step fails");
    assert_eq!(Sim::stop_machine().stops(), stops + 1);
    assert_eq!(failed.cpus(), CpuMask::of(victim));
    *failed.of(victim).expect("it is the one that failed")
}

/// Calls `fail_fn` with each row that a CPU passes in its thread on its way down, each instance
/// of it, and each CPU of the batch, when that row is to fail there.
fn each_failure(fail_fn: impl Fn(CpuId, usize, usize, &Counts) + Copy + Send + 'static) {
    Sim::run(CPUS, move || {
        for cpu in batch().iter() {
            assert_eq!(hotplug().cpu_up(cpu), Ok(()));
        }
        let counts = Counts::default();
        let steps = install(&counts);
        let stops_at = |row: &usize| hotplug().slots().stop_from(*row) == *row;
        for row in (UP_TO_ONLINE..ALL_UP).filter(stops_at) {
            let instances = if row == steps.multi.row() {
                INSTANCES
            } else {
                1
            };
            for instance in 0..instances {
                for victim in batch().iter() {
                    fail_fn(victim, row, instance, &counts);
                    cycle(&counts);
                }
            }
        }
        drop(steps);
    });
}

/// Has `row` fail on `cpu` the next time.
fn inject(cpu: CpuId, row: usize, instance: usize) {
    let is_slot = hotplug().steps()[row].is_slot();
    let injected = if is_slot {
        hotplug().inject_instance(cpu, row, instance)
    } else {
        hotplug().inject_failure(cpu, Some(row))
    };
    assert_eq!(injected, Ok(()));
}

#[test]
fn one_that_fails_stays_and_the_others_go() {
    each_failure(|cpu, row, instance, counts| {
        inject(cpu, row, instance);
        let failed = CpuDownError::Step {
            cpu,
            step: hotplug().step_name(row),
            error: StepError::Injected,
        };
        assert_eq!(down_without(cpu), failed);
        check(Some(cpu), counts);
        for other in batch().without(&CpuMask::of(cpu)).iter() {
            assert_eq!(hotplug().cpu_up(other), Ok(()));
        }
    });
}

/// The way back fails too, at each step of the kernel's own that it meets: the CPU rests there,
/// and the next batch takes it on.
#[test]
fn one_that_can_not_turn_back_rests_half_way() {
    each_failure(|cpu, row, instance, counts| {
        let own = (row + 1..ALL_UP).filter(|row| !hotplug().steps()[*row].is_slot());
        for second in own {
            inject(cpu, row, instance);
            Sim::script(|script| script.fails = vec![(second, Up)]);
            let left = hotplug().last_up(second).expect("a step is below");
            let failed = CpuDownError::NotUndone {
                cpu,
                step: hotplug().step_name(row),
                error: StepError::Injected,
                left: Left::HalfWay(left),
            };
            assert_eq!(down_without(cpu), failed);
            assert!(hotplug().is_balanced(cpu));
            assert_eq!(hotplug().cpus_down(&batch()), Ok(()));
            check(None, counts);
            for other in batch().iter() {
                assert_eq!(hotplug().cpu_up(other), Ok(()));
            }
        }
    });
}
