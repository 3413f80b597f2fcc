//! The commands that every machine of the long checks runs, and the verdict on their output:
//! the Image's own checks, CPUs that go offline and come back, a stop, and the power-off.

use anyhow::{Result, ensure};

use crate::cases::judge_selftest;
use crate::debian::Missing;
use crate::report::print;
use crate::stages::SKIP;

/// The shell commands.
pub const COMMANDS: &str = "selftest; chcpu -d 1-3; lscpu -e; chcpu -e 1-3; stop; \
                            echo rig: done; poweroff";

/// The last line that the commands print.
pub const LAST: &str = "rig: done";

/// Checks that the output of all commands is in `printed`.
///
/// # Errors
///
/// Output is missing; the message names it.
pub fn judge_guest(printed: &str) -> Result<()> {
    judge_selftest(printed)?;
    let says = |text: &str| printed.lines().any(|line| line.starts_with(text));
    for cpu in 1..=3 {
        ensure!(says(&format!("CPU {cpu} disabled")), "CPU {cpu} did not go");
        ensure!(
            says(&format!("CPU {cpu} enabled")),
            "CPU {cpu} did not come back"
        );
    }
    ensure!(says(LAST), "the last command did not run");
    Ok(())
}

/// Returns the status with which a command ends. If it can't run here, because something is
/// [`Missing`], this prints the reason and returns the status of a skipped stage.
///
/// # Errors
///
/// The command has failed for another reason.
pub fn or_skip(ran: Result<i32>) -> Result<i32> {
    let error = match ran {
        Err(error) if error.is::<Missing>() => error,
        ran => return ran,
    };
    print(&format!("{error}\n"));
    Ok(SKIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed() -> String {
        let mut printed = "selftest: a: ok: b\n".repeat(8);
        for cpu in 1..=3 {
            printed += &format!("CPU {cpu} disabled\nCPU {cpu} enabled\n");
        }
        printed + "rig: done\n"
    }

    #[test]
    fn each_thing_that_is_missing_is_told() {
        judge_guest(&printed()).expect("all is there");
        for (line, why) in [
            ("CPU 2 disabled\n", "CPU 2 did not go"),
            ("CPU 3 enabled\n", "CPU 3 did not come back"),
            ("rig: done\n", "the last command did not run"),
            ("selftest: a: ok: b\n", "not all eight checks are ok"),
        ] {
            let judged = judge_guest(&printed().replacen(line, "", 1));
            assert_eq!(judged.expect_err(line).to_string(), why);
        }
    }

    #[test]
    fn an_echo_of_the_commands_is_not_what_they_print() {
        let echoed = printed().replace("rig: done", "stillpoint# echo rig: done");
        assert!(judge_guest(&echoed).is_err());
    }
}
