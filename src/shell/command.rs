//! The commands, as a table, and how a line of them is run.
//!
//! A row says what a command is called, what it takes and which function runs
//! it. The table does the judging: options and the number of operands are
//! checked against the row before the function is called, so a command that was
//! mistyped has changed nothing. Messages about a mistake read as they do on
//! Linux, and begin with the command's name.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::machine::Machine;
use super::options::{HELP, Opt, Parsed, parse_options};
use super::status::{Outcome, Report, Status};
use super::syntax::parse_line;
use super::{builtin, chcpu, lscpu};

/// A row of the command table.
pub(super) struct Command<M: Machine> {
    pub(super) name: &'static str,
    /// What follows the name, as the help shows it.
    pub(super) usage: &'static str,
    /// One line of help.
    pub(super) help: &'static str,
    takes: Takes,
    run: fn(&M, &Parsed<'_>) -> Outcome,
}

/// What may follow a command's name.
enum Takes {
    /// Any words, options or not.
    Words,
    /// These options, and up to so many other words.
    Options(&'static [Opt], usize),
}

/// The command table.
pub(super) fn commands<M: Machine>() -> [Command<M>; 11] {
    use Takes::{Options, Words};
    [
        Command {
            name: "help",
            usage: "[COMMAND]",
            help: "show the commands, or how one is used",
            takes: Options(&[], 1),
            run: builtin::help,
        },
        Command {
            name: "lscpu",
            usage: "[-e]",
            help: "display information about the CPUs",
            takes: Options(&lscpu::OPTIONS, 0),
            run: lscpu::run,
        },
        Command {
            name: "chcpu",
            usage: "-e|-d LIST",
            help: "enable or disable CPUs",
            takes: Options(&chcpu::OPTIONS, 0),
            run: chcpu::run,
        },
        Command {
            name: "states",
            usage: "",
            help: "show the hotplug state table and its counters",
            takes: Options(&[], 0),
            run: builtin::states,
        },
        Command {
            name: "stop",
            usage: "",
            help: "stop all CPUs once and show how long it took",
            takes: Options(&[], 0),
            run: builtin::stop,
        },
        Command {
            name: "selftest",
            usage: "",
            help: "check that everything works on this machine",
            takes: Options(&[], 0),
            run: builtin::selftest,
        },
        Command {
            name: "free",
            usage: "",
            help: "display the amount of free and used memory, in KiB",
            takes: Options(&[], 0),
            run: builtin::free,
        },
        Command {
            name: "trace",
            usage: "[CPU]",
            help: "show the recorded hotplug walks",
            takes: Options(&[], 1),
            run: builtin::trace,
        },
        Command {
            name: "echo",
            usage: "[WORD]...",
            help: "print the words",
            takes: Words,
            run: builtin::echo,
        },
        Command {
            name: "poweroff",
            usage: "",
            help: "turn the machine off",
            takes: Options(&[], 0),
            run: builtin::poweroff,
        },
        Command {
            name: "reboot",
            usage: "",
            help: "reset the machine",
            takes: Options(&[], 0),
            run: builtin::reboot,
        },
    ]
}

/// Runs the commands of `line`, separated by `;`, until one turns the machine
/// off. A line that isn't understood runs nothing; a command that fails doesn't
/// hold up the next.
///
/// Context: thread context, preemption on; it may sleep.
pub fn run_line<M: Machine>(machine: &M, line: &str) -> Report {
    let mut report = Report {
        outcome: Outcome::Continue(Status::SUCCESS),
        failed: 0,
    };
    let sequence = match parse_line(line) {
        Ok(sequence) => sequence,
        Err(error) => {
            machine.write(format_args!("sh: {error}\n"));
            report.outcome = Outcome::Continue(Status::SYNTAX);
            report.failed = 1;
            return report;
        }
    };
    for words in &sequence {
        if let [name, args @ ..] = words.as_slice() {
            report.outcome = run_command(machine, name, args);
        }
        match report.outcome {
            Outcome::Continue(status) => report.failed += usize::from(!status.is_success()),
            Outcome::PowerOff | Outcome::Reboot => break,
        }
    }
    report
}

fn run_command<M: Machine>(machine: &M, name: &str, args: &[String]) -> Outcome {
    let Some(command) = commands::<M>().into_iter().find(|row| row.name == name) else {
        machine.write(format_args!("{name}: command not found\n"));
        return Outcome::Continue(Status::NOT_FOUND);
    };
    let (options, operands) = match command.takes {
        Takes::Words => {
            let parsed = Parsed {
                operands: args.iter().map(String::as_str).collect(),
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
        Ok(parsed) if parsed.options.iter().any(|(short, _)| *short == HELP.short) => {
            print_help(machine, &command);
            Outcome::Continue(Status::SUCCESS)
        }
        Ok(parsed) if parsed.operands.len() > operands => bad_usage(machine, name),
        Ok(parsed) => (command.run)(machine, &parsed),
    }
}

/// Prints how `command` is used.
pub(super) fn print_help<M: Machine>(machine: &M, command: &Command<M>) {
    let Command {
        name, usage, help, ..
    } = command;
    machine.write(format_args!("Usage:\n {name} {usage}\n\n{help}\n"));
    let Takes::Options(options, _) = command.takes else {
        return;
    };
    machine.write(format_args!("\nOptions:\n"));
    for Opt {
        short,
        long,
        value,
        help,
    } in options.iter().chain([&HELP])
    {
        let value = value.map_or_else(String::new, |value| format!(" <{value}>"));
        let names = format!("-{short}, --{long}{value}");
        machine.write(format_args!(" {names:28} {help}\n"));
    }
}

/// Prints a message of the command `name`.
pub(super) fn complain<M: Machine>(machine: &M, name: &str, message: fmt::Arguments<'_>) {
    machine.write(format_args!("{name}: {message}\n"));
}

/// Says that the arguments of the command `name` make no sense.
pub(super) fn bad_usage<M: Machine>(machine: &M, name: &str) -> Outcome {
    complain(machine, name, format_args!("bad usage"));
    try_help(machine, name)
}

fn try_help<M: Machine>(machine: &M, name: &str) -> Outcome {
    machine.write(format_args!("Try '{name} --help' for more information.\n"));
    Outcome::Continue(Status::FAILURE)
}
