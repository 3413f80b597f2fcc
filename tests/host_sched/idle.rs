//! The idle thread: interrupts that ended its sleep.

use std::sync::mpsc::channel;

use stillpoint::cpu::CpuId;
use stillpoint::platform::{Platform, PreemptWork};
use stillpoint::sched::{SchedHost, Scheduler};
use stillpoint::sync::LocalCpu;

use crate::fake::{Baton, Fake};

/// Calls `body_fn` as the idle thread of a machine of its own, on a host thread that never
/// ends.
fn as_idle(body_fn: impl FnOnce(&Scheduler<Fake>) + Send + 'static) {
    std::thread::spawn(move || {
        Fake::new_machine();
        Fake::spawn_masked(move || {
            let sched = Fake::sched();
            let idle = sched.new_idle(CpuId::BOOT, Baton::default());
            sched.start_cpu(&idle);
            body_fn(sched);
        });
    });
}

/// Sleeps for good: nothing can return from the idle thread.
fn sleep_for_good() -> ! {
    loop {
        std::thread::park();
    }
}

/// A core is certain to take a pending interrupt only at a context synchronization event. An
/// idle loop that masks IRQs again without one might loop for ever.
#[test]
fn idle_serves_what_ended_its_sleep_before_it_sleeps_again() {
    let (report, reports) = channel();
    as_idle(move |sched| {
        let mut sleeps = 0;
        sched.idle(|| {
            assert!(!Fake::irqs_enabled(), "idle sleeps with IRQs masked");
            report
                .send((sleeps, Fake::served()))
                .expect("the test waits");
            sleeps += 1;
            if sleeps == 4 {
                sleep_for_good();
            }
        })
    });
    let seen: Vec<(usize, usize)> = reports.iter().take(4).collect();
    assert_eq!(seen, [(0, 0), (1, 1), (2, 2), (3, 3)]);
}

/// An interrupt that comes just before the idle thread masks IRQs has made a thread runnable.
/// The idle thread must look for work after that: a sleep would not end.
#[test]
fn idle_looks_for_work_with_interrupts_masked() {
    let (report, reports) = channel();
    as_idle(move |sched| {
        Fake::interrupt_before_mask(|| Fake::set_preempt_work(PreemptWork::Reschedule, true));
        sched.idle(|| {
            let missed = Fake::has_preempt_work(PreemptWork::Reschedule);
            report.send(missed).expect("the test waits");
            sleep_for_good()
        })
    });
    assert_eq!(reports.recv(), Ok(false), "idle sleeps beside work");
}
