//! How control waits for a CPU: it polls, lets other threads run, and sleeps until it is told.
//! And what the CPU's own thread does when it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::HotplugHost;
use stillpoint::platform::Platform;
use stillpoint::sched::{Class, SchedHost, ThreadName, ThreadState};
use stillpoint::trace::Direction;

use crate::failures::{down, step, up};
use crate::sim::{On, Sim};

/// Has a CPU start after `time`.
fn starts_after(time: Duration) {
    let starts = u64::try_from(time.as_nanos()).expect("a short time");
    let answer = Ok(());
    Sim::script(|script| script.on = [On { answer, starts }].into());
}

/// Returns how long `walk_fn` takes.
fn time(walk_fn: impl FnOnce()) -> Duration {
    let began = Sim::time();
    walk_fn();
    Duration::from_nanos(Sim::time() - began)
}

/// What control waits for comes when it has long fallen asleep, and longer before it would look
/// by itself.
#[test]
fn control_that_sleeps_is_told() {
    Sim::run(2, || {
        let late = Duration::from_millis(2);
        let soon = late + Duration::from_millis(1);
        starts_after(late);
        let comes = time(|| assert_eq!(up(), Ok(())));
        assert!(late < comes && comes < soon, "up in {comes:?}");
        Sim::script(|script| script.dies_after = 2_000_000);
        let goes = time(|| assert_eq!(down(), Ok(())));
        assert!(late < goes && goes < soon, "down in {goes:?}");
    });
}

/// The CPU comes while control polls; by itself control wouldn't sleep in all of the walk.
#[test]
fn control_that_polls_keeps_no_thread_from_running() {
    Sim::run(2, || {
        assert_eq!(up(), Ok(()));
        assert_eq!(down(), Ok(()));
        starts_after(Duration::from_micros(10));
        let ran = Arc::new(AtomicBool::new(false));
        let its = Arc::clone(&ran);
        let name = ThreadName::new(format_args!("ready"));
        let here = CpuMask::of(CpuId::BOOT);
        let body = move || its.store(true, Ordering::Relaxed);
        let ready = Sim::sched().spawn(name, Class::Normal, &here, body);
        assert!(ready.is_ok() && !ran.load(Ordering::Relaxed));
        assert_eq!(up(), Ok(()));
        assert!(ran.load(Ordering::Relaxed), "control has polled meanwhile");
        assert!(Sim::hotplug().is_balanced(CpuId::BOOT));
    });
}

/// A walk down that turns back leaves the CPU's thread asleep: it parks only where the machine is
/// stopped next.
#[test]
fn a_thread_that_turns_back_does_not_park() {
    Sim::run(2, || {
        assert_eq!(up(), Ok(()));
        Sim::script(|script| script.fails = vec![(step("sched:threads"), Direction::Down)]);
        assert!(down().is_err(), "a step is broken");
        Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
        let mut states = Vec::new();
        Sim::sched().for_each_thread(|thread| {
            if thread.name().as_str() == "cpuhp/1" {
                states.push(thread.state_racy());
            }
        });
        assert_eq!(states, [ThreadState::Blocked]);
    });
}
