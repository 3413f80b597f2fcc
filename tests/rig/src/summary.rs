//! What is told at the end of a check: which stages and tests took longest, what was skipped, and
//! what has failed, with the commands that repeat just that.

use std::time::Duration;

use crate::counts::seconds;
use crate::events::Outcome;

/// How many of the slowest are named.
const SLOWEST: usize = 5;

/// How many of the skipped and of the failed are named. The logs have them all.
const NAMED: usize = 20;

/// What is kept of the stages that have ended.
#[derive(Default)]
pub struct Summary {
    stages: Vec<(String, Duration)>,
    /// Each test that was run: its time, its name, its stage.
    tests: Vec<(Duration, String, String)>,
    skipped: Vec<String>,
    failed: Vec<Failure>,
}

/// Something that has failed.
#[derive(Debug, Default)]
pub struct Failure {
    pub name: String,
    pub repeat: Vec<String>,
    pub log: String,
}

impl Summary {
    /// Takes in the end of a test of `stage`, whose log is `log`.
    pub fn test(&mut self, stage: &str, outcome: &Outcome, log: &str) {
        let Outcome { name, counts, .. } = outcome;
        if let Some(took) = outcome.took {
            self.tests.push((took, name.clone(), stage.to_owned()));
        }
        if counts.skipped != 0 {
            let why = outcome.text.trim_end().lines().last().unwrap_or_default();
            self.skipped.push(format!("{name}, in {stage}: {why}"));
        }
        if outcome.has_failed() {
            let own = &outcome.log;
            self.failed.push(Failure {
                name: format!("{name}, in {stage}"),
                repeat: outcome.repeat.clone(),
                log: if own.is_empty() { log } else { own }.to_owned(),
            });
        }
    }

    /// Takes in the end of a stage.
    pub fn stage(&mut self, name: &str, took: Duration) {
        self.stages.push((name.to_owned(), took));
    }

    /// Takes in something that has failed and is no test.
    pub fn failure(&mut self, failure: Failure) {
        self.failed.push(failure);
    }

    /// Returns the text, which has whole lines.
    #[must_use]
    pub fn text(&self) -> String {
        let stages = self.stages.iter();
        let stages = stages.map(|(name, took)| (*took, name.clone()));
        let tests = self.tests.iter();
        let tests = tests.map(|(took, name, stage)| (*took, format!("{name}, in {stage}")));
        let mut text = slowest("stages", stages.collect());
        text += &slowest("tests", tests.collect());
        text += &listed("skipped", &self.skipped, |skipped| {
            format!("    {skipped}\n")
        });
        text += &listed("failed", &self.failed, Failure::text);
        text
    }
}

impl Failure {
    fn text(&self) -> String {
        let mut text = format!("    {}\n", self.name);
        for command in &self.repeat {
            text += &format!("        repeat: {command}\n");
        }
        text + &format!("        log: {}\n", self.log)
    }
}

/// Returns the list of the slowest, the slowest first; nothing if there are none.
fn slowest(kind: &str, mut all: Vec<(Duration, String)>) -> String {
    if all.is_empty() {
        return String::new();
    }
    all.sort_by(|one, other| other.cmp(one));
    let lines = all.iter().take(SLOWEST);
    let lines = lines.map(|(took, name)| format!("    {:>8}  {name}\n", seconds(*took)));
    format!("slowest {kind}\n{}", lines.collect::<String>())
}

/// Returns a list of the first of `all` under a head; nothing if there are none.
fn listed<T>(head: &str, all: &[T], text_fn: impl Fn(&T) -> String) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut text = format!("{head}\n");
    text.extend(all.iter().take(NAMED).map(text_fn));
    if let Some(more @ 1..) = all.len().checked_sub(NAMED) {
        text += &format!("    and {more} more\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Counts;

    fn outcome(name: &str, seconds: u64, counts: Counts) -> Outcome {
        Outcome {
            name: name.to_owned(),
            counts,
            took: Some(Duration::from_secs(seconds)),
            ..Outcome::default()
        }
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        assert_eq!(Summary::default().text(), "");
    }

    #[test]
    fn the_slowest_come_first_and_there_are_five() {
        let mut summary = Summary::default();
        for (name, took) in [("fmt", 1), ("loom", 60), ("build", 8)] {
            summary.stage(name, Duration::from_secs(took));
        }
        for took in [3, 9, 1, 7, 5, 8] {
            summary.test(
                "loom",
                &outcome(&format!("t{took}"), took, Counts::default()),
                "",
            );
        }
        // It wasn't run, so it has no time.
        let untimed = Outcome {
            took: None,
            ..outcome("t99", 99, Counts::default())
        };
        summary.test("loom", &untimed, "");
        let wanted = "slowest stages\n       60.0s  loom\n        8.0s  build\n        1.0s  fmt\n\
                      slowest tests\n        9.0s  t9, in loom\n        8.0s  t8, in loom\n\
                      \x20       7.0s  t7, in loom\n        5.0s  t5, in loom\n\
                      \x20       3.0s  t3, in loom\n";
        assert_eq!(summary.text(), wanted);
    }

    #[test]
    fn what_has_failed_is_told_with_what_repeats_it_and_where_its_log_is() {
        let mut summary = Summary::default();
        let failed = Counts {
            failed: 1,
            ..Counts::default()
        };
        let own = Outcome {
            repeat: vec!["make test-qemu TEST=a".into()],
            log: "target/qemu/a.log".into(),
            took: None,
            ..outcome("a", 0, failed)
        };
        summary.test("qemu-tests", &own, "target/check/qemu-tests.log");
        let none = Outcome {
            log: String::new(),
            ..own
        };
        summary.test("loom", &none, "target/check/loom.log");
        summary.failure(Failure {
            name: "fmt".into(),
            repeat: vec!["cargo rig stage fmt".into()],
            log: "target/check/fmt.log".into(),
        });
        let skipped = Outcome {
            text: "about it\nno QEMU\n".into(),
            took: None,
            ..outcome(
                "b",
                0,
                Counts {
                    skipped: 1,
                    ..Counts::default()
                },
            )
        };
        summary.test("matrix", &skipped, "");
        let wanted = "skipped\n    b, in matrix: no QEMU\nfailed\n    a, in qemu-tests\n\
                      \x20       repeat: make test-qemu TEST=a\n        log: target/qemu/a.log\n\
                      \x20   a, in loom\n        repeat: make test-qemu TEST=a\n\
                      \x20       log: target/check/loom.log\n    fmt\n\
                      \x20       repeat: cargo rig stage fmt\n        log: target/check/fmt.log\n";
        assert_eq!(summary.text(), wanted);
    }

    #[test]
    fn a_long_list_says_how_many_it_leaves_out() {
        let all: Vec<usize> = (0..NAMED + 3).collect();
        let text = listed("failed", &all, |number| format!("{number}\n"));
        assert!(text.starts_with("failed\n0\n1\n"), "{text}");
        assert!(text.ends_with("19\n    and 3 more\n"), "{text}");
        let text = listed("failed", &all[..NAMED], |number| format!("{number}\n"));
        assert!(text.ends_with("19\n"), "{text}");
    }
}
