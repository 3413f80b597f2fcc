//! What became of a machine that was booted.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::counts::seconds;
use crate::process::{Running, code};

/// How a machine ended that ran with its console in a log.
pub struct Outcome {
    /// What is wrong; nothing if it ended with status 0.
    pub why: Option<String>,
    pub took: Duration,
    /// What the console printed, without carriage returns.
    pub log: String,
}

/// Runs `vm` until it ends, or for `limit` seconds at most; its console goes to the file
/// `log`, and `input` is what is typed.
///
/// # Errors
///
/// QEMU can't be started, or the log not be written.
pub fn run_to_end(vm: &mut Command, log: &Path, limit: u64, input: Stdio) -> Result<Outcome> {
    let from = Instant::now();
    let file = File::create(log).with_context(|| log.display().to_string())?;
    vm.args(["-serial", "stdio", "-monitor", "none"]);
    vm.stdin(input).stdout(file.try_clone()?).stderr(file);
    let mut running = Running::start(vm)?;
    let status = running.wait_until(from + Duration::from_secs(limit))?;
    if status.is_none() {
        running.end()?;
    }
    Ok(Outcome {
        why: judge_status(status.map_or(124, code), limit),
        took: from.elapsed(),
        log: read_console(log)?,
    })
}

/// Returns what is wrong with a status: nothing with 0.
#[must_use]
pub fn judge_status(status: i32, limit: u64) -> Option<String> {
    match status {
        0 => None,
        124 | 137 => Some(format!("timed out after {limit} s")),
        _ => Some(format!("ended with status {status}")),
    }
}

/// Takes the carriage returns at the ends of lines out of a log, and returns its text.
///
/// # Errors
///
/// The file can't be read or written.
pub fn read_console(log: &Path) -> Result<String> {
    let bytes = std::fs::read(log).with_context(|| log.display().to_string())?;
    let text = without_returns(&String::from_utf8_lossy(&bytes));
    std::fs::write(log, &text).with_context(|| log.display().to_string())?;
    Ok(text)
}

/// Returns `text` without the carriage return that ends a line on a console.
#[must_use]
pub fn without_returns(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.strip_suffix('\r').map(str::to_owned).unwrap_or(text)
}

/// Returns a time for a table, six columns wide.
#[must_use]
pub fn column(time: Duration) -> String {
    format!("{:>6}", seconds(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_status_zero_is_right() {
        assert_eq!(judge_status(0, 60), None);
        assert_eq!(
            judge_status(124, 60).as_deref(),
            Some("timed out after 60 s")
        );
        assert_eq!(
            judge_status(137, 60).as_deref(),
            Some("timed out after 60 s")
        );
        assert_eq!(judge_status(1, 60).as_deref(), Some("ended with status 1"));
    }

    #[test]
    fn a_machine_that_runs_on_is_ended() {
        let log = std::env::temp_dir().join(format!("rig-outcome-{}", std::process::id()));
        let mut vm = Command::new("sh");
        vm.args(["-c", "printf 'up\\r\\n'; exec sleep 600"]);
        let outcome = run_to_end(&mut vm, &log, 1, Stdio::null()).expect("a shell");
        let _gone = std::fs::remove_file(&log);
        assert_eq!(outcome.why.as_deref(), Some("timed out after 1 s"));
        assert_eq!(outcome.log, "up\n");
    }
}
