//! Stops and calls: calls that make each other again and again, and one that was sent before.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use stillpoint::cpu::{CpuId, CpuMask};
use stillpoint::platform::Platform;
use stillpoint::sched::SchedHost;
use stillpoint::smp::call::CallHost;
use stillpoint::stop_machine::StopHost;
use stillpoint::sync::LocalCpu;

use crate::failures::up;
use crate::sim::Sim;

const CPUS: usize = 2;
const BALLS: u32 = 4;
/// After how many runs in one stop a ball is dropped, so that the test ends in any case.
const MANY: u32 = 1000;

/// Balls that two CPUs throw to each other. A ball is a call.
struct Game {
    is_over: AtomicBool,
    /// How many throws each CPU has made in the current stop, and in all stops.
    in_stop: [AtomicU32; CPUS],
    in_stops: AtomicU32,
}

/// Throws a ball to `cpu`, which throws it back. In a stop the other CPU gets the turn before
/// this function returns.
fn throw(game: &Arc<Game>, cpu: CpuId) {
    let there = Arc::clone(game);
    let called = Sim::calls().call_on_nowait(cpu, move || {
        let me = Sim::this_cpu().index();
        let is_closed = Sim::is_closed();
        if is_closed {
            there.in_stops.fetch_add(1, Ordering::Relaxed);
            if there.in_stop[me].fetch_add(1, Ordering::Relaxed) >= MANY {
                return;
            }
        }
        if !there.is_over.load(Ordering::Relaxed) {
            throw(&there, CpuId::from_index(1 - me));
        }
        if is_closed {
            Sim::relax();
        }
    });
    assert_eq!(called, Ok(()));
}

/// A CPU that enters a stop runs the calls that were queued before: at most one for each ball.
/// A ball that it has thrown itself comes back too late.
#[test]
fn calls_that_breed_calls_do_not_hold_up_a_stop() {
    Sim::run(CPUS, || {
        assert_eq!(up(), Ok(()));
        let game = Arc::new(Game {
            is_over: AtomicBool::new(false),
            in_stop: array::from_fn(|_| AtomicU32::new(0)),
            in_stops: AtomicU32::new(0),
        });
        for _ in 0..BALLS {
            throw(&game, CpuId::from_index(1));
        }
        for _ in 0..20 {
            let still = Sim::stop_machine().lock();
            let stopped = Sim::stop_machine().stop_on(&still, CpuId::BOOT, || ());
            assert!(stopped.is_ok());
            drop(still);
            for runs in &game.in_stop {
                let runs = runs.swap(0, Ordering::Relaxed);
                assert!(runs <= BALLS, "{runs} calls in a stop");
            }
        }
        assert!(
            game.in_stops.load(Ordering::Relaxed) > 0,
            "no call met a stop"
        );
        game.is_over.store(true, Ordering::Relaxed);
        Sim::sched().sleep_until(Sim::deadline(Duration::from_millis(1)));
        assert_eq!(Arc::strong_count(&game), 1, "a ball is lost");
    });
}

/// The SGI of the call is on its way still when its target comes to the stop.
#[test]
fn a_call_of_before_a_stop_runs_before_its_function() {
    Sim::run(CPUS, || {
        assert_eq!(up(), Ok(()));
        Sim::script(|script| script.calls_on_their_way = true);
        for other in [1, 0].map(CpuId::from_index) {
            let me = Sim::sched().current();
            let here = CpuMask::first_n(CPUS).without(&CpuMask::of(other));
            assert_eq!(Sim::sched().set_affinity(&me, &here), Ok(()));
            let ran = Arc::new(AtomicBool::new(false));
            let theirs = Arc::clone(&ran);
            let called = Sim::calls().call_on_nowait(other, move || {
                theirs.store(true, Ordering::Relaxed);
            });
            assert_eq!(called, Ok(()));
            assert!(!ran.load(Ordering::Relaxed));
            let still = Sim::stop_machine().lock();
            let had_run = Sim::stop_machine().stop_once(&still, || ran.load(Ordering::Relaxed));
            assert!(had_run.0, "the stop comes before the call");
        }
    });
}
