//! The stages that run programs of tests on this host: host tests and models. `TEST` and `CASE`
//! choose among them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cargo::{built_tests, cargo};
use crate::config::{Config, or};
use crate::programs::{self, ByHand, Choice, Program};
use crate::report::skipped;

/// Runs the host tests, with the rig's own: all, or the file `TEST`, or the files whose names begin
/// with that, or else the functions whose names contain it. `CASE` is the name of a function, the
/// only one to run. All are built before the first runs.
pub fn host_tests(config: &Config) -> Result<()> {
    let ours = test_files("tests", "host_")?;
    let rigs = test_files("tests/rig/tests", "host_")?;
    let (runs, part) = host_selection(&config.test, &ours, &rigs);
    let choice = choice(part, &config.case)?;
    let mut all = Vec::new();
    for (directory, arguments) in runs {
        let mut tests = cargo();
        tests.args(["test", "--no-run"]).args(arguments);
        let mut tests = built_tests(&mut tests)?;
        // By name, because cargo names first what it has built first.
        tests.sort_unstable();
        all.extend(tests.into_iter().map(|path| Program {
            path,
            directory,
            environment: Vec::new(),
        }));
    }
    let by_hand = ByHand {
        target: "test-host",
        stage: "host-tests",
        variables: Vec::new(),
    };
    programs::run_all(all, &choice, &by_hand)
}

/// Returns the choice of the functions whose names contain `part`, or of the one with the name
/// `case`.
fn choice(part: &str, case: &str) -> Result<Choice> {
    match (part, case) {
        ("", "") => Ok(Choice::All),
        (part, "") => Ok(Choice::Part(part.to_owned())),
        ("", name) => Ok(Choice::Name(name.to_owned())),
        _ => bail!("CASE={case} is a whole name: TEST={part} can't choose more than its file"),
    }
}

/// Returns those of `files` that `test` chooses: the one of that name, or else those whose names
/// begin with it.
fn files_of<'a>(test: &str, files: &'a [String]) -> Vec<&'a String> {
    let is = |name: &&String| *name == test;
    match files.iter().find(is) {
        Some(file) => vec![file],
        None => files.iter().filter(|name| name.starts_with(test)).collect(),
    }
}

/// A package's directory, and the arguments of a `cargo test` for it.
type HostRun = (&'static str, Vec<String>);

/// The test files that compute for seconds, and are built for that. The others run for a
/// moment, and most of their time would be their optimization.
const COMPUTE: [&str; 5] = [
    "host_caches",
    "host_dt",
    "host_governor",
    "host_heap",
    "host_policy",
];

/// Cargo's arguments for the files in [`COMPUTE`].
const OPTIMIZED: [&str; 2] = ["--config", "profile.dev.package.stillpoint.opt-level=1"];

/// Returns the `cargo test`s for the selection `test`, and the part of the names of the
/// functions to run. `ours` are the kernel's test files, `rigs` are the rig's.
fn host_selection<'a>(test: &'a str, ours: &[String], rigs: &[String]) -> (Vec<HostRun>, &'a str) {
    const OF_RIG: [&str; 2] = ["-p", "stillpoint-rig"];
    let words = |words: &[&str]| words.iter().copied().map(str::to_owned).collect::<Vec<_>>();
    let both = [ours, rigs].concat();
    let chosen = files_of(test, &both);
    let is_file = test.starts_with("host_") && !chosen.is_empty();
    let files = |first: &[&str], all: &[String], computes: bool| {
        let mut arguments = words(first);
        let all = all.iter().filter(|name| !is_file || chosen.contains(name));
        for name in all.filter(|name| COMPUTE.contains(&name.as_str()) == computes) {
            arguments.extend(["--test".to_owned(), name.clone()]);
        }
        (arguments.len() > first.len()).then_some(arguments)
    };
    // The rig's come first: they mostly wait, so others run beside them.
    let of_rig = if is_file {
        files(&OF_RIG, rigs, false)
    } else {
        Some(words(&OF_RIG))
    };
    let mut others = files(&[], ours, false);
    if !is_file {
        others.get_or_insert_default().push("--lib".to_owned());
    }
    let computing = files(&OPTIMIZED, ours, true);
    let runs = [("tests/rig", of_rig), (".", others), (".", computing)];
    let runs = runs
        .into_iter()
        .filter_map(|(directory, run)| Some((directory, run?)));
    (runs.collect(), if is_file { "" } else { test })
}

/// Cargo's arguments for the models that take a moment: optimized, they would be compiled four
/// times as long.
const NOT_OPTIMIZED: [&str; 2] = ["--config", "profile.release.package.stillpoint.opt-level=0"];

/// The depth of the search in the check.
const PREEMPTIONS: &str = "3";

/// Runs the models: all, or those that `TEST` and `CASE` choose, as for the host tests. Those of a
/// program run one at a time: each of their runs maps and unmaps the stacks of its threads, by
/// which two models in one process hold each other up.
pub fn loom(config: &Config) -> Result<()> {
    let mut files = test_files("tests", "loom_")?;
    let mut part = config.test.as_str();
    if part.starts_with("loom_") {
        let chosen = files_of(part, &files).into_iter().cloned();
        let chosen = chosen.collect::<Vec<String>>();
        if !chosen.is_empty() {
            (files, part) = (chosen, "");
        }
    }
    let choice = choice(part, &config.case)?;
    let (long, short) = files.into_iter().partition(|name| programs::is_long(name));
    let preemptions = or(&config.loom_max_preemptions, PREEMPTIONS);
    let environment = [
        ("LOOM_MAX_PREEMPTIONS", preemptions.into()),
        ("RUST_TEST_THREADS", "1".into()),
    ];
    let mut all = Vec::new();
    for (names, arguments) in [(long, &[][..]), (short, &NOT_OPTIMIZED[..])] {
        let names: Vec<String> = names;
        if names.is_empty() {
            continue;
        }
        let mut models = cargo();
        as_loom(&mut models);
        models
            .args(["test", "--no-run", "--release"])
            .args(arguments);
        for name in names {
            models.args(["--test", &name]);
        }
        all.extend(built_tests(&mut models)?.into_iter().map(|path| Program {
            path,
            directory: ".",
            environment: environment.to_vec(),
        }));
    }
    if all.is_empty() {
        skipped("models", "there are none (tests/loom_*.rs)");
        return Ok(());
    }
    let mut variables = Vec::new();
    if preemptions != PREEMPTIONS {
        variables.push(("LOOM_MAX_PREEMPTIONS", preemptions.to_owned()));
    }
    let by_hand = ByHand {
        target: "loom",
        stage: "loom",
        variables,
    };
    programs::run_all(all, &choice, &by_hand)
}

/// Has `cargo` build for the models. They have a target directory of their own, because all
/// dependencies are built with other flags.
pub fn as_loom(cargo: &mut Command) {
    cargo
        .env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", "target/loom");
}

/// Returns the names, without `.rs`, of the test files in `dir` that begin with `start`.
pub fn test_files(dir: &str, start: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.to_owned())? {
        let name = entry?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".rs")
            && name.starts_with(start)
        {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the selection of `test`: a line for each run, and the part of functions' names.
    fn selected(test: &str) -> String {
        let ours = ["host_dt", "host_gic", "host_gic_odd", "host_hotplug"].map(str::to_owned);
        let rigs = ["host_runner"].map(str::to_owned);
        let (runs, function) = host_selection(test, &ours, &rigs);
        let lines = runs
            .iter()
            .map(|(directory, run)| format!("{directory}: {}", run.join(" ")));
        let lines: Vec<String> = lines.chain([function.to_owned()]).collect();
        lines.join("\n")
    }

    #[test]
    fn host_tests_are_selected_by_file_or_by_function() {
        let optimized = OPTIMIZED.join(" ");
        let rig = "tests/rig: -p stillpoint-rig";
        let others = ".: --test host_gic --test host_gic_odd --test host_hotplug";
        let computing = format!(".: {optimized} --test host_dt\n");
        let all = format!("{rig}\n{others} --lib\n{computing}");
        assert_eq!(selected(""), all);
        assert_eq!(selected("host_hotplug"), ".: --test host_hotplug\n");
        // It is a file's whole name, so the file whose name only begins with it is left out.
        assert_eq!(selected("host_gic"), ".: --test host_gic\n");
        let both = ".: --test host_gic --test host_gic_odd\n";
        assert_eq!(selected("host_gi"), both);
        assert_eq!(selected("host_dt"), computing);
        let runner = format!("{rig} --test host_runner\n");
        assert_eq!(selected("host_runner"), runner);
        let every = format!("{runner}{others}\n{computing}");
        assert_eq!(selected("host_"), every);
        assert_eq!(selected("gic"), format!("{all}gic"));
        // There is no such file, so it may be part of a function's name.
        assert_eq!(selected("host_tests"), format!("{all}host_tests"));
    }

    #[test]
    fn a_case_is_a_whole_name_and_stands_beside_a_file_only() {
        assert_eq!(choice("", "").expect("all"), Choice::All);
        assert_eq!(choice("", "a").expect("one"), Choice::Name("a".into()));
        assert_eq!(choice("a", "").expect("some"), Choice::Part("a".into()));
        assert!(choice("a", "b").is_err());
    }
}
