//! `time`, `repeat`, `watch`: how long a command takes, and the same command again and again.

use alloc::string::String;
use core::time::Duration;

use super::around::{Begun, Next, Wrapper};
use super::command::{bad_usage, complain};
use super::ctrl_c;
use super::keys::Key;
use super::machine::Machine;
use super::numbers::{number, seconds};
use super::options::{Opt, Parsed};
use super::painter::CLEAR;
use super::status::{Outcome, Status};
use super::typing::Typing;

/// `time`: runs a command, and prints how long that took, as bash does. How long threads had a
/// CPU is told by `ps`.
pub(super) fn time<M: Machine>(machine: &M, _: &Parsed<'_>) -> Begun<M> {
    let began = machine.now_ns();
    Begun::wraps(Time { began })
}

/// `time`, since it has begun.
struct Time {
    began: u64,
}

impl<M: Machine> Wrapper<M> for Time {
    fn next(&mut self, machine: &M, ended: Option<Outcome>) -> Next {
        let Some(outcome) = ended else {
            return Next::Run;
        };
        let us = machine.now_ns().saturating_sub(self.began) / 1000;
        let (minutes, us) = (us / 60_000_000, us % 60_000_000);
        let (seconds, us) = (us / 1_000_000, us % 1_000_000);
        machine.write(format_args!("\nreal\t{minutes}m{seconds}.{us:06}s\n"));
        Next::End(outcome)
    }
}

/// `repeat`: runs a command so many times. Its status is that of the last.
pub(super) fn repeat<M: Machine>(machine: &M, args: &Parsed<'_>) -> Begun<M> {
    let [count, command @ ..] = args.operands.as_slice() else {
        return Begun::Ended(bad_usage(machine, "repeat"));
    };
    match number(count).filter(|_| !command.is_empty()) {
        None => Begun::Ended(bad_usage(machine, "repeat")),
        Some(left) => Begun::wraps(Repeat { left }),
    }
}

/// `repeat`, and how often it still runs the command.
struct Repeat {
    left: usize,
}

impl<M: Machine> Wrapper<M> for Repeat {
    fn next(&mut self, machine: &M, ended: Option<Outcome>) -> Next {
        let outcome = ended.unwrap_or(Outcome::Continue(Status::SUCCESS));
        if is_over(outcome) {
            return Next::End(outcome);
        }
        if ended.is_some() && ctrl_c::came(machine, Duration::ZERO) {
            return Next::End(ctrl_c::ENDED);
        }
        match self.left.checked_sub(1) {
            None => Next::End(outcome),
            Some(left) => {
                self.left = left;
                Next::Run
            }
        }
    }
}

/// Returns whether a command that has ended so isn't run again.
fn is_over(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Continue(status) => status == Status::INTERRUPTED,
        Outcome::PowerOff(_) | Outcome::Reboot => true,
    }
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
pub(super) fn watch<M: Machine>(machine: &M, args: &Parsed<'_>) -> Begun<M> {
    let word = args.value('n').unwrap_or("2");
    let Some(interval) = seconds(word) else {
        let message = format_args!("failed to parse argument: '{word}'");
        complain(machine, "watch", message);
        return Begun::Ended(Outcome::Continue(Status::FAILURE));
    };
    if args.operands.is_empty() {
        return Begun::Ended(bad_usage(machine, "watch"));
    }
    Begun::wraps(Watch {
        interval: interval.max(SHORTEST),
        command: args.operands.join(" "),
        typing: Typing::new(),
    })
}

/// `watch`, since it has begun.
struct Watch {
    /// The time between two runs.
    interval: Duration,
    /// The command, as the first line of the screen shows it.
    command: String,
    typing: Typing,
}

impl<M: Machine> Wrapper<M> for Watch {
    fn next(&mut self, machine: &M, ended: Option<Outcome>) -> Next {
        if let Some(outcome) = ended
            && let Some(outcome) = self.wait(machine, outcome)
        {
            self.typing.tell(machine, "watch");
            return Next::End(outcome);
        }
        let tenths = self.interval.as_millis() / 100;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        let command = &self.command;
        machine.write(format_args!("{CLEAR}Every {whole}.{tenth}s: {command}\n\n"));
        Next::Run
    }
}

impl Watch {
    /// Waits until the command, which has ended with `outcome`, is to run again; or returns how
    /// `watch` ends.
    fn wait<M: Machine>(&mut self, machine: &M, outcome: Outcome) -> Option<Outcome> {
        if is_over(outcome) {
            return Some(outcome);
        }
        let began = machine.now_ns();
        loop {
            let waited = machine.now_ns().saturating_sub(began);
            let left = self.interval.saturating_sub(Duration::from_nanos(waited));
            match self.typing.key(machine, left) {
                Some(Key::Char('q')) => return Some(Outcome::Continue(Status::SUCCESS)),
                Some(Key::Interrupt) => {
                    machine.write(format_args!("^C\n"));
                    return Some(ctrl_c::ENDED);
                }
                Some(_) => {}
                None => return None,
            }
        }
    }
}
