//! Judges the results that a test kernel prints in the format KTAP.

use crate::counts::Counts;

/// The requirements on the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// One plan, and all the results that it announces.
    Whole,
    /// No plan or result is required, because the kernel ends early or isn't a test. An end
    /// as required counts as a result.
    None,
}

/// Returns the counts of the results in `log`.
///
/// # Errors
///
/// The kernel hasn't passed; the text gives the reason.
pub fn judge(log: &str, plan: Plan) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut why = Vec::new();
    let (mut plans, mut planned, mut seen) = (0, 0, 0);
    let mut whole_is_inapplicable = false;
    for line in log.lines() {
        if let Some(number) = line.strip_prefix("1..").and_then(leading_number) {
            plans += 1;
            planned = number;
            whole_is_inapplicable |= planned == 0 && line.contains("not applicable");
        } else if line.starts_with("Bail out!") {
            why.push(line.to_owned());
        } else if let Some((ok, number)) = result(line) {
            seen += 1;
            if number != seen {
                why.push(format!("result {number} where {seen} was due"));
            }
            let comment = line.split_once('#').map_or("", |(_, comment)| comment);
            if !ok {
                counts.failed += 1;
            } else if comment.contains("not applicable") {
                counts.inapplicable += 1;
            } else if has_skip(line) {
                counts.skipped += 1;
            } else {
                counts.passed += 1;
            }
        }
    }
    if whole_is_inapplicable && plans == 1 && seen == 0 && why.is_empty() {
        return Ok(Counts {
            inapplicable: 1,
            ..Counts::default()
        });
    }
    match plan {
        Plan::Whole => {
            if plans != 1 {
                why.push(format!("{plans} plan lines"));
            } else if planned != seen {
                why.push(format!("{seen} of {planned} results"));
            }
            if seen == 0 {
                why.push("nothing was tested".to_owned());
            }
        }
        Plan::None => counts.passed += 1,
    }
    if counts.failed > 0 {
        why.push(format!("{} of the results", counts.failed));
    }
    if why.is_empty() {
        Ok(counts)
    } else {
        Err(why.join("; "))
    }
}

/// Returns the lines of failed results in `log`.
pub fn broken(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| line.starts_with("not ok "))
}

/// Returns the reason for which a result was skipped.
pub fn reason_of_skip(line: &str) -> Option<&str> {
    let reason = line
        .starts_with("ok ")
        .then(|| line.rsplit_once("# SKIP "))?;
    reason.map(|(_, reason)| reason)
}

/// Returns whether `line` is a result that was skipped or doesn't apply.
pub fn is_skip(line: &str) -> bool {
    line.starts_with("ok ") && has_skip(line)
}

/// Returns whether `line` has the directive `# SKIP`, with or without blanks.
fn has_skip(line: &str) -> bool {
    let mut behind = line.split('#').skip(1);
    behind.any(|comment| comment.trim_start_matches(' ').starts_with("SKIP"))
}

/// Parses a line like `ok 3 - name` or `not ok 3 - name`: returns whether it is ok, and its
/// number.
fn result(line: &str) -> Option<(bool, u64)> {
    let (ok, rest) = match line.strip_prefix("not ") {
        Some(rest) => (false, rest),
        None => (true, line),
    };
    Some((ok, leading_number(rest.strip_prefix("ok ")?)?))
}

/// Returns the number at the start of `text`.
fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64, inapplicable: u64) -> Counts {
        Counts {
            passed,
            failed,
            skipped,
            inapplicable,
        }
    }

    fn why(log: &str) -> String {
        judge(log, Plan::Whole).expect_err("no pass")
    }

    #[test]
    fn whole_results_are_counted_by_kind() {
        let log = "KTAP version 1\n1..4\n# talk\nok 1 - a\nok 2 b # SKIP not applicable: x\n\
                   ok 3 - c #SKIP later\n    not ok 4 - inside\nok 4 - d # timing\n";
        assert_eq!(judge(log, Plan::Whole), Ok(counts(2, 0, 1, 1)));
    }

    #[test]
    fn the_plan_may_come_last() {
        assert_eq!(
            judge("ok 1 - a\n1..1\n", Plan::Whole),
            Ok(counts(1, 0, 0, 0))
        );
    }

    #[test]
    fn a_whole_that_makes_no_sense_is_not_applicable() {
        let log = "1..0 # SKIP not applicable: one CPU\n";
        assert_eq!(judge(log, Plan::Whole), Ok(counts(0, 0, 0, 1)));
        assert_eq!(why("1..0\n"), "nothing was tested");
        assert_eq!(
            why(&format!("{log}{log}")),
            "2 plan lines; nothing was tested"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(why(""), "0 plan lines; nothing was tested");
        assert_eq!(why("1..3\nok 1 - a\n"), "1 of 3 results");
        assert_eq!(
            why("1..2\nok 1 - a\nok 3 - c\n"),
            "result 3 where 2 was due"
        );
        assert_eq!(why("1..1\n1..1\nok 1\n"), "2 plan lines");
        assert_eq!(
            why("1..2\nok 1\nnot ok 2 - b\nBail out! no memory\n"),
            "Bail out! no memory; 1 of the results"
        );
    }

    #[test]
    fn a_kernel_without_a_plan_has_passed_by_ending() {
        assert_eq!(judge("it talks\n", Plan::None), Ok(counts(1, 0, 0, 0)));
        assert_eq!(
            judge("1..9\nok 1 - a\n", Plan::None),
            Ok(counts(2, 0, 0, 0))
        );
        let failed = judge("not ok 1 - a\n", Plan::None);
        assert_eq!(failed, Err("1 of the results".to_owned()));
    }

    #[test]
    fn a_result_in_the_middle_of_a_line_is_none() {
        let log = "1..1\nis it ok 1\nnot ok\nok one\nokay 1\nok 1 - a\n";
        assert_eq!(judge(log, Plan::Whole), Ok(counts(1, 0, 0, 0)));
    }
}
