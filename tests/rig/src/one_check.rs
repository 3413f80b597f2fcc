//! A check of a stage that makes several, one after the other.

use std::time::Instant;

use anyhow::Result;

use crate::counts::Counts;
use crate::events::Outcome;
use crate::report::{Progress, to_repeat};

/// Makes the check `what` of `stage` by `check_fn`, prints its line, and returns its counts. The
/// checks follow one another, so none runs alone: `repeat` is the command that makes them all.
pub fn one(
    progress: &Progress,
    (stage, repeat): (&str, &str),
    what: &str,
    check_fn: impl FnOnce() -> Result<()>,
) -> Counts {
    let from = Instant::now();
    let mut outcome = Outcome {
        name: format!("{stage}: {what}"),
        ..Outcome::default()
    };
    progress.begin(&outcome.name);
    let ended = check_fn();
    outcome.took = Some(from.elapsed());
    let text = match ended {
        Ok(()) => {
            outcome.counts.passed = 1;
            format!("{stage}: {what}\n")
        }
        Err(why) => {
            outcome.counts.failed = 1;
            outcome.repeat = vec![repeat.to_owned()];
            format!(
                "FAIL {stage}: {what}: {why:#}\n{}",
                to_repeat(&outcome.repeat)
            )
        }
    };
    let counts = outcome.counts;
    progress.done(&text, outcome);
    counts
}
