//! How urgent the threads are that use the locks of hotplug: an operation keeps its level, and
//! whatever waits for the locks comes in its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::errno::Errno;
use stillpoint::hotplug::{Callbacks, HotplugHost, Passing, Place};
use stillpoint::sched::{Class, Priority, SchedHost};
use stillpoint::sync::LocalCpu;
use stillpoint::time::Instant;

use crate::affinity::spawn;
use crate::batches::{all_up, cpu, hotplug, installed, mask};
use crate::deadlines::{Flag, name};
use crate::sim::Sim;

/// A callback on control, which tries to begin another operation of each kind and is refused,
/// wakes a realtime thread. Control stays more urgent than that.
#[test]
fn a_refused_operation_leaves_the_level_of_the_one_under_way() {
    Sim::run(3, || {
        all_up(3);
        let ran = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&ran);
        let class = Class::fifo(Priority::new(10).expect("1 to 99"));
        let here = CpuMask::of(CpuId::BOOT);
        let urgent = Sim::sched().spawn(name("urgent"), class, &here, move || {
            while Sim::sched().wait_permit(Instant::FOREVER) {
                its.store(true, Ordering::Relaxed);
            }
        });
        let urgent = urgent.expect("the CPU is active");
        let tries: [fn() -> bool; 6] = [
            || hotplug().cpu_up(cpu(2)).is_err(),
            || hotplug().cpu_down(cpu(2)).is_err(),
            || hotplug().cpus_up(&mask(&[1, 2])).is_err(),
            || hotplug().cpus_down(&mask(&[1, 2])).is_err(),
            || hotplug().cpu_set_target(cpu(2), 0).is_err(),
            || hotplug().freeze(CpuId::BOOT).is_err(),
        ];
        for (nth, try_fn) in tries.into_iter().enumerate() {
            let (seen, woken) = (Arc::clone(&ran), Arc::clone(&urgent));
            let start_fn = move |_: CpuId| -> Result<(), Errno> {
                assert!(try_fn(), "{nth}: in a callback");
                Sim::sched().give_permit(&woken);
                Sim::relax();
                assert!(
                    !seen.load(Ordering::Relaxed),
                    "{nth}: control is not urgent"
                );
                Ok(())
            };
            let callbacks = Callbacks::prep(Some(Box::new(start_fn)), None);
            let step = installed("tries", Place::Prep, callbacks, Passing::Skipped);
            assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
            assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
            assert!(ran.swap(false, Ordering::Relaxed), "it runs afterwards");
            drop(step);
        }
    });
}

/// Two threads take CPUs down and up without a pause. A thread that installs a step waits for the
/// operation that is under way and the one in line before it, and not for those that come later.
#[test]
fn an_installation_comes_in_its_turn() {
    Sim::run(4, || {
        all_up(4);
        let (over, done) = (Flag::default(), Arc::new(AtomicUsize::new(0)));
        for number in [2, 3] {
            let (over, done) = (over.clone(), Arc::clone(&done));
            spawn("moves", cpu(0), move || {
                while !over.is_set() {
                    assert_eq!(hotplug().cpu_down(cpu(number)), Ok(()));
                    done.fetch_add(1, Ordering::Relaxed);
                    assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (end, counted) = (over.clone(), Arc::clone(&done));
        let installs = Flag::default();
        let installed_all = installs.clone();
        spawn("installs", cpu(1), move || {
            for _ in 0..10 {
                let before = counted.load(Ordering::Relaxed);
                let callbacks = Callbacks::enable(Some(Box::new(|_| Ok(()))), None);
                let step = installed("turn", Place::Enable, callbacks, Passing::Called);
                let others = counted.load(Ordering::Relaxed) - before;
                assert!(others <= 3, "{others} operations came before");
                drop(step);
            }
            end.set();
            installed_all.set();
        });
        installs.sleep_until_set();
        assert!(done.load(Ordering::Relaxed) > 10, "they moved");
        assert!(Sim::hotplug().is_balanced(CpuId::BOOT));
    });
}
