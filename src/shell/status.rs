//! How a command ended, and what its caller has to do now.

/// The exit status of a command, as a POSIX shell has it; 0 by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// All is done.
    pub const SUCCESS: Status = Status(0);
    /// Nothing is done.
    pub const FAILURE: Status = Status(1);
    /// The line, or the number of `exit`, was not understood; nothing was done.
    pub const SYNTAX: Status = Status(2);
    /// Some of it is done (`chcpu`, as in util-linux).
    pub const PARTIAL: Status = Status(64);
    /// There is no such command.
    pub const NOT_FOUND: Status = Status(127);

    /// Returns the status `code`.
    pub const fn new(code: u8) -> Status {
        Status(code)
    }

    /// Returns the number.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Returns whether it is [`Status::SUCCESS`].
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the line or the command could not even begin: what was written
    /// is wrong, whatever the machine does.
    pub const fn is_mistake(self) -> bool {
        self.0 == Status::SYNTAX.0 || self.0 == Status::NOT_FOUND.0
    }
}

/// What the caller of the shell has to do. The shell itself never turns the
/// machine off: the program may have things to finish first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Go on; the last command ended like this.
    Continue(Status),
    /// Turn the machine off, with this exit status where there is one.
    PowerOff(Status),
    /// Reset the machine.
    Reboot,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Report {
    /// What to do now.
    pub outcome: Outcome,
    /// How many of its commands failed, wholly or in part.
    pub failed: usize,
}
