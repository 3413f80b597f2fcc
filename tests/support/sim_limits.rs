//! How long a simulated machine may run, and what is told of one that doesn't come to an end, or
//! panics.
//!
//! A machine whose CPUs wait for what never comes would run for ever in its own time: a test
//! without a verdict. So also if a test has panicked, and what its thread drops on its way out
//! waits. No other thread of the machine can end such a wait, so the process aborts.
//!
//! A panic may end the process too: in a kernel thread, which can't unwind, and where what is
//! dropped on the way out panics in its turn. The report of the test never comes then, and the
//! message in it would be lost. So each is told at once as well.

use std::io::Write;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

use super::{MACHINE, State};

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

/// Has every panic of a machine's thread told at once, from now on.
pub(super) fn tell_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let report = take_hook();
        set_hook(Box::new(move |panic| {
            if MACHINE.get().is_some() {
                tell(&format!("a simulated machine: {panic}"));
            }
            report(panic);
        }));
    });
}

/// Writes `text` where it is seen even if the process ends now. What `eprintln` prints is kept for
/// the report of the test.
fn tell(text: &str) {
    let told = std::io::stderr().write_all(format!("{text}\n").as_bytes());
    drop(told);
}

/// Ends all tests, because the host has no thread for a CPU or a thread of the machine. A panic
/// would hold the machine's state.
pub(super) fn abort_without_thread(error: &std::io::Error) -> ! {
    tell(&format!(
        "a simulated machine gets no host thread: {error}; host_hotplug needs some 10,000 of them"
    ));
    std::process::abort()
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
    tell(&lines.join("\n"));
    std::process::abort()
}
