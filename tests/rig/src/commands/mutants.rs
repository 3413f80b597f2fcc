//! `mutants [TEXT]`: makes the mistakes of `tests/mutants` one at a time, each in a copy of
//! the tree, and runs the model that must find it.
//!
//! Each model is first run without a mistake, and must pass. The time that this takes sets
//! the time limit with a mistake. The verdicts:
//!
//! | Verdict | Meaning |
//! |---|---|
//! | caught | the model has failed |
//! | SURVIVED | the model has passed with the mistake |
//! | TIMED OUT | the model has neither failed nor passed, which shows nothing |
//! | KILLED | the model was killed, by hand or because memory ran out, which shows nothing |
//! | FAIL | the mistake can't be made or doesn't compile, or the model fails without it |
//!
//! Any verdict but the first fails the run. With TEXT, only mistakes whose text contains it
//! are made. tests/host_orderings.rs checks that the lists are complete.

mod list;
mod plant;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf, absolute};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, bail};

use crate::cargo::cargo;
use crate::config::Config;
use crate::paths::target_dir;
use crate::process::{Running, code, output_of};
use crate::report::print;

pub use list::{Mutant, parse};
pub use plant::Sums;

/// The directory of the lists.
const LISTS: &str = "tests/mutants";

/// The shortest time limit of a model with a mistake, however fast it is without one.
const FLOOR: Duration = Duration::from_secs(60);

/// The files and directories of the tree that a model needs.
const NEEDED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "linker.ld",
    "rust-toolchain.toml",
    "clippy.toml",
    "examples",
    "src",
    "tests",
    "benches",
];

/// How the name of a model begins that loom runs. The others are tests of the host.
const LOOM: &str = "loom_";

/// The depth of a model's search, because two of the mistakes need it. The variable
/// LOOM_MAX_PREEMPTIONS has no effect here.
const PREEMPTIONS: &str = "3";

/// How many of the last lines of a compiler or a model are shown if it fails unexpectedly.
const LAST_LINES: usize = 20;

pub fn run(_config: &Config, arguments: &[OsString]) -> Result<i32> {
    let only = match arguments {
        [] => "",
        [text] => text.to_str().context("TEXT is not text")?,
        _ => bail!("mutants [TEXT]"),
    };
    let mutants = list::read(Path::new(LISTS)).map_err(Error::msg)?;
    let sums = plant(&mutants, only, FLOOR, print)?;
    Ok(i32::from(sums.failed != 0))
}

/// Plants the mistakes, and gives `tell_fn` each verdict and the counts.
///
/// # Errors
///
/// The tree can't be copied, or cargo can't be started.
pub fn plant(
    mutants: &[Mutant],
    only: &str,
    floor: Duration,
    mut tell_fn: impl FnMut(&str),
) -> Result<Sums> {
    let mut tree = Copy::make()?;
    let sums = plant::plant(mutants, only, floor, &mut tree, &mut tell_fn)?;
    let Sums {
        caught,
        failed,
        unchanged,
    } = sums;
    tell_fn(&format!(
        "{caught} passed, {failed} failed, 0 skipped ({unchanged} orderings can't be weakened)\n"
    ));
    Ok(sums)
}

/// A copy of the tree on disk.
struct Copy {
    tree: PathBuf,
    /// The directory of the copy, and of what is built from it.
    work: PathBuf,
    log: PathBuf,
}

impl Copy {
    /// Copies the files of the tree that git tracks.
    fn make() -> Result<Copy> {
        let work = absolute(target_dir().join("mutants"))?;
        let tree = work.join("tree");
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
        }
        let files = output_of(
            Command::new("git")
                .args(["ls-files", "-z", "--"])
                .args(NEEDED),
        )?;
        for file in String::from_utf8(files)?.split_terminator('\0') {
            let to = tree.join(file);
            let dir = to.parent().context("a file lies in a directory")?;
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
            fs::copy(file, &to).with_context(|| file.to_owned())?;
        }
        Ok(Copy {
            tree,
            log: work.join("log"),
            work,
        })
    }

    /// Runs `cargo test` for a model, with the further arguments `more`, and returns its
    /// status; `None` if it still runs after `limit`.
    fn cargo(&self, model: &str, more: &[&str], limit: Duration) -> Result<Option<i32>> {
        let log = File::create(&self.log).with_context(|| self.log.display().to_string())?;
        let mut cargo = cargo();
        cargo
            .args(["test", "--release", "--test", model])
            .args(more);
        // With flags of their own, loom's models have dependencies of their own.
        let kind = if model.starts_with(LOOM) {
            "target"
        } else {
            "host"
        };
        cargo
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", self.work.join(kind));
        if model.starts_with(LOOM) {
            cargo
                .env("RUSTFLAGS", "--cfg loom")
                .env("LOOM_MAX_PREEMPTIONS", PREEMPTIONS);
        }
        cargo.stdout(log.try_clone()?).stderr(log);
        // Dropping this ends cargo and all programs that it has started.
        let mut running = Running::start(&mut cargo)?;
        let ended = running.wait_until(Instant::now() + limit)?;
        Ok(ended.map(code))
    }

    /// Returns the last `count` lines that the compiler or the model has printed.
    fn last(&self, count: usize) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(count));
        last.map(|line| format!("{line}\n")).collect()
    }
}

/// How long a compiler may take.
const BUILDS_WITHIN: Duration = Duration::from_secs(3600);

/// The status of a cargo that was killed, by hand or because memory ran out.
const KILLED: i32 = 128 + 9;

/// What cargo prints of a model that was killed. Its own status is that of a model that failed.
const MODEL_KILLED: &str = "(signal: 9, SIGKILL: kill)";

/// How many of the last lines of a model tell how it ended: cargo adds a few.
const END_LINES: usize = 5;

impl plant::Tree for Copy {
    fn source(&self, file: &str) -> Result<String> {
        fs::read_to_string(file).with_context(|| file.to_owned())
    }

    fn write(&mut self, file: &str, text: &str) -> Result<()> {
        fs::write(self.tree.join(file), text).with_context(|| file.to_owned())
    }

    fn builds(&mut self, model: &str) -> Result<bool> {
        Ok(self.cargo(model, &["--no-run"], BUILDS_WITHIN)? == Some(0))
    }

    fn runs(&mut self, model: &str, limit: Duration) -> Result<(plant::End, Duration)> {
        let from = Instant::now();
        let end = match self.cargo(model, &[], limit)? {
            Some(0) => plant::End::Passed,
            None => plant::End::TimedOut,
            Some(KILLED) => plant::End::Killed,
            Some(_) if self.last(END_LINES).contains(MODEL_KILLED) => plant::End::Killed,
            Some(_) => plant::End::Failed,
        };
        Ok((end, from.elapsed()))
    }

    fn last_lines(&self) -> String {
        self.last(LAST_LINES)
    }
}
