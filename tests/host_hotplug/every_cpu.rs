//! Any CPU leaves and comes back, the boot CPU as any other: in every order, with every CPU
//! as the one that stays. The last one is refused. The interrupt of the machine's device goes
//! to a CPU that is active after each operation.

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ALL_UP, CpuDownError, HotplugHost, Left, StepError};
use stillpoint::platform::Platform;
use stillpoint::rcu::GraceHost;
use stillpoint::stop_machine::StopHost;
use stillpoint::trace::Direction::{Down, Up};

use crate::failures::step;
use crate::sim::Sim;
use crate::xorshift::Random;

const fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

/// Returns every order of `numbers`.
fn orders(numbers: &[usize]) -> Vec<Vec<usize>> {
    if numbers.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in numbers.iter().enumerate() {
        let rest = [&numbers[..at], &numbers[at + 1..]].concat();
        for order in orders(&rest) {
            all.push([&[*first][..], &order].concat());
        }
    }
    all
}

/// Checks the machine, on which the CPUs of `online` and no others are up.
pub(crate) fn look(online: &[usize]) {
    let wanted: CpuMask = online.iter().map(|number| cpu(*number)).collect();
    let masks = Sim::masks();
    assert_eq!((masks.online(), masks.active()), (wanted, wanted));
    for cpu in masks.possible().iter() {
        assert!(Sim::hotplug().is_balanced(cpu), "{cpu:?}");
        let up = Sim::hotplug().state(cpu).state();
        assert_eq!(up, if wanted.contains(cpu) { ALL_UP } else { 0 }, "{cpu:?}");
    }
    assert!(wanted.contains(Sim::device_cpu()), "the device is deaf");
}

/// Checks that stops and grace periods end, with the CPUs that are there.
fn use_machine() {
    let still = Sim::stop_machine().lock();
    let stopped = Sim::stop_machine().stop_once(&still, Sim::this_cpu);
    drop(still);
    assert!(Sim::masks().is_online(stopped.0));
    Sim::grace_periods().synchronize(|late| panic!("{late} are late"));
}

fn bring_all_up(cpus: usize) {
    for number in 0..cpus {
        assert_eq!(Sim::hotplug().cpu_up(cpu(number)), Ok(()));
    }
}

/// All CPUs leave in the order `leave`, of which the last one stays, and come back in the order
/// `back`.
fn leave_and_return(leave: &[usize], back: &[usize]) {
    let (last, others) = leave.split_last().expect("a machine has a CPU");
    for (gone, number) in others.iter().enumerate() {
        assert_eq!(Sim::hotplug().cpu_down(cpu(*number)), Ok(()), "{leave:?}");
        look(&leave[gone + 1..]);
    }
    let refused = CpuDownError::LastOnline(cpu(*last));
    assert_eq!(Sim::hotplug().cpu_down(cpu(*last)), Err(refused));
    look(&[*last]);
    use_machine();
    let mut online = vec![*last];
    for number in back {
        assert_eq!(Sim::hotplug().cpu_up(cpu(*number)), Ok(()), "{back:?}");
        online.push(*number);
        look(&online);
    }
    use_machine();
}

#[test]
fn every_order_of_leaving_and_of_return() {
    // One machine for each order: its host threads are never freed.
    for leave in orders(&[0, 1, 2, 3]) {
        Sim::run(4, move || {
            bring_all_up(4);
            for back in orders(&leave[..3]) {
                leave_and_return(&leave, &back);
            }
        });
    }
}

/// Any CPU goes up or down, whatever it and the others are. It is refused if no other is up.
#[test]
fn random_moves_of_any_cpu() {
    const CPUS: usize = 5;
    let mut refusals = 0;
    for seed in 1..=8 {
        let (tell, told) = std::sync::mpsc::channel();
        Sim::run(CPUS, move || {
            let mut random = Random::new(seed);
            let mut online = vec![0];
            let mut refused = 0;
            // A machine's host threads are never freed.
            for _ in 0..150 {
                let number = random.below(CPUS);
                if random.below(5) < 2 {
                    assert_eq!(Sim::hotplug().cpu_up(cpu(number)), Ok(()));
                    online.retain(|other| *other != number);
                    online.push(number);
                } else if online == [number] {
                    let last = CpuDownError::LastOnline(cpu(number));
                    assert_eq!(Sim::hotplug().cpu_down(cpu(number)), Err(last));
                    refused += usize::from(number != 0);
                } else {
                    assert_eq!(Sim::hotplug().cpu_down(cpu(number)), Ok(()));
                    online.retain(|other| *other != number);
                }
                look(&online);
            }
            use_machine();
            tell.send(refused).expect("the test waits");
        });
        refusals += told.recv().expect("the machine came to its end");
    }
    assert!(refusals > 0, "another CPU than the boot CPU was the last");
}

#[test]
fn the_boot_cpu_leaves_again_and_again() {
    Sim::run(2, || {
        bring_all_up(2);
        for _ in 0..50 {
            leave_and_return(&[0, 1], &[0]);
            leave_and_return(&[1, 0], &[1]);
        }
    });
}

/// A CPU that was left half way is online, but no thread is placed there. So the last active
/// one is refused although it isn't the last one online.
#[test]
fn the_last_active_cpu_stays() {
    for (stays, half_way) in [(0, 1), (1, 0)] {
        Sim::run(2, move || {
            bring_all_up(2);
            let (threads, active) = (step("sched:threads"), step("sched:active"));
            Sim::script(|script| script.fails = vec![(threads, Down), (active, Up)]);
            assert_eq!(
                Sim::hotplug().cpu_down(cpu(half_way)),
                Err(CpuDownError::NotUndone {
                    cpu: cpu(half_way),
                    step: "sched:threads".into(),
                    error: StepError::Injected,
                    left: Left::HalfWay("sync:active".into()),
                })
            );
            assert!(Sim::masks().is_online(cpu(half_way)));
            assert_eq!(Sim::device_cpu(), cpu(stays));
            let refused = CpuDownError::LastOnline(cpu(stays));
            assert_eq!(Sim::hotplug().cpu_down(cpu(stays)), Err(refused));
            use_machine();
            // The one that is half way may go on, either way.
            assert_eq!(Sim::hotplug().cpu_up(cpu(half_way)), Ok(()));
            look(&[0, 1]);
            leave_and_return(&[stays, half_way], &[stays]);
        });
    }
}

/// An interrupt that has moved stays where it is.
#[test]
fn interrupts_do_not_move_back() {
    Sim::run(3, || {
        bring_all_up(3);
        assert_eq!(Sim::device_cpu(), CpuId::BOOT);
        assert_eq!(Sim::hotplug().cpu_down(CpuId::BOOT), Ok(()));
        assert_eq!(Sim::device_cpu(), cpu(1));
        assert_eq!(Sim::hotplug().cpu_up(CpuId::BOOT), Ok(()));
        assert_eq!(Sim::device_cpu(), cpu(1));
        // A take-down that fails before `enable:irq-affinity` moves none.
        let active = step("sync:active");
        Sim::script(|script| script.fails = vec![(active, Down)]);
        assert!(Sim::hotplug().cpu_down(cpu(1)).is_err());
        assert_eq!(Sim::device_cpu(), cpu(1));
        // One that fails after it has moved them.
        let threads = step("sched:threads");
        Sim::script(|script| script.fails = vec![(threads, Down)]);
        assert!(Sim::hotplug().cpu_down(cpu(1)).is_err());
        assert_eq!(Sim::device_cpu(), CpuId::BOOT);
        look(&[0, 1, 2]);
    });
}
