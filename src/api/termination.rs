//! The return types of a program's `main`, and the exit status that a value stands for.

use core::convert::Infallible;
use core::fmt;

use crate::kernel::print;

/// The status that the machine ends with: 0 stands for success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExitStatus(u8);

impl ExitStatus {
    /// Success: 0.
    pub const SUCCESS: ExitStatus = ExitStatus(0);
    /// The program failed: 1. A panic ends with 101.
    pub const FAILURE: ExitStatus = ExitStatus(1);

    /// Returns the number of the status.
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl From<u8> for ExitStatus {
    fn from(code: u8) -> ExitStatus {
        ExitStatus(code)
    }
}

/// A type that `main` may return: see [`entry!`](crate::entry!). A program may have its own:
///
/// ```no_run
#[doc = include_str!("../../examples/api/status.rs")]
/// ```
pub trait Termination {
    /// Returns the status that the machine ends with.
    ///
    /// # Context
    /// The thread `main`.
    fn report(self) -> ExitStatus;
}

impl Termination for () {
    fn report(self) -> ExitStatus {
        ExitStatus::SUCCESS
    }
}

impl Termination for ExitStatus {
    fn report(self) -> ExitStatus {
        self
    }
}

impl Termination for Infallible {
    fn report(self) -> ExitStatus {
        match self {}
    }
}

/// An error is printed after the word `error:`, and stands for [`ExitStatus::FAILURE`].
impl<T: Termination, E: fmt::Display> Termination for Result<T, E> {
    fn report(self) -> ExitStatus {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                print(format_args!("error: {error}\n"));
                ExitStatus::FAILURE
            }
        }
    }
}
