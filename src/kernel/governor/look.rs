//! The thread `governor`: measures, decides, acts, and rests.

use core::fmt;
use core::time::Duration;

use super::{ARMED, ARMED_AT, KICKED, LOOKS, STATE, State, act, instant_of, measure};
use crate::governor::{Change, Decision, Sample};
use crate::kernel::Hw;
use crate::platform::Platform;
use crate::sync::atomic::Ordering;
use crate::time::Instant;
use crate::trace::{Direction, GovernorEvent, Load};

/// The body of the thread.
pub(super) fn run() {
    let mut next = Instant::FOREVER;
    loop {
        LOOKS.wait_until(next, || KICKED.load(Ordering::Relaxed));
        // Before the look: a kick that comes meanwhile is for the next one.
        KICKED.store(false, Ordering::Relaxed);
        next = look(&mut STATE.lock());
    }
}

/// Measures, decides and acts. Returns when to do that again.
fn look(state: &mut State) -> Instant {
    let Some(policy) = &state.policy else {
        return Instant::FOREVER;
    };
    let tunables = *policy.tunables();
    ARMED.store(true, Ordering::Relaxed);
    // What was measured for a moment only says little.
    let rate = nanoseconds(tunables.sampling_rate);
    if let Some(age) = state.measured.age()
        && age < rate / 4
    {
        return instant_of(measure::now_ns() + rate - age);
    }
    let armed = measure::ns(ARMED_AT.load(Ordering::Relaxed));
    let (sample, load) = state.measured.sample(armed);
    state.statistics.looks += 1;
    let sample = with_room(state, sample);
    act::record(GovernorEvent::Measured {
        online: act::short(sample.online),
        load,
    });
    let policy = state.policy.as_mut().expect("BUG: it was there");
    match policy.decide(&sample) {
        Decision::Change(change) => {
            carry_out(state, change, load);
            state.measured.begin();
            Hw::deadline(tunables.sampling_rate)
        }
        Decision::Look(at) => instant_of(at),
        Decision::Rest(retry) => rest(state, &sample, retry),
    }
}

/// Has CPUs come or go. What has failed is in the trace, and isn't asked again at once.
fn carry_out(state: &mut State, change: Change, load: Load) {
    let Change {
        direction,
        count,
        reason,
    } = change;
    match direction {
        Direction::Up => say(act::come(state, count, reason, load)),
        Direction::Down => say(act::go(state, count, reason, load)),
    }
}

fn say<E: fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        log::debug!("governor: {error}");
    }
}

/// Adds to `sample` how many CPUs may come and go.
fn with_room(state: &State, sample: Sample) -> Sample {
    let at = sample.at;
    let until = [state.stay_away.until(at), state.stay_here.until(at)];
    Sample {
        may_come: act::may_come(state, at).count(),
        may_go: act::may_go(state, at).count(),
        retry: until.into_iter().flatten().min(),
        ..sample
    }
}

/// Rests, until `retry` at most. Returns when to look again.
fn rest(state: &mut State, sample: &Sample, retry: Option<u64>) -> Instant {
    state.measured.rests();
    let can_come = sample.may_come > 0 && sample.online < state.tunables().max_cpus;
    if can_come {
        ARMED.store(false, Ordering::Relaxed);
        // (`armed-or-seen` of `governor`)
        if measure::any_waits() && !ARMED.swap(true, Ordering::Relaxed) {
            ARMED_AT.store(Hw::now().0, Ordering::Relaxed);
            return Hw::deadline(state.tunables().up_wait / 2);
        }
    }
    retry.map_or(Instant::FOREVER, instant_of)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
