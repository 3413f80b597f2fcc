//! Commands that run another one: `time`, `repeat`, `watch`.

use alloc::string::ToString;
use core::time::Duration;

use super::command::{bad_usage, complain, run_words};
use super::ctrl_c;
use super::machine::{Machine, Typed};
use super::numbers::{number, seconds};
use super::options::{Opt, Parsed};
use super::painter::CLEAR;
use super::status::{Outcome, Status};

/// `time`: runs a command, and prints how long that took, as bash does. How long threads had a
/// CPU is told by `ps`.
pub(super) fn time<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let began = machine.now_ns();
    let outcome = run_words(machine, &args.operands, args.last);
    let us = machine.now_ns().saturating_sub(began) / 1000;
    let (minutes, us) = (us / 60_000_000, us % 60_000_000);
    let (seconds, us) = (us / 1_000_000, us % 1_000_000);
    machine.write(format_args!("\nreal\t{minutes}m{seconds}.{us:06}s\n"));
    outcome
}

/// `repeat`: runs a command so many times. Its status is that of the last.
pub(super) fn repeat<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let [count, command @ ..] = args.operands.as_slice() else {
        return bad_usage(machine, "repeat");
    };
    let Some(count) = number(count).filter(|_| !command.is_empty()) else {
        return bad_usage(machine, "repeat");
    };
    let mut last = Outcome::Continue(Status::SUCCESS);
    for _ in 0..count {
        last = match run_words(machine, command, args.last) {
            Outcome::Continue(status) if status != Status::INTERRUPTED => Outcome::Continue(status),
            ended => return ended,
        };
        if ctrl_c::came(machine, Duration::ZERO) {
            return ctrl_c::ENDED;
        }
    }
    last
}

/// The options of `watch`.
pub(super) const WATCH_OPTIONS: [Opt; 1] = [Opt {
    short: 'n',
    long: "interval",
    value: Some("secs"),
    help: "seconds to wait between updates",
}];

/// The shortest time between two runs of `watch`.
const SHORTEST: Duration = Duration::from_millis(100);

/// `watch`: runs a command every two seconds on a cleared screen, until Ctrl-C or `q`.
pub(super) fn watch<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let word = args.value('n').unwrap_or("2");
    let Some(interval) = seconds(word) else {
        let message = format_args!("failed to parse argument: '{word}'");
        complain(machine, "watch", message);
        return Outcome::Continue(Status::FAILURE);
    };
    if args.operands.is_empty() {
        return bad_usage(machine, "watch");
    }
    let interval = interval.max(SHORTEST);
    let tenths = interval.as_millis() / 100;
    let (whole, tenth) = (tenths / 10, tenths % 10);
    let command = args.operands.join(" ").to_string();
    loop {
        machine.write(format_args!("{CLEAR}Every {whole}.{tenth}s: {command}\n\n"));
        match run_words(machine, &args.operands, args.last) {
            Outcome::Continue(status) if status != Status::INTERRUPTED => {}
            ended => return ended,
        }
        let until = machine.now_ns() + nanos(interval);
        loop {
            let left = until.saturating_sub(machine.now_ns());
            match machine.typed(Duration::from_nanos(left)) {
                Typed::Byte(b'q') => return Outcome::Continue(Status::SUCCESS),
                Typed::Byte(ctrl_c::BYTE) => {
                    machine.write(format_args!("^C\n"));
                    return ctrl_c::ENDED;
                }
                Typed::Byte(_) | Typed::Lost => {}
                Typed::Nothing => break,
            }
        }
    }
}

/// Returns `time` in nanoseconds. It is at most what `seconds` takes.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
