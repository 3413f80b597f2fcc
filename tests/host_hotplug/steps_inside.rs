//! The locks around callbacks: what waits for a callback after a CPU's end, and what such a
//! callback may wait for.

use std::sync::Arc;
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::hotplug::{
    Callbacks, CpuDownError, CpuUpError, FreezeError, Hotplug, HotplugHost, InstallError, NewStep,
    Passing, Place, TargetError,
};
use stillpoint::platform::{Platform, ThreadName};
use stillpoint::sched::lock::{Completion, WouldDeadlock};
use stillpoint::sched::{Class, SchedHost};

use crate::sim::Sim;

fn hotplug() -> &'static Hotplug<Sim> {
    Sim::hotplug()
}

fn victim() -> CpuId {
    CpuId::from_index(1)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) {
    let name = ThreadName::new(format_args!("{name}"));
    let anywhere = CpuMask::of(CpuId::BOOT);
    let spawned = Sim::sched().spawn(name, Class::Normal, &anywhere, body);
    assert!(spawned.is_ok(), "a thread");
}

fn post_dead(stop_fn: impl Fn(CpuId) + Send + Sync + 'static) -> NewStep {
    NewStep {
        name: "waits",
        place: Place::PostDead,
        callbacks: Some(Callbacks::post_dead(Box::new(stop_fn))),
    }
}

/// The callback waits for a thread that takes the lock of the CPUs. An installation that begins
/// meanwhile ends after the callback.
#[test]
fn a_callback_after_the_end_waits_for_a_reader_and_installers_for_it() {
    Sim::run(2, || {
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        let began = Arc::new(Completion::<Sim>::new());
        let read = Arc::new(Completion::<Sim>::new());
        let installed = Arc::new(Completion::<Sim>::new());
        let (theirs, done) = (Arc::clone(&began), Arc::clone(&read));
        spawn("reader", move || {
            theirs.wait();
            let held = hotplug().cpus_read_lock();
            done.complete();
            drop(held);
        });
        let order = Arc::clone(&installed);
        let step = post_dead(move |_| {
            let after = Arc::clone(&order);
            spawn("installer", move || {
                let step = hotplug().install(post_dead(|_| ()), Passing::Called);
                step.expect("a slot is free").keep();
                Sim::note("installed");
                after.complete();
            });
            began.complete();
            read.wait();
            // Long enough for the installer to begin.
            Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(5)));
            Sim::note("the callback ends");
        });
        let step = hotplug().install(step, Passing::Skipped);
        Sim::take_notes();
        assert_eq!(hotplug().cpu_down(victim()), Ok(()));
        installed.wait();
        let notes = Sim::take_notes();
        let ours = |note: &&String| note.contains("install") || note.contains("callback");
        let ours: Vec<_> = notes.iter().filter(ours).collect();
        assert_eq!(ours, ["CPU0 the callback ends", "CPU0 installed"]);
        step.expect("a slot is free").keep();
    });
}

/// A thread that keeps its CPU from going gets an error from all that could take it down, and
/// from all that wait for those.
#[test]
fn a_pinned_thread_gets_an_error() {
    Sim::run(3, || {
        let (why, cpus) = (WouldDeadlock::Pinned, CpuMask::first_n(3));
        assert_eq!(hotplug().cpu_up(victim()), Ok(()));
        let pinned = Sim::sched().migrate_disable();
        let up = hotplug().cpu_up(victim());
        assert_eq!(up, Err(CpuUpError::WouldDeadlock(why)));
        let down = hotplug().cpu_down(victim());
        assert_eq!(down, Err(CpuDownError::WouldDeadlock(why)));
        let up = hotplug().cpus_up(&cpus).expect_err("it is pinned");
        let all = up.failed().iter();
        assert!(
            all.map(|it| it.1)
                .all(|error| error == CpuUpError::WouldDeadlock(why))
        );
        let down = hotplug().cpus_down(&cpus).expect_err("it is pinned");
        let mut all = down.failed().iter();
        assert!(all.all(|it| it.1 == CpuDownError::WouldDeadlock(why)));
        let frozen = hotplug().freeze(CpuId::BOOT).err();
        assert_eq!(frozen, Some(FreezeError::WouldDeadlock(why)));
        let moved = hotplug().cpu_set_target(victim(), 0);
        assert_eq!(moved, Err(TargetError::WouldDeadlock(why)));
        assert_eq!(hotplug().disable().err(), Some(why));
        assert_eq!(hotplug().registration_lock().err(), Some(why));
        assert_eq!(hotplug().cpus_read_lock_checked().err(), Some(why));
        drop(pinned);
        assert_eq!(hotplug().cpus_up(&cpus), Ok(()));
        assert_eq!(hotplug().cpu_down(victim()), Ok(()));
    });
}

/// A thread that has one of the locks gets an error from all that takes them.
#[test]
fn no_order_of_calls_hangs() {
    Sim::run(2, || {
        let install = || hotplug().install(post_dead(|_| ()), Passing::Called).err();
        let refused = |why| {
            assert_eq!(install(), Some(InstallError::WouldDeadlock(why)));
            let down = hotplug().cpu_down(victim());
            assert_eq!(down, Err(CpuDownError::WouldDeadlock(why)));
            assert_eq!(hotplug().registration_lock().err(), Some(why));
            let read = hotplug().cpus_read_lock_checked().err();
            // In this order, inside the add/remove lock, a read is no deadlock.
            let reads = why == WouldDeadlock::AddsOrRemoves;
            assert_eq!(read, (!reads).then_some(why));
        };
        let guard = hotplug().registration_lock().expect("nothing is held");
        refused(WouldDeadlock::AddsOrRemoves);
        // Inside, in this order, a read is no deadlock.
        let held = hotplug().cpus_read_lock();
        refused(WouldDeadlock::HoldsIt);
        drop(held);
        let step = guard.install(post_dead(|_| ()), Passing::Skipped);
        drop(guard);
        let held = hotplug().cpus_read_lock();
        refused(WouldDeadlock::HoldsIt);
        let pinned = Sim::sched().migrate_disable();
        refused(WouldDeadlock::HoldsIt);
        drop(pinned);
        let step = step.expect("a slot is free").remove(Passing::Called);
        let not_removed = step.expect_err("the thread holds the lock");
        assert_eq!(not_removed.why, WouldDeadlock::HoldsIt);
        drop(held);
        assert!(not_removed.handle.remove(Passing::Called).is_ok());
        assert_eq!(install(), None);
        assert_eq!(hotplug().slots().iter().count(), 0);
    });
}
