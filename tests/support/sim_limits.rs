//! How long a simulated machine may run, and what is told of one that doesn't come to an end.
//!
//! A machine whose CPUs wait for what never comes would run for ever in its own time: a test
//! without a verdict. So also if a test has panicked, and what its thread drops on its way out
//! waits. No other thread of the machine can end such a wait, so the process aborts.

use std::io::Write;

use super::State;

/// The longest time of a machine, in nanoseconds. The tests need up to 20 seconds.
const TIME: u64 = 300 * 1_000_000_000;

/// The most changes of turn, for CPUs that spin: time advances little by that. The tests need
/// up to 50,000; as many as this take ten seconds.
const TURNS: u64 = 500_000;

/// The most calls of the platform in one turn: a CPU that makes more waits in a loop that passes
/// no turn on, so no time passes, and what it waits for never comes. The tests need up to
/// 10,000.
const CALLS: u64 = 1_000_000;

/// How many of the last steps are told.
const LAST: usize = 12;

/// Aborts if the machine has run for too long.
pub(super) fn check(state: &State) {
    if state.now > TIME {
        abort(state, "it has run for too long");
    }
    if state.changes > TURNS {
        abort(state, "its CPUs spin for too long");
    }
}

/// Counts a change of turn.
pub(super) fn count_change(state: &mut State) {
    state.changes += 1;
    state.calls = 0;
}

/// Counts a call of the platform. Aborts if the CPU that has the turn has kept it for too long.
pub(super) fn count_call(state: &mut State) {
    state.calls += 1;
    if state.calls > CALLS {
        abort(state, "the CPU that has the turn never passes it on");
    }
}

/// Ends all tests, because the machine won't come to an end.
pub(super) fn abort(state: &State, why: &str) -> ! {
    let mut lines = vec![
        format!("the machine of {} has hung: {why}", state.test),
        "  if the test has panicked (--nocapture shows it), it waits in what it drops".into(),
        format!(
            "  {} ms, {} changes of turn; CPU{} has the turn",
            state.now / 1_000_000,
            state.changes,
            state.turn
        ),
    ];
    for (number, cpu) in state.cpus.iter().enumerate() {
        let is_asleep = if cpu.asleep { "asleep" } else { "awake" };
        lines.push(format!(
            "  CPU{number}: {:?}, {is_asleep}, interrupts {:#x}, timer {}, held until {}",
            cpu.power, cpu.pending, cpu.armed, cpu.held_until
        ));
    }
    let first = state.notes.len().saturating_sub(LAST);
    lines.extend(state.notes[first..].iter().map(|note| format!("  {note}")));
    // What `eprintln` prints is kept for the report of the test, which never comes.
    let told = std::io::stderr().write_all((lines.join("\n") + "\n").as_bytes());
    drop(told);
    std::process::abort()
}
