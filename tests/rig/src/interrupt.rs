//! A program that is interrupted, by Ctrl-C or a signal, and leaves nothing running.
//!
//! ```text
//!   rig check --- stage --- cargo --- rustc        Ctrl-C ends the stage and cargo at once;
//!             \                                    rustc has lost its parent, and would go
//!              `- - - - - - - - - - - - '          on: it becomes a child of the rig, which
//!                                                  ends it and collects its status
//! ```
//!
//! For that the rig is the *subreaper* of all that it starts (PR_SET_CHILD_SUBREAPER(2const)).

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// How long programs that were asked to end may take before they are killed.
const GRACE: Duration = Duration::from_secs(3);

/// How long killed programs may take to be gone.
const GONE: Duration = Duration::from_secs(5);

/// How often is looked whether all have ended.
const LOOK: Duration = Duration::from_millis(50);

/// The signals that interrupt this program. They don't end it any more.
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Has the signals kept here, and makes this program the parent of what loses its parent.
    ///
    /// # Errors
    ///
    /// The system refuses one of the two.
    pub fn watch() -> Result<Interrupt> {
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal)?;
            flag::register_usize(signal, caught.clone(), number).context("a signal's handler")?;
        }
        set_child_subreaper(Some(getpid())).context("a subreaper")?;
        Ok(Interrupt(caught))
    }

    /// Returns the number of the signal that came last, if one has come.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        // SeqCst, as the handler's store: nothing else is ordered by it.
        let signal = self.0.load(Ordering::SeqCst);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }
}

/// Ends all that this program has started, and what that has started: asks it to end first, and
/// then kills it.
///
/// # Errors
///
/// Something could not be ended; the message names it.
pub fn end_all() -> Result<()> {
    let from = Instant::now();
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        let running = descendants(getpid());
        if running.is_empty() {
            return Ok(());
        }
        let signal = match from.elapsed() {
            young if young < GRACE => Signal::TERM,
            old if old < GRACE + GONE => Signal::KILL,
            _ => bail!("still running: processes {running:?}"),
        };
        for process in running {
            if let Some(process) = Pid::from_raw(process) {
                let _has_ended = kill_process(process, signal);
            }
        }
        sleep(LOOK);
    }
}

/// Returns the numbers of the processes that `ancestor` has started, and so on.
fn descendants(ancestor: Pid) -> Vec<i32> {
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        // A process may end at any time.
        if let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            && let Ok(stat) = fs::read_to_string(entry.path().join("stat"))
            && let Some(parent) = parent(&stat)
        {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![ancestor.as_raw_nonzero().get()];
    while let Some(process) = next.pop() {
        let its = children.remove(&process).unwrap_or_default();
        found.extend(&its);
        next.extend(its);
    }
    found
}

/// Returns the parent in the text of a file `/proc/PID/stat`, whose second field, the name in
/// parentheses, may have anything in it.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_behind_the_name() {
        assert_eq!(parent("12 (sh) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) S 9 (b) S 7 12"), Some(7));
        assert_eq!(parent("12 (sh"), None);
    }

    #[test]
    fn what_a_child_has_started_is_a_descendant() {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "sleep 600 & echo $!; wait"]);
        let mut shell = crate::process::Running::start(shell.stdout(std::process::Stdio::piped()))
            .expect("a shell");
        let mut line = String::new();
        let stdout = shell.child().stdout.take().expect("a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)
            .expect("a line");
        let sleeper = line.trim().parse().expect("a process");
        let all = descendants(getpid());
        let id = shell.child().id().cast_signed();
        assert!(all.contains(&id) && all.contains(&sleeper), "{all:?}");
    }
}
