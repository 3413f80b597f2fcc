//! The race lab as a program: the command `lab`, over [`crate::lab`].
//!
//! It is a program like any other: its threads, stops, locks and CPUs are those of [`crate::api`].
//! So it also shows that these suffice. Of the rest of the kernel it has the code of the lock
//! validator, for a graph of its own.
//!
//! ```text
//!   shell's thread            threads of the act
//!   ──────────────            ──────────────────
//!   Stage::cast  ──starts──►  wait for their step (`Turns`), do it, say it
//!   Stage::play  ──waits───►     │
//!     │  Ctrl-C, a time limit:   ▼
//!     └──────── `give_up` ──►  each wait ends, and so does the thread
//! ```
//!
//! # Invariants
//! - **one-may-speak**: between two steps only one thread has a step to do, and the others wait
//!   for it. So the order of the steps doesn't depend on time.
//! - **waits-end**: each wait of an act ends when the act is given up: by Ctrl-C, or at the
//!   latest at its time limit, of half a minute.
//! - **left-as-found**: a lab ends its threads, removes its steps, and has the CPUs online again
//!   that were, whatever went wrong.

#![forbid(unsafe_code)]

mod cpus;
mod stage;
mod trouble;
mod turns;
mod y2006;
mod y2014;
mod y2017;

use alloc::vec::Vec;
use core::fmt::Write;

use crate::api::Errno;
use crate::api::shell::{Call, CommandError, ShellCommand};
use crate::lab::{Act, Lab, Request, judge};

use trouble::Trouble;

/// The command `lab`, for a program's [`shell::run`](crate::api::shell::run). The kernel that ships
/// has it. It replays the races of which docs/lab.md tells.
pub const LAB: ShellCommand = ShellCommand::new(
    "lab",
    "[-s SEED] [YEAR]",
    "replay a famous race, the old way and ours",
    lab,
)
.completes(&Lab::NAMES);

/// Where a lab prints, and by what it learns that it is to end.
pub trait Console: Write {
    /// Returns whether Ctrl-C was typed.
    ///
    /// # Context
    /// Thread, preemption on.
    fn is_interrupted(&self) -> bool;
}

impl Console for Call<'_> {
    fn is_interrupted(&self) -> bool {
        Call::is_interrupted(self)
    }
}

/// `lab`: lists the labs, or runs one.
fn lab(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = Request::parse(call.words());
    match request.map_err(|error| CommandError::new(Errno::Invalid, error))? {
        Request::List => list(call),
        Request::Run(lab, seed) => match run(lab, seed, call) {
            // The shell says that, and how such a command ends.
            Err(error) if error.errno() == Errno::Canceled => Ok(()),
            ended => ended,
        },
    }
}

/// Prints what each lab shows.
fn list(console: &mut dyn Console) -> Result<(), CommandError> {
    for lab in Lab::ALL {
        let (title, authors) = (lab.title(), lab.authors());
        writeln!(console, "lab {}  {title} ({authors})", lab.name())?;
        for line in lab.shows() {
            writeln!(console, "    {line}")?;
        }
    }
    Ok(())
}

/// Runs `lab` with `seed`, and prints each act when it is over.
///
/// # Context
/// Thread, preemption on; brings CPUs up and takes them down.
///
/// # Errors
/// The old protocol did not fail, or ours did; or the lab could not be run: ECANCELED after a
/// Ctrl-C, EOPNOTSUPP with too few CPUs online.
pub fn run(lab: Lab, seed: u64, console: &mut dyn Console) -> Result<(), CommandError> {
    // The rig looks for these two lines, and for those of an act, to draw them.
    writeln!(console, "Lab {}, seed {seed}", lab.name())?;
    writeln!(console, "{} ({})", lab.title(), lab.authors())?;
    writeln!(
        console,
        "----- runs  ~~~~~ waits  ##### stands still  . has no part\n"
    )?;
    let mut acts = Vec::new();
    let mut show_fn = |console: &mut dyn Console, act: Act| {
        let shown = writeln!(console, "{act}");
        acts.push(act);
        shown.map_err(Trouble::from)
    };
    match lab {
        Lab::Y2006 => y2006::run(seed, console, &mut show_fn),
        Lab::Y2014 => y2014::run(seed, console, &mut show_fn),
        Lab::Y2017 => y2017::run(seed, console, &mut show_fn),
    }?;
    match judge(&acts) {
        Ok(()) => {
            writeln!(console, "lab {}: the old way fails, ours holds", lab.name())?;
            Ok(())
        }
        Err(wrong) => Err(CommandError::new(Errno::Io, wrong)),
    }
}

/// Prints an act, and keeps it to be judged.
type Show<'a> = &'a mut dyn FnMut(&mut dyn Console, Act) -> Result<(), Trouble>;
