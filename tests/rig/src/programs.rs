//! Runs programs that consist of tests: host tests and models.
//!
//! Two run at a time, because some have a test that takes as long as all their others. Those
//! that take long begin first, so that none of them runs alone in the end. What one prints is
//! printed when it has ended.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::cargo::name_of;
use crate::counts::Counts;
use crate::events::{FILE, Outcome};
use crate::process::{Running, code, in_parallel, on_one_cpu, output_of};
use crate::report::{Progress, repeat, to_repeat};
use crate::stages::done;

/// The programs that take seconds, the longest first.
const LONG: [&str; 12] = [
    "host_dt",
    "host_compile_fail",
    "host_hotplug",
    "host_caches",
    "host_policy",
    "host_governor",
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

/// Which tests of the programs are run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    All,
    /// Those whose names contain the text.
    Part(String),
    /// The one of this name.
    Name(String),
}

impl Choice {
    /// Returns the arguments of a program for it.
    fn arguments(&self) -> Vec<&str> {
        match self {
            Choice::All => vec![],
            Choice::Part(text) => vec![text],
            Choice::Name(name) => vec!["--exact", name],
        }
    }
}

/// How the programs are run by hand.
pub struct ByHand {
    /// The target of the Makefile that runs them.
    pub target: &'static str,
    /// The stage that runs them.
    pub stage: &'static str,
    /// Variables that the command needs beside the names.
    pub variables: Vec<(&'static str, String)>,
}

impl ByHand {
    /// Returns the commands that repeat the tests `failed` of the program `name`; the whole
    /// program if there are none, because it has died.
    fn repeat(&self, name: &str, failed: &[&str]) -> Vec<String> {
        let is_file = ["host_", "loom_"].iter().any(|kind| name.starts_with(kind));
        let command = |first: &[(&str, &str)]| {
            let more = self.variables.iter();
            let more = more.map(|(name, value)| (*name, value.as_str()));
            repeat(
                self.target,
                &first.iter().copied().chain(more).collect::<Vec<_>>(),
            )
        };
        match (is_file, failed) {
            (true, []) => vec![command(&[("TEST", name)])],
            (false, []) => vec![format!("cargo rig stage {}", self.stage)],
            (true, failed) => {
                let one = |test: &&str| command(&[("TEST", name), ("CASE", test)]);
                failed.iter().map(one).collect()
            }
            (false, failed) => {
                let one = |test: &&str| command(&[("CASE", test)]);
                failed.iter().map(one).collect()
            }
        }
    }
}

/// Returns the names of the tests that have failed, as a program of tests lists them at the end
/// of its `output`.
fn failed_tests(output: &str) -> Vec<&str> {
    let Some((_, list)) = output.rsplit_once("\nfailures:\n") else {
        return Vec::new();
    };
    let names = list.lines().map_while(|line| line.strip_prefix("    "));
    names.collect()
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
    /// Returns the command that runs the tests of `choice`.
    fn command(&self, choice: &Choice) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(self.directory);
        command.envs(self.environment.iter().cloned());
        // A test may call cargo, which is to build as it built the test. It may call the rig too,
        // which is to tell its events to the test, if at all.
        for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", FILE] {
            command.env_remove(variable);
        }
        command.args(choice.arguments());
        command
    }

    /// Returns the place of this program in the order: programs that take long come first.
    fn place(&self) -> usize {
        let name = name_of(&self.path);
        let place = LONG.iter().position(|long| *long == name);
        place.unwrap_or(LONG.len())
    }

    /// Runs the tests of `choice`, prints all of their output at once, and returns the status.
    fn run(&self, choice: &Choice, by_hand: &ByHand, progress: &Progress) -> Result<i32> {
        let file = self.path.file_name().unwrap_or_default().display();
        let name = name_of(&self.path);
        progress.begin(name);
        let from = Instant::now();
        let (mut reader, writer) = std::io::pipe()?;
        let mut tests = self.command(choice);
        if ON_ONE_CPU.contains(&name) {
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
        let mut outcome = Outcome {
            name: name.to_owned(),
            counts: Counts::in_log(&output),
            took: Some(from.elapsed()),
            ..Outcome::default()
        };
        let mut text = format!("{file}:\n{}\n", output.trim_end_matches('\n'));
        if status != 0 {
            // A program that has died has counted nothing.
            outcome.counts.failed = outcome.counts.failed.max(1);
            outcome.repeat = by_hand.repeat(name, &failed_tests(&output));
            text += &to_repeat(&outcome.repeat);
        }
        progress.done(&text, outcome);
        Ok(status)
    }
}

/// Runs those of `programs` that have a test of `choice`, two at a time.
///
/// # Errors
///
/// No program has such a test, a test fails, or a program can't be run.
pub fn run_all(programs: Vec<Program>, choice: &Choice, by_hand: &ByHand) -> Result<()> {
    let list = |program: &Program| {
        let output = output_of(program.command(choice).arg("--list"))?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    };
    let mut programs = with_tests(choice, programs, list)?;
    programs.sort_by_key(Program::place);
    let progress = Progress::new(programs.len());
    let run = |program: Program| program.run(choice, by_hand, &progress);
    let statuses = in_parallel(2, programs, run)?;
    done(statuses.into_iter().max().unwrap_or(0))
}

/// Returns the `runs` that have a test of `choice`. `list_fn` returns what a run prints when it is
/// told to list those tests.
///
/// # Errors
///
/// No run has such a test; an error of `list_fn`.
fn with_tests<R>(
    choice: &Choice,
    runs: Vec<R>,
    list_fn: impl Fn(&R) -> Result<String>,
) -> Result<Vec<R>> {
    let (variable, test) = match choice {
        Choice::All => return Ok(runs),
        Choice::Part(text) => ("TEST", text),
        Choice::Name(name) => ("CASE", name),
    };
    let mut chosen = Vec::new();
    for run in runs {
        if list_fn(&run)?.lines().any(|line| line.ends_with(": test")) {
            chosen.push(run);
        }
    }
    if chosen.is_empty() {
        bail!("no test matches {variable}={test}");
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
        let part = Choice::Part("nonsense".into());
        let refused = with_tests(&part, vec!["empty", "empty"], list);
        let refused = refused.expect_err("no test").to_string();
        assert_eq!(refused, "no test matches TEST=nonsense");
        let name = Choice::Name("a::b".into());
        let refused = with_tests(&name, vec!["empty"], list);
        let refused = refused.expect_err("no test").to_string();
        assert_eq!(refused, "no test matches CASE=a::b");
        let runs = vec!["empty", "full"];
        let part = Choice::Part("gic".into());
        let chosen = with_tests(&part, runs.clone(), list);
        assert_eq!(chosen.expect("a test"), ["full"]);
        // Without a selection nothing is listed.
        let list = |_: &&str| bail!("listed");
        let all = with_tests(&Choice::All, runs.clone(), list);
        assert_eq!(all.expect("all"), runs);
    }

    #[test]
    fn tests_that_have_failed_are_those_of_the_last_list() {
        let output = "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\n\nfailures:\n\n\
                      ---- b::c stdout ----\nfailures:\n    not this\n\n\nfailures:\n    b::c\n\
                      \x20   d\n\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        assert_eq!(failed_tests(output), ["b::c", "d"]);
        assert_eq!(failed_tests("running 1 test\n"), [""; 0]);
    }

    #[test]
    fn what_repeats_a_test_names_it_and_its_file() {
        let host = ByHand {
            target: "test-host",
            stage: "host-tests",
            variables: Vec::new(),
        };
        assert_eq!(
            host.repeat("host_dt", &["a::b", "c"]),
            [
                "make test-host TEST=host_dt CASE=a::b",
                "make test-host TEST=host_dt CASE=c"
            ]
        );
        assert_eq!(host.repeat("host_dt", &[]), ["make test-host TEST=host_dt"]);
        let unit = host.repeat("stillpoint_rig", &["ktap::tests::a"]);
        assert_eq!(unit, ["make test-host CASE=ktap::tests::a"]);
        let died = host.repeat("stillpoint_rig", &[]);
        assert_eq!(died, ["cargo rig stage host-tests"]);
        let loom = ByHand {
            target: "loom",
            stage: "loom",
            variables: vec![("LOOM_MAX_PREEMPTIONS", "4".into())],
        };
        assert_eq!(
            loom.repeat("loom_stop", &["a"]),
            ["make loom TEST=loom_stop CASE=a LOOM_MAX_PREEMPTIONS=4"]
        );
    }
}
