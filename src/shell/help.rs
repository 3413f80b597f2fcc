//! `help`: made from the table of commands.

use alloc::format;
use alloc::string::String;

use super::command::{Command, Takes, commands, complain};
use super::machine::Machine;
use super::options::{HELP, Opt, Parsed};
use super::status::{Outcome, Status};

/// `help`: prints the command table, or the help of one command.
pub(super) fn run<M: Machine>(machine: &M, args: &Parsed<'_>) -> Outcome {
    let table = commands(machine);
    let Some(name) = args.operands.first() else {
        for row in &table {
            let usage = format!("{} {}", row.name, row.usage);
            machine.write(format_args!("{usage:28} {}\n", row.summary));
        }
        machine.write(format_args!(
            "\nCommands are separated by ';'. A LIST of CPUs: 1,4-7. More: COMMAND --help. Ctrl-C ends one.\n"
        ));
        return Outcome::Continue(Status::SUCCESS);
    };
    let Some(row) = table.iter().find(|row| row.name == *name) else {
        complain(machine, "help", format_args!("no such command: {name}"));
        return Outcome::Continue(Status::FAILURE);
    };
    print_help(machine, row);
    Outcome::Continue(Status::SUCCESS)
}

/// Prints how `command` is used.
pub(super) fn print_help<M: Machine>(machine: &M, command: &Command<M>) {
    let Command {
        name,
        usage,
        summary,
        more,
        ..
    } = command;
    machine.write(format_args!("Usage:\n {name} {usage}\n\n{summary}\n"));
    if !matches!(command.takes, Takes::Words) {
        let options = command.takes.options();
        machine.write(format_args!("\nOptions:\n"));
        for option in options.iter().chain([&HELP]) {
            let Opt { long, help, .. } = option;
            // If the command itself uses the letter, help has only its long name.
            let taken =
                option.long == HELP.long && options.iter().any(|other| other.short == option.short);
            let short = if taken {
                "    ".into()
            } else {
                format!("-{}, ", option.short)
            };
            let value = option
                .value
                .map_or_else(String::new, |value| format!(" <{value}>"));
            let names = format!("{short}--{long}{value}");
            machine.write(format_args!(" {names:28} {help}\n"));
        }
    }
    if !more.is_empty() {
        machine.write(format_args!("\n{more}"));
    }
}
