//! Commands that a program adds to the shell's table.

use alloc::string::{String, ToString};
use core::fmt;

use super::machine::Failure;
use crate::errno::Errno;

/// The function of a command: it gets what was typed, and writes its output there.
type Function = fn(&mut Call<'_>) -> Result<(), CommandError>;

/// A command of a program. `help` shows it beside the shell's own, Tab completes its name, and
/// `--help` behind it is answered by the shell.
#[derive(Clone, Copy, Debug)]
pub struct ShellCommand {
    name: &'static str,
    usage: &'static str,
    summary: &'static str,
    completed: &'static [&'static str],
    run: Function,
}

impl ShellCommand {
    /// Returns a command.
    ///
    /// * `name`: a word, by which it is called
    /// * `usage`: what follows the name, such as `[-v] FILE`; empty if nothing does
    /// * `summary`: a line that says what it does, beginning with a small letter
    /// * `run`: its function
    pub const fn new(
        name: &'static str,
        usage: &'static str,
        summary: &'static str,
        run: fn(&mut Call<'_>) -> Result<(), CommandError>,
    ) -> ShellCommand {
        ShellCommand {
            name,
            usage,
            summary,
            completed: &[],
            run,
        }
    }

    /// Sets the words that Tab completes behind the name, such as what may be shown.
    #[must_use]
    pub const fn completes(mut self, words: &'static [&'static str]) -> ShellCommand {
        self.completed = words;
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what follows the name.
    pub const fn usage(&self) -> &'static str {
        self.usage
    }

    /// Returns the line that says what the command does.
    pub const fn summary(&self) -> &'static str {
        self.summary
    }

    /// Returns what [`ShellCommand::completes`] has set.
    pub(super) const fn completed(&self) -> &'static [&'static str] {
        self.completed
    }

    /// Runs the command.
    pub(super) fn run(&self, call: &mut Call<'_>) -> Result<(), CommandError> {
        (self.run)(call)
    }
}

/// A call of a program's command: its words, and the place for its output. Write to it with
/// `write!` and `writeln!`, which never fail here.
pub struct Call<'a> {
    pub(super) words: &'a [&'a str],
    pub(super) write_fn: &'a dyn Fn(fmt::Arguments<'_>),
    pub(super) interrupted_fn: &'a dyn Fn() -> bool,
}

impl Call<'_> {
    /// Returns the words behind the command's name, without the quotes in which they stood.
    pub fn words(&self) -> &[&str] {
        self.words
    }

    /// Returns whether Ctrl-C was typed since the command began. A command that takes long asks
    /// now and then, and returns. It is true once for each Ctrl-C; what was typed before that is
    /// dropped, with a message. A command that returns without an error behind it has status 130,
    /// and the rest of its line doesn't run.
    ///
    /// # Context
    /// Thread, preemption on.
    pub fn is_interrupted(&self) -> bool {
        (self.interrupted_fn)()
    }
}

impl fmt::Write for Call<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        (self.write_fn)(format_args!("{text}"));
        Ok(())
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("words", &self.words)
            .finish_non_exhaustive()
    }
}

/// Why a command has failed: Linux's number, and what a person wants to know beside it. The
/// shell prints both, `hello: No such device (ENODEV: CPU 9 does not exist)`, and the status of
/// the command is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    errno: Errno,
    message: String,
}

impl CommandError {
    /// Returns the error of number `errno` with a message.
    pub fn new(errno: Errno, message: impl fmt::Display) -> CommandError {
        CommandError {
            errno,
            message: message.to_string(),
        }
    }

    /// Returns Linux's number of the error.
    pub const fn errno(&self) -> Errno {
        self.errno
    }
}

impl From<Errno> for CommandError {
    fn from(errno: Errno) -> CommandError {
        CommandError {
            errno,
            message: String::new(),
        }
    }
}

/// Writing to a [`Call`] doesn't fail. A `Display` may: then it is an input/output error.
impl From<fmt::Error> for CommandError {
    fn from(_: fmt::Error) -> CommandError {
        CommandError::from(Errno::Io)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for CommandError {}

impl Failure for CommandError {
    fn errno(&self) -> Errno {
        self.errno
    }
}
