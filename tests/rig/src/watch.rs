//! Runs a kernel that may hang. At its time limit, QEMU's monitor shows what its CPUs execute.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use regex_lite::Regex;

use crate::machine::Machine;
use crate::session::End;
use crate::whereabouts::{Functions, whereabouts};

/// The status of a kernel that ran into its time limit, as of the command `timeout`.
const TIMED_OUT: i32 = 124;

/// How long a kernel must still run after the line after which it hangs: a kernel that ends
/// within this time doesn't hang.
const GOES_ON: Duration = Duration::from_millis(500);

/// The arguments of [`run_watched`].
pub struct Watched<'a> {
    /// The ELF file of which `image` was made.
    pub elf: &'a Path,
    pub image: &'a Path,
    /// The file for the console's output, which goes to standard output too.
    pub log: &'a Path,
    /// The time limit, in seconds.
    pub limit: u64,
    /// A pattern for a line of the console that ends the time at once, for a kernel that hangs
    /// on purpose.
    pub hangs: Option<&'a str>,
    /// A pattern for a line of the console after which the host shuts the machine down, as if
    /// its power button was pressed. A kernel for which there is one doesn't hang on purpose.
    pub powerdown: Option<&'a str>,
    /// The text that is typed on the console from the start.
    pub typed: String,
}

/// Runs `vm` until it ends or its time is over, and returns its status. If it doesn't end, a
/// backtrace of each CPU goes to standard output and to the log, and the status is 124.
///
/// # Errors
///
/// QEMU can't be started, or the log can't be written.
pub fn run_watched(vm: &Command, watched: &Watched) -> Result<i32> {
    let deadline = Instant::now() + Duration::from_secs(watched.limit);
    let event = watched.powerdown.or(watched.hangs);
    let event = event.map(Regex::new).transpose()?;
    let typed = watched.typed.clone().into_bytes();
    let mut machine = Machine::boot_typed(vm, watched.log, true, typed)?;
    // This wait ends early if the console does, which means that QEMU has ended.
    let seen = machine.session().wait_for(deadline, |printed| {
        let event = event.as_ref()?;
        // An incomplete line is left out, because it may match too early.
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        whole.lines().any(|line| event.is_match(line)).then_some(())
    });
    if seen.is_some() {
        let goes_on = if watched.powerdown.is_some() {
            machine.monitor()?.human("system_powerdown")?;
            deadline
        } else {
            Instant::now() + GOES_ON
        };
        machine.session().wait_for(goes_on, |_| None::<()>);
    }
    if machine.session().is_whole() {
        return Ok(match machine.quit()? {
            End::Status(status) => status,
            End::TimedOut => TIMED_OUT,
        });
    }
    let functions = Functions::read(watched.elf, watched.image);
    let place = match (machine.monitor(), functions) {
        (Ok(monitor), Ok(functions)) => whereabouts(monitor, &functions),
        (Err(error), _) | (_, Err(error)) => format!("where: {error:#}\n"),
    };
    machine.quit()?;
    machine.session().note(&place);
    Ok(TIMED_OUT)
}
