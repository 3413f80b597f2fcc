//! Counts the results of tests, and formats counts and times.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// The number of tests for each result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    /// Tests that should have run and could not.
    pub skipped: u64,
    /// Tests that make no sense on their machine, by design.
    pub inapplicable: u64,
}

impl Counts {
    /// Returns the sum of the counts in the log of a stage: in the result lines of Rust's test
    /// programs, and in the last lines of the rig's own tests.
    #[must_use]
    pub fn in_log(log: &str) -> Counts {
        let mut sum = Counts::default();
        for line in log.lines() {
            sum += Counts::of_libtest(line)
                .or_else(|| Counts::parse(line))
                .unwrap_or_default();
        }
        sum
    }

    /// Returns the counts that aren't 0, in words; empty if all are.
    #[must_use]
    pub fn told(&self) -> String {
        let all = [
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
            (self.inapplicable, "not applicable"),
        ];
        let told = all.iter().filter(|(count, _)| *count != 0);
        let told: Vec<String> = told
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        told.join(", ")
    }

    /// Parses a line that [`Display`](fmt::Display) has printed.
    #[must_use]
    pub fn parse(line: &str) -> Option<Counts> {
        let words = [" passed, ", " failed, ", " skipped, ", " not applicable"];
        let mut numbers = [0; 4];
        let mut rest = line;
        for (number, word) in numbers.iter_mut().zip(words) {
            let (text, behind) = rest.split_once(word)?;
            *number = number_of(text)?;
            rest = behind;
        }
        let [passed, failed, skipped, inapplicable] = numbers;
        rest.is_empty().then_some(Counts {
            passed,
            failed,
            skipped,
            inapplicable,
        })
    }

    /// Parses a line like `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn of_libtest(line: &str) -> Option<Counts> {
        let words: Vec<&str> = line
            .strip_prefix("test result: ")?
            .split_whitespace()
            .collect();
        let number = |at: usize| words.get(at).and_then(|word| number_of(word)).unwrap_or(0);
        Some(Counts {
            passed: number(1),
            failed: number(3),
            skipped: number(5),
            inapplicable: 0,
        })
    }
}

/// Returns `text` as a number; `None` if it has anything but digits.
fn number_of(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.inapplicable += other.inapplicable;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            passed,
            failed,
            skipped,
            inapplicable,
        } = self;
        write!(
            f,
            "{passed} passed, {failed} failed, {skipped} skipped, {inapplicable} not applicable"
        )
    }
}

/// Formats a time as `12.3s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let tenths = (time.as_micros() + 50_000) / 100_000;
    format!("{}.{}s", tenths / 10, tenths % 10)
}

/// Formats a time as `1:23`, or `1:02:03`.
#[must_use]
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_counts_reads_as_it_was_printed() {
        let counts = Counts {
            passed: 12,
            failed: 0,
            skipped: 3,
            inapplicable: 4,
        };
        assert_eq!(
            counts.to_string(),
            "12 passed, 0 failed, 3 skipped, 4 not applicable"
        );
        assert_eq!(Counts::parse(&counts.to_string()), Some(counts));
        for other in [
            "12 passed, 0 failed, 3 skipped",
            "x 1 passed, 0 failed, 0 skipped, 0 not applicable",
            "1 passed, 0 failed, 0 skipped, 0 not applicable.",
        ] {
            assert_eq!(Counts::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_log_counts_what_rust_and_what_we_have_counted() {
        let log = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                   1 passed, 2 failed, 0 skipped, 4 not applicable\n\
                   runner: ok 9 passed, 0 failed, 0 skipped, 0 not applicable\n\
                   test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let sum = Counts {
            passed: 9,
            failed: 3,
            skipped: 1,
            inapplicable: 4,
        };
        assert_eq!(Counts::in_log(log), sum);
    }

    #[test]
    fn only_counts_that_there_are_are_told() {
        assert_eq!(Counts::default().told(), "");
        let counts = Counts {
            passed: 12,
            failed: 0,
            skipped: 3,
            inapplicable: 4,
        };
        assert_eq!(counts.told(), "12 passed, 3 skipped, 4 not applicable");
    }

    #[test]
    fn a_clock_has_hours_if_there_are_any() {
        assert_eq!(clock(Duration::from_millis(59_900)), "0:59");
        assert_eq!(clock(Duration::from_secs(83)), "1:23");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn times_are_rounded_to_tenths() {
        assert_eq!(seconds(Duration::from_millis(12_349)), "12.3s");
        assert_eq!(seconds(Duration::from_millis(950)), "1.0s");
    }
}
