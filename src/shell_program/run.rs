//! Runs the commands of `init=`, then the shell on the console.

use super::kernel_machine::KernelMachine;
use crate::bootargs::BootArgs;
use crate::kernel::exit::end_alone;
use crate::kernel::{console, exit, kernel, print, reboot};
use crate::platform::Received;
use crate::shell::{Outcome, Shell, ShellCommand, Status, check_commands, run_shown};

/// Runs the commands of `init=`, and prints each before it runs; then runs a shell on the
/// console. Never returns.
///
/// If `init=` ends in a mistake (a line that can't be parsed, or a command that doesn't exist)
/// the machine ends with the mistake's status. The line may have been meant to end the
/// machine, and there may be no user at the console. The machine also ends if `init=` has no
/// commands that can be read.
///
/// # Context
/// Thread.
///
/// ```no_run
/// #[stillpoint::main]
/// fn main() {
///     // What the program has to do at boot goes here.
///     stillpoint::api::run_shell()
/// }
/// ```
pub fn run_shell() -> ! {
    run_shell_with(&[])
}

/// Does as [`run_shell`], with commands of the program beside the shell's own.
///
/// # Context
/// Thread.
///
/// # Panics
/// If a command has the name of another one.
pub fn run_shell_with(commands: &'static [ShellCommand]) -> ! {
    let machine = KernelMachine { commands };
    check_commands(&machine);
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
        // The boot has logged why. A shell might wait for input that never comes.
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

/// Ends or resets the machine, if `outcome` asks for it; takes all other CPUs down before.
fn leave(outcome: Outcome) {
    match outcome {
        Outcome::Continue(_) => {}
        Outcome::PowerOff(status) => end_alone(move || exit(status.code().into())),
        Outcome::Reboot => end_alone(|| reboot()),
    }
}
