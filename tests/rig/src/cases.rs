//! The results of the cases of a test of whole machines: a line for each, and the counts at the
//! end.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use regex_lite::Regex;

use crate::config::Config;
use crate::counts::{Counts, seconds};
use crate::events::Outcome;
use crate::report::{Progress, indented, print, to_repeat};

/// The checks that the shell's `selftest` makes.
const CHECKS: usize = 8;

/// Counts the cases of one test, and prints a line for each.
pub struct Cases {
    /// The rig's command, the first word of its arguments.
    name: String,
    /// The arguments with which the rig was called.
    command: String,
    /// The name of the only case to run; all are run if it is empty.
    only: String,
    counts: Counts,
    progress: Progress,
}

impl Cases {
    /// Returns the cases of the rig's command `name`, none of which was run yet. `CASE` in `config`
    /// names the case to run; all are run if it is empty.
    #[must_use]
    pub fn new(name: &str, arguments: &[OsString], config: &Config) -> Cases {
        let words = arguments.iter().map(|word| format!(" {}", word.display()));
        Cases {
            name: name.to_owned(),
            command: format!("{name}{}", words.collect::<String>()),
            only: config.case.clone(),
            counts: Counts::default(),
            progress: Progress::new(0),
        }
    }

    /// Runs the case `name`, if it is to be run, and prints its line. `about_fn` returns the text
    /// of the line, given how long the case took. If the case fails, this prints the reason, the
    /// content of `log`, and the command that repeats it.
    pub fn run(
        &mut self,
        name: &str,
        log: &Path,
        about_fn: impl FnOnce(&str) -> String,
        run_fn: impl FnOnce() -> Result<()>,
    ) {
        if !self.wants(name) {
            return;
        }
        let from = Instant::now();
        self.progress.begin(&self.full(name));
        let outcome = run_fn();
        let took = from.elapsed();
        let line = about_fn(&seconds(took));
        self.judge(name, &line, &outcome, log, Some(took));
    }

    /// Returns whether this case is to be run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only == name
    }

    /// Counts a case that can't be run alone, and prints its line, `text`, as [`Cases::run`]
    /// does.
    pub fn tell(&mut self, text: &str, outcome: &Result<()>, log: &Path) {
        self.judge("", text, outcome, log, None);
    }

    /// Counts a case that can't run here, and prints its line, `text`, which says why.
    pub fn skip(&mut self, name: &str, text: &str) {
        if self.wants(name) {
            let counts = Counts {
                skipped: 1,
                ..Counts::default()
            };
            self.counts += counts;
            let outcome = Outcome {
                name: self.full(name),
                counts,
                text: text.to_owned(),
                ..Outcome::default()
            };
            let line = format!("SKIP            {text}\n");
            self.progress.done(&line, outcome);
        }
    }

    fn judge(
        &mut self,
        name: &str,
        text: &str,
        outcome: &Result<()>,
        log: &Path,
        took: Option<Duration>,
    ) {
        let mut told = Outcome {
            name: self.full(if name.is_empty() { text } else { name }),
            took,
            log: log.display().to_string(),
            ..Outcome::default()
        };
        let line = match outcome {
            Ok(()) => {
                told.counts.passed = 1;
                format!("ok              {text}\n")
            }
            Err(why) => {
                told.counts.failed = 1;
                told.repeat = vec![self.repeat(name)];
                let printed = std::fs::read(log).unwrap_or_default();
                let printed = indented(&String::from_utf8_lossy(&printed));
                let repeat = to_repeat(&told.repeat);
                format!("FAIL            {text}  {why:#}\n{printed}{repeat}")
            }
        };
        self.counts += told.counts;
        self.progress.done(&line, told);
    }

    /// Returns the name of a case for readers of several tests.
    fn full(&self, name: &str) -> String {
        format!("{} {name}", self.name)
    }

    /// Returns the command that repeats the case `name`; all cases if it has none.
    fn repeat(&self, name: &str) -> String {
        let command = &self.command;
        match name.is_empty() {
            true => format!("cargo rig {command}"),
            false => format!("CASE={name} cargo rig {command}"),
        }
    }

    /// Prints the counts, and returns the status to end with: 0 if there was a case and none
    /// has failed.
    #[must_use]
    pub fn finish(mut self) -> i32 {
        if self.counts == Counts::default() {
            print(&format!("there is no case {}\n", self.only));
            self.counts.failed = 1;
        }
        print(&format!("{}\n", self.counts));
        i32::from(self.counts.failed != 0)
    }
}

/// Checks that all checks of `selftest` are in what was `printed`, each of them ok.
///
/// # Errors
///
/// A check is missing or not ok.
pub fn judge_selftest(printed: &str) -> Result<()> {
    let checks = || {
        printed
            .lines()
            .filter(|line| line.starts_with("selftest: "))
    };
    if checks().filter(|line| line.contains(": ok: ")).count() != CHECKS {
        bail!("not all eight checks are ok");
    }
    if checks().any(|line| line.contains(": FAILED")) {
        bail!("a check has failed");
    }
    Ok(())
}

/// Checks that lines of `printed` match `patterns`, in their order. No line may match a pattern
/// that follows `! `. A pattern that follows `+ ` must match the very next line.
///
/// # Errors
///
/// Names the first pattern that fails, or that is no regular expression.
pub fn find_lines(printed: &str, patterns: &[&str]) -> Result<()> {
    let mut from = 0;
    for pattern in patterns {
        if let Some(never) = pattern.strip_prefix("! ") {
            let never = Regex::new(never)?;
            if printed.lines().any(|line| never.is_match(line)) {
                bail!("a line matches: {never}");
            }
            continue;
        }
        let next = pattern.strip_prefix("+ ");
        let sought = Regex::new(next.unwrap_or(pattern))?;
        let mut rest = printed.lines().skip(from);
        match rest.position(|line| sought.is_match(line)) {
            Some(at) if at > 0 && next.is_some() => {
                bail!("line {} doesn't match: {sought}", from + 1)
            }
            Some(at) => from += at + 1,
            None => bail!("no line from {} on matches: {pattern}", from + 1),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(result: Result<()>) -> String {
        result.expect_err("an error").to_string()
    }

    #[test]
    fn patterns_are_found_in_their_order() {
        let printed = "one\ntwo\none\n";
        find_lines(printed, &["^one$", "^two$", "^one$", "! three"]).expect("in order");
        let refused = find_lines(printed, &["two", "two"]);
        assert_eq!(why(refused), "no line from 3 on matches: two");
        let refused = find_lines(printed, &["one", "! ^two$"]);
        assert_eq!(why(refused), "a line matches: ^two$");
        find_lines(printed, &["one", "+ ^two$", "+ one"]).expect("one after the other");
        let refused = find_lines("one\nthree\ntwo\n", &["one", "+ two"]);
        assert_eq!(why(refused), "line 2 doesn't match: two");
        assert!(find_lines(printed, &["("]).is_err());
    }

    #[test]
    fn a_selftest_is_eight_checks() {
        let ok = "selftest: a: ok: b\n".repeat(CHECKS);
        judge_selftest(&ok).expect("all ok");
        assert_eq!(why(judge_selftest(&ok[1..])), "not all eight checks are ok");
        let more = format!("{ok}selftest: c: FAILED: d\n");
        assert_eq!(why(judge_selftest(&more)), "a check has failed");
    }

    fn cases(only: &str) -> Cases {
        let config = Config {
            case: only.into(),
            ..Config::default()
        };
        Cases::new("shipped", &["Image".into()], &config)
    }

    #[test]
    fn a_case_that_fails_fails_them_all() {
        let mut cases = cases("");
        assert_eq!(cases.repeat("this"), "CASE=this cargo rig shipped Image");
        assert_eq!(cases.repeat(""), "cargo rig shipped Image");
        let nowhere = Path::new("/nowhere");
        cases.run("this", nowhere, |_| "this".into(), || Ok(()));
        assert_eq!((cases.counts.passed, cases.counts.failed), (1, 0));
        cases.run("that", nowhere, |_| "that".into(), || bail!("so"));
        assert_eq!((cases.counts.passed, cases.counts.failed), (1, 1));
        assert_eq!(cases.finish(), 1);
    }

    #[test]
    fn a_case_that_is_not_there_is_no_success() {
        let mut none = cases("this");
        none.run(
            "that",
            Path::new("/nowhere"),
            |_| "that".into(),
            || bail!("not wanted"),
        );
        assert_eq!(none.finish(), 1);
        let mut skipped = cases("this");
        skipped.skip("this", "this");
        assert_eq!(skipped.finish(), 0);
    }
}
