//! Runs programs that consist of tests: host tests and models.
//!
//! Two run at a time, because some have a test that takes as long as all their others. Those
//! that take long begin first, so that none of them runs alone in the end. What one prints is
//! printed when it has ended.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo::name_of;
use crate::process::{Running, code, in_parallel, on_one_cpu, output_of};
use crate::report::Progress;
use crate::stages::done;

/// The programs that take seconds, the longest first.
const LONG: [&str; 11] = [
    "host_dt",
    "host_compile_fail",
    "host_hotplug",
    "host_caches",
    "host_policy",
    "loom_multi_stop",
    "loom_abort",
    "loom_calls",
    "loom_window",
    "loom_callbacks",
    "loom_services",
];

/// The programs with many threads of which only one runs at a time, and wakes the next. On
/// one CPU that is a switch. Between two CPUs it is an interrupt, and a virtual machine that
/// is left and entered: that takes ten times as long.
const ON_ONE_CPU: [&str; 2] = ["host_hotplug", "host_sched"];

/// Returns whether the program `name` takes seconds.
#[must_use]
pub fn is_long(name: &str) -> bool {
    LONG.contains(&name)
}

/// A program of tests.
pub struct Program {
    /// The file, from the root.
    pub path: PathBuf,
    /// The directory to run it in: that of its package, as cargo does.
    pub directory: &'static str,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, OsString)>,
}

impl Program {
    /// Returns the command that runs its tests whose names contain `function`: all if that is
    /// empty.
    fn command(&self, function: &str) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(self.directory);
        command.envs(self.environment.iter().cloned());
        // A test may call cargo, which is to build as it built the test.
        for flags in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(flags);
        }
        if !function.is_empty() {
            command.arg(function);
        }
        command
    }

    /// Returns the place of this program in the order: programs that take long come first.
    fn place(&self) -> usize {
        let name = name_of(&self.path);
        let place = LONG.iter().position(|long| *long == name);
        place.unwrap_or(LONG.len())
    }

    /// Runs its tests whose names contain `function`, prints all of their output at once, and
    /// returns the status.
    fn run(&self, function: &str, progress: &Progress) -> Result<i32> {
        let name = self.path.file_name().unwrap_or_default().display();
        let run = progress.begin(name_of(&self.path));
        let (mut reader, writer) = std::io::pipe()?;
        let mut tests = self.command(function);
        if ON_ONE_CPU.contains(&name_of(&self.path)) {
            on_one_cpu(&mut tests)?;
        }
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
    let mut programs = with_tests(function, programs, list)?;
    programs.sort_by_key(Program::place);
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
    use std::path::Path;

    use super::*;

    #[test]
    fn what_takes_long_begins_first_and_all_names_are_of_files() {
        let program = |name: &str| Program {
            path: format!("target/{name}-0123456789abcdef").into(),
            directory: ".",
            environment: Vec::new(),
        };
        let mut programs = ["host_a", "host_hotplug", "host_b", "host_dt"].map(program);
        programs.sort_by_key(Program::place);
        let order = programs.each_ref().map(|program| name_of(&program.path));
        assert_eq!(order, ["host_dt", "host_hotplug", "host_a", "host_b"]);
        for name in LONG.iter().chain(&ON_ONE_CPU) {
            let file = Path::new("..").join(name).with_extension("rs");
            assert!(file.is_file(), "there is no {name}");
        }
    }

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
