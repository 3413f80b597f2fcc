//! `check`: runs the stages in order, up to the first that fails, and prints their times. CI
//! runs this.
//!
//! A stage prints into target/check/STAGE.log, which is shown if the stage fails. With V=1,
//! and for stages that take long or install something, the output is shown at once. The last
//! line is `N passed, N failed, N skipped`, summed over all tests; the file
//! target/check/summary has it too. A stage that fails without a failing test counts as one
//! failure. "Not applicable" (a test that makes no sense on this machine) is counted apart
//! from "skipped" (a test that should have run). With REQUIRE_ALL=1 a skipped test is a
//! failure.

use std::ffi::OsString;
use std::fs;

use anyhow::Result;

use crate::commands::stage::STAGES;
use crate::config::Config;
use crate::counts::Counts;
use crate::report::print;
use crate::stages::{Driver, Ended, fresh_logs};

pub fn run(config: &Config, _arguments: &[OsString]) -> Result<i32> {
    let logs = fresh_logs("check")?;
    let summary = logs.join("summary");
    let driver = Driver {
        command: &["stage"],
        config: of_no_machine(config),
        logs,
    };
    let mut sum = Counts::default();
    let mut status = 0;
    for stage in STAGES {
        let ended = driver.run(stage, |ended| judge(ended, config.require_all == "1"))?;
        let mut counts = Counts::in_log(&ended.log);
        status = ended.status;
        if status != 0 && counts.failed == 0 {
            counts.failed = 1;
        }
        sum += counts;
        if status != 0 {
            break;
        }
    }
    let logs = driver.logs.display();
    if sum.inapplicable != 0 {
        print(&format!(
            "not applicable here, each with its reason in {logs}: {}\n",
            sum.inapplicable
        ));
    }
    let last = format!(
        "{} passed, {} failed, {} skipped\n",
        sum.passed, sum.failed, sum.skipped
    );
    fs::write(summary, &last)?;
    print(&last);
    Ok(i32::from(status != 0))
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

/// Returns the verdict on a stage.
fn judge(ended: &mut Ended, require_all: bool) -> &'static str {
    if require_all && Counts::in_log(&ended.log).skipped != 0 {
        ended
            .log
            .push_str("skipped, and REQUIRE_ALL=1 says that nothing may be\n");
        ended.status = 1;
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
        };
        let skips = "1 passed, 0 failed, 1 skipped, 0 not applicable\n";
        assert_eq!(judge(&mut stage(0, skips), false), "ok");
        assert_eq!(judge(&mut stage(1, ""), false), "FAIL");
        let mut refused = stage(0, skips);
        assert_eq!(judge(&mut refused, true), "FAIL");
        assert_eq!(refused.status, 1);
        let none = "1 passed, 0 failed, 0 skipped, 3 not applicable\n";
        assert_eq!(judge(&mut stage(0, none), true), "ok");
    }
}
