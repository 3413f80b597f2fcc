//! How a command ended, and what the shell's caller has to do next.

/// The exit status of a command, as a POSIX shell has it; 0 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// The command did all that it was asked to do.
    pub const SUCCESS: Status = Status(0);
    /// The command failed; for `chcpu`, on every CPU of its list.
    pub const FAILURE: Status = Status(1);
    /// The line, or the number of `exit`, was not understood; nothing was done.
    pub const SYNTAX: Status = Status(2);
    /// The command succeeded in part (`chcpu`, as in util-linux).
    pub const PARTIAL: Status = Status(64);
    /// There is no such command.
    pub const NOT_FOUND: Status = Status(127);

    /// Ctrl-C has ended the command.
    pub const INTERRUPTED: Status = Status(130);

    /// Returns the status `code`.
    pub const fn new(code: u8) -> Status {
        Status(code)
    }

    /// Returns the status as a number.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Returns whether it is [`Status::SUCCESS`].
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the mistake is in the line itself, so that it would fail on every
    /// machine: [`Status::SYNTAX`] or [`Status::NOT_FOUND`].
    pub const fn is_mistake(self) -> bool {
        self.0 == Status::SYNTAX.0 || self.0 == Status::NOT_FOUND.0
    }
}

/// What the caller of the shell has to do next. The shell itself never turns the
/// machine off, because the program may have things to finish first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Go on; holds the status of the last command.
    Continue(Status),
    /// Turn the machine off, with this exit status if the machine can report one.
    PowerOff(Status),
    /// Reset the machine.
    Reboot,
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// What to do next.
    pub outcome: Outcome,
    /// How many of the line's commands failed, wholly or in part.
    pub failed: usize,
}
