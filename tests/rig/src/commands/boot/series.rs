//! The boots of a program of tests, and the verdict on all of them.

use anyhow::Result;

use crate::commands::boot::results::Results;
use crate::commands::runner::TIMED_OUT;
use crate::counts::Counts;
use crate::ktap::{self, Plan};
use crate::report::print;

/// The exit status of a panic.
const PANICKED: i32 = 101;

/// Boots a program of tests, and again behind each test that has ended its machine, or that was
/// ended with it after `limit` seconds. Returns the last status and the results of all.
///
/// * `boot_fn` — boots the program from the test on whose number it gets, counted from 0, and
///   returns the status and what was printed
pub fn boot_on(
    limit: u64,
    mut boot_fn: impl FnMut(u64) -> Result<(i32, String)>,
) -> Result<(i32, Results)> {
    let mut results = Results::default();
    loop {
        let before = results.done();
        let (status, printed) = boot_fn(before)?;
        results.add(&printed);
        let why = match status {
            TIMED_OUT => format!("timed out after {limit} s"),
            _ => format!("ended the machine with status {status}"),
        };
        let ended = results.fail(&why);
        if let Some(line) = &ended {
            let is_in_line = !printed.is_empty() && !printed.ends_with('\n');
            print(&format!("{}{line}\n", if is_in_line { "\n" } else { "" }));
        }
        let goes_on = ended.is_some() || status == PANICKED;
        if !goes_on || results.done() == before || results.is_whole() {
            return Ok((status, results));
        }
    }
}

/// Returns the counts of the tests with `results`, whose last machine ended with `status`; or the
/// status and the reason of a failure.
pub fn verdict(status: i32, results: &Results) -> Result<Counts, (i32, String)> {
    let judged = ktap::judge(results.ktap(), Plan::Whole);
    // The last test may have ended the machine, and has failed by that.
    let has_failed = ktap::broken(results.ktap()).next().is_some();
    if !results.is_whole() || !has_failed && !matches!(status, 0 | PANICKED) {
        let (done, all) = (results.done(), results.planned().unwrap_or(0));
        let mut why = format!("ended with status {status} after {done} of {all} tests");
        if let Some(other) = results.other() {
            why.push_str(&format!("; a test itself has printed: {other}"));
        }
        return Err((status.max(1), why));
    }
    if results.planned() == Some(0) {
        return Ok(Counts::default());
    }
    judged.map_err(|why| (1, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_go_on_behind_one_that_ends_its_machine() {
        let run = |boots: &[(i32, &str)]| {
            let mut boots = boots.iter();
            let mut from = Vec::new();
            let booted = boot_on(9, |done| {
                from.push(done);
                let (status, log) = boots.next().expect("no more boots");
                Ok((*status, (*log).to_owned()))
            });
            let (status, results) = booted.expect("no error");
            assert!(boots.next().is_none(), "more boots");
            (from, verdict(status, &results).map_err(|(_, why)| why))
        };
        let passed = |passed| {
            Ok(Counts {
                passed,
                ..Counts::default()
            })
        };
        let failed = |why: &str| Err(why.to_owned());
        let first = "1..3\n# start 1 - a\nok 1 - a\n";
        let second = "# start 2 - b\nok 2 - b\n";
        let third = "# start 3 - c\nok 3 - c\n";
        let boots = [(PANICKED, first), (PANICKED, second), (0, third)];
        assert_eq!(run(&boots), (vec![0, 1, 2], passed(3)));
        let hangs = format!("{first}# start 2 - b\nhalf a line");
        let boots = [(TIMED_OUT, hangs.as_str()), (0, third)];
        assert_eq!(run(&boots), (vec![0, 2], failed("1 of the results")));
        // It says itself that the next one is done.
        let ends = format!("{first}# start 2 - b\nok 3 - c\n");
        let boots = [(0, ends.as_str()), (0, third)];
        assert_eq!(run(&boots), (vec![0, 2], failed("1 of the results")));
        let all = format!("{first}{second}# start 3 - c\n");
        let why = failed("1 of the results");
        assert_eq!(run(&[(TIMED_OUT, &all)]), (vec![0], why));
        // What happens between two tests would come again.
        let why = failed("ended with status 101 after 1 of 3 tests");
        let boots = [(PANICKED, first), (PANICKED, "")];
        assert_eq!(run(&boots), (vec![0, 1], why));
        let why = failed("ended with status 124 after 1 of 3 tests");
        assert_eq!(run(&[(TIMED_OUT, first)]), (vec![0], why));
        let why = failed("ended with status 0 after 1 of 3 tests");
        assert_eq!(run(&[(0, first)]), (vec![0], why));
    }

    #[test]
    fn tests_pass_if_all_of_them_did() {
        let judged = |status, log: &str| {
            let mut results = Results::default();
            results.add(log);
            verdict(status, &results)
        };
        let passes = "1..2\n# start 1 - a\nok 1 - a\n# start 2 - b\nok 2 - b\n";
        assert_eq!(judged(0, passes).map(|counts| counts.passed), Ok(2));
        // The last test had to panic.
        assert!(judged(PANICKED, passes).is_ok());
        assert!(judged(0, "1..0\n").is_ok());
        let fails = |status, log| judged(status, log).expect_err("a failure").1;
        let fail = "1..1\n# start 1 - a\nnot ok 1 - a\n";
        assert_eq!(fails(1, fail), "1 of the results");
        let early = "ended with status 0 after 1 of 2 tests";
        assert_eq!(fails(0, "1..2\n# start 1 - a\nok 1 - a\n"), early);
        assert_eq!(fails(0, ""), "ended with status 0 after 0 of 0 tests");
        for status in [1, 7, TIMED_OUT] {
            let why = format!("ended with status {status} after 2 of 2 tests");
            assert_eq!(fails(status, passes), why);
        }
        let other = "1..1\n# start 1 - a\nok 2 - x\n";
        let why = "ended with status 0 after 0 of 1 tests; a test itself has printed: ok 2 - x";
        assert_eq!(fails(0, other), why);
    }
}
