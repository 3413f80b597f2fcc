//! The family of stops before there are threads: direct calls, with the errors, the requests and the
//! faults of later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use stillpoint::cpu::CpuMask;
use stillpoint::platform::Platform;
use stillpoint::stop_machine::{
    Alone, CancelToken, NowaitError, StopError, StopHost, StopRequest, StopWork,
};
use stillpoint::sync::{LocalCpu, PreemptGuard};

use crate::batches::{cpu, mask};
use crate::sim::Sim;

/// Calls `early` with the family as it is before there are threads; later there is none such.
fn before_threads(early: impl FnOnce(&Alone<Sim>) + Send + 'static) {
    let early = || early(&Sim::stop_machine().alone().expect("no stopper yet"));
    Sim::run_from_boot(2, early, || {
        assert!(Sim::stop_machine().alone().is_none());
        let still = Sim::stop_machine().lock();
        assert_eq!(Sim::stop_machine().stop_once(&still, || 3).0, 3);
    });
}

fn plain() -> StopRequest<'static, Sim> {
    StopRequest::new()
}

#[test]
fn a_stop_is_a_direct_call_with_irqs_masked() {
    before_threads(|alone| {
        let mut order = Vec::new();
        let stopped = alone.stop(&plain(), || {
            assert!(!Sim::irqs_enabled());
            order.push("called");
            Sim::relax(); // It takes a moment.
            Sim::this_cpu()
        });
        let (ran_on, report) = stopped.expect("no request");
        assert_eq!((ran_on, &order[..]), (cpu(0), &["called"][..]));
        assert!(report.called <= report.fn_began && report.fn_ended <= report.ended);
        let off = Sim::stop_machine().times().irqs_off(cpu(0));
        assert!(off.start <= report.fn_began && report.fn_began < report.fn_ended);
        assert!(report.fn_ended <= off.end && off.end <= report.ended);
        assert_eq!(Sim::stop_machine().stops(), 1);
        let here = plain().on(cpu(0));
        assert_eq!(alone.stop(&here, || 2).map(|(value, _)| value), Ok(2));
    });
}

#[test]
fn another_cpu_is_not_online() {
    before_threads(|alone| {
        let never = || panic!("it may not run");
        let away = StopError::NotOnline(cpu(1));
        let stopped = alone.stop(&plain().on(cpu(1)), never);
        assert_eq!(stopped.map(|((), _)| ()), Err(away.clone()));
        let stopped = alone.stop_each(&plain(), &mask(&[0, 1]), &|_| never());
        assert_eq!(stopped.map(drop), Err(away.clone()));
        assert_eq!(alone.stop_one_cpu(cpu(1), never), Err(away.clone()));
        assert_eq!(alone.stop_two_cpus(cpu(0), cpu(1)), away);
        assert_eq!(alone.stop_two_cpus(cpu(1), cpu(0)), away);
        assert!(alone.stop_cpus(&mask(&[1]), &|_| never()).is_empty());
        let work = StopWork::<Sim>::leak(move |_| never());
        let refused = alone.stop_one_cpu_nowait(cpu(1), work);
        assert_eq!(refused, Err(NowaitError::NotOnline(cpu(1))));
        assert_eq!(Sim::stop_machine().stops(), 0);
    });
}

#[test]
fn the_others_call_with_preemption_off() {
    before_threads(|alone| {
        let inside = || (Sim::this_cpu(), Sim::preempt_count());
        assert_eq!(alone.stop_one_cpu(cpu(0), inside), Ok((cpu(0), 1)));
        let runs = AtomicU32::new(0);
        let ran_on = alone.stop_cpus(&CpuMask::first_n(2), &|on| {
            assert_eq!((on, Sim::preempt_count()), (cpu(0), 1));
            runs.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!((ran_on, runs.into_inner()), (mask(&[0]), 1));
        assert_eq!(Sim::preempt_count(), 0);
        assert_eq!(Sim::stop_machine().stops(), 0, "none was a still point");
    });
}

/// A work that asks for itself again is done again when it has ended, as often as it asks.
#[test]
fn a_work_without_a_waiting_caller_is_done_at_once() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    static WORK: OnceLock<&StopWork<Sim>> = OnceLock::new();
    before_threads(|alone| {
        let work = StopWork::<Sim>::leak(|on| {
            assert_eq!(INSIDE.fetch_add(1, Ordering::Relaxed), 0, "in itself");
            assert_eq!((on, Sim::preempt_count()), (cpu(0), 1));
            let runs = RUNS.fetch_add(1, Ordering::Relaxed) + 1;
            if runs < 1000 {
                let alone = Sim::stop_machine().alone().expect("no stopper yet");
                let work = WORK.get().expect("it is set");
                assert_eq!(alone.stop_one_cpu_nowait(on, work), Ok(()));
                let again = alone.stop_one_cpu_nowait(on, work);
                assert_eq!(again, Err(NowaitError::Busy), "as later");
            }
            INSIDE.fetch_sub(1, Ordering::Relaxed);
        });
        let work = WORK.get_or_init(|| work);
        assert_eq!(alone.stop_one_cpu_nowait(cpu(0), work), Ok(()));
        assert_eq!(RUNS.load(Ordering::Relaxed), 1000);
        // It isn't taken for queued: the stopper accepts it later.
        assert_eq!(alone.stop_one_cpu_nowait(cpu(0), work), Ok(()));
        assert_eq!(RUNS.load(Ordering::Relaxed), 1001);
    });
}

/// What is asked for inside a function of the family is done after that, in its order.
#[test]
fn works_are_done_one_after_the_other() {
    static ORDER: Mutex<Vec<&str>> = Mutex::new(Vec::new());
    let note = |what| ORDER.lock().expect("no panic under it").push(what);
    let note_work = move |what| {
        assert_eq!((Sim::preempt_count(), Sim::is_closed()), (1, false));
        note(what);
    };
    before_threads(move |alone| {
        let queue = |work: &'static StopWork<Sim>| {
            let alone = Sim::stop_machine().alone().expect("no stopper yet");
            assert_eq!(alone.stop_one_cpu_nowait(cpu(0), work), Ok(()));
        };
        let last = StopWork::<Sim>::leak(move |_| note_work("last"));
        let second = StopWork::<Sim>::leak(move |_| note_work("second"));
        let first = StopWork::<Sim>::leak(move |_| {
            queue(last);
            note_work("first");
        });
        let ask = || {
            queue(first);
            queue(second);
            note("asked");
        };
        assert!(alone.stop(&plain(), ask).is_ok());
        assert_eq!(alone.stop_one_cpu(cpu(0), ask), Ok(()));
        assert_eq!(alone.stop_cpus(&mask(&[0]), &|_| ask()), mask(&[0]));
        let order = ORDER.lock().expect("no panic under it");
        assert_eq!(order[..], ["asked", "first", "second", "last"].repeat(3));
    });
}

#[test]
fn what_is_asked_of_a_stop_is_obeyed() {
    before_threads(|alone| {
        let called = AtomicU32::new(0);
        let release = |on| {
            assert_eq!((on, Sim::irqs_enabled()), (cpu(0), false));
            assert_eq!(called.fetch_add(1, Ordering::Relaxed), 1, "fn comes first");
        };
        let releasing = plain().and_release(&release);
        let stopped = alone.stop(&releasing, || called.fetch_add(1, Ordering::Relaxed));
        assert_eq!(stopped.map(|(before, _)| before), Ok(0));
        assert_eq!(called.load(Ordering::Relaxed), 2);
        let each = alone.stop_each(&plain(), &mask(&[0]), &|on| {
            assert_eq!((on, Sim::irqs_enabled()), (cpu(0), false));
            called.fetch_add(1, Ordering::Relaxed);
        });
        assert!(each.is_ok());

        let late = alone.stop(&releasing.before(Sim::now()), || ());
        assert_eq!(late.map(drop), Err(StopError::Late(Vec::new())));
        let in_time = plain().before(Sim::deadline(Duration::from_secs(1)));
        assert!(alone.stop(&in_time, || ()).is_ok());
        let token = CancelToken::<Sim>::new();
        let cancelled = || plain().cancelled_by(&token);
        assert!(alone.stop(&cancelled(), || ()).is_ok());
        token.cancel();
        let stopped = alone.stop(&cancelled(), || ());
        assert_eq!(stopped.map(drop), Err(StopError::Cancelled(Vec::new())));
        assert_eq!(
            called.load(Ordering::Relaxed),
            3,
            "no release without a stop"
        );
    });
}

/// Returns the message with which `call` panics.
pub(crate) fn message(call: impl FnOnce()) -> String {
    let panicked = catch_unwind(AssertUnwindSafe(call)).expect_err("it is a fault");
    let message = panicked.downcast_ref::<String>().cloned();
    let literal = || panicked.downcast_ref::<&str>().map(|&text| text.into());
    message.or_else(literal).expect("a message")
}

#[test]
fn faults_are_found_as_later() {
    before_threads(|alone| {
        let of_none = message(|| drop(alone.stop_each(&plain(), &mask(&[]), &|_| ())));
        assert_eq!(of_none, "BUG: no CPU runs the function of a stop");
        let of_one = message(|| drop(alone.stop_two_cpus(cpu(1), cpu(1))));
        assert_eq!(of_one, "BUG: stop_two_cpus of cpu1 alone");
        let off = PreemptGuard::<Sim>::new();
        let with_preemption_off = message(|| drop(alone.stop(&plain(), || ())));
        assert_eq!(
            with_preemption_off,
            "BUG: stop_machine with preemption off (count 1)"
        );
        drop(off);
        // The last one: it leaves the CPU inside a stop.
        let nested =
            message(|| drop(alone.stop(&plain(), || drop(alone.stop_one_cpu(cpu(0), || ())))));
        assert_eq!(
            nested,
            "BUG: the function of a stop calls stop_one_cpu, which may wait"
        );
    });
}
