//! Threads that lose their last CPU while it is on its way down, and the way turns back: they have
//! it again.

use std::sync::Arc;
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{ALL_UP, Hotplug, HotplugHost, StepHandle};
use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, Thread};
use stillpoint::stop_machine::StopHost;

use crate::affinity::{said, spawn, start_log};
use crate::deadlines::{Flag, holder, sleep, slow_on};
use crate::failures::step;
use crate::sim::Sim;

const SHORT: Duration = Duration::from_micros(100);
/// How long the slow step takes: longer than a thread of these tests sleeps.
const LONG: Duration = Duration::from_millis(5);

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn cpu(number: usize) -> CpuId {
    CpuId::from_index(number)
}

fn only(number: usize) -> CpuMask {
    CpuMask::of(cpu(number))
}

/// Runs `test` on a machine all of whose `cpus` CPUs are up, with a step that all of them pass
/// slowly on their way down.
fn with_slow_step(cpus: usize, test: impl FnOnce(StepHandle<Sim>) + Send + 'static) {
    start_log();
    Sim::run(cpus, move || {
        for number in 1..cpus {
            assert_eq!(hotplug().cpu_up(cpu(number)), Ok(()));
        }
        test(slow_on(|_| true, LONG));
    });
}

/// A thread that is bound to a CPU, and wakes again and again.
struct Bound {
    thread: Arc<Thread<Sim>>,
    end: Flag,
}

impl Bound {
    fn to(name: &str, number: usize) -> Bound {
        let end = Flag::default();
        let theirs = end.clone();
        let thread = spawn(name, cpu(number), move || {
            while !theirs.is_set() {
                sleep(SHORT);
            }
        });
        Bound { thread, end }
    }

    /// Returns whether the thread is bound to CPU `number`, and comes there.
    fn is_on(&self, number: usize) -> bool {
        if self.thread.affinity() != only(number) {
            return false;
        }
        sleep(LONG);
        self.thread.cpu() == cpu(number)
    }

    fn may_run_anywhere(&self) -> bool {
        self.thread.affinity() == *Sim::masks().possible()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.end.set();
    }
}

fn refuse(number: usize, row: &str) {
    let injected = hotplug().inject_failure(cpu(number), Some(step(row)));
    assert_eq!(injected, Ok(()));
}

#[test]
fn a_step_that_refuses_leaves_all_threads_where_they_may_run() {
    with_slow_step(3, |_slow| {
        let (bound, sleeper) = (Bound::to("back", 1), Bound::to("elsewhere", 2));
        refuse(1, "sched:drain");
        assert!(hotplug().cpu_down(cpu(1)).is_err());
        assert!(bound.is_on(1), "{:?}", bound.thread.affinity());
        assert!(sleeper.is_on(2));
        assert_eq!(
            said("back"),
            ["no longer affine to cpu1", "affine to cpu1 again"]
        );
        assert_eq!(said("elsewhere"), [""; 0]);
    });
}

#[test]
fn a_deadline_before_the_stop_leaves_all_threads_where_they_may_run() {
    with_slow_step(2, |_slow| {
        let bound = Bound::to("in time", 1);
        let late = Sim::deadline(LONG + LONG);
        let holder = holder("stops", cpu(0), || Sim::stop_machine().lock());
        assert!(hotplug().cpu_down_before(cpu(1), late).is_err());
        assert!(hotplug().state(cpu(1)).state() == ALL_UP);
        holder.set();
        assert!(bound.is_on(1));
    });
}

#[test]
fn what_was_said_of_a_thread_meanwhile_holds() {
    with_slow_step(3, |_slow| {
        let bound = Bound::to("told", 1);
        let thread = Arc::clone(&bound.thread);
        let told = spawn("tells", cpu(0), move || {
            while thread.affinity() == only(1) {
                sleep(SHORT);
            }
            assert_eq!(Sim::sched().set_affinity(&thread, &only(2)), Ok(()));
        });
        drop(told);
        refuse(1, "sched:drain");
        assert!(hotplug().cpu_down(cpu(1)).is_err());
        assert!(bound.is_on(2));
        assert_eq!(said("told"), ["no longer affine to cpu1"]);
    });
}

#[test]
fn what_an_earlier_operation_took_is_not_given_back() {
    with_slow_step(3, |_slow| {
        let bound = Bound::to("earlier", 1);
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        assert!(bound.may_run_anywhere());
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        for number in [2, 1] {
            let other = Bound::to("later", number);
            refuse(number, "sched:drain");
            assert!(hotplug().cpu_down(cpu(number)).is_err());
            assert!(other.is_on(number));
            assert!(bound.may_run_anywhere());
        }
    });
}

#[test]
fn of_a_batch_those_have_their_cpu_again_whose_cpu_stays() {
    with_slow_step(4, |_slow| {
        let (stays, goes) = (Bound::to("stays", 1), Bound::to("goes too", 2));
        let both: CpuMask = [1, 2].map(cpu).into_iter().collect();
        let among = Bound::to("among", 1);
        assert_eq!(Sim::sched().set_affinity(&among.thread, &both), Ok(()));
        refuse(1, "sched:drain");
        let failed = hotplug().cpus_down(&both).expect_err("one refuses");
        assert_eq!(failed.cpus(), only(1));
        assert!(stays.is_on(1));
        assert!(goes.may_run_anywhere());
        assert_eq!(among.thread.affinity(), both);
    });
}
