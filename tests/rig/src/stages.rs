//! A stage of the check or of the nightly run: its name, and what it runs. A
//! [driver](crate::driver) runs it in a process of its own.

use std::ffi::{OsStr, OsString};

use anyhow::{Result, bail};

use crate::config::Config;

/// The status of a stage that can't run here; its last line says why.
pub const SKIP: i32 = 77;

/// What a stage runs beside. Two stages run at a time, one of each lane: a compiler that builds
/// one crate keeps one of the host's CPUs busy, and the other may do the other lane's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Beside no other: it judges what happens in time, or needs what those before it have built.
    Alone,
    /// Beside one of the second lane: it builds for the host, or a debug build for the target.
    First,
    /// Beside one of the first lane: it builds for the target and for the models. Cargo holds a
    /// lock on a directory that it builds in, so these are other directories.
    Second,
}

impl Lane {
    /// Returns whether a stage of this lane may begin while stages of the lanes `before` run, or
    /// wait for their turn before it.
    #[must_use]
    pub fn is_free(self, mut before: impl Iterator<Item = Lane>) -> bool {
        match self {
            Lane::Alone => before.next().is_none(),
            _ => before.all(|other| other != self && other != Lane::Alone),
        }
    }
}

/// A part of a check.
pub struct Stage {
    pub name: &'static str,
    pub lane: Lane,
    /// Whether its output is shown at once, because the stage installs something.
    pub at_once: bool,
    pub run: fn(&Config) -> Result<()>,
}

impl Stage {
    /// Returns a stage that prints into its log.
    #[must_use]
    pub const fn quiet(name: &'static str, run: fn(&Config) -> Result<()>) -> Stage {
        Stage::beside(Lane::Alone, name, run)
    }

    /// Returns a stage that prints into its log, and runs in `lane`.
    #[must_use]
    pub const fn beside(lane: Lane, name: &'static str, run: fn(&Config) -> Result<()>) -> Stage {
        Stage {
            name,
            lane,
            at_once: false,
            run,
        }
    }

    /// Returns a stage that prints at once.
    #[must_use]
    pub const fn at_once(name: &'static str, run: fn(&Config) -> Result<()>) -> Stage {
        Stage {
            name,
            lane: Lane::Alone,
            at_once: true,
            run,
        }
    }
}

/// Returns the stage of `all` with the name `name`.
///
/// # Errors
///
/// There is no such stage; the message lists the names of all stages.
pub fn find<'a>(all: &'a [Stage], name: &OsStr) -> Result<&'a Stage> {
    match all.iter().find(|stage| stage.name == name) {
        Some(stage) => Ok(stage),
        None => {
            let names: Vec<&str> = all.iter().map(|stage| stage.name).collect();
            bail!(
                "no stage of that name: {}; there are: {}",
                name.display(),
                names.join(" ")
            )
        }
    }
}

/// Returns the stages of `all` that `names` names; all if it names none.
///
/// # Errors
///
/// There is no stage of such a name, as [`find`] says.
pub fn chosen<'a>(all: &'a [Stage], names: &[OsString]) -> Result<Vec<&'a Stage>> {
    match names.is_empty() {
        true => Ok(all.iter().collect()),
        false => names.iter().map(|name| find(all, name)).collect(),
    }
}

/// The exit status of a failed stage that has already printed the reason.
#[derive(Debug)]
pub struct Failed(pub i32);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended with status {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// Turns the exit status of a step into its result.
///
/// # Errors
///
/// The status isn't 0.
pub fn done(status: i32) -> Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(Failed(status).into())
    }
}

/// Runs a stage in this process, and returns its exit status.
///
/// # Errors
///
/// The stage has failed and has not printed the reason yet.
pub fn run_here(stage: &Stage, config: &Config) -> Result<i32> {
    match (stage.run)(config) {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref() {
            Some(Failed(status)) => Ok(*status),
            None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: &[Stage] = &[
        Stage::quiet("good", |_| Ok(())),
        Stage::at_once("bad", |_| done(3)),
        Stage::quiet("worse", |_| bail!("it says why")),
    ];

    #[test]
    fn a_stage_is_found_by_its_name() {
        assert_eq!(find(STAGES, "bad".as_ref()).expect("a stage").name, "bad");
        let refused = find(STAGES, "none".as_ref()).err().expect("no stage");
        let there_are = "no stage of that name: none; there are: good bad worse";
        assert_eq!(refused.to_string(), there_are);
    }

    #[test]
    fn one_stage_of_each_lane_runs_at_a_time() {
        use Lane::{Alone, First, Second};
        let free = |lane: Lane, before: &[Lane]| lane.is_free(before.iter().copied());
        for lane in [Alone, First, Second] {
            assert!(free(lane, &[]));
            assert!(!free(lane, &[lane]));
            assert!(!free(lane, &[Alone]));
            assert!(!free(Alone, &[lane]));
        }
        assert!(free(First, &[Second]) && free(Second, &[First]));
        assert!(!free(First, &[Second, Alone]) && !free(Second, &[First, Second]));
    }

    #[test]
    fn a_step_that_fails_is_the_status_of_its_stage() {
        let config = Config::default();
        assert_eq!(run_here(&STAGES[0], &config).expect("no error"), 0);
        assert_eq!(run_here(&STAGES[1], &config).expect("no error"), 3);
        assert!(run_here(&STAGES[2], &config).is_err());
    }
}
