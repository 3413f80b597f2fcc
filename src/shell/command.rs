//! The commands, as a table, and how a line of them is run.
//!
//! A row holds a command's name, what may follow the name, and the function that runs
//! the command. `run_one` checks the options and the number of operands against
//! the row before it calls the function, so a mistyped command has changed nothing.
//! Messages about a mistake read as they do on Linux, and begin with the command's name.
//!
//! The rows of the shell itself are in `table`; a program adds rows of its own by
//! [`Machine::commands`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;

use super::around::{Begun, Wrapper, run_words};
use super::builtin::echoed;
use super::help::print_help;
use super::machine::{Failure, Machine};
use super::options::{Opt, Parsed, parse_command, parse_options};
use super::program::{Call, ShellCommand};
use super::status::{Outcome, Report, Status};
use super::syntax::{Simple, parse_line};
use super::table::built_in;
use super::{PROMPT, ctrl_c, files};
use crate::escape::Escaped;

/// A row of the command table.
pub(super) struct Command<M: Machine> {
    pub(super) name: &'static str,
    /// What follows the name, as the help shows it.
    pub(super) usage: &'static str,
    /// One line of help.
    pub(super) summary: &'static str,
    /// The text that ends its help, from `texts`; empty if there is none.
    pub(super) more: &'static str,
    pub(super) takes: Takes,
    /// The option with which it runs no other command, if it is one that does.
    pub(super) alone: Option<char>,
    /// What its operands are, for completion; the last stands for all that follow.
    pub(super) words: &'static [Word],
    /// The words that are completed if `words` is empty.
    pub(super) completed: &'static [&'static str],
    run: Run<M>,
}

/// The function of a row.
enum Run<M: Machine> {
    Ours(fn(&M, &Parsed<'_>) -> Outcome),
    Wraps(fn(&M, &Parsed<'_>) -> Begun<M>),
    Programs(ShellCommand),
}

/// What may follow a command's name.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// Any words, options or not.
    Words,
    /// These options, and up to so many other words.
    Options(&'static [Opt], usize),
    /// These options, so many words, and then a command, whose options are its own.
    Command(&'static [Opt], usize),
}

impl Takes {
    /// Returns the options.
    pub(super) fn options(self) -> &'static [Opt] {
        match self {
            Takes::Words => &[],
            Takes::Options(options, _) | Takes::Command(options, _) => options,
        }
    }
}

/// What an operand is, for completion.
#[derive(Clone, Copy)]
pub(super) enum Word {
    /// Anything.
    Any,
    /// The name of a command.
    Command,
    /// A file or a directory.
    Path,
    /// A CPU, or one of these words.
    CpuOr(&'static [&'static str]),
    /// A list of CPUs.
    CpuList,
    /// A step of the state table, or one of these words.
    StepOr(&'static [&'static str]),
    /// The number of a thread.
    Pid,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What this function returns for the words before it.
    After(fn(&[&str]) -> Word),
}

impl<M: Machine> Command<M> {
    /// Returns a command without options and operands.
    pub(super) const fn new(
        name: &'static str,
        usage: &'static str,
        summary: &'static str,
        run: fn(&M, &Parsed<'_>) -> Outcome,
    ) -> Command<M> {
        let run = Run::Ours(run);
        Command::of((name, usage, summary), Takes::Options(&[], 0), run)
    }

    /// Returns a command that runs another one: these options, `before` words and then the other
    /// command follow its name.
    pub(super) const fn wrapper(
        name: &'static str,
        usage: &'static str,
        summary: &'static str,
        (options, before): (&'static [Opt], usize),
        begin: fn(&M, &Parsed<'_>) -> Begun<M>,
    ) -> Command<M> {
        let takes = Takes::Command(options, before);
        Command::of((name, usage, summary), takes, Run::Wraps(begin))
    }

    const fn of(
        (name, usage, summary): (&'static str, &'static str, &'static str),
        takes: Takes,
        run: Run<M>,
    ) -> Command<M> {
        Command {
            name,
            usage,
            summary,
            more: "",
            takes,
            alone: None,
            words: &[],
            completed: &[],
            run,
        }
    }

    /// Returns the command with what may follow its name.
    pub(super) const fn takes(mut self, takes: Takes) -> Command<M> {
        self.takes = takes;
        self
    }

    /// Returns the command with up to `count` operands and no options.
    pub(super) const fn operands(self, count: usize) -> Command<M> {
        self.takes(Takes::Options(&[], count))
    }

    /// Returns the command with what its operands are.
    pub(super) const fn words(mut self, words: &'static [Word]) -> Command<M> {
        self.words = words;
        self
    }

    /// Returns the command, which runs no other one if this option is given.
    pub(super) const fn alone_with(mut self, option: char) -> Command<M> {
        self.alone = Some(option);
        self
    }

    /// Returns the command with a text that ends its help.
    pub(super) const fn more(mut self, more: &'static str) -> Command<M> {
        self.more = more;
        self
    }
}

/// Returns the command table: the shell's own commands, then the program's.
pub(super) fn commands<M: Machine>(machine: &M) -> Vec<Command<M>> {
    let mut table = built_in::<M>();
    table.extend(machine.commands().iter().map(|command| Command {
        name: command.name(),
        usage: command.usage(),
        summary: command.summary(),
        more: "",
        takes: Takes::Words,
        alone: None,
        words: &[],
        completed: command.completed(),
        run: Run::Programs(*command),
    }));
    table
}

/// Checks the names of the commands that the program adds.
///
/// # Panics
/// If there is already a command of that name.
pub fn check_commands<M: Machine>(machine: &M) {
    let table = commands(machine);
    for (at, row) in table.iter().enumerate() {
        let is_new = table[..at].iter().all(|other| other.name != row.name);
        assert!(is_new, "BUG: the shell has a command {} already", row.name);
    }
}

/// Runs the commands of `line`, separated by `;`, until one asks to turn the machine
/// off or to reset it, or is ended by Ctrl-C. If the line has a syntax error, runs nothing.
/// After a command that fails the next one still runs.
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
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        report.outcome = match (file, words.as_slice()) {
            // Of the commands, `echo` alone has a file (judged-whole).
            (Some(path), [_, words @ ..]) => files::write(machine, path, &echoed(words)),
            _ => run_words(machine, &words, last),
        };
        match report.outcome {
            Outcome::Continue(status) => {
                report.failed += usize::from(!status.is_success());
                last = status;
                if status == Status::INTERRUPTED {
                    break;
                }
            }
            Outcome::PowerOff(_) | Outcome::Reboot => break,
        }
    }
    report
}

/// What [`run_one`] has done.
pub(super) enum Ran<'w, M: Machine> {
    /// The command has ended.
    Ended(Outcome),
    /// It has begun, and runs the command of these words.
    Wraps(Box<dyn Wrapper<M>>, &'w [&'w str]),
}

/// Runs the command that `words` are, or begins it if it runs another one; `last` is the status
/// of the one before it in its line.
pub(super) fn run_one<'w, M: Machine>(
    machine: &M,
    words: &'w [&'w str],
    last: Status,
) -> Ran<'w, M> {
    let [name, args @ ..] = words else {
        return Ran::Ended(Outcome::Continue(Status::SUCCESS));
    };
    let command = commands(machine).into_iter().find(|row| row.name == *name);
    let Some(command) = command else {
        complain(machine, name, format_args!("command not found"));
        let hint = match *name {
            "quit" | "logout" | "halt" | "shutdown" => "Try 'poweroff'.",
            _ => "Try 'help' for a list of the commands.",
        };
        machine.write(format_args!("{hint}\n"));
        return Ran::Ended(Outcome::Continue(Status::NOT_FOUND));
    };
    let parsed = match command.takes {
        Takes::Words => Ok(Parsed {
            // What else a program's command makes of its words is its own.
            help: matches!((&command.run, args), (Run::Programs(_), ["-h" | "--help"])),
            ..Parsed::of_words(args)
        }),
        Takes::Options(options, _) => parse_options(options, args),
        Takes::Command(options, _) => parse_command(options, args),
    };
    let (before, most) = match command.takes {
        Takes::Options(_, operands) => (operands, operands),
        Takes::Words => (0, usize::MAX),
        Takes::Command(_, before) => (before, usize::MAX),
    };
    let parsed = match parsed {
        Err(error) => {
            complain(machine, name, format_args!("{error}"));
            return Ran::Ended(try_help(machine, name));
        }
        Ok(parsed) if parsed.help => {
            print_help(machine, &command);
            return Ran::Ended(Outcome::Continue(Status::SUCCESS));
        }
        Ok(parsed) if parsed.operands.len() > most => {
            return Ran::Ended(bad_usage(machine, name));
        }
        Ok(parsed) => Parsed { last, ..parsed },
    };
    match command.run {
        Run::Ours(run) => Ran::Ended(run(machine, &parsed)),
        Run::Programs(theirs) => Ran::Ended(run_programs(machine, theirs, args)),
        Run::Wraps(begin) => match begin(machine, &parsed) {
            Begun::Ended(outcome) => Ran::Ended(outcome),
            Begun::Wraps(wrapper) => {
                // The operands are the last of the words, as they were typed.
                let length = parsed.operands.len().saturating_sub(before);
                Ran::Wraps(wrapper, &args[args.len() - length..])
            }
        },
    }
}

/// Runs a command of the program.
fn run_programs<M: Machine>(machine: &M, command: ShellCommand, words: &[&str]) -> Outcome {
    let is_ended = Cell::new(false);
    let mut call = Call {
        words,
        write_fn: &|text| machine.write(text),
        interrupted_fn: &|| {
            let came = ctrl_c::came(machine, Duration::ZERO);
            is_ended.set(is_ended.get() || came);
            came
        },
    };
    match command.run(&mut call) {
        Ok(()) if is_ended.get() => ctrl_c::ENDED,
        Ok(()) => Outcome::Continue(Status::SUCCESS),
        Err(error) => fail(machine, command.name(), &error),
    }
}

/// Prints a message of the command `name`, with control characters escaped.
pub(super) fn complain<M: Machine>(machine: &M, name: &str, message: fmt::Arguments<'_>) {
    let message = Escaped(format_args!("{name}: {message}"));
    machine.write(format_args!("{message}\n"));
}

/// Prints why the command `name` has failed. Returns the failure.
pub(super) fn fail<M: Machine>(machine: &M, name: &str, error: &impl Failure) -> Outcome {
    complain(machine, name, format_args!("{}", Explained(error)));
    Outcome::Continue(Status::FAILURE)
}

/// An error as the shell prints it: in Linux's words, with its name and the detail behind.
pub(super) struct Explained<'e, E>(pub(super) &'e E);

impl<E: Failure> fmt::Display for Explained<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = self.0.errno();
        let detail = alloc::format!("{}", self.0);
        match detail.as_str() {
            "" => write!(f, "{errno} ({})", errno.name()),
            detail => write!(f, "{errno} ({}: {detail})", errno.name()),
        }
    }
}

/// Prints that the arguments of the command `name` make no sense. Returns the failure.
pub(super) fn bad_usage<M: Machine>(machine: &M, name: &str) -> Outcome {
    complain(machine, name, format_args!("bad usage"));
    try_help(machine, name)
}

/// Prints how to get the help of the command `name`. Returns the failure.
pub(super) fn try_help<M: Machine>(machine: &M, name: &str) -> Outcome {
    machine.write(format_args!("Try '{name} --help' for more information.\n"));
    Outcome::Continue(Status::FAILURE)
}
