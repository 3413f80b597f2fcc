//! Stops that are given up at the very moment at which something else happens to them, on the
//! simulated machine: a CPU stands still in the midst of the one or of the other.

use std::time::Duration;

use stillpoint::platform::Platform;
use stillpoint::stop_machine::{CancelToken, StopError, StopMode, StopRequest};
use stillpoint::sync::LocalCpu;

use crate::affinity::spawn;
use crate::batches::cpu;
use crate::deadlines::{Flag, sleep};
use crate::sim::Sim;
use crate::stops::{late_stop, with_all_up};

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
