//! The output about runs: a line for each, the progress, and the command that repeats a run that
//! failed.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::Mutex;

use crate::counts::Counts;

/// Shows the progress and the current runs, on a terminal only, so that logs don't contain them.
pub struct Progress {
    all: usize,
    live: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: usize,
    next: usize,
    running: BTreeMap<usize, String>,
}

/// A run that [`Progress`] shows. [`Progress::done`] removes it.
#[must_use]
pub struct Run(usize);

impl Progress {
    /// Returns the progress of `all` runs.
    #[must_use]
    pub fn new(all: usize) -> Progress {
        Progress {
            all,
            live: stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    /// Shows that a run begins.
    ///
    /// # Panics
    ///
    /// Another thread has panicked while it told something.
    pub fn begin(&self, name: &str) -> Run {
        let mut state = self.state.lock().expect("no thread panics while it tells");
        let run = state.next;
        state.next += 1;
        state.running.insert(run, name.to_owned());
        self.show(&state);
        Run(run)
    }

    /// Shows that a run has ended, and prints `text`, which has whole lines, in one write.
    ///
    /// # Panics
    ///
    /// Another thread has panicked while it told something.
    pub fn done(&self, run: Run, text: &str) {
        let mut state = self.state.lock().expect("no thread panics while it tells");
        state.running.remove(&run.0);
        state.done += 1;
        self.clear();
        print(text);
        self.show(&state);
    }

    /// Counts a result without a run, and prints `text`.
    pub fn told(&self, text: &str) {
        let run = self.begin("");
        self.done(run, text);
    }

    fn show(&self, state: &State) {
        if !self.live || state.running.is_empty() {
            return;
        }
        let running: Vec<&str> = state.running.values().map(String::as_str).collect();
        let mut line = format!("[{}/{}] {}", state.done, self.all, running.join(", "));
        line.truncate(line.floor_char_boundary_at(78));
        let _no_terminal = write!(stderr(), "\r\x1b[K{line}");
    }

    fn clear(&self) {
        if self.live {
            let _no_terminal = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Adds a function that finds the last place, up to a byte, at which a text may be cut.
trait Boundary {
    fn floor_char_boundary_at(&self, most: usize) -> usize;
}

impl Boundary for String {
    fn floor_char_boundary_at(&self, most: usize) -> usize {
        (0..=most.min(self.len()))
            .rev()
            .find(|at| self.is_char_boundary(*at))
            .unwrap_or(0)
    }
}

/// Prints `text` to standard output at once. The run goes on even if no program reads it.
pub fn print(text: &str) {
    if cfg!(test) {
        // The test harness keeps what goes through the macro to itself: a line of counts
        // would be summed up with the results of the stage that runs these tests.
        std::print!("{text}");
        return;
    }
    let mut out = stdout().lock();
    let _reader_is_gone = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints why a test is left out, and counts one skipped test.
pub fn skipped(why: &str) {
    let counts = Counts {
        skipped: 1,
        ..Counts::default()
    };
    print(&format!("{why}\n{counts}\n"));
}

/// Returns `text` with four blanks before each line.
#[must_use]
pub fn indented(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.push_str("    ");
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Returns the command that repeats a run: `make` with a target and the variables that aren't
/// empty.
#[must_use]
pub fn repeat(target: &str, variables: &[(&str, &str)]) -> String {
    let mut command = format!("repeat: make {target}");
    for (name, value) in variables {
        if value.is_empty() {
            continue;
        }
        let plain = |char: char| char.is_ascii_alphanumeric() || "_-.,=/@:".contains(char);
        if value.chars().all(plain) {
            command.push_str(&format!(" {name}={value}"));
        } else {
            command.push_str(&format!(" {name}='{}'", value.replace('\'', "'\\''")));
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_repeats_it() {
        let variables = [
            ("TEST", "qemu_fault"),
            ("CASE", "read@0"),
            ("GIC", ""),
            ("APPEND", "it's 1"),
        ];
        assert_eq!(
            repeat("test-qemu", &variables),
            "repeat: make test-qemu TEST=qemu_fault CASE=read@0 APPEND='it'\\''s 1'"
        );
    }

    #[test]
    fn a_log_is_shown_indented() {
        assert_eq!(indented("a\n\nb"), "    a\n    \n    b\n");
    }
}
