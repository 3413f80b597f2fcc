//! The commands, as a table, and how a line of them is run.
//!
//! A row holds a command's name, what may follow the name, and the function that runs
//! the command. `run_command` checks the options and the number of operands against
//! the row before it calls the function, so a mistyped command has changed nothing.
//! Messages about a mistake read as they do on Linux, and begin with the command's name.

use alloc::string::String;
use core::fmt;

use super::help::{self, print_help};
use super::machine::Machine;
use super::options::{Opt, Parsed, parse_options};
use super::status::{Outcome, Report, Status};
use super::syntax::{Simple, parse_line};
use super::{PROMPT, builtin, chcpu, files, lscpu, ps, sysctl};
use crate::escape::Escaped;

/// A row of the command table.
pub(super) struct Command<M: Machine> {
    pub(super) name: &'static str,
    /// What follows the name, as the help shows it.
    pub(super) usage: &'static str,
    /// One line of help.
    pub(super) help: &'static str,
    /// The text that ends its help, from [`help`]; empty if there is none.
    pub(super) more: &'static str,
    pub(super) takes: Takes,
    run: fn(&M, &Parsed<'_>) -> Outcome,
}

/// What may follow a command's name.
pub(super) enum Takes {
    /// Any words, options or not.
    Words,
    /// These options, and up to so many other words.
    Options(&'static [Opt], usize),
}

/// Returns the command table.
pub(super) fn commands<M: Machine>() -> [Command<M>; 16] {
    use Takes::{Options, Words};
    [
        Command {
            name: "help",
            usage: "[COMMAND]",
            help: "show the commands, or how one is used",
            more: "",
            takes: Options(&[], 1),
            run: help::run,
        },
        Command {
            name: "lscpu",
            usage: "[-e]",
            help: "display information about the CPUs",
            more: help::LSCPU,
            takes: Options(&lscpu::OPTIONS, 0),
            run: lscpu::run,
        },
        Command {
            name: "chcpu",
            usage: "-e|-d LIST",
            help: "enable or disable CPUs",
            more: help::CHCPU,
            takes: Options(&chcpu::OPTIONS, 0),
            run: chcpu::run,
        },
        Command {
            name: "states",
            usage: "",
            help: "show the hotplug state table and its counters",
            more: help::STATES,
            takes: Options(&[], 0),
            run: builtin::states,
        },
        Command {
            name: "stop",
            usage: "[-v]",
            help: "stop all CPUs once and show how long it took",
            more: help::STOP,
            takes: Options(&builtin::STOP_OPTIONS, 0),
            run: builtin::stop,
        },
        Command {
            name: "selftest",
            usage: "",
            help: "check that everything works on this machine",
            more: "",
            takes: Options(&[], 0),
            run: builtin::selftest,
        },
        Command {
            name: "free",
            usage: "[-h]",
            help: "display the amount of free and used memory, in KiB",
            more: help::FREE,
            takes: Options(&builtin::FREE_OPTIONS, 0),
            run: builtin::free,
        },
        Command {
            name: "ps",
            usage: "",
            help: "show the threads and what they have used",
            more: help::PS,
            takes: Options(&[], 0),
            run: ps::ps,
        },
        Command {
            name: "top",
            usage: "",
            help: "show which CPUs and threads are busy, over one second",
            more: help::TOP,
            takes: Options(&[], 0),
            run: ps::top,
        },
        Command {
            name: "sysctl",
            usage: "KEY[=VALUE]...",
            help: "show or change settings of scheduler and hotplug",
            more: help::SYSCTL,
            takes: Options(&sysctl::OPTIONS, sysctl::WORDS),
            run: sysctl::run,
        },
        Command {
            name: "trace",
            usage: "[CPU]",
            help: "show the recorded hotplug walks",
            more: help::TRACE,
            takes: Options(&[], 1),
            run: builtin::trace,
        },
        Command {
            name: "cat",
            usage: "FILE...",
            help: "print files of the CPUs, which Linux has too",
            more: help::CAT,
            takes: Options(&[], files::WORDS),
            run: files::cat,
        },
        Command {
            name: "echo",
            usage: "[WORD]... [> FILE]",
            help: "print the words, or write them to a file",
            more: "",
            takes: Words,
            run: builtin::echo,
        },
        Command {
            name: "exit",
            usage: "[N]",
            help: "turn the machine off, with exit status N",
            more: help::POWEROFF,
            takes: Options(&[], 1),
            run: builtin::exit,
        },
        Command {
            name: "poweroff",
            usage: "",
            help: "turn the machine off",
            more: help::POWEROFF,
            takes: Options(&[], 0),
            run: builtin::poweroff,
        },
        Command {
            name: "reboot",
            usage: "",
            help: "reset the machine",
            more: help::REBOOT,
            takes: Options(&[], 0),
            run: builtin::reboot,
        },
    ]
}

/// Runs the commands of `line`, separated by `;`, until one asks to turn the machine
/// off or to reset it. If the line has a syntax error, runs nothing. After a command
/// that fails the next one still runs.
///
/// # Context
/// Thread, preemption on; it may sleep.
pub fn run_line<M: Machine>(machine: &M, line: &str) -> Report {
    run_each(machine, line, |_| ())
}

/// Runs `line` as [`run_line`] does, and shows each command before it runs, as if it
/// had been typed behind a prompt.
///
/// # Context
/// As [`run_line`].
pub fn run_shown<M: Machine>(machine: &M, line: &str) -> Report {
    run_each(machine, line, |text| {
        machine.write(format_args!("{PROMPT}{}\n", Escaped(text.as_bytes())));
    })
}

/// Runs `line`; `before_fn` is given the text of each command before it runs.
fn run_each<M: Machine>(machine: &M, line: &str, before_fn: impl Fn(&str)) -> Report {
    let mut report = Report {
        outcome: Outcome::Continue(Status::SUCCESS),
        failed: 0,
    };
    // (judged-whole)
    let sequence = match parse_line(line) {
        Ok(sequence) => sequence,
        Err(error) => {
            before_fn(line.trim());
            machine.write(format_args!("sh: {error}\n"));
            report.outcome = Outcome::Continue(Status::SYNTAX);
            report.failed = 1;
            return report;
        }
    };
    let mut last = Status::SUCCESS;
    for Simple { text, words, file } in &sequence {
        before_fn(text);
        if let [name, args @ ..] = words.as_slice() {
            report.outcome = match file {
                None => run_command(machine, name, args, last),
                // Of the commands, `echo` alone has a file (judged-whole).
                Some(path) => files::write(machine, path, &args.join(" ")),
            };
        }
        match report.outcome {
            Outcome::Continue(status) => {
                report.failed += usize::from(!status.is_success());
                last = status;
            }
            Outcome::PowerOff(_) | Outcome::Reboot => break,
        }
    }
    report
}

/// Runs the command `name`; `last` is the status of the one before it in its line.
fn run_command<M: Machine>(machine: &M, name: &str, args: &[String], last: Status) -> Outcome {
    let Some(command) = commands::<M>().into_iter().find(|row| row.name == name) else {
        complain(machine, name, format_args!("command not found"));
        let hint = match name {
            "quit" | "logout" | "halt" | "shutdown" => "Try 'poweroff'.",
            _ => "Try 'help' for a list of the commands.",
        };
        machine.write(format_args!("{hint}\n"));
        return Outcome::Continue(Status::NOT_FOUND);
    };
    let (options, operands) = match command.takes {
        Takes::Words => {
            let parsed = Parsed {
                operands: args.iter().map(String::as_str).collect(),
                last,
                ..Parsed::default()
            };
            return (command.run)(machine, &parsed);
        }
        Takes::Options(options, operands) => (options, operands),
    };
    match parse_options(options, args) {
        Err(error) => {
            complain(machine, name, format_args!("{error}"));
            try_help(machine, name)
        }
        Ok(parsed) if parsed.help => {
            print_help(machine, &command);
            Outcome::Continue(Status::SUCCESS)
        }
        Ok(parsed) if parsed.operands.len() > operands => bad_usage(machine, name),
        Ok(parsed) => (command.run)(machine, &Parsed { last, ..parsed }),
    }
}

/// Prints a message of the command `name`, with control characters escaped.
pub(super) fn complain<M: Machine>(machine: &M, name: &str, message: fmt::Arguments<'_>) {
    let message = Escaped(format_args!("{name}: {message}"));
    machine.write(format_args!("{message}\n"));
}

/// Prints that the arguments of the command `name` make no sense. Returns the failure.
pub(super) fn bad_usage<M: Machine>(machine: &M, name: &str) -> Outcome {
    complain(machine, name, format_args!("bad usage"));
    try_help(machine, name)
}

/// Prints how to get the help of the command `name`. Returns the failure.
fn try_help<M: Machine>(machine: &M, name: &str) -> Outcome {
    machine.write(format_args!("Try '{name} --help' for more information.\n"));
    Outcome::Continue(Status::FAILURE)
}
