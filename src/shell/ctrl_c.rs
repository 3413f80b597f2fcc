//! Ctrl-C while a command runs.
//!
//! A command that takes long asks whether Ctrl-C has come, and ends with
//! [`Status::INTERRUPTED`]; the commands behind it in its line don't run then. What was typed
//! before the Ctrl-C is dropped, as a terminal of Linux does, and how much that was is said.

use core::time::Duration;

use super::machine::Machine;
use super::status::{Outcome, Status};

/// The outcome of a command that Ctrl-C has ended.
pub(super) const ENDED: Outcome = Outcome::Continue(Status::INTERRUPTED);

/// Waits for `within` at most until Ctrl-C is typed. Returns whether it was, and says so then.
pub(super) fn came<M: Machine>(machine: &M, within: Duration) -> bool {
    let Some(dropped) = machine.interrupted(within) else {
        return false;
    };
    machine.write(format_args!("^C\n"));
    if dropped > 0 {
        machine.write(format_args!(
            "sh: Ctrl-C has dropped {dropped} bytes that were typed before it\n"
        ));
    }
    true
}
