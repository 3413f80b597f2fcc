//! The shell's program: `init=`, then the console.

use super::machine::KernelMachine;
use crate::bootargs::BootArgs;
use crate::kernel::{console, exit, kernel, print, reboot};
use crate::platform::Received;
use crate::shell::{Outcome, Shell, Status, run_shown};

/// Runs the commands of `init=`, each shown as it begins, then a shell on the console;
/// returns never.
///
/// If the last thing in `init=` is a mistake (a line that can't be understood, a command
/// that doesn't exist) the machine ends with its status: what was to end it may stand
/// in that very line, and no user need be at the console. So it does if no commands can be
/// taken from `init=` at all.
///
/// # Context
/// Thread.
pub fn run_shell() -> ! {
    let machine = KernelMachine;
    let arguments = BootArgs::parse(kernel().bootargs);
    if let Some(line) = arguments.init {
        let outcome = run_shown(&machine, line).outcome;
        leave(outcome);
        if let Outcome::Continue(status) = outcome
            && status.is_mistake()
        {
            exit(status.code().into());
        }
    } else if arguments.has_unusable_init() {
        // The log has said why. A shell would wait for a person that may not be there.
        exit(Status::SYNTAX.code().into());
    }
    print(format_args!(
        "Type 'help' for a list of the commands, 'poweroff' to end.\n"
    ));
    let mut shell = Shell::new(&machine);
    loop {
        match console::read() {
            Received::Byte(byte) => shell.feed(byte).map_or((), leave),
            Received::Lost => shell.lose(),
        }
    }
}

/// Ends the machine, if `outcome` says so.
fn leave(outcome: Outcome) {
    match outcome {
        Outcome::Continue(_) => {}
        Outcome::PowerOff(status) => exit(status.code().into()),
        Outcome::Reboot => reboot(),
    }
}
