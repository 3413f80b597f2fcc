//! `check [STAGE...]`: runs the stages up to the first that fails: all, or those that are named.
//! Two that only compile or compute run at a time, one of each [lane](crate::stages::Lane). CI
//! runs this.
//!
//! A [driver](crate::driver) shows how far a stage is, and a failure at once. A stage prints
//! into target/check/STAGE.log; a stage that fails without a failing test has it shown. With
//! V=1, and for the stage that installs something, the output is shown at once. At the end come
//! the slowest stages and tests, and what has failed with the command that repeats it.
//!
//! The last line is `N passed, N failed, N skipped`, summed over all tests; the file
//! target/check/summary has it too. A stage that fails without a failing test, or is
//! interrupted, counts as one failure. "Not applicable" (a test that makes no sense on this
//! machine) is counted apart from "skipped" (a test that should have run). With REQUIRE_ALL=1 a
//! skipped test is a failure.

use std::ffi::OsString;
use std::fs;

use anyhow::Result;

use crate::commands::stage::STAGES;
use crate::config::Config;
use crate::counts::Counts;
use crate::driver::{Driver, Ended, Kind, clear};
use crate::stages::{Stage, chosen};

pub fn run(config: &Config, arguments: &[OsString]) -> Result<i32> {
    let stages: Vec<&Stage> = chosen(STAGES, arguments)?;
    let kind = Kind {
        name: "check",
        command: &["stage"],
        typed: "cargo rig stage",
    };
    let mut driver = Driver::new(kind, of_no_machine(config))?;
    clear(driver.logs())?;
    let summary = driver.logs().join("summary");
    let mut sum = Counts::default();
    let mut status = 0;
    let require_all = config.require_all == "1";
    driver.run(
        &stages,
        |stage, ended| judge(stage.name, ended, require_all),
        |_, ended| {
            let mut counts = Counts::in_log(&ended.log);
            if ended.status != 0 && counts.failed == 0 {
                counts.failed = 1;
            }
            sum += counts;
            if ended.status != 0 {
                status = if ended.is_interrupted {
                    ended.status
                } else {
                    1
                };
            }
            status == 0
        },
    )?;
    let mut last = String::new();
    if sum.inapplicable != 0 {
        last = format!(
            "not applicable here, each with its reason in {}: {}\n",
            driver.logs().display(),
            sum.inapplicable
        );
    }
    let counts = format!(
        "{} passed, {} failed, {} skipped\n",
        sum.passed, sum.failed, sum.skipped
    );
    fs::write(summary, &counts)?;
    driver.finish(&(last + &counts));
    Ok(status)
}

/// Returns the variables of `config` that describe neither a machine nor a selection, so that
/// every check runs the same tests.
fn of_no_machine(config: &Config) -> Config {
    Config {
        timeout: config.timeout.clone(),
        jobs: config.jobs.clone(),
        require_all: config.require_all.clone(),
        verbose: config.verbose.clone(),
        ..Config::default()
    }
}

/// Returns the verdict on the stage `name`.
fn judge(name: &str, ended: &mut Ended, require_all: bool) -> &'static str {
    if require_all && Counts::in_log(&ended.log).skipped != 0 {
        ended
            .log
            .push_str("skipped, and REQUIRE_ALL=1 says that nothing may be\n");
        if ended.status == 0 {
            // The stage alone would pass again.
            ended.repeat = format!("REQUIRE_ALL=1 cargo rig check {name}");
            ended.status = 1;
        }
    }
    if ended.status == 0 { "ok" } else { "FAIL" }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_skipped_fails_if_nothing_may_be() {
        let stage = |status, log: &str| Ended {
            status,
            log: log.to_owned(),
            took: Duration::ZERO,
            repeat: "cargo rig stage loom".to_owned(),
            is_interrupted: false,
        };
        let skips = "1 passed, 0 failed, 1 skipped, 0 not applicable\n";
        assert_eq!(judge("loom", &mut stage(0, skips), false), "ok");
        assert_eq!(judge("loom", &mut stage(1, ""), false), "FAIL");
        let mut refused = stage(0, skips);
        assert_eq!(judge("loom", &mut refused, true), "FAIL");
        assert_eq!(refused.status, 1);
        assert_eq!(refused.repeat, "REQUIRE_ALL=1 cargo rig check loom");
        let none = "1 passed, 0 failed, 0 skipped, 3 not applicable\n";
        assert_eq!(judge("loom", &mut stage(0, none), true), "ok");
    }
}
