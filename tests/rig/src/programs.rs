//! Runs programs that consist of tests: host tests and models.
//!
//! Two run at a time, because some have a test that takes as long as all their others. What
//! one prints is printed when it has ended.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo::name_of;
use crate::process::{Running, code, in_parallel, output_of};
use crate::report::Progress;
use crate::stages::done;

/// A program of tests.
pub struct Program {
    /// The file, from the root.
    pub path: PathBuf,
    /// The directory to run it in: that of its package, as cargo does.
    pub directory: &'static str,
    /// A variable of its environment.
    pub environment: Option<(&'static str, OsString)>,
}

impl Program {
    /// Returns the command that runs its tests whose names contain `function`: all if that is
    /// empty.
    fn command(&self, function: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(self.directory);
        command.envs(self.environment.clone());
        // A test may call cargo, which is to build as it built the test.
        for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(flags);
        }
        if !function.is_empty() {
            command.arg(function);
        }
        command
    }

    /// Runs its tests whose names contain `function`, prints all of their output at once, and
    /// returns the status.
    fn run(&self, function: &str, progress: &Progress) -> Result<i32> {
        let name = self.path.file_name().unwrap_or_default().display();
        let run = progress.begin(name_of(&self.path));
        let (mut reader, writer) = std::io::pipe()?;
        let mut tests = self.command(function);
        tests
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut running = Running::start(&mut tests)?;
        // Closes the rig's copy of the pipe's writing end, or reading would never end.
        drop(tests);
        let mut output = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut output)?;
        let status = code(running.wait()?);
        let output = String::from_utf8_lossy(&output);
        progress.done(
            run,
            &format!("{name}:\n{}\n", output.trim_end_matches('\n')),
        );
        Ok(status)
    }
}

/// Runs those of `programs` that have a test whose name contains `function`, two at a time.
///
/// # Errors
///
/// No program has such a test, a test fails, or a program can't be run.
pub fn run_all(programs: Vec<Program>, function: &str) -> Result<()> {
    let list = |program: &Program| {
        let output = output_of(program.command(function).arg("--list"))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    };
    let programs = with_tests(function, programs, list)?;
    let progress = Progress::new(programs.len());
    let run = |program: Program| program.run(function, &progress);
    let statuses = in_parallel(2, programs, run)?;
    done(statuses.into_iter().max().unwrap_or(0))
}

/// Returns the `runs` that have a test: all if `test`, the variable `TEST`, is empty.
/// `list_fn` returns what a run prints when it is told to list its tests.
///
/// # Errors
///
/// No run has a test that `test` matches; an error of `list_fn`.
fn with_tests<R>(
    test: &str,
    runs: Vec<R>,
    list_fn: impl Fn(&R) -> Result<String>,
) -> Result<Vec<R>> {
    if test.is_empty() {
        return Ok(runs);
    }
    let mut chosen = Vec::new();
    for run in runs {
        if list_fn(&run)?.lines().any(|line| line.ends_with(": test")) {
            chosen.push(run);
        }
    }
    if chosen.is_empty() {
        bail!("no test matches TEST={test}");
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_without_a_test_is_an_error() {
        let list = |run: &&str| {
            let empty = "0 tests, 0 benchmarks\n";
            let one = "gic::a_gic: test\n\n1 test, 0 benchmarks\n";
            Ok(if *run == "full" { one } else { empty }.to_owned())
        };
        let refused = with_tests("nonsense", vec!["empty", "empty"], list);
        let refused = refused.expect_err("no test").to_string();
        assert_eq!(refused, "no test matches TEST=nonsense");
        let runs = vec!["empty", "full"];
        assert_eq!(
            with_tests("gic", runs.clone(), list).expect("a test"),
            ["full"]
        );
        // Without a selection nothing is listed.
        let list = |_: &&str| bail!("listed");
        assert_eq!(with_tests("", runs.clone(), list).expect("all"), runs);
    }
}
