//! Stops that let preempted threads go on first, on the simulated machine: what holds them up, how
//! they are given up, and CPUs that leave by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stillpoint::cpu::CpuId;
use stillpoint::hotplug::{Awaited, CpuDownError};
use stillpoint::platform::{Platform, PreemptWork};
use stillpoint::sched::{ThreadState, Timer, run_app};
use stillpoint::stop_machine::{
    CancelToken, FLUSH_LIMIT, HeldBy, HeldUp, NotCome, StopError, StopHost, StopMode, StopRequest,
};
use stillpoint::sync::{IrqGuard, LocalCpu};

use crate::affinity::spawn;
use crate::batches::{all_up, cpu, hotplug, mask};
use crate::deadlines::{Flag, LONG, SHORT, name, sleep};
use crate::sim::Sim;

const CPUS: usize = 4;

fn flushing() -> StopRequest<'static, Sim> {
    StopRequest::new().mode(StopMode::FlushPreempted)
}

fn stop(request: &StopRequest<'_, Sim>) -> Result<u32, StopError> {
    let still = Sim::stop_machine().lock();
    let stopped = Sim::stop_machine().stop(&still, request, || 1);
    stopped.map(|(value, _)| value)
}

fn with_all_up(test: impl FnOnce() + Send + 'static) {
    Sim::run(CPUS, || {
        all_up(CPUS);
        test();
        // Stops of both kinds are as ever, and so is a way down.
        assert_eq!(stop(&flushing()), Ok(1));
        assert_eq!(stop(&StopRequest::new()), Ok(1));
        assert_eq!(hotplug().cpu_down(cpu(CPUS - 1)), Ok(()));
    });
}

/// Starts a thread of the kernel on `cpu` that computes, with preemption on, until the flag is
/// set. Returns when it does.
fn computes(cpu: CpuId) -> Flag {
    let (runs, done) = (Flag::default(), Flag::default());
    let (says, told) = (runs.clone(), done.clone());
    spawn("computes", cpu, move || {
        says.set();
        while !told.is_set() {
            Sim::relax();
        }
    });
    runs.sleep_until_set();
    done
}

/// Starts a thread of the kernel on `cpu` that computes, with preemption on, until a flush comes to
/// the CPU, and calls `then_fn`. Returns when it computes.
pub(crate) fn computes_until_flush(
    name: &str,
    cpu: CpuId,
    then_fn: impl FnOnce() + Send + 'static,
) {
    let runs = Flag::default();
    let says = runs.clone();
    spawn(name, cpu, move || {
        says.set();
        while !Sim::has_preempt_work(PreemptWork::Flush) {
            Sim::relax();
        }
        then_fn();
    });
    runs.sleep_until_set();
}

fn held_up(cpu: CpuId, thread: &str, by: HeldBy) -> NotCome {
    let thread = Some(name(thread));
    NotCome {
        cpu,
        held_up: HeldUp { thread, by },
    }
}

#[test]
fn threads_that_sleep_hold_no_flush_up() {
    with_all_up(|| {
        let done = Flag::default();
        let threads: Vec<_> = (0..CPUS)
            .map(|number| {
                let told = done.clone();
                spawn("sleeps", cpu(number), move || told.sleep_until_set())
            })
            .collect();
        for _ in 0..20 {
            assert_eq!(stop(&flushing()), Ok(1));
        }
        done.set();
        for thread in threads {
            thread.wait_until_dead();
            assert_eq!(thread.state_racy(), ThreadState::Dead);
        }
    });
}

#[test]
fn a_thread_of_the_kernel_that_computes_is_named() {
    with_all_up(|| {
        let done = computes(cpu(2));
        let missing = held_up(cpu(2), "computes", HeldBy::Unflushed);
        let stopped = stop(&flushing().before(Sim::deadline(SHORT)));
        assert_eq!(stopped, Err(StopError::Late(vec![missing])));
        // The classic stop takes the CPU from it.
        assert_eq!(stop(&StopRequest::new()), Ok(1));
        done.set();
    });
}

#[test]
fn without_a_deadline_of_its_own_it_has_one() {
    with_all_up(|| {
        computes_until_flush("computes", cpu(2), || {
            Sim::hold_cpu(cpu(2), 3_000_000_000);
        });
        let begun = Sim::now();
        let stopped = stop(&flushing());
        assert!(matches!(stopped, Err(StopError::Late(_))), "{stopped:?}");
        let limit = Sim::frequency().duration_to_ticks(FLUSH_LIMIT);
        assert!(Sim::now() >= begun.after_ticks(limit));
        assert!(Sim::now() < begun.after_ticks(2 * limit));
        sleep(3 * FLUSH_LIMIT);
    });
}

/// The flush comes when a thread is on its way to the code of its application, which computes: the
/// thread gives its CPU away where that begins.
#[test]
fn an_application_that_begins_holds_no_flush_up() {
    with_all_up(|| {
        let done = Flag::default();
        let told = done.clone();
        computes_until_flush("begins", cpu(2), move || {
            run_app::<Sim, ()>(|| {
                while !told.is_set() {
                    Sim::relax();
                }
            });
        });
        assert_eq!(stop(&flushing().before(Sim::deadline(SHORT))), Ok(1));
        done.set();
    });
}

/// To give the CPU away takes a thread long, and then to come to the stop another CPU, but neither
/// takes too long: of the second nothing is told when both together have.
#[test]
fn the_flush_is_no_wait_for_cpus_to_come() {
    const LONG_NS: u64 = 8_000_000_000;
    with_all_up(|| {
        computes_until_flush("computes", cpu(2), || {
            Sim::hold_cpu(cpu(2), LONG_NS);
            Sim::hold_cpu(cpu(1), LONG_NS);
        });
        Sim::take_notes();
        let begun = Sim::now();
        assert_eq!(
            stop(&flushing().before(begun.after_ticks(4 * LONG_NS))),
            Ok(1)
        );
        assert!(Sim::now() >= begun.after_ticks(2 * LONG_NS));
        assert_eq!(Sim::take_notes(), [""; 0]);
    });
}

#[test]
fn a_cpu_with_irqs_masked_is_named() {
    with_all_up(|| {
        let (runs, done) = (Flag::default(), Flag::default());
        let (says, told) = (runs.clone(), done.clone());
        spawn("masks", cpu(2), move || {
            let _masked = IrqGuard::<Sim>::new();
            says.set();
            while !told.is_set() {
                Sim::relax();
            }
        });
        runs.sleep_until_set();
        let missing = held_up(cpu(2), "masks", HeldBy::IrqsOff);
        let stopped = stop(&flushing().before(Sim::deadline(SHORT)));
        assert_eq!(stopped, Err(StopError::Late(vec![missing])));
        done.set();
    });
}

#[test]
fn it_is_cancelled_while_a_thread_goes_on() {
    with_all_up(|| {
        let done = computes(cpu(2));
        let token = CancelToken::<Sim>::new();
        let theirs = token.clone();
        let timer = Timer::<Sim>::new(move || theirs.cancel());
        timer.start(Sim::deadline(SHORT));
        let missing = held_up(cpu(2), "computes", HeldBy::Unflushed);
        let stopped = stop(
            &flushing()
                .before(Sim::deadline(LONG * 100))
                .cancelled_by(&token),
        );
        assert_eq!(stopped, Err(StopError::Cancelled(vec![missing])));
        // A token that was cancelled stays so.
        let again = stop(&flushing().cancelled_by(&token));
        assert!(matches!(again, Err(StopError::Cancelled(_))), "{again:?}");
        done.set();
    });
}

/// A stop and its deadline at every distance from each other, while threads compute for a moment
/// and sleep.
#[test]
fn a_deadline_at_any_instant_leaves_the_machine_whole() {
    with_all_up(|| {
        let (done, turns) = (Flag::default(), Arc::new(AtomicU32::new(0)));
        let workers: Vec<_> = (0..CPUS)
            .map(|number| {
                let (told, counted) = (done.clone(), Arc::clone(&turns));
                spawn("works", cpu(number), move || {
                    while !told.is_set() {
                        (0..20).for_each(|_| Sim::relax());
                        counted.fetch_add(1, Ordering::Relaxed);
                        sleep(Duration::from_micros(30));
                    }
                })
            })
            .collect();
        let (mut ran, mut given_up) = (0, 0);
        for ticks in 0..400 {
            let at = Sim::now().after_ticks(ticks * 20);
            match stop(&flushing().before(at)) {
                Ok(value) => ran += value,
                Err(StopError::Late(_)) => given_up += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(ran > 0 && given_up > 0, "{ran} ran, {given_up} didn't");
        done.set();
        for worker in workers {
            worker.wait_until_dead();
        }
        assert!(turns.load(Ordering::Relaxed) > 0);
    });
}

/// With `cpu_down_stop=flush` a CPU leaves only when no thread is in the midst of something.
#[test]
fn cpus_leave_by_a_flush_or_turn_back() {
    with_all_up(|| {
        hotplug().set_down_stop(StopMode::FlushPreempted);
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(hotplug().cpus_down(&mask(&[1, 3])), Ok(()));
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        assert_eq!(hotplug().cpu_up(cpu(3)), Ok(()));

        let done = computes(cpu(2));
        let awaited = Awaited::Stop(held_up(cpu(2), "computes", HeldBy::Unflushed));
        let down = hotplug().cpu_down_before(cpu(1), Sim::deadline(LONG));
        assert_eq!(
            down,
            Err(CpuDownError::Late {
                cpu: cpu(1),
                awaited
            })
        );
        assert!(Sim::masks().is_online(cpu(1)));
        done.set();
        assert_eq!(hotplug().cpu_down(cpu(1)), Ok(()));
        assert_eq!(hotplug().cpu_up(cpu(1)), Ok(()));
        hotplug().set_down_stop(StopMode::Classic);
    });
}
