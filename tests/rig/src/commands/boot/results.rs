//! Tells the results of a program's tests from what the tests themselves print.
//!
//! Before a test the kernel prints `# start 2 - b`, and behind it `ok 2 - b` or `not ok 2 - b`
//! (`src/kernel/program_tests.rs`). An ignored test has a result alone.
//!
//! - **started**: a test has a result only if it is the one that has started, and under its own
//!   number and name. So a line that a test prints, like `ok 3 - c`, is no result.

/// The results of tests, over one boot or several.
#[derive(Debug, Default)]
pub struct Results {
    /// The plan and the results, as lines.
    ktap: String,
    /// How many tests the plan announces; `None` without a plan.
    planned: Option<u64>,
    /// How many tests have a result.
    done: u64,
    /// The test that has started and has no result yet, as `2 - b`.
    running: Option<String>,
    /// The first line that looks like a result and is none.
    other: Option<String>,
}

impl Results {
    /// Adds what one boot has printed.
    pub fn add(&mut self, printed: &str) {
        self.running = None;
        for line in printed.lines() {
            self.take(line);
        }
    }

    /// Gives the test that runs, if there is one, the result that it has failed because of `why`,
    /// and returns the line that says so.
    pub fn fail(&mut self, why: &str) -> Option<String> {
        let test = self.running.take()?;
        let line = format!("not ok {test} # {why}");
        self.count(&line);
        Some(line)
    }

    /// Returns the plan and the results.
    pub fn ktap(&self) -> &str {
        &self.ktap
    }

    /// Returns how many tests have a result.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Returns how many tests the plan announces; `None` without a plan.
    pub fn planned(&self) -> Option<u64> {
        self.planned
    }

    /// Returns whether each test of the plan has a result.
    pub fn is_whole(&self) -> bool {
        self.planned == Some(self.done)
    }

    /// Returns the first line that looks like a result and is none.
    pub fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    fn take(&mut self, line: &str) {
        let next = self.done + 1;
        match &self.running {
            Some(test) => {
                let result = line.strip_prefix("not ").unwrap_or(line);
                if result.strip_prefix("ok ") == Some(test) {
                    self.running = None;
                    self.count(line);
                    return;
                }
            }
            None => {
                let is_next = |test: &&str| test.starts_with(&format!("{next} - "));
                if let Some(test) = line.strip_prefix("# start ").filter(is_next) {
                    self.running = Some(test.to_owned());
                    return;
                }
                let skipped = line.strip_prefix("ok ").filter(is_next);
                if skipped.is_some_and(|test| test.ends_with(" # SKIP ignored")) {
                    self.count(line);
                    return;
                }
                if self.planned.is_none()
                    && let Some(count) = line.strip_prefix("1..").and_then(|it| it.parse().ok())
                {
                    self.planned = Some(count);
                    self.keep(line);
                    return;
                }
                if line.starts_with("Bail out!") {
                    self.keep(line);
                    return;
                }
            }
        }
        let result = line.strip_prefix("not ").unwrap_or(line);
        let number = result.strip_prefix("ok ");
        if number.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
            self.other.get_or_insert_with(|| line.to_owned());
        }
    }

    fn count(&mut self, line: &str) {
        self.done += 1;
        self.keep(line);
    }

    fn keep(&mut self, line: &str) {
        self.ktap.push_str(line);
        self.ktap.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(printed: &str) -> Results {
        let mut results = Results::default();
        results.add(printed);
        results
    }

    #[test]
    fn a_result_is_that_of_the_test_that_has_started() {
        let results = of("KTAP version 1\n1..4\n\
             # start 1 - a\nprogress.\nok 1 - a\n\
             # start 2 - b\nok 2 - x\nok 3 - c\nnot ok 2 - bb\nok 2 - b and more\n1..9\n\
             # start 3 - c\nok 3 - c\nBail out!\nnot ok 2 - b\n\
             ok 3 - c # SKIP ignored\n\
             ok 4 - d\n");
        let lines = "1..4\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP ignored\n";
        assert_eq!(results.ktap(), lines);
        assert_eq!((results.done(), results.planned()), (3, Some(4)));
        assert_eq!(results.other(), Some("ok 2 - x"));
        assert!(!results.is_whole());
    }

    #[test]
    fn a_test_without_a_result_fails_by_name() {
        let mut results = of("1..2\n# start 1 - a\n");
        let line = "not ok 1 - a # timed out after 9 s";
        let failed = results.fail("timed out after 9 s");
        assert_eq!(failed.as_deref(), Some(line));
        assert_eq!(results.fail("again"), None);
        results.add("# start 2 - b\r\nok 2 - b\r\n");
        assert!(results.is_whole());
        assert_eq!(results.ktap(), format!("1..2\n{line}\nok 2 - b\n"));
    }

    #[test]
    fn what_no_test_has_begun_is_no_result() {
        let mut results = of("ok 1 - a\n# start 2 - b\nok 2 - b\n1..x\n");
        assert_eq!(results.ktap(), "");
        assert_eq!(results.fail("why"), None);
        // A boot that has ended in the middle leaves nothing to the next one.
        results.add("1..1\n# start 1 - a\n");
        results.add("ok 1 - a\n");
        assert_eq!(results.done(), 0);
    }
}
