//! The ends of threads and of timers: which resources are freed, when, and by which thread.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use fake::{Baton, Fake};
use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::sched::{Class, SchedHost, SpawnError, ThreadName, Timer};
use stillpoint::sync::{IrqGuard, LocalCpu, PreemptGuard};
use stillpoint::time::Instant;

#[path = "support/fake.rs"]
mod fake;

/// How long a test may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `body` as the idle thread of a fake machine, and returns its result.
fn on_a_machine<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = channel();
    std::thread::spawn(move || {
        Fake::new_machine();
        Fake::spawn(move || {
            let idle = Fake::sched().new_idle(CpuId::BOOT, Baton::default());
            Fake::sched().start_cpu(&idle);
            let result = body();
            done.send(result).expect("the test waits");
        });
    });
    ended.recv_timeout(PATIENCE).expect("the body ends")
}

/// What is said of a thread that holds its CPU, at each switch while it ends: how many
/// hold the CPU, and whether a join would return at once.
#[test]
fn a_thread_holds_its_cpu_and_is_joined_until_it_is_off() {
    type Seen = Vec<(u32, bool)>;
    let (at_switches, afterwards) = on_a_machine(|| {
        let seen = Arc::new(Mutex::new(Seen::new()));
        // The thread must not run before the hook is set.
        let held = PreemptGuard::<Fake>::new();
        let name = ThreadName::new(format_args!("bound"));
        let here = CpuMask::of(CpuId::BOOT);
        let thread = Fake::sched().spawn_bound(name, Class::Normal, &here, || ());
        let thread = thread.expect("a thread");
        let look = move || {
            let bound = Fake::sched().bound_threads(CpuId::BOOT);
            (bound, thread.has_ended())
        };
        let its = (Arc::clone(&seen), look.clone());
        Fake::on_switch(move || its.0.lock().expect("no panic under it").push((its.1)()));
        drop(held);
        let at_switches = core::mem::take(&mut *seen.lock().expect("no panic under it"));
        (at_switches, look())
    });
    // The switch to the thread, and the switch from it: there it is still on its CPU.
    assert_eq!(at_switches, [(1, false), (1, false)]);
    assert_eq!(afterwards, (0, true));
}

/// Stores, when it is dropped, whether the thread may sleep there.
struct Sleepy(Arc<Mutex<Vec<bool>>>);

impl Drop for Sleepy {
    fn drop(&mut self) {
        let may_sleep = Fake::preempt_count() == 0 && Fake::irqs_enabled();
        self.0.lock().expect("no panic under it").push(may_sleep);
    }
}

#[test]
fn what_a_refused_thread_owns_is_dropped_where_it_may_sleep() {
    let dropped = on_a_machine(|| {
        let dropped = Arc::new(Mutex::new(Vec::new()));
        let refuse = |cpus: CpuMask| {
            let owned = Sleepy(Arc::clone(&dropped));
            let spawned = Fake::sched().spawn(
                ThreadName::new(format_args!("refused")),
                Class::Normal,
                &cpus,
                move || drop(owned),
            );
            spawned.err()
        };
        let nowhere = CpuId::new(5).map_or(CpuMask::EMPTY, CpuMask::of);
        assert_eq!(refuse(nowhere), Some(SpawnError::NoActiveCpu(nowhere)));
        Fake::run_out_of_stacks();
        let here = CpuMask::of(CpuId::BOOT);
        assert_eq!(refuse(here), Some(SpawnError::OutOfStacks));
        core::mem::take(&mut *dropped.lock().expect("no panic under it"))
    });
    assert_eq!(dropped, [true, true]);
}

/// Stores, when it is dropped, which host thread drops it.
struct Owned(Arc<Mutex<Option<ThreadId>>>);

impl Drop for Owned {
    fn drop(&mut self) {
        *self.0.lock().expect("no panic under it") = Some(std::thread::current().id());
    }
}

/// The interrupt handler is stopped just after it has counted the function's call as ended.
/// At that moment another CPU drops the timer.
#[test]
fn what_a_timer_owns_is_dropped_by_the_thread_that_drops_it() {
    let (dropped_by, dropper) = on_a_machine(|| {
        let dropped_by = Arc::new(Mutex::new(None));
        let owned = Owned(Arc::clone(&dropped_by));
        let called = Arc::new(Mutex::new(false));
        let was_called = Arc::clone(&called);
        let timer = Timer::<Fake>::new(move || {
            let _kept = &owned;
            *was_called.lock().expect("no panic under it") = true;
        });
        timer.start(Instant(0));
        let (ended, has_ended) = channel();
        let (dropped, is_dropped) = channel();
        let (over, is_over) = channel();
        Fake::spawn_masked(move || {
            let once = Mutex::new(false);
            Fake::on_irq_restore(move || {
                let called = *called.lock().expect("no panic under it");
                let first =
                    !core::mem::replace(&mut *once.lock().expect("no panic under it"), called);
                if called && first {
                    ended.send(()).expect("the dropper waits");
                    is_dropped.recv().expect("the timer is dropped");
                }
            });
            Fake::sched().timer_interrupt();
            over.send(()).expect("the dropper waits");
        });
        has_ended.recv().expect("the function is called");
        drop(timer);
        dropped.send(()).expect("the handler waits");
        is_over.recv().expect("the handler returns");
        let by = *dropped_by.lock().expect("no panic under it");
        (by, std::thread::current().id())
    });
    assert_eq!(dropped_by, Some(dropper));
}

/// The same without the stop: a timer whose function was called is dropped as any other.
#[test]
fn a_timer_that_was_called_frees_what_it_owns() {
    let dropped = on_a_machine(|| {
        let dropped_by = Arc::new(Mutex::new(None));
        let owned = Owned(Arc::clone(&dropped_by));
        let timer = Timer::<Fake>::new(move || {
            let _kept = &owned;
        });
        timer.start_periodic(Instant(0), Duration::from_nanos(10));
        let masked = IrqGuard::<Fake>::new();
        Fake::sched().timer_interrupt();
        drop(masked);
        drop(timer);
        let by = *dropped_by.lock().expect("no panic under it");
        by.is_some()
    });
    assert!(dropped);
}
