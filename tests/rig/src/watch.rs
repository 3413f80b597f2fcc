//! Runs a kernel that may hang. When its time is over, QEMU's monitor tells where its CPUs are.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use regex_lite::Regex;

use crate::machine::Machine;
use crate::session::End;
use crate::whereabouts::{Functions, whereabouts};

/// The status of a kernel whose time was over, as `timeout` has it.
const TIMED_OUT: i32 = 124;

/// How long a kernel must go on behind the line with which it hangs: one that ends there
/// doesn't hang.
const GOES_ON: Duration = Duration::from_millis(500);

/// What [`run_watched`] runs.
pub struct Watched<'a> {
    /// What `image` was made of.
    pub elf: &'a Path,
    pub image: &'a Path,
    /// A copy of the console's output, besides standard output.
    pub log: &'a Path,
    /// Seconds.
    pub limit: u64,
    /// The time is over as soon as a line of the console matches: for a kernel that hangs
    /// by intent.
    pub hangs: Option<&'a str>,
    /// What is typed on the console, from the first moment; nothing if it is empty.
    pub typed: String,
}

/// Runs `vm` until it ends or its time is over, and returns its status: 124 if it did not
/// end. Then it is printed, and in the log, where its CPUs are.
///
/// # Errors
///
/// QEMU can't be started, or the log not be written.
pub fn run_watched(vm: &Command, watched: &Watched) -> Result<i32> {
    let deadline = Instant::now() + Duration::from_secs(watched.limit);
    let hangs = watched.hangs.map(Regex::new).transpose()?;
    let typed = watched.typed.clone().into_bytes();
    let mut machine = Machine::boot_typed(vm, watched.log, true, typed)?;
    // Ends with the console, which is when QEMU does.
    let seen = machine.session().wait_for(deadline, |printed| {
        let hangs = hangs.as_ref()?;
        // A line that isn't whole yet may match too early.
        let whole = printed.rfind('\n').map_or("", |end| &printed[..end]);
        whole.lines().any(|line| hangs.is_match(line)).then_some(())
    });
    if seen.is_some() {
        let goes_on = Instant::now() + GOES_ON;
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
