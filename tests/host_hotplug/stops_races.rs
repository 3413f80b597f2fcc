//! Stops that are given up at the very moment at which something else happens to them, on the
//! simulated machine: a CPU stands still in the midst of the one or of the other.

use std::sync::Arc;
use std::time::Duration;

use stillpoint::platform::Platform;
use stillpoint::sched::{SchedHost, Timer};
use stillpoint::stop_machine::{CancelToken, StopError, StopMode, StopRequest, StopWork};
use stillpoint::sync::{IrqGuard, LocalCpu, PreemptGuard};

use crate::affinity::spawn;
use crate::batches::{cpu, mask};
use crate::deadlines::{Flag, busy_from, sleep};
use crate::sim::Sim;
use crate::stops::{late_stop, stop, with_all_up};

/// An SGI waits for the CPU that cancels, which takes it as soon as it unmasks interrupts. Its
/// stopper would come to the stop then, as the last one.
#[test]
fn nothing_comes_between_a_token_and_its_stop() {
    with_all_up(|| {
        let token = CancelToken::<Sim>::new();
        let (runs, theirs) = (Flag::default(), token.clone());
        let says = runs.clone();
        spawn("cancels", cpu(1), move || {
            says.set();
            // It takes no interrupt before it cancels.
            Sim::hold_cpu(cpu(1), 5_000_000);
            theirs.cancel();
        });
        runs.sleep_until_set();
        let cancelled = late_stop(&StopRequest::new().cancelled_by(&token));
        let Err(StopError::Cancelled(missing)) = cancelled else {
            panic!("CPU 1 has cancelled it and has not come: {cancelled:?}");
        };
        let missing: Vec<_> = missing.iter().map(|one| one.cpu).collect();
        assert_eq!(missing, [cpu(1)]);
        sleep(Duration::from_millis(1));
    });
}

/// The last CPU finishes the flush in the midst of what gives the stop up, or before or after it.
#[test]
fn a_flush_that_ends_behind_an_abort_leaves_the_machine_whole() {
    with_all_up(|| {
        let (mut ran, mut given_up) = (0, 0);
        for step in 0..300 {
            let (runs, begun) = (Flag::default(), Sim::now());
            let limit = begun.after_ticks(500_000);
            let says = runs.clone();
            spawn("computes", cpu(1), move || {
                says.set();
                let until = begun.after_ticks(470_000 + step * 200);
                while Sim::now() < until {
                    Sim::relax();
                }
            });
            runs.sleep_until_set();
            let request = StopRequest::new().mode(StopMode::FlushPreempted);
            Sim::script(|script| script.stands_each = 1);
            match late_stop(&request.before(limit)) {
                Ok(value) => ran += value,
                Err(StopError::Late(_)) => given_up += 1,
                Err(error) => panic!("{error}"),
            }
            Sim::script(|script| script.stands_each = 0);
        }
        assert!(ran > 0 && given_up > 0, "{ran} ran, {given_up} didn't");
    });
}

/// The stop is cancelled before its works are queued, in the midst of that or after it, while a CPU
/// doesn't come: no CPU waits for that one any more.
#[test]
fn works_that_are_queued_behind_an_abort_are_taken_back() {
    const BUSY: u64 = 1_000_000;
    const STEPS: usize = 40;
    with_all_up(|| {
        let (mut named, mut not_asked) = (0, 0);
        for step in 0..STEPS {
            let begun = Sim::now();
            let ready = [Flag::default(), Flag::default()];
            let [busy, cancels] = ready.clone();
            spawn("busy", cpu(1), move || {
                let _here = PreemptGuard::<Sim>::new();
                busy.set();
                while Sim::now() < begun.after_ticks(BUSY) {
                    Sim::relax();
                }
            });
            let token = CancelToken::<Sim>::new();
            let theirs = token.clone();
            let go = Flag::default();
            let gone = go.clone();
            spawn("cancels", cpu(2), move || {
                let _masked = IrqGuard::<Sim>::new();
                cancels.set();
                while !gone.is_set() {
                    Sim::relax();
                }
                (0..STEPS / 2).for_each(|_| Sim::relax());
                Sim::hold_cpu(cpu(0), BUSY / 10); // It stands until this is done.
                theirs.cancel();
            });
            ready.iter().for_each(Flag::sleep_until_set);
            let still = stop().lock();
            go.set();
            (0..step).for_each(|_| Sim::relax());
            Sim::script(|script| script.stands_each = 1);
            let stopped = stop().stop(&still, &StopRequest::new().cancelled_by(&token), || ());
            Sim::script(|script| script.stands_each = 0);
            drop(still);
            assert!(
                Sim::now() < begun.after_ticks(BUSY / 2),
                "{step}: it has waited for CPU 1"
            );
            let Err(StopError::Cancelled(missing)) = stopped else {
                panic!("CPU 1 has not come: {stopped:?}");
            };
            if missing.is_empty() {
                not_asked += 1;
            } else {
                named += 1;
            }
            sleep(Duration::from_millis(2));
        }
        assert!(
            named > 0 && not_asked > 0,
            "{named} named CPU 1, {not_asked} didn't"
        );
    });
}

/// An interrupt wakes the caller's stopper for a work of its own, before the works of a stop are
/// queued, in the midst of that or after it. The stopper begins its part only when all have been
/// asked to come: else it would wait for those that haven't.
#[test]
fn the_caller_asks_all_before_its_own_stopper_begins() {
    with_all_up(|| {
        let me = Sim::sched().current();
        assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
        let work = StopWork::<Sim>::leak(|_| ());
        let timer = Timer::<Sim>::new(move || {
            assert_eq!(stop().stop_one_cpu_nowait(cpu(0), work), Ok(()));
        });
        let interrupted = |at: u64, stop_fn: &dyn Fn()| {
            timer.start(Sim::now().after_ticks(at));
            Sim::script(|script| script.stands_each = 1);
            stop_fn();
            Sim::script(|script| script.stands_each = 0);
            sleep(Duration::from_millis(1));
        };
        for step in 0..60 {
            interrupted(step * 250, &|| {
                let request = StopRequest::new().before(Sim::deadline(Duration::from_millis(5)));
                assert_eq!(late_stop(&request), Ok(1));
            });
            interrupted(step * 250, &|| {
                assert_eq!(stop().stop_two_cpus(cpu(0), cpu(1), || 1), Ok(1));
            });
        }
    });
}

/// A CPU takes an interrupt as it leaves the stop, and meanwhile the caller's thread is sent to
/// another CPU. The last to leave wakes the CPU on which the thread has begun to wait.
#[test]
fn the_caller_waits_on_one_cpu() {
    const MOMENT: u64 = 10_000_000;
    with_all_up(|| {
        let me = Sim::sched().current();
        assert_eq!(Sim::sched().set_affinity(&me, &mask(&[0])), Ok(()));
        let begun = Sim::now();
        let theirs = Arc::clone(&me);
        spawn("sends", cpu(2), move || {
            sleep(Duration::from_nanos(MOMENT / 2));
            assert_eq!(Sim::sched().set_affinity(&theirs, &mask(&[3])), Ok(()));
        });
        // Else a thread that is not woken sleeps for ever.
        spawn("ticks", cpu(3), || sleep(Duration::from_nanos(3 * MOMENT)));
        let long = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), MOMENT));
        let still = stop().lock();
        let stopped = stop().stop_on(&still, cpu(1), || long.start(Sim::now()));
        assert!(stopped.is_ok());
        drop(still);
        assert_eq!(Sim::this_cpu(), cpu(3), "it goes when the stop is over");
        assert!(Sim::now() < begun.after_ticks(2 * MOMENT));
    });
}

/// A deadline and a cancel come due in one interrupt of the caller's CPU, before the caller runs again:
/// the error tells which of the two has given the stop up, not what has come to pass since.
#[test]
fn the_first_of_a_deadline_and_a_cancel_is_told() {
    const MOMENT: Duration = Duration::from_millis(2);
    with_all_up(|| {
        let done = busy_from(cpu(1), || true);
        sleep(MOMENT);
        for cancel_is_first in [false, true] {
            let due = Sim::deadline(MOMENT);
            let times = [due.after_ticks(10), due.after_ticks(20)];
            let [cancel_at, deadline] = if cancel_is_first {
                times
            } else {
                [times[1], times[0]]
            };
            let long = Timer::<Sim>::new(|| Sim::hold_cpu(Sim::this_cpu(), 1_000_000));
            long.start(due); // Both are due behind it.
            let token = CancelToken::<Sim>::new();
            let theirs = token.clone();
            let cancels = Timer::<Sim>::new(move || theirs.cancel());
            cancels.start(cancel_at);
            let request = StopRequest::new().before(deadline).cancelled_by(&token);
            let error = late_stop(&request).expect_err("CPU 1 doesn't come");
            assert!(token.is_cancelled());
            let is_cancelled = matches!(error, StopError::Cancelled(_));
            assert_eq!(is_cancelled, cancel_is_first, "{error:?}");
        }
        done.set();
    });
}
