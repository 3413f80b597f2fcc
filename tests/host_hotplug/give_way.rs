//! A realtime thread that waits on the CPU of the control thread: where in a walk it runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::HotplugHost;
use stillpoint::platform::Platform;
use stillpoint::sched::{Class, Priority, SchedHost, Thread, ThreadName};
use stillpoint::sync::LocalCpu;
use stillpoint::time::Instant;
use stillpoint::trace::Direction;

use crate::failures::{down, step, up};
use crate::sim::Sim;

/// The realtime thread.
static URGENT: Mutex<Option<Arc<Thread<Sim>>>> = Mutex::new(None);
/// What has happened since that was woken, and when: a step began, or, `None`, it ran.
static SINCE: Mutex<Vec<(Option<usize>, u64)>> = Mutex::new(Vec::new());
/// How long it computes when it runs.
static COMPUTES: Mutex<Duration> = Mutex::new(Duration::ZERO);

/// Wakes the realtime thread when control is about to pass `sync:timers`.
fn before_step(at: usize, _: Direction) {
    if at == step("sync:timers") {
        SINCE.lock().expect("no panic under it").clear();
        let urgent = URGENT.lock().expect("no panic under it").clone();
        Sim::sched().give_permit(&urgent.expect("it was started"));
    } else {
        SINCE
            .lock()
            .expect("no panic under it")
            .push((Some(at), Sim::time()));
    }
}

/// Runs and computes at each permit, on CPU 0.
fn start_urgent() {
    let class = Class::fifo(Priority::new(10).expect("1 to 99"));
    let name = ThreadName::new(format_args!("urgent"));
    let spawned = Sim::sched().spawn(name, class, &CpuMask::of(CpuId::BOOT), || {
        while Sim::sched().wait_permit(Instant::FOREVER) {
            SINCE
                .lock()
                .expect("no panic under it")
                .push((None, Sim::time()));
            let computes = *COMPUTES.lock().expect("no panic under it");
            let until = Sim::deadline(computes);
            while Sim::now() < until {
                Sim::relax();
            }
        }
    });
    *URGENT.lock().expect("no panic under it") = Some(spawned.expect("the CPU is active"));
}

/// Returns what happened first after the realtime thread was woken in `walk_fn`: the step
/// that began, or `None` if the thread ran; and after what time the walk's last step began.
fn first_in(walk_fn: impl FnOnce()) -> (Option<usize>, Duration) {
    let began = Sim::time();
    walk_fn();
    let since = SINCE.lock().expect("no panic under it");
    let (first, _) = since.first().expect("a walk passes `sync:timers`");
    let last_step = since.iter().rfind(|(step, _)| step.is_some());
    let (_, at) = last_step.expect("`sync:timers` is no walk's last step");
    (*first, Duration::from_nanos(at - began))
}

#[test]
fn control_gives_way_to_a_realtime_thread_but_not_for_long() {
    Sim::run(2, || {
        assert_eq!(up(), Ok(()));
        start_urgent();
        Sim::script(|script| script.before_step = Some(before_step));
        for computes in [Duration::ZERO, Duration::from_millis(10)] {
            *COMPUTES.lock().expect("no panic under it") = computes;
            let (went, goes) = first_in(|| assert_eq!(down(), Ok(())));
            assert_eq!(went, None, "it waits for the CPU's end");
            let (came, comes) = first_in(|| assert_eq!(up(), Ok(())));
            assert_eq!(came, None, "it waits for the CPU's release");
            let most = Duration::from_millis(1);
            assert!(goes < most && comes < most, "{goes:?} down, {comes:?} up");
            // What is left of its turn.
            Sim::sched().sleep_until(Sim::deadline(2 * computes));
        }
        assert!(Sim::hotplug().is_balanced(CpuId::BOOT));
    });
}
